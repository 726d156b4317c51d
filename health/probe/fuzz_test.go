package probe

import (
	"context"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"portolan.dev/health"
)

func mustParse(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// showChallenges writes challenges as "scheme[name=value ...]", names in order.
func showChallenges(all []challenge) string {
	var out []string
	for _, c := range all {
		var params []string
		for name, value := range c.params {
			params = append(params, name+"="+value)
		}
		slices.Sort(params)
		out = append(out, c.scheme+"["+strings.Join(params, " ")+"]")
	}
	return strings.Join(out, " ")
}

// FuzzResponse has a target answer every request of a registry probe with the same bytes, over
// a pipe.
func FuzzResponse(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
		"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"https://192.0.2.1:443/token\",service=\"x\"\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\r\n",
		"HTTP/1.1 202 Accepted\r\nLocation: /v2/a/blobs/uploads/x\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://169.254.169.254/\r\n\r\n",
		"HTTP/1.1 429 Too Many Requests\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"a\":\r\n0\r\nX: y\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{\"token\":\"x\",\"config\":{\"digest\":\"sha256:00\"}}",
		"HTTP/1.1 503 x\r\n\r\n{\"errors\":[{\"code\":\"UNAVAILABLE\",\"message\":\"\x1b[2J\"}]}",
		"HTTP/1.0 200\r\n", "\x15\x03\x01\x00\x02\x02\x46", "",
	} {
		f.Add([]byte(seed))
	}
	s := Spec{
		Type: Registry, Address: "192.0.2.1:443", Login: as("u", "secret-of-the-probe"),
		Manifest: "a@" + digestOf([]byte("{}")), Blob: true, Write: "a",
	}
	built, err := New(s)
	if err != nil {
		f.Fatal(err)
	}
	p, _ := built.(*registryProber)
	f.Fuzz(func(t *testing.T, answer []byte) {
		p.dialer.connect = func(_ context.Context, _, address string) (net.Conn, error) {
			if address != s.Address {
				t.Errorf("dialed %s", address)
			}
			here, there := net.Pipe()
			go func() {
				_, _ = there.Read(make([]byte, 4096))
				_, _ = there.Write(answer)
				there.Close()
			}()
			return here, nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		r := p.Probe(ctx)
		if r.Detail != clean(r.Detail) || r.Detail == "" {
			t.Errorf("detail %q is not for an operator", r.Detail)
		}
		if strings.Contains(r.Detail, s.Login().Password) {
			t.Errorf("detail %q has the password", r.Detail)
		}
		if r.Verdict == health.Pass {
			t.Errorf("one answer for all requests cannot pass: %q", r.Detail)
		}
		if ctx.Err() != nil {
			t.Error("the probe hung")
		}
	})
}

// FuzzJSONPath reads foreign bodies by way of paths. What the path finds must be found again
// by a path written from its own steps.
func FuzzJSONPath(f *testing.F) {
	f.Add("status", []byte(harborHealth))
	f.Add("components[1].status", []byte(harborHealth))
	f.Add("a[0][1].b", []byte(`{"a":[[1,{"b":null}]]}`))
	f.Add("[0]", []byte(`[1.0e400]`))
	f.Add("a.[", []byte(`{"a":{"":1}}`))
	f.Add("x", []byte(strings.Repeat("[", 20000)))
	f.Fuzz(func(t *testing.T, text string, body []byte) {
		path, err := parseJSONPath(text)
		if err != nil {
			return
		}
		if again := showPath(path); again != text && !strings.Contains(text, "[0") {
			t.Errorf("%q reads as %q", text, again)
		}
		root, err := decodeJSON(body)
		if err != nil {
			return
		}
		_, _ = path.text(root)
	})
}

func showPath(p jsonPath) string {
	var b strings.Builder
	for i, step := range p {
		switch {
		case step.element:
			b.WriteString("[" + strconv.Itoa(step.index) + "]")
		case i > 0:
			b.WriteString("." + step.name)
		default:
			b.WriteString(step.name)
		}
	}
	return b.String()
}

// FuzzChallenges wants an end, and parameters that belong to a challenge.
func FuzzChallenges(f *testing.F) {
	for _, seed := range []string{
		`Bearer realm="https://x/token",service="s",scope="a:b:c,d"`, `Basic realm="a\"b", Bearer realm=x`,
		`Negotiate abc==`, `Bearer realm="`, `,,= "`, "Bearer\x00realm=x",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		all := parseChallenges(value)
		if len(all) > len(value) {
			t.Errorf("%d challenges in %d bytes", len(all), len(value))
		}
		for _, c := range all {
			if c.scheme == "" || c.scheme != strings.ToLower(c.scheme) {
				t.Errorf("scheme %q", c.scheme)
			}
		}
	})
}
