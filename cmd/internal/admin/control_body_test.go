package admin

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A body that is not exactly right is refused and reaches nobody.
func TestControlBodies(t *testing.T) {
	for _, tt := range []struct {
		name, contentType, body string
		code                    int
		says                    string
	}{
		{"no type", "", `{"region":"a"}`, 415, "application/json"},
		{"a form", "application/x-www-form-urlencoded", `region=a`, 415, "application/json"},
		{"text", "text/plain", `{"region":"a"}`, 415, "application/json"},
		{"empty", "application/json", ``, 400, "it is empty"},
		{"null", "application/json", `null`, 400, "no object"},
		{"a list", "application/json", `[{"region":"a"}]`, 400, "no object"},
		{"a string", "application/json", `"a"`, 400, "no object"},
		{"cut", "application/json", `{"region":"a"`, 400, "EOF"},
		{"no JSON", "application/json", `{region:a}`, 400, "invalid character"},
		{"unknown", "application/json", `{"region":"a","frobnicate":1}`, 400, `unknown field \"frobnicate\"`},
		{"another case", "application/json", `{"Region":"a"}`, 400, `unknown field \"Region\"`},
		{"twice", "application/json", `{"region":"a","region":"*"}`, 400, `\"region\" is given twice`},
		{"two objects", "application/json", `{"region":"a"}{"region":"b"}`, 400, "something follows"},
		{"another type", "application/json", `{"region":7}`, 400, "cannot unmarshal number"},
		{"deep", "application/json", `{"region":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`, 400, "max depth"},
		{"just too large", "application/json", `{"region":"` + strings.Repeat("a", maxBody) + `"}`, 413, "at most 65536 octets"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			api := &controlAPI{}
			_, path := controlServer(t, api, nil)
			got := controlAsk(t, path, "POST", "/v1/drain", tt.contentType, strings.NewReader(tt.body))
			if got.code != tt.code || !strings.Contains(got.body, tt.says) {
				t.Errorf("%d %s, want %d with %q", got.code, got.body, tt.code, tt.says)
			}
			if api.asked() != "" {
				t.Errorf("the API was asked %q", api.asked())
			}
		})
	}
	t.Run("as large as may be", func(t *testing.T) {
		_, path := controlServer(t, &controlAPI{}, nil)
		text := `{"region":"a","reason":"`
		text += strings.Repeat("x", maxBody-len(text)-2) + `"}`
		if got := controlAsk(t, path, "POST", "/v1/drain", "application/json", strings.NewReader(text)); got.code != 200 {
			t.Errorf("%d %s", got.code, got.body)
		}
	})
}

// endless is a body of so many octets, and counts how many were taken.
type endless struct{ left, taken atomic.Int64 }

func (e *endless) Read(p []byte) (int, error) {
	n := min(int64(len(p)), e.left.Load())
	if n == 0 {
		return 0, io.EOF
	}
	copy(p, bytes.Repeat([]byte(" "), int(n)))
	e.left.Add(-n)
	e.taken.Add(n)
	return int(n), nil
}

// A gigabyte, announced or not, is refused without being read.
func TestControlGigabyte(t *testing.T) {
	const gigabyte = 1 << 30
	for _, announced := range []bool{true, false} {
		t.Run(fmt.Sprint("announced ", announced), func(t *testing.T) {
			api := &controlAPI{}
			_, path := controlServer(t, api, nil)
			c, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			body := &endless{}
			body.left.Store(gigabyte)
			length := "Transfer-Encoding: chunked"
			if announced {
				length = fmt.Sprintf("Content-Length: %d", gigabyte)
			}
			fmt.Fprintf(c, "POST /v1/drain HTTP/1.1\r\nHost: portolan\r\nContent-Type: application/json\r\n%s\r\n\r\n", length)
			go func() { // ends when the server closes the connection
				if !announced {
					fmt.Fprintf(c, "%x\r\n", gigabyte)
				}
				_, _ = io.Copy(c, body)
			}()
			_ = c.SetReadDeadline(time.Now().Add(patience))
			head := make([]byte, 64)
			if _, err := io.ReadFull(c, head); err != nil || !strings.HasPrefix(string(head), "HTTP/1.1 413 ") {
				t.Fatalf("%q, %v", head, err)
			}
			_, _ = io.Copy(io.Discard, c)
			if n := body.taken.Load(); n > 8<<20 || api.asked() != "" {
				t.Errorf("%d octets of the body were taken, the API was asked %q", n, api.asked())
			}
		})
	}
}

// A body that comes an octet at a time ends with the time for it, not with the
// client's patience.
func TestControlSlowBody(t *testing.T) {
	api := &controlAPI{}
	_, path := controlServer(t, api, func(s *Server) { s.read = 100 * time.Millisecond })
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "POST /v1/drain HTTP/1.1\r\nHost: portolan\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n{\"region\"")
	_ = c.SetReadDeadline(time.Now().Add(patience))
	answer, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") || !strings.Contains(string(answer), "nothing was changed") {
		t.Errorf("%q, %v", answer, err)
	}
	if api.asked() != "" {
		t.Errorf("the API was asked %q", api.asked())
	}
}

// Whatever the body, decode neither panics nor takes more than one object whose
// names are as they are documented.
func FuzzControlMembers(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":1,"b":[{}]}`, `{"a":1,"a":2}`, `null`, `{"a":`, `{"A":1}`, `{} {}`, "\xff", `{"\u0041":1}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		given, err := members(body)
		if err != nil {
			return
		}
		for name := range given {
			if name != strings.ToLower(name) {
				t.Errorf("%q has passed with %q", body, name)
			}
		}
		if trimmed := bytes.TrimSpace(body); trimmed[0] != '{' || trimmed[len(trimmed)-1] != '}' {
			t.Errorf("%q has passed", body)
		}
	})
}
