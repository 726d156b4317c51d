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
func (s *Spec) Key() string {
	rest := *s
	rest.Password, rest.BodyRegexp, rest.CA = "", nil, nil
	text := fmt.Sprintf("%#v", rest) // whatever fields there are
	if s.BodyRegexp != nil {
		text += fmt.Sprintf(" regexp %q", s.BodyRegexp)
	}
	if s.CA != nil {
		// Deprecated because the roots of the system are not in it: those are a nil
		// CA here. A root issued anew under its old name keeps the key.
		text += fmt.Sprintf(" roots %q", s.CA.Subjects()) //nolint:staticcheck // see above
	}
	sum := sha256.Sum256([]byte(text))
	return string(s.Type) + " " + s.Address + " " + hex.EncodeToString(sum[:8])
}
