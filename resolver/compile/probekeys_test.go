package compile_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"portolan.dev/config"
	"portolan.dev/health"
	"portolan.dev/health/probe"
)

// sample is a use of a key of a probe whose effect can be seen: beside the given other
// keys, it makes the probe do something else, or find something else.
type sample struct {
	key, value string
	beside     string // other keys, as "a: b, c: d"; PORT and the like are filled in
	types      []string
}

func probeSamples() []sample {
	plain, encrypted := []string{"http"}, []string{"https"}
	web, overTLS := []string{"http", "https"}, []string{"registry", "https", "tls"}
	all := []string{"registry", "http", "https", "tcp", "tls", "exec"}
	return []sample{
		{"interval", "7s", "", all},
		{"timeout", "1s", "", all},
		{"fall", "7", "", all},
		{"rise", "7", "", all},
		{"port", "PORT", "-port", []string{"registry", "http", "https", "tcp", "tls"}},
		{"host", "h.test", "", []string{"registry", "http", "https"}},
		{"server_name", "s.test", "", overTLS},
		{"tls", "false", "", []string{"registry"}},
		{"verify", "true", "", overTLS},
		{"ca_file", "CA", "verify: true", overTLS},
		{"client_certificate", "OWN, client_key: KEY", "", overTLS},
		{"client_key", "KEY, client_certificate: OWN", "", overTLS},
		{"source", "127.0.0.9", "", []string{"registry", "http", "https", "tcp", "tls"}},
		{"command", "[/bin/false]", "-command", []string{"exec"}},
		{"path", "/other", "", []string{"registry", "http", "https"}},
		{"method", "HEAD", "", web},
		{"headers", "{User-Agent: other}", "", []string{"registry", "http", "https"}},
		{"headers", "{X-Probe: a}", "", []string{"registry", "http", "https"}},
		{"headers", "{Accept-Encoding: gzip}", "", plain},
		{"status", "[204]", "", web},
		{"body", "nowhere", "", web},
		{"body_regexp", "no.here", "", web},
		{"json", "{status: ill}", "", web},
		{"json", "{status: ill}", "path: /gzip", encrypted},
		{"manifest", "probes/canary@MANIFEST", "", []string{"registry"}},
		{"blob", "true", "manifest: probes/canary@MANIFEST", []string{"registry"}},
		{"write", "probes/canary", "", []string{"registry"}},
		{"credentials", "LOGIN", "path: /v2/basic", []string{"registry", "http", "https"}},
		{"credentials", "LOGIN", "path: /v2/near", []string{"registry"}},
		{"token_service", "http://FAR/token", "path: /v2/far, credentials: LOGIN", []string{"registry"}},
	}
}

// Every key that a probe of some type knows has an effect: none is taken and forgotten.
func TestEveryKeyOfAProbeHasAnEffect(t *testing.T) {
	s := newProbed(t)
	tried := make(map[string]bool)
	for _, sample := range probeSamples() {
		for _, typ := range sample.types {
			tried[typ+" "+sample.key] = true
			without := s.look(t, typ, sample.beside)
			with := s.look(t, typ, strings.Trim(sample.beside+", "+sample.key+": "+sample.value, ", "))
			if with == without {
				t.Errorf("%s: %s beside %q makes no difference:\n%s", typ, sample.key, sample.beside, with)
			}
		}
	}
	for _, k := range config.Reference() {
		key, ok := strings.CutPrefix(k.Path, "probes.<probe>.")
		if !ok || key == "type" {
			continue
		}
		only := k.Only
		if only == nil {
			only = []string{"registry", "http", "https", "tcp", "tls", "exec"}
		}
		for _, typ := range only {
			if !tried[typ+" "+key] {
				t.Errorf("no sample of %s for %s: add one", key, typ)
			}
		}
	}
}

// probedHost is a host that probes are pointed at, and writes down what it sees.
type probedHost struct {
	kept     keptFiles
	manifest string
	far      *httptest.Server // a token service elsewhere
	plain    *httptest.Server
	secure   *httptest.Server

	mu   sync.Mutex
	seen []string
}

func newProbed(t *testing.T) *probedHost {
	t.Helper()
	s := &probedHost{kept: keptFiles{
		pools:  make(map[string]*x509.CertPool),
		logins: map[string]probe.Login{"LOGIN": {User: "u", Password: "p"}},
		pairs:  make(map[string]*tls.Certificate),
	}}
	s.far = httptest.NewServer(http.HandlerFunc(s.token))
	s.plain = httptest.NewUnstartedServer(s)
	s.secure = httptest.NewUnstartedServer(s)
	theirs, pool := ownCertificate(t, "a.example.io")
	own, _ := ownCertificate(t, "probe.test")
	s.kept.pools["CA"], s.kept.pairs["OWN"] = pool, own
	s.secure.TLS = &tls.Config{
		Certificates: []tls.Certificate{*theirs}, ClientAuth: tls.RequestClientCert,
		MaxVersion: tls.VersionTLS12, // its handshake does not end before the server has seen all of it
		VerifyConnection: func(c tls.ConnectionState) error {
			s.note("SNI %s, %d certificates", c.ServerName, len(c.PeerCertificates))
			return nil
		},
	}
	for _, server := range []*httptest.Server{s.plain, s.secure} {
		server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
		server.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
			host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			s.note("from %s", host)
			return ctx
		}
	}
	s.plain.Start()
	s.secure.StartTLS()
	t.Cleanup(func() { s.far.Close(); s.plain.Close(); s.secure.Close() })
	s.manifest = fmt.Sprintf(`{"config":{"digest":"%s"}}`, digest("blob"))
	return s
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// ownCertificate is a certificate of its own making, for a name.
func ownCertificate(t *testing.T, name string) (*tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func (s *probedHost) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, fmt.Sprintf(format, args...))
}

// await waits until something is written down that begins so.
func (s *probedHost) await(t *testing.T, prefix string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		s.mu.Lock()
		found := slices.ContainsFunc(s.seen, func(line string) bool { return strings.HasPrefix(line, prefix) })
		s.mu.Unlock()
		if found {
			return
		}
	}
	t.Errorf("the host has not seen %q", prefix)
}

func (s *probedHost) token(w http.ResponseWriter, r *http.Request) {
	s.note("token for %s", r.Header.Get("Authorization"))
	_, _ = w.Write([]byte(`{"token":"t"}`))
}

// ServeHTTP is a registry, and more.
func (s *probedHost) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.note("%s %s %s %v", r.Method, r.URL, r.Host, r.Header)
	challenge := ""
	switch r.URL.Path {
	case "/token":
		s.token(w, r)
		return
	case "/gzip":
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(gzipped(`{"status":"well"}`))
		return
	case "/v2/basic":
		challenge = `Basic realm="x"`
	case "/v2/near":
		challenge = `Bearer realm="/token"`
	case "/v2/far":
		challenge = fmt.Sprintf(`Bearer realm="%s/token?x=y",service="s"`, s.far.URL)
	case "/v2/probes/canary/manifests/" + digest(s.manifest):
		_, _ = w.Write([]byte(s.manifest))
		return
	case "/v2/probes/canary/blobs/" + digest("blob"):
		_, _ = w.Write([]byte("blob"))
		return
	case "/v2/probes/canary/blobs/uploads/":
		w.Header().Set("Location", "/v2/probes/canary/blobs/uploads/1")
		w.WriteHeader(http.StatusAccepted)
		return
	}
	if challenge != "" && r.Header.Get("Authorization") == "" {
		w.Header().Set("WWW-Authenticate", challenge)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	_, _ = w.Write([]byte(`{"status":"well"}`))
}

// look probes once with the given keys, and writes down all that is to be seen of it.
func (s *probedHost) look(t *testing.T, typ, keys string) string {
	t.Helper()
	server := s.secure
	if typ == "http" || typ == "tcp" {
		server = s.plain
	}
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	given := []string{"type: " + typ}
	if typ != "exec" && !strings.Contains(keys, "port:") && keys != "-port" {
		given = append(given, "port: "+port)
	}
	if typ == "exec" && !strings.Contains(keys, "command:") {
		given = append(given, "command: [/bin/true]")
	}
	if slices.Contains([]string{"registry", "https", "tls"}, typ) && !strings.Contains(keys, "verify:") && !strings.Contains(keys, "tls: false") {
		given = append(given, "verify: false")
	}
	for part := range strings.SplitSeq(keys, ", ") {
		if part != "" && part[0] != '-' {
			given = append(given, part)
		}
	}
	replaced := strings.NewReplacer("PORT", port, "MANIFEST", digest(s.manifest), "FAR", s.far.Listener.Addr().String())
	text := fmt.Sprintf(`
zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}}
probes: {p: {%s}}
registries: {a: {replicas: {westus: {addresses: [127.0.0.1], probe: p%s}}}}
`, replaced.Replace(strings.Join(given, ", ")), map[bool]string{true: `, probe_target: "127.0.0.1:9"`}[keys == "-port" && typ == "tcp"])
	r := run{kept: s.kept}.must(t, text)
	check := r.Endpoints[0].Checks[0]
	s.mu.Lock()
	s.seen = nil
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	result := check.Prober.Probe(ctx)
	if result.Verdict == health.Pass && typ != "exec" {
		s.await(t, "from ") // the probe may be over before the host has looked
	}
	s.plain.CloseClientConnections()
	s.secure.CloseClientConnections()
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintln(check.Interval, check.Timeout, check.Fall, check.Rise, result.Verdict, result.Detail) + strings.Join(s.seen, "\n")
}

func gzipped(text string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(text))
	_ = z.Close()
	return b.Bytes()
}
