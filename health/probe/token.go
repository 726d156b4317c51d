package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
)

// service is a token endpoint that the operator has named.
type service struct {
	url    *url.URL
	dialer *dialer
}

func (s *Spec) newService() (*service, error) {
	u, err := url.Parse(s.TokenService)
	if err != nil {
		return nil, err
	}
	port := u.Port()
	switch {
	case u.Hostname() == "" || u.User != nil:
		return nil, errors.New("write https://host/path")
	case u.Scheme == "http" && port == "":
		port = "80"
	case u.Scheme == "https" && port == "":
		port = "443"
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("write https://host/path")
	}
	address := net.JoinHostPort(u.Hostname(), port)
	if u.Scheme == "http" {
		return &service{u, s.newDialer(address, nil)}, nil
	}
	return &service{u, s.newDialer(address, s.tlsClient(u.Hostname(), "http/1.1"))}, nil
}

// is reports whether u, from a challenge, is the endpoint that was named: what the query
// says does not matter.
func (s *service) is(u *url.URL) bool {
	return strings.EqualFold(u.Scheme, s.url.Scheme) && strings.EqualFold(u.Host, s.url.Host) && path.Clean("/"+u.Path) == path.Clean("/"+s.url.Path)
}

// authorize makes sure that the Authorization header is one for scope. Before the
// registry has sent a challenge there is none.
func (v *visit) authorize(ctx context.Context, scope string) error {
	switch {
	case v.challenge == nil || v.authorization != "" && v.scope == scope:
		return nil
	case v.challenge.scheme == "basic":
		if v.login.User == "" {
			return errors.New("the registry wants credentials, and the probe has none")
		}
		v.authorization = v.login.basic()
	default:
		token, err := v.token(ctx, scope)
		if err != nil {
			return err
		}
		v.authorization = "Bearer " + token
	}
	v.scope = scope
	return nil
}

// token asks the token endpoint of the challenge for a token for scope, as the
// user of the spec or as nobody. The scope is what the probe needs and not what
// the challenge proposes: a target that has been taken over would else choose what
// the token it is then sent may do elsewhere.
func (v *visit) token(ctx context.Context, scope string) (string, error) {
	d, u, err := v.endpoint(v.challenge.params["realm"])
	if err != nil {
		return "", &stepError{"token", err}
	}
	query := u.Query()
	if service := v.challenge.params["service"]; service != "" {
		query.Set("service", service)
	}
	if scope != "" {
		query.Set("scope", scope)
	}
	u.RawQuery = query.Encode()
	var headers [][2]string
	if v.login.User != "" {
		headers = [][2]string{{"Authorization", v.login.basic()}}
	}
	req, err := newRequest(ctx, http.MethodGet, u.Host, u.RequestURI(), headers)
	if err != nil {
		return "", &stepError{"token", err}
	}
	r, err := d.exchange(ctx, req)
	switch {
	case err != nil:
		return "", &stepError{"token", err}
	case r.status != http.StatusOK:
		return "", v.refuse("token", r)
	}
	return readToken(r.body)
}

// readToken returns the token in the answer of a token endpoint.
func readToken(body []byte) (string, error) {
	var answer struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return "", errors.New("token: the answer is not JSON")
	}
	token := answer.Token
	if token == "" {
		token = answer.AccessToken
	}
	if token == "" || strings.ContainsAny(token, " \t") || !validFieldValue(token) {
		return "", errors.New("token: the answer has none that can be used")
	}
	return token, nil
}

// endpoint returns how to reach the token endpoint of a challenge. A realm on the
// probed host is asked at the probed address, the one the operator has named where
// that leads, and no other: the target chooses the realm, and would
// otherwise choose whom we connect to and who is sent the password. A realm without a host
// is one on the probed host (RFC 3986 section 5).
func (v *visit) endpoint(text string) (*dialer, *url.URL, error) {
	u, err := url.Parse(text)
	if err == nil && strings.TrimSpace(text) != "" && u.Host == "" && u.Scheme == "" && u.User == nil {
		u = v.spec.base().ResolveReference(u)
	}
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
		return nil, nil, fmt.Errorf("realm %q is no web address", text)
	}
	if v.service != nil && v.service.is(u) {
		return v.service.dialer, u, nil
	}
	if !v.spec.servedHere(u) {
		return nil, nil, fmt.Errorf("realm %s://%s%s is not on the probed host; if it is to be asked, write token_service: %[1]s://%[2]s%[3]s in the probe", u.Scheme, u.Host, u.EscapedPath())
	}
	return v.dialer, u, nil
}

// base is the address of /v2/ on the probed host.
func (s *Spec) base() *url.URL {
	u := &url.URL{Scheme: "http", Host: s.host(), Path: "/v2/"}
	if s.TLS {
		u.Scheme = "https"
	}
	return u
}

// servedHere says whether u is on the probed host, so that a request for it may be
// sent to the probed address. Where the probe speaks TLS, u must as well; the other
// way round the probe looks behind what takes TLS off.
func (s *Spec) servedHere(u *url.URL) bool {
	if u.User != nil || s.TLS && u.Scheme != "https" {
		return false
	}
	for _, name := range []string{s.host(), s.ServerName, s.Address} {
		host, port, err := net.SplitHostPort(name)
		if err != nil {
			host, port = name, ""
		}
		if host != "" && strings.EqualFold(u.Hostname(), strings.Trim(host, "[]")) && (u.Port() == "" || u.Port() == port) {
			return true
		}
	}
	return false
}
