package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"portolan.dev/health"
)

// registryProber asks what a registry client asks first, and as much more as its
// spec says. The API is that of the OCI distribution specification.
type registryProber struct {
	spec     *Spec
	dialer   *dialer
	ping     *request
	manifest reference // zero for none
	service  *service  // nil without Spec.TokenService
}

func newRegistry(s *Spec) (*registryProber, error) {
	p := &registryProber{spec: s, dialer: s.dialer()}
	var err error
	if s.Manifest != "" {
		if p.manifest, err = parseReference(s.Manifest); err != nil {
			return nil, fmt.Errorf("manifest %q: %w", clean(s.Manifest), err)
		}
	} else if s.Blob {
		return nil, errors.New("a blob is found by way of a manifest: say which")
	}
	if s.Write != "" && !repositoryName.MatchString(s.Write) {
		return nil, fmt.Errorf("%q is no repository name", clean(s.Write))
	}
	if s.Login != nil {
		if err := s.Login().valid(); err != nil {
			return nil, err
		}
	}
	if s.TokenService != "" {
		if p.service, err = s.newService(); err != nil {
			return nil, fmt.Errorf("token service %q: %w", clean(s.TokenService), err)
		}
	}
	p.ping, err = newRequest(context.Background(), http.MethodGet, s.host(), s.path("/v2/"), s.Headers)
	return p, err
}

// refusedError is a verdict that ends a probe.
type refusedError struct{ result health.Result }

func (e *refusedError) Error() string { return e.result.Detail }

// refuse returns the error for a response that step did not expect.
func (p *registryProber) refuse(step string, r *response) error {
	return &refusedError{p.spec.refusal(step, r)}
}

// Probe implements [health.Prober].
func (p *registryProber) Probe(ctx context.Context) health.Result {
	v := visit{registryProber: p}
	if p.spec.Login != nil {
		v.login = p.spec.Login()
	}
	detail, err := v.run(ctx)
	result := pass(detail)
	var refused *refusedError
	switch {
	case errors.As(err, &refused):
		result = refused.result
	case err != nil:
		result = failed(err)
	}
	result.Certificate = v.certificate
	return result
}

// visit is one run of a registryProber.
type visit struct {
	*registryProber
	login         Login      // the zero value for none
	challenge     *challenge // the first one met
	authorization string     // the header, and what it is for
	scope         string
	certificate   health.Certificate // that came with /v2/
}

// run goes through the steps and returns how far it came, in words.
func (v *visit) run(ctx context.Context) (string, error) {
	detail, err := v.greet(ctx)
	if err != nil {
		return "", err
	}
	if v.login.User != "" && v.challenge != nil {
		if err := v.logIn(ctx); err != nil {
			return "", err
		}
		detail = "200 OK as " + v.login.User
	}
	if v.spec.Manifest != "" {
		pulled, err := v.pull(ctx)
		if err != nil {
			return "", err
		}
		detail += ", " + pulled
	}
	if v.spec.Write != "" {
		written, err := v.upload(ctx)
		if err != nil {
			return "", err
		}
		detail += ", " + written
	}
	return detail, nil
}

// greet asks for /v2/ as a client does that knows nothing yet: 200, or 401 with a
// challenge that it can answer. Every other answer means to clients that this is
// no registry.
func (v *visit) greet(ctx context.Context) (string, error) {
	r, err := v.dialer.exchange(ctx, v.ping)
	if err != nil {
		return "", err
	}
	v.certificate = r.certificate
	switch {
	case r.longer:
		return "", fmt.Errorf("%s, but the body is longer than %d KiB", statusText(r.status), maxBody>>10)
	case r.status == http.StatusOK:
		return statusText(r.status), nil
	case r.status != http.StatusUnauthorized:
		return "", v.refuse("", r)
	}
	if v.challenge = findChallenge(r.header.Values("WWW-Authenticate")); v.challenge == nil {
		return "", errors.New("401 Unauthorized without a Basic or Bearer challenge in WWW-Authenticate")
	}
	return "401 with a " + v.challenge.scheme + " challenge", nil
}

// logIn asks for /v2/ again with the credentials of the spec.
func (v *visit) logIn(ctx context.Context) error {
	r, err := v.call(ctx, call{step: "login", method: http.MethodGet, target: v.spec.path("/v2/")})
	if err != nil {
		return err
	}
	if r.status != http.StatusOK {
		return v.refuse("login", r)
	}
	return nil
}

// call is a request of a visit.
type call struct {
	step   string // for the operator
	scope  string // of the token it needs; "" for that of nothing in particular
	method string
	host   string // Host header; "" for that of the spec
	target string
	accept string
}

// call sends c, authorized once the registry has said how it wants that.
func (v *visit) call(ctx context.Context, c call) (*response, error) {
	r, err := v.send(ctx, c)
	if err != nil || r.status != http.StatusUnauthorized || v.challenge != nil {
		return r, err
	}
	if v.challenge = findChallenge(r.header.Values("WWW-Authenticate")); v.challenge == nil {
		return r, nil
	}
	return v.send(ctx, c)
}

func (v *visit) send(ctx context.Context, c call) (*response, error) {
	if err := v.authorize(ctx, c.scope); err != nil {
		return nil, &stepError{c.step, err}
	}
	host, headers := c.host, [][2]string(nil)
	if host == "" {
		host = v.spec.host()
	}
	if v.authorization != "" {
		headers = append(headers, [2]string{"Authorization", v.authorization})
	}
	if c.accept != "" {
		headers = append(headers, [2]string{"Accept", c.accept})
	}
	req, err := newRequest(ctx, c.method, host, c.target, v.spec.Headers, headers)
	if err != nil {
		return nil, &stepError{c.step, err}
	}
	r, err := v.dialer.exchange(ctx, req)
	if err != nil {
		return nil, &stepError{c.step, err}
	}
	return r, nil
}

// registryError returns what a registry says of an error in its body, as
// ": CODE message"; "" if it says nothing that can be understood.
func registryError(body []byte) string {
	var report struct {
		Errors []struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"errors"`
	}
	if json.Unmarshal(body, &report) != nil || len(report.Errors) == 0 {
		return ""
	}
	return ": " + strings.TrimSpace(report.Errors[0].Code+" "+report.Errors[0].Message)
}
