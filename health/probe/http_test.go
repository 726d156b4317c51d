package probe

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"portolan.dev/health"
)

const harborHealth = `{"status":"unhealthy","components":[{"name":"core","status":"healthy"},{"name":"database","status":"unhealthy","error":"gone"}]}`

func TestHTTPConditions(t *testing.T) {
	tests := []struct {
		name    string
		code    int
		body    string
		spec    Spec
		verdict health.Verdict
		detail  string
	}{
		{"200", 200, "", Spec{}, health.Pass, "200 OK"},
		{"204", 204, "", Spec{}, health.Pass, "204 No Content"},
		{"300", 300, "", Spec{}, health.Fail, "300 Multiple Choices"},
		{"404", 404, "", Spec{}, health.Fail, "404 Not Found"},
		{"503", 503, "", Spec{}, health.Fail, "503 Service Unavailable"},
		{"429 is neutral", 429, "", Spec{}, health.Neutral, "429 Too Many Requests"},
		{"429 in status", 429, "", Spec{Status: []StatusRange{{429, 429}}}, health.Pass, "429"},
		{"ranges", 404, "", Spec{Status: []StatusRange{{200, 200}, {400, 404}}}, health.Pass, "404"},
		{"outside the ranges", 200, "", Spec{Status: []StatusRange{{204, 204}}}, health.Fail, "200 OK"},
		{"HEAD", 200, "body", Spec{Method: "HEAD"}, health.Pass, "200 OK"},
		{"contains", 200, "all is well", Spec{Body: "is well"}, health.Pass, "200 OK"},
		{"does not contain", 200, "all is bad", Spec{Body: "is well"}, health.Fail, "200 OK, but the body does not contain is well"},
		{"beyond 64 KiB", 200, strings.Repeat("x", maxBody) + "is well", Spec{Body: "is well"}, health.Fail, "the first 64 KiB"},
		{"at 64 KiB", 200, strings.Repeat("x", maxBody-7) + "is well", Spec{Body: "is well"}, health.Pass, "200 OK"},
		{"matches", 200, "load 17", Spec{BodyRegexp: regexp.MustCompile(`^load \d+$`)}, health.Pass, "200 OK"},
		{"does not match", 200, "load x", Spec{BodyRegexp: regexp.MustCompile(`^load \d+$`)}, health.Fail, `does not match ^load \d+$`},
		{"JSON", 200, harborHealth, Spec{JSON: []JSONMatch{{"components[0].status", "healthy"}}}, health.Pass, "200 OK"},
		{"sick with 200", 200, harborHealth, Spec{JSON: []JSONMatch{{"status", "healthy"}}}, health.Fail, "status is unhealthy, not healthy"},
		{"second of two", 200, harborHealth, Spec{JSON: []JSONMatch{{"components[0].status", "healthy"}, {"components[1].status", "healthy"}}}, health.Fail, "components[1].status is unhealthy"},
		{"not there", 200, harborHealth, Spec{JSON: []JSONMatch{{"components[2].status", "healthy"}}}, health.Fail, "components[2].status: is not there"},
		{"not JSON", 200, "<html>", Spec{JSON: []JSONMatch{{"status", "healthy"}}}, health.Fail, "the body is not JSON"},
		{"JSON and more", 200, `{"status":"healthy"} x`, Spec{JSON: []JSONMatch{{"status", "healthy"}}}, health.Fail, "the body is not JSON"},
		{"too long for JSON", 200, `{"status":"healthy","x":"` + strings.Repeat("x", maxBody) + `"}`, Spec{JSON: []JSONMatch{{"status", "healthy"}}}, health.Fail, "longer than 64 KiB"},
		{"what it says is cleaned", 200, `{"status":"\u001b[31m\n` + strings.Repeat("y", 500) + `"}`, Spec{JSON: []JSONMatch{{"status", "healthy"}}}, health.Fail, "status is ?[31m yyy"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.spec.Type, tt.spec.Address = HTTP, web(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.code)
				_, _ = io.WriteString(w, tt.body)
			})
			want(t, try(t, tt.spec), tt.verdict, tt.detail)
		})
	}
}

func TestJSONPath(t *testing.T) {
	root, err := decodeJSON([]byte(`{"a":{"b":[1,[true,null],{"c":"x"}]},"n":1.50e3,"":"e","s p":"q","o":{}}`))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ path, want string }{
		{"a.b[0]", "1"},
		{"a.b[1][0]", "true"},
		{"a.b[1][1]", "null"},
		{"a.b[2].c", "x"},
		{"n", "1.50e3"},
		{"s p", "q"},
		{"a.b[3]", "! is not there"},
		{"a.x", "! is not there"},
		{"n.x", "! is not there"},
		{"a[0]", "! is not there"},
		{"a.b.c", "! is not there"},
		{"[0]", "! is not there"},
		{"o", "! is an object or an array, not a value"},
		{"a.b", "! is an object or an array, not a value"},
		{"", "is empty"},
		{".", "has an empty name"},
		{"a..b", "has an empty name"},
		{"a.", "has an empty name"},
		{"a.[0]", "has an empty name"},
		{"a[", `"[" is no index`},
		{"a[]", `"[]" is no index`},
		{"a[-1]", `"[-1]" is no index`},
		{"a[*]", `"[*]" is no index`},
		{"a[99999999999999999999]", `is no index`},
		{"a[65537]", `is no index`},
		{"a[0]b", `"b" follows an index`},
		{"a]", "has a ] without its ["},
	}
	for _, tt := range tests {
		path, err := parseJSONPath(tt.path)
		if err != nil {
			if strings.HasPrefix(tt.want, "!") || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%q: %v, want %s", tt.path, err, tt.want)
			}
			continue
		}
		got, err := path.text(root)
		if err != nil {
			got = "! " + err.Error()
		}
		if got != tt.want {
			t.Errorf("%q leads to %s, want %s", tt.path, got, tt.want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	const a = "192.0.2.1:443"
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	digest := "@sha256:" + strings.Repeat("0", 64)
	tests := []struct {
		spec Spec
		want string
	}{
		{Spec{Type: "icmp", Address: a}, "unknown type"},
		{Spec{Type: HTTP}, "must be host:port"},
		{Spec{Type: TCP, Address: "192.0.2.1"}, "must be host:port"},
		{Spec{Type: TCP, Address: ":443"}, "must be host:port"},
		{Spec{Type: TLS, Address: "2001:db8::1:443"}, "must be host:port"},
		{Spec{Type: TCP, Address: "192.0.2.1:0"}, "port"},
		{Spec{Type: TCP, Address: "192.0.2.1:65536"}, "port"},
		{Spec{Type: TCP, Address: "192.0.2.1:https"}, "port"},
		{Spec{Type: HTTP, Address: a, Method: "POST"}, "use GET or HEAD"},
		{Spec{Type: HTTP, Address: a, Method: "HEAD", Body: "x"}, "use GET"},
		{Spec{Type: HTTP, Address: a, Path: "v2"}, "must begin with /"},
		{Spec{Type: HTTP, Address: a, Path: "/a b\r\nX: y"}, "path"},
		{Spec{Type: HTTP, Address: a, Host: "a\r\nX: y"}, "Host header"},
		{Spec{Type: HTTP, Address: a, Host: "a/b"}, "Host header"},
		{Spec{Type: HTTP, Address: a, Headers: [][2]string{{"X Y", "z"}}}, "no such name"},
		{Spec{Type: HTTP, Address: a, Headers: [][2]string{{"", "z"}}}, "no such name"},
		{Spec{Type: HTTP, Address: a, Headers: [][2]string{{"X", "a\r\nY: b"}}}, "control characters"},
		{Spec{Type: HTTP, Address: a, Headers: [][2]string{{"host", "x"}}}, "say `host`"},
		{Spec{Type: HTTP, Address: a, JSON: []JSONMatch{{"a..b", "x"}}}, "empty name"},
		{Spec{Type: Registry, Address: a, Manifest: "repo:latest"}, "write repository@sha256"},
		{Spec{Type: Registry, Address: a, Manifest: "Repo" + digest}, "write repository@sha256"},
		{Spec{Type: Registry, Address: a, Manifest: "../x" + digest}, "write repository@sha256"},
		{Spec{Type: Registry, Address: a, Blob: true}, "by way of a manifest"},
		{Spec{Type: Registry, Address: a, Write: "a/../b"}, "no repository name"},
		{Spec{Type: Registry, Address: a, Login: as("a:b", "")}, "colon"},
		{Spec{Type: Registry, Address: a, Login: as("", "b")}, "user name"},
		{Spec{Type: Registry, Address: a, TokenService: "ftp://x/"}, "https://host/path"},
		{Spec{Type: Registry, Address: a, TokenService: "https://u:p@x/"}, "https://host/path"},
		{Spec{Type: Exec}, "absolute path"},
		{Spec{Type: Exec, Command: []string{"true"}}, "absolute path"},
		{Spec{Type: Exec, Command: []string{"/no/such/command"}}, "no such file"},
		{Spec{Type: Exec, Command: []string{"/"}}, "cannot be executed"},
		{Spec{Type: Exec, Command: []string{plain}}, "cannot be executed"},
		{Spec{Type: Exec, Command: []string{"/bin/sh"}, Env: []string{"X"}}, "NAME=value"},
	}
	for _, tt := range tests {
		if p, err := New(tt.spec); err == nil || p != nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("New(%+v) = %v, want an error with %q", tt.spec, err, tt.want)
		}
	}
}

func TestKey(t *testing.T) {
	base := Spec{Type: Registry, Address: "192.0.2.1:443", Login: as("u", "p"), Credentials: "f"}
	if key := base.Key(); !strings.HasPrefix(key, "registry 192.0.2.1:443 ") || strings.Contains(key, "p4ss") {
		t.Errorf("key %q", key)
	}
	changed := base
	changed.Login = as("u", "other")
	changed.Roots = func() *x509.CertPool { return nil }
	changed.Certificate = func() *tls.Certificate { return nil }
	if changed.Key() != base.Key() {
		t.Error("what a file holds is part of the key")
	}
	// Versions to come have more fields, and must find what is known under this key.
	if plain, want := (&Spec{Type: TCP, Address: "192.0.2.1:443"}).Key(), "tcp 192.0.2.1:443 "; !strings.HasPrefix(plain, want) {
		t.Errorf("key %q, want %q", plain, want)
	}
	seen := map[string]string{base.Key(): "none"}
	for name, change := range map[string]func(*Spec){
		"type": func(s *Spec) { s.Type = HTTP }, "address": func(s *Spec) { s.Address += "0" },
		"tls": func(s *Spec) { s.TLS = true }, "verify": func(s *Spec) { s.Verify = true }, "ca": func(s *Spec) { s.CAFile = "x" },
		"server name": func(s *Spec) { s.ServerName = "x" }, "host": func(s *Spec) { s.Host = "x" },
		"method": func(s *Spec) { s.Method = "HEAD" }, "path": func(s *Spec) { s.Path = "/x" },
		"header": func(s *Spec) { s.Headers = [][2]string{{"a", "b"}} }, "status": func(s *Spec) { s.Status = []StatusRange{{1, 2}} },
		"body": func(s *Spec) { s.Body = "x" }, "regexp": func(s *Spec) { s.BodyRegexp = regexp.MustCompile("x") },
		"json": func(s *Spec) { s.JSON = []JSONMatch{{"x", "y"}} }, "command": func(s *Spec) { s.Command = []string{"x"} },
		"env": func(s *Spec) { s.Env = []string{"x"} }, "manifest": func(s *Spec) { s.Manifest = "x" },
		"blob": func(s *Spec) { s.Blob = true }, "write": func(s *Spec) { s.Write = "x" }, "credentials": func(s *Spec) { s.Credentials = "x" },
		"token service": func(s *Spec) { s.TokenService = "x" }, "certificate": func(s *Spec) { s.CertificateFile = "x" },
		"source": func(s *Spec) { s.Sources = []netip.Addr{netip.MustParseAddr("192.0.2.9")} },
	} {
		s := base
		change(&s)
		if other, taken := seen[s.Key()]; taken {
			t.Errorf("%s and %s make no difference", name, other)
		}
		seen[s.Key()] = name
		again := base
		change(&again)
		if again.Key() != s.Key() {
			t.Errorf("%s: the key changes from call to call", name)
		}
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"\ta\tb\r\nc\n":          "a b  c",
		"\x1b[2Jé\x7f\u202e":     "?[2J???",
		"\xff\xfe":               "??",
		strings.Repeat("x", 200): strings.Repeat("x", 200),
		strings.Repeat("x", 201): strings.Repeat("x", 197) + "...",
		"5\x00":                  "5?",
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}

// A target may compress what it was asked for plain: what is looked at is what it has
// compressed, and no more of it than of any other body.
func TestCompressedBodies(t *testing.T) {
	zip := func(text string) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = io.WriteString(z, text)
		_ = z.Close()
		return b.String()
	}
	for _, tt := range []struct {
		name, coding, body string
		spec               Spec
		verdict            health.Verdict
		detail             string
	}{
		{"matches", "gzip", zip(`{"status":"well"}`), Spec{JSON: []JSONMatch{{"status", "well"}}}, health.Pass, "200 OK"},
		{"in other letters", " GZip ", zip("all is well"), Spec{Body: "well"}, health.Pass, "200 OK"},
		{"does not match", "gzip", zip("ill"), Spec{Body: "well"}, health.Fail, "does not contain well"},
		{"a bomb", "gzip", zip(strings.Repeat("x", 100<<20)), Spec{Body: "well"}, health.Fail, "the first 64 KiB of the body does not contain"},
		{"half", "gzip", zip("all is well, all is well, all is well")[:20], Spec{Body: "well"}, health.Fail, "body"},
		{"none", "gzip", "plain", Spec{}, health.Fail, "body"},
		{"another coding, nobody looks", "br", "??", Spec{}, health.Pass, "200 OK"},
		{"another coding", "br", "??", Spec{Body: "well"}, health.Fail, "does not contain well"},
		{"no body", "gzip", "", Spec{}, health.Pass, "200 OK"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.spec.Type, tt.spec.Address = HTTP, web(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Encoding", tt.coding)
				_, _ = io.WriteString(w, tt.body)
			})
			want(t, try(t, tt.spec), tt.verdict, tt.detail)
		})
	}
}
