package admin

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// maxReply bounds what a client reads: the status of 100,000 registries with
// eight replicas fits.
const maxReply = 512 << 20

// Client talks to a running server over its unix socket or, with a token, from
// another machine. Safe for concurrent use. What the server did not do comes back as
// a [StatusError].
type Client struct {
	where string // the path of the socket, or the URL of the server
	base  string // of URLs
	token string // "" over a socket
	http  *http.Client
}

// NewClient returns a client of the socket at path. Nothing is opened yet.
func NewClient(path string) *Client {
	var d net.Dialer
	return &Client{path, "http://portolan", "", &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", path) },
	}}}
}

// NewRemoteClient returns a client of the server at an https URL, to be let in with a
// token. roots are the authorities to trust; nil for those of the system. The token
// goes to that server and nowhere else: redirects are not followed.
func NewRemoteClient(server, token string, roots *x509.CertPool) (*Client, error) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return nil, fmt.Errorf("server %q: write it like https://ns1.example.io:9354", server)
	}
	if token == "" {
		return nil, fmt.Errorf("server %s: no token", server)
	}
	return &Client{server, "https://" + u.Host, token, &http.Client{
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// StatusError is a request that the server answered with something else than 200.
// It matches [ErrNotFound], [ErrInvalid] and [ErrRefused] by its code.
type StatusError struct {
	Code int
	Text string // the server's words
}

// Error implements error.
func (e *StatusError) Error() string { return e.Text }

// Is implements the interface that errors.Is looks for.
func (e *StatusError) Is(target error) bool {
	switch e.Code {
	case http.StatusNotFound:
		return target == ErrNotFound
	case http.StatusBadRequest:
		return target == ErrInvalid
	case http.StatusConflict:
		return target == ErrRefused
	}
	return false
}

// get asks for a T; q may be empty.
func get[T any](ctx context.Context, c *Client, path string, q url.Values) (T, error) {
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return exchange[T](ctx, c, http.MethodGet, path, nil)
}

func post[T any](ctx context.Context, c *Client, path string, body any) (T, error) {
	text, err := json.Marshal(body)
	if err != nil {
		var none T
		return none, err
	}
	return exchange[T](ctx, c, http.MethodPost, path, text)
}

func exchange[T any](ctx context.Context, c *Client, method, path string, body []byte) (T, error) {
	var v T
	resp, err := c.send(ctx, method, path, body)
	if err != nil {
		return v, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxReply)).Decode(&v); err != nil {
		return v, fmt.Errorf("the answer of the server at %s: %w: is this command as new as the server?", c.where, err)
	}
	return v, nil
}

// send returns a response with status 200, whose body the caller closes.
func (c *Client) send(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreached(err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	var f Failure
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxReply)).Decode(&f); err != nil || f.Error == "" {
		f.Error = fmt.Sprintf("the server at %s answers %s to %s %s: is it as new as this command?", c.where, resp.Status, method, path)
	}
	return nil, &StatusError{resp.StatusCode, f.Error}
}

// unreached says what to try when there is no answer at all.
func (c *Client) unreached(err error) error {
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err // without the URL, which says nothing over a socket
	}
	next := "is it running, and is that its admin.socket?"
	if c.token != "" {
		next = "is it running, is that its admin.tcp.listen, and does --ca hold who signed its certificate?"
	}
	if errors.Is(err, fs.ErrPermission) {
		next = "be its user or in its group, or use sudo"
	}
	return fmt.Errorf("ask the server at %s: %w: %s", c.where, err, next)
}
