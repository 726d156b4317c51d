package app

import "context"

// WarnCertificates is what is done once an hour.
func (a *App) WarnCertificates(ctx context.Context) { a.warnCertificates(ctx) }
