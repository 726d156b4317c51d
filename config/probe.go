package config

import (
	"net/netip"
	"time"
)

// The probe types.
const (
	ProbeRegistry = "registry" // the registry API, GET /v2/
	ProbeHTTP     = "http"
	ProbeHTTPS    = "https"
	ProbeTCP      = "tcp" // a connection that opens
	ProbeTLS      = "tls" // a handshake that completes
	ProbeExec     = "exec"
)

// Probe is a way to find out whether a replica works. Fields that the type does
// not know are zero: the decoder refuses their keys.
type Probe struct {
	Name, Type string
	// Port is the port dialed at each address of a replica; 0 for exec, and for tcp where
	// every replica says what to dial.
	Port int
	Path string // registry, http, https
	// Host is the Host header, and ServerName the name for SNI and for the
	// certificate; "" means the global name of the registry probed.
	Host, ServerName string
	// TLS is set for registry only, where both are usual; other types say it
	// by their name.
	TLS *bool
	// Verify says whether the certificate must be valid: set for registry over
	// TLS, https and tls, else nil.
	Verify  *bool
	CAFile  string // PEM bundle instead of the roots of the system; "" for those
	Method  string // http, https: GET or HEAD
	Headers []Header
	// Status has the codes that pass: http, https. Never empty for these.
	Status     []StatusRange
	Body       string // must be contained; "" for no condition
	BodyRegexp string // must match (RE2, known to compile); "" for no condition
	JSON       []JSONMatch
	Command    []string // exec: absolute path and arguments
	// Manifest is pulled by digest after /v2/: repository@sha256:hex. With
	// Blob, one blob it names is asked for too. registry only.
	Manifest string
	Blob     bool
	// Write is the repository in which an upload is opened and given up;
	// "" for no write probe. registry only.
	Write string
	// Credentials is the path of a file with one line, user:password; "" for none.
	Credentials string
	// TokenService is the URL of a token endpoint that is not on the probed host; "" for
	// none. registry only.
	TokenService string
	// ClientCertificate and ClientKey are the paths of PEM files to show to a target that
	// asks for a certificate; both or neither are "". registry over TLS, https, tls.
	ClientCertificate, ClientKey string
	// Source has the addresses to probe from, at most one of each family.
	Source            []netip.Addr
	Interval, Timeout time.Duration // start to start; 0 < Timeout <= Interval
	Fall, Rise        int           // results in a row to go down, and to be well again
	Pos               Pos
}

// Header is one field of an HTTP request, in the order of the file.
type Header struct{ Name, Value string }

// StatusRange is an inclusive range of HTTP status codes.
type StatusRange struct{ First, Last int }

// JSONMatch is a condition on a JSON body: the value at Path, a dotted path with
// [n] for elements, written as text, equals Equals.
type JSONMatch struct{ Path, Equals string }
