package app

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"fmt"
	"sync/atomic"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/cmd/internal/secretfile"
	"portolan.dev/config"
)

const (
	// minToken is what a token has at least, in octets: 128 bits in hexadecimal.
	minToken = 32
	// maxTokens bounds how many let in at a time: one for each tool, and the next one
	// while it is being handed out.
	maxTokens = 100
)

// remoteFiles are the files that the admin API for other machines uses.
type remoteFiles struct {
	shown  *secretfile.Kept[*tls.Certificate]
	tokens *secretfile.Kept[*tokens]
}

// remote keeps the files of c; nil if there is no such listener.
func (f *keptFiles) remote(c config.AdminTCP) (*remoteFiles, error) {
	if c.Listen == "" {
		return nil, nil //nolint:nilnil // nil is a value here: no listener
	}
	shown, err := f.pair("admin.tcp.certificate", pemFiles{c.Certificate, c.Key})
	if err != nil {
		return nil, err
	}
	t, err := f.tokens(c.TokenFile)
	if err != nil {
		return nil, err
	}
	return &remoteFiles{shown, t}, nil
}

// tokens keeps a file of tokens.
func (f *keptFiles) tokens(path string) (*secretfile.Kept[*tokens], error) {
	return keep(f, f.allowed, path, "admin.tcp.token_file",
		func(texts [][]byte) (*tokens, error) { return parseTokens(path, texts[0]) }, secretfile.Secret(path))
}

// tokens are what lets in, by their hashes: of one length, so that comparing them
// takes as long for a token that is nearly right as for any other.
type tokens struct{ sums [][sha256.Size]byte }

// parseTokens reads tokens, one a line. Empty lines and those that begin with # are left
// out. Errors do not show what a line holds.
func parseTokens(path string, text []byte) (*tokens, error) {
	t := &tokens{}
	lines, numbers := secretfile.Lines(text)
	for i, line := range lines {
		switch {
		case len(line) < minToken:
			return nil, fmt.Errorf("%s:%d: a token of %d characters: use at least %d, as `openssl rand -hex 32` prints them", path, numbers[i], len(line), minToken)
		case bytes.ContainsFunc(line, func(r rune) bool { return r <= ' ' || r > '~' }):
			return nil, fmt.Errorf("%s:%d: a token that is not printable ASCII in one word: use what `openssl rand -hex 32` prints", path, numbers[i])
		}
		t.sums = append(t.sums, sha256.Sum256(line))
	}
	if len(t.sums) == 0 || len(t.sums) > maxTokens {
		return nil, fmt.Errorf("%s: %d tokens: write 1 to %d, one a line", path, len(t.sums), maxTokens)
	}
	return t, nil
}

// allow reports whether a token lets in. All are compared, whichever is right.
func (t *tokens) allow(token string) bool {
	sum := sha256.Sum256([]byte(token))
	found := 0
	for i := range t.sums {
		found |= subtle.ConstantTimeCompare(sum[:], t.sums[i][:])
	}
	return found == 1
}

// remote holds the certificate and the tokens that the admin API for other machines uses:
// those of the configuration served.
type remote struct {
	certificate certificate
	tokens      atomic.Pointer[secretfile.Kept[*tokens]]
}

func newRemote(f *remoteFiles) *remote {
	r := new(remote)
	r.set(f)
	return r
}

// set takes over the files of a new configuration.
func (r *remote) set(f *remoteFiles) {
	if r != nil && f != nil {
		r.certificate.current.Store(f.shown)
		r.tokens.Store(f.tokens)
	}
}

// options are for a listener at listen; the zero value for "".
func (r *remote) options(listen string) admin.Remote {
	if listen == "" {
		return admin.Remote{}
	}
	return admin.Remote{Listen: listen, TLS: r.certificate.config("http/1.1"), Allow: r.allow}
}

func (r *remote) allow(token string) bool {
	k := r.tokens.Load()
	return k != nil && k.Get().allow(token)
}
