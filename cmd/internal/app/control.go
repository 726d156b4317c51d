package app

import (
	"context"

	"portolan.dev/cmd/internal/admin"
)

func (a *App) Endpoints(registry string) (admin.Endpoints, error) { return admin.Endpoints{}, admin.ErrRefused }
func (a *App) Drain(ctx context.Context, r admin.DrainRequest) ([]admin.DrainStatus, error) { return nil, admin.ErrRefused }
func (a *App) Undrain(ctx context.Context, s admin.Selector, by, reason string) ([]admin.DrainStatus, error) { return nil, admin.ErrRefused }
func (a *App) Drains(ctx context.Context, s admin.Selector) ([]admin.DrainStatus, error) { return nil, admin.ErrRefused }
func (a *App) SetRouting(ctx context.Context, r admin.RoutingRequest) (admin.ReplicaStatus, error) { return admin.ReplicaStatus{}, admin.ErrRefused }
func (a *App) Failback(ctx context.Context, s admin.Selector, by, reason string) ([]admin.ReplicaStatus, error) { return nil, admin.ErrRefused }
func (a *App) Events(ctx context.Context, q admin.EventQuery) ([]admin.Event, error) { return nil, admin.ErrRefused }
func (a *App) Follow(ctx context.Context, from uint64) (<-chan admin.Event, error) { return nil, admin.ErrRefused }
func (a *App) Reload(ctx context.Context, dryRun bool) (admin.ReloadReport, error) { return admin.ReloadReport{}, a.ReloadNow(ctx) }
