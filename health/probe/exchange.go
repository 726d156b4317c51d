package probe

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"portolan.dev/health"
)

// The bounds on what a target may send. A registry answers /v2/ with a few hundred
// bytes; a manifest or a health report of a cluster has some thousand.
const (
	maxHeader = 32 << 10 // status line and fields, those of 1xx responses included
	maxBody   = 64 << 10 // after the transfer coding is taken off
)

// userAgent is how probes appear in the logs of a target.
const userAgent = "portolan-probe"

// request is one that is ready to be sent, any number of times.
type request struct {
	http *http.Request
	wire []byte
}

// newRequest makes a request to the server named by host for target, a path with
// an optional query. Fields of a later layer take the place of those of the same name: what
// the operator names that of ours, and what a step needs that of both. Of some only one is
// ever sent.
func newRequest(ctx context.Context, method, host, target string, layers ...[][2]string) (*request, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+host+target, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Close = true
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Accept-Encoding", "identity")
	for _, layer := range layers {
		for _, h := range layer {
			req.Header.Del(h[0])
		}
		for _, h := range layer {
			req.Header.Add(h[0], h[1])
		}
	}
	var wire bytes.Buffer
	if err := req.Write(&wire); err != nil {
		return nil, err
	}
	return &request{http: req, wire: wire.Bytes()}, nil
}

// response is what came back.
type response struct {
	status int
	header http.Header
	body   []byte // its first maxBody bytes
	longer bool   // the body has more than that
	// certificate is what came with it over TLS.
	certificate health.Certificate
}

// exchange sends r over a connection of its own and reads the response. It goes
// nowhere but to the address of d: a redirect is a response like any other.
func (d *dialer) exchange(ctx context.Context, r *request) (*response, error) {
	s, err := d.open(ctx)
	if err != nil {
		return nil, err
	}
	defer s.close()
	if _, err := s.Write(r.wire); err != nil {
		return nil, &stepError{"request", err}
	}
	answer, err := readResponse(s, r.http)
	if err != nil {
		return nil, &stepError{"response", err}
	}
	answer.certificate = s.certificate()
	return answer, nil
}

// readResponse reads the final response to req.
func readResponse(from io.Reader, req *http.Request) (*response, error) {
	// The limit counts what is read, not what is used: one buffer more at most.
	faults := &faultReader{from: from}
	limited := &io.LimitedReader{R: faults, N: maxHeader}
	buffered := bufio.NewReader(limited)
	for {
		// The body is not closed: that would read it to its end, which a hostile
		// target never sends. Closing the connection frees all there is.
		r, err := http.ReadResponse(buffered, req) //nolint:bodyclose // see above
		switch {
		case err != nil && limited.N <= 0:
			return nil, fmt.Errorf("header is longer than %d KiB", maxHeader>>10)
		case err != nil:
			return nil, faults.cause(err)
		case r.StatusCode >= 100 && r.StatusCode < 200 && r.StatusCode != http.StatusSwitchingProtocols:
			continue
		}
		limited.N += 2 * maxBody // chunk sizes and trailers come on top of the body
		body, err := readBody(r)
		longer := len(body) > maxBody
		if err != nil && !longer {
			return nil, &stepError{"body", faults.cause(err)}
		}
		return &response{status: r.StatusCode, header: r.Header, body: body[:min(len(body), maxBody)], longer: longer}, nil
	}
}

// readBody reads the start of a body, and one byte more than [maxBody] if it is longer. A
// target may compress it although it was not asked to (RFC 9110 section 12.5.3 only lets it
// refuse): what is looked at is what was compressed.
func readBody(r *http.Response) ([]byte, error) {
	var from io.Reader = r.Body // as it is, if it is coded in a way that nobody knows
	switch coding := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding"))); {
	case r.Request != nil && r.Request.Method == http.MethodHead || r.ContentLength == 0:
	case coding == "gzip" || coding == "x-gzip":
		z, err := gzip.NewReader(r.Body)
		if errors.Is(err, io.EOF) { // nothing at all: no body
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		from = z
	}
	return io.ReadAll(io.LimitReader(from, maxBody+1))
}

// faultReader remembers why reading ended: what was half read then looks malformed
// to its parser, although it was only late.
type faultReader struct {
	from io.Reader
	err  error
}

// Read implements [io.Reader].
func (f *faultReader) Read(p []byte) (int, error) {
	n, err := f.from.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		f.err = err
	}
	return n, err
}

// cause returns what is behind the error of a parser.
func (f *faultReader) cause(err error) error {
	if f.err != nil {
		return f.err
	}
	return err
}
