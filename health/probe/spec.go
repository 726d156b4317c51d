package probe

import (
	"crypto/x509"
	"errors"
	"regexp"

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
	// Address is what is dialed: an IP address or host name, and a port.
	// Exec only passes it on.
	Address string
	TLS     bool           // registry: speak TLS; implied by https and tls
	Verify  bool           // the certificate must be valid for ServerName
	CA      *x509.CertPool // roots to verify with; nil for those of the system
	// ServerName is sent as SNI and must be in a verified certificate; empty
	// means the host of Address, which is not sent if it is an IP address.
	ServerName string
	Host       string // Host header; empty means ServerName, then Address
	Method     string // http, https: empty means GET
	// Path is the path and query of the request: empty means /v2/ for registry, else /.
	Path    string
	Headers [][2]string   // name, value, in the order they are sent
	Status  []StatusRange // http, https: codes that pass; empty means 200 to 299
	// Body must be contained in the first 64 KiB of the response, BodyRegexp must
	// match them, and JSON hold for them; empty, nil: no condition.
	Body       string
	BodyRegexp *regexp.Regexp
	JSON       []JSONMatch
	Command    []string // exec: an absolute path and its arguments
	Env        []string // exec: NAME=value, all the command gets besides PORTOLAN_*
	// Manifest, as repository@sha256:hex, is pulled after a registry has answered.
	// With Blob, a blob it names is asked for too.
	Manifest string
	Blob     bool
	// Write is a repository in which an upload is opened and given up; empty for no
	// write probe.
	Write string
	// User and Password are for a registry that wants them; empty for neither.
	User, Password string
}

// StatusRange is an inclusive range of HTTP status codes.
type StatusRange struct{ Low, High int }

// JSONMatch is a condition on a JSON body: the value at Path, a dotted path with
// [n] for the elements of arrays, written as text, equals Equals.
type JSONMatch struct{ Path, Equals string }

// New returns the prober for s, or what is wrong with s.
func New(s Spec) (health.Prober, error) { return nil, errors.New(string(s.Type)) }

// Key returns the identity of s: two specs with the same key look at the same
// target in the same way. It holds no secret in clear.
func (s Spec) Key() string { return "" }
