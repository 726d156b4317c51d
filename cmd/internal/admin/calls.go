package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// Explain asks what a client gets and why; client and resolver are as in [Clients].
func (c *Client) Explain(ctx context.Context, registry, client, resolver string) (Explanation, error) {
	return get[Explanation](ctx, c, "/v1/explain", url.Values{"registry": {registry}, "client": {client}, "resolver": {resolver}})
}

// Status asks for the state of the server.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return get[Status](ctx, c, "/v1/status", nil)
}

// Endpoints asks for the names of one registry.
func (c *Client) Endpoints(ctx context.Context, registry string) (Endpoints, error) {
	return get[Endpoints](ctx, c, "/v1/endpoints", url.Values{"registry": {registry}})
}

// Drain takes replicas out of the global answers of new clients; r.Region must not
// be empty. It returns once that is durable.
func (c *Client) Drain(ctx context.Context, r DrainRequest) ([]DrainStatus, error) {
	return post[[]DrainStatus](ctx, c, "/v1/drain", r)
}

// Undrain puts replicas back; s.Region must not be empty. An empty by is filled in
// by the server.
func (c *Client) Undrain(ctx context.Context, s Selector, by, reason string) ([]DrainStatus, error) {
	return post[[]DrainStatus](ctx, c, "/v1/undrain", ReplicasRequest{s, by, reason})
}

// Drains asks how far the drains have come of the drained replicas among s.
func (c *Client) Drains(ctx context.Context, s Selector) ([]DrainStatus, error) {
	return get[[]DrainStatus](ctx, c, "/v1/drains", s.values())
}

// SetRouting switches global endpoint routing of one replica.
func (c *Client) SetRouting(ctx context.Context, r RoutingRequest) (ReplicaStatus, error) {
	return post[ReplicaStatus](ctx, c, "/v1/routing", r)
}

// Failback lets recovered replicas back; s.Region must not be empty.
func (c *Client) Failback(ctx context.Context, s Selector, by, reason string) ([]ReplicaStatus, error) {
	return post[[]ReplicaStatus](ctx, c, "/v1/failback", ReplicasRequest{s, by, reason})
}

// Reload loads configuration and location data again, or in a dry run says what
// that would change.
func (c *Client) Reload(ctx context.Context, r ReloadRequest) (ReloadReport, error) {
	return post[ReloadReport](ctx, c, "/v1/reload", r)
}

// Events asks for the events that match, oldest first.
func (c *Client) Events(ctx context.Context, q EventQuery) ([]Event, error) {
	return get[[]Event](ctx, c, "/v1/events", q.values())
}

// Follow calls each for the events that match and then for those that come, one
// at a time, until ctx ends, each fails or the server goes. It never returns nil.
func (c *Client) Follow(ctx context.Context, q EventQuery, each func(Event) error) error {
	v := q.values()
	v.Set("follow", "1")
	resp, err := c.send(ctx, http.MethodGet, "/v1/events?"+v.Encode(), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for d := json.NewDecoder(resp.Body); ; {
		var e Event
		if err := d.Decode(&e); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return fmt.Errorf("the server at %s has ended the stream: start again when it is back", c.where)
			}
			return fmt.Errorf("follow the server at %s: %w", c.where, err)
		}
		if err := each(e); err != nil {
			return err
		}
	}
}

// Upgrade has the server start the program on disk and give it its place.
func (c *Client) Upgrade(ctx context.Context, r UpgradeRequest) (UpgradeReport, error) {
	return post[UpgradeReport](ctx, c, "/v1/upgrade", r)
}
