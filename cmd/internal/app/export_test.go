package app

import "context"

// WarnCertificates warns of the certificates that end soon now.
func (a *App) WarnCertificates(ctx context.Context) {
	w := a.world.Load()
	a.warnCertificates(ctx, w, a.endingSoon(w))
}
