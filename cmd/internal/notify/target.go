package notify

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"portolan.dev/config/ledger"
)

// Settings are what a target is made from.
type Settings struct {
	// URL is absolute, http or https.
	URL string
	// Place is where the settings stand, for logs: file:line:column.
	Place string
	// Kinds has the events that are wanted; empty for all.
	Kinds []ledger.Kind
	// Secrets sign, all of them, so that one can take the place of another; at most
	// [MaxSecrets], none for no signature. One that begins with whsec_ is
	// base64 of the key, any other is the key.
	Secrets []string
	// Roots are the authorities to trust; nil for those of the system. RootsVersion tells
	// them from others.
	Roots        *x509.CertPool
	RootsVersion [sha256.Size]byte
}

const (
	// MaxSecrets bounds the secrets of a target.
	MaxSecrets = 4
	// MinSecret is the shortest key in bytes. Who sees one message can try keys at
	// leisure.
	MinSecret = 16
	// secretPrefix marks a key that is written in base64 (Standard Webhooks).
	secretPrefix = "whsec_"
)

// Target is a receiver. It is never changed and may be used by any number of
// goroutines.
type Target struct {
	url, host, place string
	kinds            []ledger.Kind
	keys             [][]byte
	roots            *x509.CertPool
	digest           string
}

// NewTarget checks settings. No error repeats a secret or the URL.
func NewTarget(s Settings) (*Target, error) {
	u, err := url.Parse(s.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("the URL is not absolute, http or https")
	}
	t := &Target{
		url: s.URL, host: u.Scheme + "://" + u.Host, place: s.Place,
		kinds: slices.Clone(s.Kinds), roots: s.Roots, digest: digest(s),
	}
	if len(s.Secrets) > MaxSecrets {
		return nil, fmt.Errorf("%d secrets: keep at most %d", len(s.Secrets), MaxSecrets)
	}
	for _, secret := range s.Secrets {
		key, err := key(secret)
		if err != nil {
			return nil, err
		}
		t.keys = append(t.keys, key)
	}
	return t, nil
}

func key(secret string) ([]byte, error) {
	k := []byte(secret)
	if encoded, ok := strings.CutPrefix(secret, secretPrefix); ok {
		var err error
		if k, err = base64.StdEncoding.DecodeString(encoded); err != nil {
			return nil, errors.New("a secret begins with " + secretPrefix + " and what follows is not base64: write the base64 of the key")
		}
	}
	if len(k) < MinSecret {
		return nil, fmt.Errorf("a secret has a key of %d bytes: use at least %d", len(k), MinSecret)
	}
	return k, nil
}

// URL identifies the target among those of a [Notifier]. It may hold a token: do
// not log it.
func (t *Target) URL() string { return t.url }

// Digest is the same for targets that do the same, wherever their settings stand. It
// is opaque, and not for printing: it covers the secrets.
func (t *Target) Digest() string { return t.digest }

// digest is SHA-256 over all settings but the place. Each part is preceded by its length.
func digest(s Settings) string {
	var b bytes.Buffer
	part := func(p string) { fmt.Fprintf(&b, "%d:%s", len(p), p) }
	part(s.URL)
	part(fmt.Sprintf("%q", s.Kinds))
	part(fmt.Sprintf("%q", s.Secrets))
	part(string(s.RootsVersion[:]))
	sum := sha256.Sum256(b.Bytes())
	return string(sum[:])
}

// wants says whether events of a kind are posted.
func (t *Target) wants(k ledger.Kind) bool {
	return len(t.kinds) == 0 || slices.Contains(t.kinds, k)
}
