package probe

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// Key returns the identity of s: two specs with the same key look at the same
// target in the same way. It reads "type address fingerprint" and may be shown.
// What the files hold that it names is no part of it: a new password must not lose what is
// known of the target.
func (s *Spec) Key() string { return s.Fingerprint().Key(s) }

// Fingerprint is what a spec has in common with others that differ from it in
// Address, Host and ServerName alone.
type Fingerprint [sha256.Size]byte

// Fingerprint returns that of s. It costs far more than [Fingerprint.Key].
//
// Fields that are zero have no part in it, so that a version with more of them gives the
// probes that there were the keys that they had. What is read from a file counts by the
// name of the file.
func (s *Spec) Fingerprint() Fingerprint {
	var text strings.Builder
	part := func(name string, zero bool, value any) {
		if !zero {
			fmt.Fprintf(&text, "%s=%+q ", name, fmt.Sprint(value))
		}
	}
	for _, f := range []struct{ name, value string }{
		{"type", string(s.Type)},
		{"ca_file", s.CAFile},
		{"certificate", s.CertificateFile},
		{"method", s.Method},
		{"path", s.Path},
		{"body", s.Body},
		{"manifest", s.Manifest},
		{"write", s.Write},
		{"credentials", s.Credentials},
		{"token_service", s.TokenService},
	} {
		part(f.name, f.value == "", f.value)
	}
	part("tls", !s.TLS, true)
	part("verify", !s.Verify, true)
	part("blob", !s.Blob, true)
	part("source", len(s.Sources) == 0, s.Sources)
	part("status", len(s.Status) == 0, s.Status)
	part("body_regexp", s.BodyRegexp == nil, s.BodyRegexp)
	// What may hold any text is written so that no two lists look alike.
	part("headers", len(s.Headers) == 0, fmt.Sprintf("%q", s.Headers))
	part("json", len(s.JSON) == 0, fmt.Sprintf("%q", s.JSON))
	part("command", len(s.Command) == 0, fmt.Sprintf("%q", s.Command))
	part("env", len(s.Env) == 0, fmt.Sprintf("%q", s.Env))
	return sha256.Sum256([]byte(text.String()))
}

// Key returns the [Spec.Key] of a spec that f is the fingerprint of.
func (f Fingerprint) Key(s *Spec) string {
	text := make([]byte, 0, 256)
	text = append(text, f[:]...)
	for _, part := range []string{s.Address, s.Host, s.ServerName} {
		text = append(append(text, part...), 0)
	}
	sum := sha256.Sum256(text)
	return string(s.Type) + " " + s.Address + " " + hex.EncodeToString(sum[:8])
}
