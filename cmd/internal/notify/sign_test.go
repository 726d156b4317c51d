package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// verify is what a receiver does, written from the manual.
func verify(header http.Header, body, secret string, now time.Time) error {
	key := []byte(secret)
	if encoded, ok := strings.CutPrefix(secret, "whsec_"); ok {
		var err error
		if key, err = base64.StdEncoding.DecodeString(encoded); err != nil {
			return err
		}
	}
	stamp := header.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return err
	}
	if age := now.Sub(time.Unix(seconds, 0)); age > 5*time.Minute || age < -5*time.Minute {
		return errors.New("too old, or of the future")
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(header.Get("webhook-id") + "." + stamp + "." + body))
	for s := range strings.SplitSeq(header.Get("webhook-signature"), " ") {
		encoded, ok := strings.CutPrefix(s, "v1,")
		got, err := base64.StdEncoding.DecodeString(encoded)
		if ok && err == nil && hmac.Equal(got, mac.Sum(nil)) {
			return nil
		}
	}
	return errors.New("no signature matches")
}

// The vector is in wide use among libraries that verify.
func TestSignatureVector(t *testing.T) {
	target, err := NewTarget(Settings{URL: "https://a.example/", Secrets: []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}})
	if err != nil {
		t.Fatal(err)
	}
	got := target.signature("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestVerify(t *testing.T) {
	const old, fresh = "whsec_cG9ydG9sYW4gaXMgYSBjaGFydCBvZiBoYXJib3Vycw==", secret
	signer := target(t, Settings{Secrets: []string{old, fresh}})
	now := time.Unix(1_772_366_400, 0)
	stamp := strconv.FormatInt(now.Unix(), 10)
	const body = `{"kind":"down"}`
	signature := signer.signature("id", stamp, []byte(body))
	for _, tt := range []struct {
		what, id, stamp, body, secret string
		now                           time.Time
		ok                            bool
	}{
		{"as sent", "id", stamp, body, fresh, now, true},
		{"the other secret", "id", stamp, body, old, now, true},
		{"a little late", "id", stamp, body, fresh, now.Add(4 * time.Minute), true},
		{"wrong secret", "id", stamp, body, fresh + "x", now, false},
		{"another body", "id", stamp, `{"kind":"up"}`, fresh, now, false},
		{"another id", "di", stamp, body, fresh, now, false},
		{"another time", "id", strconv.FormatInt(now.Unix()+1, 10), body, fresh, now, false},
		{"sent again", "id", stamp, body, fresh, now.Add(6 * time.Minute), false},
	} {
		h := http.Header{}
		h.Set("webhook-id", tt.id)
		h.Set("webhook-timestamp", tt.stamp)
		h.Set("webhook-signature", signature)
		if err := verify(h, tt.body, tt.secret, tt.now); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.what, err)
		}
	}
}

func TestNewTarget(t *testing.T) {
	for _, tt := range []struct {
		what string
		s    Settings
		want string // in the error; "" for none
	}{
		{"unsigned", Settings{URL: "https://a.example/"}, ""},
		{"relative", Settings{URL: "/hidden"}, "not absolute"},
		{"scheme", Settings{URL: "ftp://a.example/hidden"}, "not absolute"},
		{"not a URL", Settings{URL: "https://a.example/%zz-hidden"}, "not absolute"},
		{"short", Settings{URL: "https://a.example/", Secrets: []string{"hidden"}}, "6 bytes"},
		{"short in base64", Settings{URL: "https://a.example/", Secrets: []string{"whsec_aGlkZGVuaGlkZGVu"}}, "12 bytes"},
		{"no base64", Settings{URL: "https://a.example/", Secrets: []string{"whsec_hidden-hidden-hidden"}}, "not base64"},
		{"many", Settings{URL: "https://a.example/", Secrets: make([]string, MaxSecrets+1)}, "5 secrets"},
	} {
		_, err := NewTarget(tt.s)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.what, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: the error shows a secret: %v", tt.what, err)
		}
	}
}

func TestDigest(t *testing.T) {
	a := target(t, Settings{})
	moved, err := NewTarget(Settings{URL: hookURL, Secrets: []string{secret}, Place: "elsewhere"})
	if err != nil {
		t.Fatal(err)
	}
	if a.Digest() != target(t, Settings{}).Digest() || a.Digest() != moved.Digest() {
		t.Error("the same is not")
	}
	for what, s := range map[string]Settings{
		"URL": {URL: hookURL + "x"}, "secret": {Secrets: []string{secret + "x"}}, "kinds": {Kinds: append(a.kinds, "down")}, "authorities": {RootsVersion: [32]byte{1}},
	} {
		if a.Digest() == target(t, s).Digest() {
			t.Errorf("another %s is the same", what)
		}
	}
}
