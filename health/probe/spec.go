package probe

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"portolan.dev/health"
)

// Type names a protocol.
type Type string

// The protocols.
const (
	Registry Type = "registry" // the registry API: GET /v2/
	HTTP     Type = "http"     // one request, conditions on the response
	HTTPS    Type = "https"    // the same over TLS
	TCP      Type = "tcp"      // a connection that opens
	TLS      Type = "tls"      // a handshake that completes
	Exec     Type = "exec"     // a command that exits with 0
)

// Spec says what to probe and what to expect. Fields that Type does not use are
// ignored. A Spec is not changed after [New].
type Spec struct {
	Type Type
	// Address is dialed: an IP address or host name, and a port. A name
	// may not lead to a link-local or a cloud's metadata address. Exec only
	// passes it on.
	Address string
	TLS     bool // registry: speak TLS; implied by https and tls
	Verify  bool // the certificate must be valid for ServerName
	// Roots gives the authorities to verify with, for each handshake; nil, and a nil pool,
	// for those of the system. CAFile says where they are from.
	Roots  func() *x509.CertPool
	CAFile string
	// Certificate gives what to show to a target that asks for a certificate; nil for none.
	// CertificateFile says where it is from.
	Certificate     func() *tls.Certificate
	CertificateFile string
	// Sources are the addresses to dial from, at most one of each family; for a family
	// without one the system chooses.
	Sources []netip.Addr
	// ServerName is sent as SNI and must be in a verified certificate; empty
	// means the host of Address, which is not sent if it is an IP address.
	ServerName string
	Host       string // Host header; empty means ServerName, then Address
	Method     string // http, https: GET or HEAD; empty means GET
	// Path is the path and query of the request: empty means /v2/ for registry, else /.
	Path    string
	Headers [][2]string   // registry, http, https: name, value
	Status  []StatusRange // http, https: codes that pass; empty means 200 to 299
	// Body must be contained in the first 64 KiB of the response, BodyRegexp must
	// match them, and JSON hold for them; empty, nil: no condition. http, https.
	Body       string
	BodyRegexp *regexp.Regexp
	JSON       []JSONMatch
	Command    []string // exec: an absolute path and its arguments
	Env        []string // exec: NAME=value, more for the environment of the command
	// Manifest, as repository@sha256:hex, is pulled after a registry has answered.
	// With Blob, a blob it names is asked for too.
	Manifest string
	Blob     bool
	// Write is a repository in which an upload is opened and given up; empty for no
	// write probe.
	Write string
	// Login gives the user and password for a registry that wants them, and for http
	// and https; nil for none. They go to the probed address, and to TokenService, and
	// nowhere else. Credentials says where they are from.
	Login       func() Login
	Credentials string
	// TokenService is a token endpoint, as https://host/path, that may be asked although
	// it is not on the probed host. Empty means that only those on the probed
	// host are asked, and at the probed address.
	TokenService string
	// Names looks up host names; nil for one of this prober's own.
	Names *Names
}

// Login is who to be for a target.
type Login struct{ User, Password string }

// valid says what is wrong with it.
func (l Login) valid() error {
	if l.User == "" || strings.Contains(l.User, ":") {
		return errors.New("a user name is needed, and may not have a colon (RFC 7617 section 2)")
	}
	return nil
}

// basic is the value of Authorization for it (RFC 7617).
func (l Login) basic() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(l.User+":"+l.Password))
}

// StatusRange is an inclusive range of HTTP status codes.
type StatusRange struct{ Low, High int }

// JSONMatch is a condition on a JSON body: the value at Path, a dotted path with
// [n] for the elements of arrays, written as text, equals Equals.
type JSONMatch struct{ Path, Equals string }

// New returns the prober for s, or what is wrong with s. It touches no network.
func New(s Spec) (health.Prober, error) {
	p, err := build(&s)
	if err != nil {
		return nil, fmt.Errorf("%s probe of %s: %w", clean(string(s.Type)), clean(s.Address), err)
	}
	if s.Type != Exec && s.namesHosts() {
		p = noting{p}
	}
	return p, nil
}

// namesHosts says whether a probe looks up names.
func (s *Spec) namesHosts() bool {
	host, _, _ := net.SplitHostPort(s.Address)
	_, err := netip.ParseAddr(host)
	return err != nil || s.TokenService != ""
}

func build(s *Spec) (health.Prober, error) {
	if s.Type == Exec {
		return newExec(s)
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	switch s.Type {
	case Registry:
		return newRegistry(s)
	case HTTP, HTTPS:
		return newHTTP(s)
	case TCP:
		return &tcpProber{s.newDialer(s.Address, nil)}, nil
	case TLS:
		return &tlsProber{s.newDialer(s.Address, s.tlsClient(s.serverName()))}, nil
	default:
		return nil, errors.New("unknown type: use registry, http, https, tcp, tls or exec")
	}
}

// check looks at what all protocols over a network have in common.
func (s *Spec) check() error {
	host, port, err := net.SplitHostPort(s.Address)
	if err != nil || host == "" {
		return errors.New("the address must be host:port or [IPv6 address]:port")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("port %q: use 1 to 65535", clean(port))
	}
	if !validFieldValue(s.host()) || strings.ContainsAny(s.host(), "/ ?#@") {
		return fmt.Errorf("host %q cannot be in a Host header", clean(s.host()))
	}
	if p := s.path("/"); !strings.HasPrefix(p, "/") {
		return fmt.Errorf("path %q must begin with /", clean(p))
	} else if _, err := url.ParseRequestURI(p); err != nil {
		return fmt.Errorf("path %q: %w", clean(p), err)
	}
	if err := checkSources(s.Sources); err != nil {
		return err
	}
	for _, h := range s.Headers {
		switch {
		case !validFieldName(h[0]):
			return fmt.Errorf("header %q: no such name is possible", clean(h[0]))
		case !validFieldValue(h[1]):
			return fmt.Errorf("header %s: its value has control characters", h[0])
		case strings.EqualFold(h[0], "Host"):
			return errors.New("header Host: say `host` instead")
		}
	}
	return nil
}

// checkSources says what is wrong with addresses to dial from.
func checkSources(sources []netip.Addr) error {
	var families [2]bool
	for _, a := range sources {
		family := &families[0]
		if a.Is6() {
			family = &families[1]
		}
		if *family {
			return fmt.Errorf("source %v: there is another of its family: name one of each", a)
		}
		*family = true
	}
	return nil
}

// host returns what the Host header says.
func (s *Spec) host() string {
	switch {
	case s.Host != "":
		return s.Host
	case s.ServerName != "":
		return s.ServerName
	default:
		return s.Address
	}
}

func (s *Spec) path(otherwise string) string {
	if s.Path == "" {
		return otherwise
	}
	return s.Path
}

// dialer returns that of a protocol over HTTP.
func (s *Spec) dialer() *dialer {
	if s.Type == HTTPS || s.Type == Registry && s.TLS {
		return s.newDialer(s.Address, s.tlsClient(s.serverName(), "http/1.1"))
	}
	return s.newDialer(s.Address, nil)
}

// validFieldName says whether s can name a field of a header (RFC 9110 section 5.1).
func validFieldName(s string) bool {
	token, rest := cutToken(s)
	return token != "" && rest == ""
}

// validFieldValue says whether s can be the value of a field: no control characters
// but tab, so that none ends the field (RFC 9110 section 5.5).
func validFieldValue(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}
