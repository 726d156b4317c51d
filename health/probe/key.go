package probe

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// Key returns the identity of s: two specs with the same key look at the same
// target in the same way. It reads "type address fingerprint" and may be shown.
// The password is no part of it: for one user at one target only one can be right,
// and a new one must not lose what is known of the target.
func (s Spec) Key() string {
	s.Password = ""
	body, roots := "", [][]byte(nil)
	if s.BodyRegexp != nil {
		body = s.BodyRegexp.String()
	}
	if s.CA != nil {
		// Deprecated because the roots of the system are not in it: those are a nil
		// CA here. A root issued anew under its old name keeps the key.
		roots = s.CA.Subjects() //nolint:staticcheck // see above
	}
	// Two fields that Marshal cannot look into are put beside it.
	s.BodyRegexp, s.CA = nil, nil
	text, err := json.Marshal(struct {
		Spec  Spec
		Body  string
		Roots [][]byte
	}{s, body, roots})
	if err != nil {
		panic("a Spec is strings, numbers and booleans: " + err.Error())
	}
	sum := sha256.Sum256(text)
	return string(s.Type) + " " + s.Address + " " + hex.EncodeToString(sum[:8])
}
