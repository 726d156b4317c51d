package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"

	"portolan.dev/health"
)

// httpProber sends one request and holds conditions against the response.
type httpProber struct {
	spec    *Spec
	dialer  *dialer
	request *request
	paths   []jsonPath // those of spec.JSON
}

func newHTTP(s *Spec) (*httpProber, error) {
	method := s.Method
	switch method {
	case "":
		method = http.MethodGet
	case http.MethodGet:
	case http.MethodHead:
		if s.Body != "" || s.BodyRegexp != nil || len(s.JSON) > 0 {
			return nil, errors.New("a response to HEAD has no body to hold conditions against: use GET")
		}
	default:
		return nil, fmt.Errorf("method %q: use GET or HEAD", clean(method))
	}
	if s.Login != nil {
		if err := s.Login().valid(); err != nil {
			return nil, err
		}
	}
	p := &httpProber{spec: s, dialer: s.dialer()}
	for _, m := range s.JSON {
		path, err := parseJSONPath(m.Path)
		if err != nil {
			return nil, fmt.Errorf("json path %q: %w", clean(m.Path), err)
		}
		p.paths = append(p.paths, path)
	}
	var err error
	p.request, err = newRequest(context.Background(), method, s.host(), s.path("/"), s.Headers)
	return p, err
}

// Probe implements [health.Prober].
func (p *httpProber) Probe(ctx context.Context) health.Result {
	request, err := p.authorized(ctx)
	if err != nil {
		return failed(err)
	}
	r, err := p.dialer.exchange(ctx, request)
	if err != nil {
		return failed(err)
	}
	result := p.judge(r)
	result.Certificate = r.certificate
	return result
}

// authorized returns the request with what the login is now.
func (p *httpProber) authorized(ctx context.Context) (*request, error) {
	if p.spec.Login == nil {
		return p.request, nil
	}
	return newRequest(ctx, p.request.http.Method, p.spec.host(), p.spec.path("/"), p.spec.Headers,
		[][2]string{{"Authorization", p.spec.Login().basic()}})
}

func (p *httpProber) judge(r *response) health.Result {
	if !p.expected(r.status) {
		return p.spec.refusal("", r)
	}
	if unmet := p.unmet(r); unmet != "" {
		return fail(statusText(r.status) + ", but " + unmet)
	}
	return pass(statusText(r.status))
}

func (p *httpProber) expected(status int) bool {
	if len(p.spec.Status) == 0 {
		return status >= 200 && status <= 299
	}
	for _, s := range p.spec.Status {
		if s.Low <= status && status <= s.High {
			return true
		}
	}
	return false
}

// unmet returns the first condition on the body that does not hold, in words.
func (p *httpProber) unmet(r *response) string {
	where := "the body"
	if r.longer {
		where = fmt.Sprintf("the first %d KiB of the body", maxBody>>10)
	}
	if p.spec.Body != "" && !bytes.Contains(r.body, []byte(p.spec.Body)) {
		return where + " does not contain " + p.spec.Body
	}
	if p.spec.BodyRegexp != nil && !p.spec.BodyRegexp.Match(r.body) {
		return where + " does not match " + p.spec.BodyRegexp.String()
	}
	if len(p.paths) == 0 {
		return ""
	}
	if r.longer {
		return fmt.Sprintf("the body is longer than %d KiB: too long to read as JSON", maxBody>>10)
	}
	root, err := decodeJSON(r.body)
	if err != nil {
		return "the body is not JSON"
	}
	for i, path := range p.paths {
		m := p.spec.JSON[i]
		switch text, err := path.text(root); {
		case err != nil:
			return m.Path + ": " + err.Error()
		case text != m.Equals:
			return m.Path + " is " + text + ", not " + m.Equals
		}
	}
	return ""
}

// refusal is the result of a response whose status is none that passes, in the
// given step of a probe; "" for its only one.
func (s *Spec) refusal(step string, r *response) health.Result {
	detail := statusText(r.status)
	if step != "" {
		detail = step + ": " + detail
	}
	if r.status == http.StatusTooManyRequests {
		return neutral(detail)
	}
	if location := r.header.Get("Location"); location != "" && r.status >= 300 && r.status <= 399 {
		return fail(detail + " to " + location + ", not followed")
	}
	if s.Type == Registry {
		detail += registryError(r.body)
	}
	return fail(detail)
}
