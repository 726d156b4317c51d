package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const (
	// timeout bounds one attempt, from the name of the host to the end of the body.
	timeout = 10 * time.Second
	// maxHeader and maxBody bound what is read of a response, in bytes. The body is
	// read only so that the connection can be used again.
	maxHeader = 64 << 10
	maxBody   = 64 << 10
	// maxReason bounds in bytes what is logged of an error, which a receiver can
	// have a part in.
	maxReason = 300
)

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// newClient returns a client for one target. HTTP/1.1 is enough for one request
// at a time, and one idle connection too.
func newClient(t *Target, dial dialFunc) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  nil, // see the package documentation
			DialContext:            dial,
			TLSClientConfig:        &tls.Config{RootCAs: t.roots, MinVersion: tls.VersionTLS12},
			MaxIdleConns:           1,
			IdleConnTimeout:        30 * time.Second,
			MaxResponseHeaderBytes: maxHeader,
			DisableCompression:     true,
		},
		// A receiver must not be able to have events sent elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// attempt is what came of one request.
type attempt struct {
	outcome    Outcome       // Delivered, Retried or Refused
	err        error         // nil if delivered
	retryAfter time.Duration // what the receiver asks for; 0 for nothing
}

// post makes one attempt at a delivery.
func post(ctx context.Context, client *http.Client, t *Target, d *delivery, agent string, now time.Time) attempt {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, bytes.NewReader(d.body))
	if err != nil {
		return attempt{outcome: Refused, err: reason(err)}
	}
	stamp := strconv.FormatInt(now.Unix(), 10)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", agent)
	req.Header.Set("Webhook-Id", d.id)
	req.Header.Set("Webhook-Timestamp", stamp)
	if s := t.signature(d.id, stamp, d.body); s != "" {
		req.Header.Set("Webhook-Signature", s)
	}
	resp, err := client.Do(req)
	if err != nil {
		return attempt{outcome: Retried, err: reason(err)}
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxBody) // the status has said it all
	return judge(resp)
}

// judge says what a response means. What is about this message alone is final: to
// try it again would hold up those behind it. Everything else may be mended while
// we try, be it a wrong path or a redirect to a page that announces maintenance.
func judge(resp *http.Response) attempt {
	code := resp.StatusCode
	err := fmt.Errorf("answered %d %s", code, http.StatusText(code))
	switch {
	case code >= 200 && code <= 299:
		return attempt{outcome: Delivered}
	case code >= 300 && code <= 399:
		err = fmt.Errorf("%w, which is not followed: give the URL it leads to", err)
	}
	switch code {
	case http.StatusBadRequest, http.StatusGone, http.StatusRequestEntityTooLarge,
		http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return attempt{outcome: Refused, err: err}
	}
	a := attempt{outcome: Retried, err: err}
	if n, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 16); err == nil {
		a.retryAfter = time.Duration(n) * time.Second
	}
	return a
}

// reason is an error of a request without its URL, bounded, and in words for the
// most frequent one.
func reason(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %v", timeout)
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if text := err.Error(); len(text) > maxReason {
		return errors.New(text[:maxReason] + "...")
	}
	return err
}
