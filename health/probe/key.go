package probe

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Key returns the identity of s: two specs with the same key look at the same
// target in the same way. It reads "type address fingerprint" and may be shown.
// The password is no part of it: for one user at one target only one can be right,
// and a new one must not lose what is known of the target.
func (s *Spec) Key() string { return s.Fingerprint().Key(s) }

// Fingerprint is what a spec has in common with others that differ from it in
// Address, Host and ServerName alone.
type Fingerprint [sha256.Size]byte

// Fingerprint returns that of s. It costs far more than [Fingerprint.Key].
func (s *Spec) Fingerprint() Fingerprint {
	rest := *s
	rest.Address, rest.Host, rest.ServerName = "", "", ""
	rest.Password, rest.BodyRegexp, rest.CA, rest.Names = "", nil, nil, nil
	text := fmt.Sprintf("%#v", rest) // whatever fields there are
	if s.BodyRegexp != nil {
		text += fmt.Sprintf(" regexp %q", s.BodyRegexp)
	}
	if s.CA != nil {
		// Deprecated because the roots of the system are not in it: those are a nil
		// CA here. A root issued anew under its old name keeps the key.
		text += fmt.Sprintf(" roots %q", s.CA.Subjects()) //nolint:staticcheck // see above
	}
	return sha256.Sum256([]byte(text))
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
