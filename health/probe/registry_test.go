package probe

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"portolan.dev/health"
)

func TestRegistryGreeting(t *testing.T) {
	const bearer = `Bearer realm="https://myregistry.example.io/token",service="myregistry.example.io"`
	tests := []struct {
		name    string
		handler http.HandlerFunc
		verdict health.Verdict
		detail  string
	}{
		{"open", status(200), health.Pass, "200 OK"},
		{"Bearer", status(401, "WWW-Authenticate", bearer), health.Pass, "401 with a bearer challenge"},
		{"Basic", status(401, "WWW-Authenticate", `Basic realm="r"`), health.Pass, "401 with a basic challenge"},
		{"both", status(401, "WWW-Authenticate", `Basic realm="r"`, "WWW-Authenticate", bearer), health.Pass, "bearer"},
		{"no challenge", status(401), health.Fail, "401 Unauthorized without"},
		{"a challenge no client knows", status(401, "WWW-Authenticate", "Negotiate"), health.Fail, "401 Unauthorized without"},
		{"403", status(403), health.Fail, "403 Forbidden"},
		{"404", status(404), health.Fail, "404 Not Found"},
		{"204", status(204), health.Fail, "204 No Content"},
		{"429", status(429, "Retry-After", "60"), health.Neutral, "429 Too Many Requests"},
		{"500", status(500), health.Fail, "500 Internal Server Error"},
		{"503 with a reason", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"errors":[{"code":"UNAVAILABLE","message":"health check failed: please see /debug/health","detail":null}]}`)
		}, health.Fail, "503 Service Unavailable: UNAVAILABLE health check failed: please see /debug/health"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var path atomic.Value
			address := web(t, func(w http.ResponseWriter, r *http.Request) {
				path.Store(r.Method + " " + r.Host + r.URL.Path)
				tt.handler(w, r)
			})
			want(t, try(t, Spec{Type: Registry, Address: address, Host: "myregistry.example.io"}), tt.verdict, tt.detail)
			if path.Load() != "GET myregistry.example.io/v2/" {
				t.Errorf("asked for %v", path.Load())
			}
		})
	}
}

// standIn is a registry for one repository, with Bearer or Basic authentication.
type standIn struct {
	auth            string // "", "bearer", "basic"
	user, password  string
	manifest, blob  string
	blobRedirect    string // Location of the blob
	uploadStatus    int
	uploadBody      string
	uploadLocation  string
	endStatus       int
	endBody         string
	realm           string // of the challenge; "" for /token here
	tokenStatus     int
	manifestStatus  int
	mu              sync.Mutex
	asked           []string
	scopes          []string
	tokenWithoutUse bool // the token is of no use
}

const repo = "library/probe"

func (s *standIn) note(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, line)
}

func (s *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.note(r.Method + " " + r.URL.Path)
	if r.URL.Path == "/token" {
		s.token(w, r)
		return
	}
	need := "repository:" + repo + ":pull"
	if r.Method != http.MethodGet {
		need += ",push"
	}
	if !s.admits(r, need) {
		challenge := `Basic realm="stand-in"`
		if s.auth == "bearer" {
			realm := s.realm
			if realm == "" {
				realm = "http://" + r.Host + "/token"
			}
			challenge = fmt.Sprintf(`Bearer realm="%s",service="stand-in",scope="registry:catalog:*"`, realm)
		}
		w.Header().Set("WWW-Authenticate", challenge)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	s.serve(w, r)
}

func (s *standIn) admits(r *http.Request, scope string) bool {
	got := r.Header.Get("Authorization")
	switch s.auth {
	case "basic":
		return got == "Basic "+base64.StdEncoding.EncodeToString([]byte(s.user+":"+s.password))
	case "bearer":
		if r.URL.Path == "/v2/" {
			return strings.HasPrefix(got, "Bearer token-for-")
		}
		return got == "Bearer token-for-"+scope
	}
	return true
}

func (s *standIn) token(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.scopes = append(s.scopes, r.URL.Query().Get("scope"))
	s.mu.Unlock()
	user, password, _ := r.BasicAuth()
	switch {
	case s.tokenStatus != 0:
		w.WriteHeader(s.tokenStatus)
	case user != s.user || password != s.password || r.URL.Query().Get("service") != "stand-in":
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"errors":[{"code":"UNAUTHORIZED","message":"wrong password"}]}`)
	case s.tokenWithoutUse:
		fmt.Fprint(w, `{"token":"a\r\nX:y"}`)
	default:
		fmt.Fprintf(w, `{"access_token":"token-for-%s"}`, r.URL.Query().Get("scope"))
	}
}

func (s *standIn) serve(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/v2/":
		fmt.Fprint(w, "{}")
	case strings.HasPrefix(r.URL.Path, "/v2/"+repo+"/manifests/sha256:"):
		if s.manifestStatus != 0 {
			w.WriteHeader(s.manifestStatus)
			return
		}
		fmt.Fprint(w, s.manifest)
	case strings.HasPrefix(r.URL.Path, "/v2/"+repo+"/blobs/sha256:"):
		if s.blobRedirect != "" {
			w.Header().Set("Location", s.blobRedirect)
			w.WriteHeader(http.StatusTemporaryRedirect)
			return
		}
		fmt.Fprint(w, s.blob)
	case r.Method == http.MethodPost && r.URL.Path == "/v2/"+repo+"/blobs/uploads/":
		location := s.uploadLocation
		if location == "" {
			location = "/v2/" + repo + "/blobs/uploads/some-id?_state=abc"
		}
		w.Header().Set("Location", strings.ReplaceAll(location, "HOST", r.Host))
		w.WriteHeader(max(s.uploadStatus, 202))
		fmt.Fprint(w, s.uploadBody)
	case r.Method == http.MethodDelete && r.URL.Path == "/v2/"+repo+"/blobs/uploads/some-id" && r.URL.RawQuery == "_state=abc":
		w.WriteHeader(max(s.endStatus, 204))
		if s.endBody != "" {
			fmt.Fprint(w, s.endBody)
		}
	default:
		w.WriteHeader(http.StatusTeapot)
	}
}

func (s *standIn) paths() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.asked, ", ")
}

func TestRegistryDeep(t *testing.T) {
	blob := `{"architecture":"amd64"}`
	manifest := fmt.Sprintf(`{"config":{"digest":"%s"},"layers":[]}`, digestOf([]byte(blob)))
	layered := fmt.Sprintf(`{"layers":[{"digest":"%s"}]}`, digestOf([]byte(blob)))
	pull := Spec{Manifest: repo + "@" + digestOf([]byte(manifest))}
	of := func(m string) Spec { return Spec{Manifest: repo + "@" + digestOf([]byte(m)), Blob: true} }
	blobToo, write := of(manifest), Spec{Write: repo}
	logged := func(s Spec, user, password string) Spec { s.Login = as(user, password); return s }
	large := strings.Repeat("x", 2*maxBody)
	ofLarge := fmt.Sprintf(`{"config":{"digest":"%s"}}`, digestOf([]byte(large)))
	tests := []struct {
		name     string
		registry standIn
		spec     Spec
		verdict  health.Verdict
		detail   string
	}{
		{"manifest", standIn{manifest: manifest}, pull, health.Pass, "200 OK, manifest pulled"},
		{"manifest with other bytes", standIn{manifest: manifest + " "}, pull, health.Fail, "does not have the digest"},
		{"manifest gone", standIn{manifestStatus: 404}, pull, health.Fail, "manifest: 404 Not Found"},
		{"manifest too often", standIn{manifestStatus: 429}, pull, health.Neutral, "manifest: 429"},
		{"manifest too long", standIn{manifest: large}, pull, health.Fail, "manifest: longer than 64 KiB"},
		{"blob", standIn{manifest: manifest, blob: blob}, blobToo, health.Pass, "manifest and blob pulled"},
		{"layer", standIn{manifest: layered, blob: blob}, of(layered), health.Pass, "manifest and blob pulled"},
		{"large blob", standIn{manifest: ofLarge, blob: large}, of(ofLarge), health.Pass, "manifest and blob pulled"},
		{"blob with other bytes", standIn{manifest: manifest, blob: "x"}, blobToo, health.Fail, "blob: what came"},
		{"blob empty", standIn{manifest: manifest}, blobToo, health.Fail, "blob: what came"},
		{"blob elsewhere", standIn{manifest: manifest, blobRedirect: "https://data.example.net/x?sig=1"}, blobToo, health.Pass, "blob at data.example.net"},
		{"blob at a relative place", standIn{manifest: manifest, blobRedirect: "/there"}, blobToo, health.Pass, "blob elsewhere on this host"},
		{"blob at a file", standIn{manifest: manifest, blobRedirect: "file:///etc/passwd"}, blobToo, health.Fail, "which clients refuse"},
		{"blob at nonsense", standIn{manifest: manifest, blobRedirect: "http://[::1"}, blobToo, health.Fail, "without a Location"},
		{"list of images", standIn{manifest: `{"manifests":[]}`}, of(`{"manifests":[]}`), health.Fail, "names no blob"},
		{"manifest that is none", standIn{manifest: `[`}, of(`[`), health.Fail, "is not JSON"},

		{"write", standIn{}, write, health.Pass, "upload opened and given up"},
		{"write at an absolute Location", standIn{uploadLocation: "http://HOST/v2/" + repo + "/blobs/uploads/some-id?_state=abc"}, write, health.Pass, "given up"},
		{"read-only", standIn{uploadStatus: 405, uploadBody: `{"errors":[{"code":"UNSUPPORTED","message":"read-only"}]}`}, write, health.Fail, "upload: 405 Method Not Allowed: UNSUPPORTED read-only"},
		{"upload without a Location", standIn{uploadLocation: " "}, write, health.Fail, "without a Location"},
		{"upload at another name", standIn{uploadLocation: "https://myregistry.eastus.geo.example.io/v2/" + repo + "/blobs/uploads/some-id"}, write, health.Pass, "left there"},
		{"upload forgotten", standIn{endStatus: 404, endBody: `{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}`}, write, health.Fail, "end of upload: 404 Not Found: BLOB_UPLOAD_UNKNOWN"},
		{"no way to give up", standIn{endStatus: 405}, write, health.Pass, "does not let it be given up"},
		{"end of upload fails", standIn{endStatus: 500}, write, health.Fail, "end of upload: 500"},

		{"Basic", standIn{auth: "basic", user: "u", password: "p"}, logged(Spec{}, "u", "p"), health.Pass, "200 OK as u"},
		{"Basic, wrong", standIn{auth: "basic", user: "u", password: "p"}, logged(Spec{}, "u", "x"), health.Fail, "login: 401 Unauthorized"},
		{"Basic, all of it", standIn{auth: "basic", user: "u", password: "p", manifest: manifest, blob: blob}, logged(Spec{Manifest: pull.Manifest, Blob: true, Write: repo}, "u", "p"), health.Pass, "200 OK as u, manifest and blob pulled, upload opened and given up"},
		{"Basic wanted, none there", standIn{auth: "basic", user: "u"}, pull, health.Fail, "wants credentials, and the probe has none"},
		{"Bearer", standIn{auth: "bearer", user: "u", password: "p"}, logged(Spec{}, "u", "p"), health.Pass, "200 OK as u"},
		{"Bearer as nobody", standIn{auth: "bearer", manifest: manifest}, pull, health.Pass, "401 with a bearer challenge, manifest pulled"},
		{"Bearer, wrong", standIn{auth: "bearer", user: "u", password: "p"}, logged(Spec{}, "u", "x"), health.Fail, "token: 401 Unauthorized: UNAUTHORIZED wrong password"},
		{"Bearer, all of it", standIn{auth: "bearer", user: "u", password: "p", manifest: manifest, blob: blob}, logged(Spec{Manifest: pull.Manifest, Blob: true, Write: repo}, "u", "p"), health.Pass, "given up"},
		{"tokens are rationed", standIn{auth: "bearer", tokenStatus: 429}, pull, health.Neutral, "token: 429"},
		{"token service down", standIn{auth: "bearer", tokenStatus: 503}, pull, health.Fail, "token: 503"},
		{"a token that breaks the header", standIn{auth: "bearer", tokenWithoutUse: true}, pull, health.Fail, "token: the answer has none that can be used"},
		{"an empty realm", standIn{auth: "bearer", realm: " "}, pull, health.Fail, "is no web address"},
	}
	for i := range tests {
		tt := &tests[i]
		t.Run(tt.name, func(t *testing.T) {
			tt.spec.Type, tt.spec.Address = Registry, web(t, tt.registry.ServeHTTP)
			want(t, try(t, tt.spec), tt.verdict, tt.detail)
			for _, scope := range tt.registry.scopes {
				if strings.Contains(scope, "catalog") {
					t.Errorf("asked for the scope of the challenge, %s", scope)
				}
			}
		})
	}
}

// TestCredentialsStayHere lets a target name token endpoints and uploads elsewhere.
func TestCredentialsStayHere(t *testing.T) {
	var dialed atomic.Int32
	trap := web(t, func(http.ResponseWriter, *http.Request) { dialed.Add(1) })
	for _, realm := range []string{
		"http://" + trap + "/token", "https://" + trap, "http://169.254.169.254/token", "http://evil.example/token",
		"http://HOST@" + trap + "/", "//" + trap, "file:///etc/passwd", "http://myregistry.example.io:1/token",
		"http://myregistry.example.io.evil.example/token",
	} {
		r := &standIn{auth: "bearer", user: "u", password: "p", realm: realm}
		got := try(t, Spec{Type: Registry, Address: web(t, r.ServeHTTP), Host: "myregistry.example.io", Login: as("u", "p")})
		want(t, got, health.Fail, "login: token: realm ")
		if strings.Contains(r.paths(), "/token") {
			t.Errorf("realm %s was asked", realm)
		}
	}
	for _, location := range []string{
		"http://" + trap + "/v2/" + repo + "/blobs/uploads/some-id", "//" + trap + "/v2/" + repo + "/blobs/uploads/x",
		"/v2/" + repo + "/manifests/latest", "/v2/" + repo + "/blobs/uploads/../../manifests/latest",
		"/v2/other/blobs/uploads/x", "http:opaque", "/v2/" + repo + "/blobs/uploads/x/../../../../other",
	} {
		r := &standIn{uploadLocation: location}
		want(t, try(t, Spec{Type: Registry, Address: web(t, r.ServeHTTP), Write: repo}), health.Pass, "left there")
		if strings.Contains(r.paths(), "DELETE") {
			t.Errorf("%s was deleted", location)
		}
	}
	if dialed.Load() != 0 {
		t.Error("a probe went where a target sent it")
	}
}

// TestRealmOfTheOperator has the token service elsewhere, which the probe names.
func TestRealmOfTheOperator(t *testing.T) {
	service := &standIn{user: "u", password: "p"}
	realm := "http://" + web(t, service.ServeHTTP) + "/token"
	r := &standIn{auth: "bearer", realm: realm}
	s := Spec{Type: Registry, Address: web(t, r.ServeHTTP), Host: "myregistry.example.io", Login: as("u", "p"), TokenService: realm}
	want(t, try(t, s), health.Pass, "200 OK as u")
	if service.paths() != "GET /token" {
		t.Errorf("the service was asked %s", service.paths())
	}
	cert, roots := certificate(t, epoch, 100*365*24*time.Hour, "localhost")
	_, port, _ := net.SplitHostPort(secure(t, cert, service.ServeHTTP))
	r.realm = "https://localhost:" + port + "/token"
	s.TokenService, s.ServerName, s.Verify, s.Roots = r.realm, "myregistry.example.io", true, trusts(roots)
	want(t, try(t, s), health.Pass, "200 OK as u")
	s.Roots = nil
	want(t, try(t, s), health.Fail, "token: tls: ")
	s.TokenService += "x"
	want(t, try(t, s), health.Fail, "write token_service: "+r.realm+" in the probe")
}

// TestBlobMayNotLeaveTLS redirects the blob of a registry behind TLS.
func TestBlobMayNotLeaveTLS(t *testing.T) {
	manifest := fmt.Sprintf(`{"config":{"digest":"%s"}}`, digestOf(nil))
	cert, _ := certificate(t, epoch, 100*365*24*time.Hour, "a")
	s := Spec{Type: Registry, TLS: true, Manifest: repo + "@" + digestOf([]byte(manifest)), Blob: true}
	for to, verdict := range map[string]health.Verdict{"https://data.example.net/x": health.Pass, "http://data.example.net/x": health.Fail} {
		r := &standIn{manifest: manifest, blobRedirect: to}
		s.Address = secure(t, cert, r.ServeHTTP)
		want(t, try(t, s), verdict, "data.example.net")
	}
}

func TestServedHere(t *testing.T) {
	plain := Spec{Address: "192.0.2.1:5000", Host: "myregistry.example.io"}
	secure := Spec{Address: "[2001:db8::1]:443", Host: "myregistry.example.io:8443", ServerName: "sni.example.io", TLS: true}
	tests := []struct {
		spec Spec
		url  string
		want bool
	}{
		{plain, "http://myregistry.example.io/token", true},
		{plain, "https://MyRegistry.example.io/token", true},
		{plain, "http://192.0.2.1:5000/token", true},
		{plain, "http://192.0.2.1:80/token", false},
		{plain, "http://myregistry.example.io:5001/token", false},
		{plain, "http://example.io/token", false},
		{plain, "http://xmyregistry.example.io/token", false},
		{secure, "https://myregistry.example.io:8443/token", true},
		{secure, "https://myregistry.example.io/token", true},
		{secure, "http://myregistry.example.io:8443/token", false},
		{secure, "https://sni.example.io/token", true},
		{secure, "https://[2001:db8::1]/token", true},
		{secure, "https://[2001:db8::1]:443/token", true},
		{secure, "https://[2001:db8::2]:443/token", false},
		{secure, "https://u:p@sni.example.io/token", false},
	}
	for _, tt := range tests {
		u := mustParse(t, tt.url)
		if got := tt.spec.servedHere(u); got != tt.want {
			t.Errorf("servedHere(%s) at %s = %v", tt.url, tt.spec.Address, got)
		}
	}
}

func TestChallenges(t *testing.T) {
	tests := []struct{ in, want string }{
		{`Basic realm="a b"`, `basic[realm=a b]`},
		{`bearer realm="https://x/t",service="s",scope="repository:a:pull,push"`, `bearer[realm=https://x/t scope=repository:a:pull,push service=s]`},
		{`Basic realm="x", Bearer realm=y , service = z`, `basic[realm=x] bearer[realm=y service=z]`},
		{`Negotiate, Basic realm="q\"uo\\te"`, `negotiate[] basic[realm=q"uo\te]`},
		{`Bearer REALM="a",realm="b"`, `bearer[realm=a]`},
		{`Bearer realm="open`, `bearer[]`},
		{`Bearer realm="open\`, `bearer[]`},
		{`Bearer realm=`, `bearer[]`},
		{`realm="x"`, ``},
		{`"Bearer"`, ``},
		{``, ``},
		{` , ,, `, ``},
		{`NTLM TlRMTVNTUAAB==`, `ntlm[]`},
	}
	for _, tt := range tests {
		if got := showChallenges(parseChallenges(tt.in)); got != tt.want {
			t.Errorf("%s\n got %s\nwant %s", tt.in, got, tt.want)
		}
	}
}

func TestTimeoutCoversAllSteps(t *testing.T) {
	t.Parallel()
	r := &standIn{}
	address := web(t, func(w http.ResponseWriter, req *http.Request) {
		if req.Method == http.MethodPost {
			<-req.Context().Done() // the probe has gone
			return
		}
		r.ServeHTTP(w, req)
	})
	// The step before it has to be over in time, on a slow machine too.
	want(t, tryFor(t, Spec{Type: Registry, Address: address, Write: repo}, 3*time.Second), health.Fail, "upload: response: timeout")
}

// A realm without a host is one on the probed host.
func TestRelativeRealm(t *testing.T) {
	for realm, verdict := range map[string]health.Verdict{"/token": health.Pass, "../token?x=y": health.Pass, "//127.0.0.1/token": health.Fail, "?": health.Fail} {
		r := &standIn{auth: "bearer", user: "u", password: "p", realm: realm}
		got := try(t, Spec{Type: Registry, Address: web(t, r.ServeHTTP), Host: "myregistry.example.io", Login: as("u", "p")})
		if got.Verdict != verdict || (verdict == health.Pass) != strings.Contains(r.paths(), "/token") {
			t.Errorf("%s: %+v, asked %s", realm, got, r.paths())
		}
	}
}
