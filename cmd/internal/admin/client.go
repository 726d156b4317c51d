package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
)

// maxReply bounds what a client reads: the status of 100,000 registries with
// eight replicas fits.
const maxReply = 512 << 20

// Client talks to a running server over its unix socket. Safe for concurrent use.
type Client struct {
	socket string
	http   *http.Client
}

// NewClient returns a client of the socket at path. Nothing is opened yet.
func NewClient(path string) *Client {
	var d net.Dialer
	return &Client{path, &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", path) },
	}}}
}

// Explain asks what a client gets and why; client and resolver are as in [Clients].
func (c *Client) Explain(ctx context.Context, registry, client, resolver string) (Explanation, error) {
	var e Explanation
	q := url.Values{"registry": {registry}, "client": {client}, "resolver": {resolver}}
	return e, c.get(ctx, "/v1/explain?"+q.Encode(), &e)
}

// Status asks for the state of the server.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var st Status
	return st, c.get(ctx, "/v1/status", &st)
}

func (c *Client) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://portolan"+path, nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("ask the server at %s: %w: is it running, and is that its admin.socket?", c.socket, err)
	}
	defer resp.Body.Close()
	body := json.NewDecoder(io.LimitReader(resp.Body, maxReply))
	if resp.StatusCode != http.StatusOK {
		var f Failure
		if err := body.Decode(&f); err != nil || f.Error == "" {
			return fmt.Errorf("the server at %s answers %s", c.socket, resp.Status)
		}
		return errors.New(f.Error)
	}
	return body.Decode(into)
}
