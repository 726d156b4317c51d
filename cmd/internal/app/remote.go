package app

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/config"
)

const (
	// minToken is what a token has at least, in octets: 128 bits in hexadecimal.
	minToken = 32
	// maxTokens bounds how many let in at a time: one for each tool, and the next one
	// while it is being handed out.
	maxTokens    = 100
	maxTokenFile = 64 << 10
)

// remoteFiles are what the admin API for other machines is served with.
type remoteFiles struct {
	shown  *loaded
	tokens *tokens
}

// loadRemote reads the files of c; nil if there is no such listener.
func loadRemote(c config.AdminTCP) (*remoteFiles, error) {
	if c.Listen == "" {
		return nil, nil //nolint:nilnil // nil is a value here: no listener
	}
	shown, err := loadCertificate("admin.tcp", pemFiles{c.Certificate, c.Key})
	if err != nil {
		return nil, err
	}
	t, err := loadTokens(c.TokenFile)
	if err != nil {
		return nil, fmt.Errorf("admin.tcp.token_file: %w", err)
	}
	return &remoteFiles{shown, t}, nil
}

// tokens are what lets in, by their hashes: of one length, so that comparing them
// takes as long for a token that is nearly right as for any other.
type tokens struct {
	path, stamp string
	sums        [][sha256.Size]byte
}

// loadTokens reads a file of tokens, one a line. Empty lines and those that begin
// with # are left out. Errors do not show what a line holds.
func loadTokens(path string) (*tokens, error) {
	t := &tokens{path: path, stamp: fileStamp(path)}
	data, err := readPrivate(path, maxTokenFile)
	if err != nil {
		return nil, err
	}
	for i, line := range bytes.Split(data, []byte("\n")) {
		line = bytes.TrimSpace(line)
		switch {
		case len(line) == 0 || line[0] == '#':
			continue
		case len(line) < minToken:
			return nil, fmt.Errorf("%s:%d: a token of %d characters: use at least %d, as `openssl rand -hex 32` prints them", path, i+1, len(line), minToken)
		case bytes.ContainsFunc(line, func(r rune) bool { return r <= ' ' || r > '~' }):
			return nil, fmt.Errorf("%s:%d: a token that is not printable ASCII in one word: use what `openssl rand -hex 32` prints", path, i+1)
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

// remote keeps what the admin API for other machines is served with. Files that are
// replaced are taken up by themselves, as those of DNS over TLS are.
type remote struct {
	certificate certificate
	tokens      atomic.Pointer[tokens]
	checked     atomic.Int64 // Unix seconds of the last look at the file
}

func newRemote(f *remoteFiles, now func() time.Time, log *slog.Logger) *remote {
	r := &remote{certificate: certificate{now: now, log: log}}
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
	r.refresh()
	t := r.tokens.Load()
	return t != nil && t.allow(token)
}

// refresh reads the tokens again when their file has changed. A file that cannot be
// used changes nothing and is logged.
func (r *remote) refresh() {
	last, now, t := r.checked.Load(), r.certificate.now().Unix(), r.tokens.Load()
	due := now-last >= int64(certificateCheck/time.Second) || now < last
	if t == nil || !due || !r.checked.CompareAndSwap(last, now) || fileStamp(t.path) == t.stamp {
		return
	}
	next, err := loadTokens(t.path)
	if err != nil {
		r.certificate.log.Warn("changed tokens of the admin API cannot be used; the old ones stay", "error", r.certificate.advised(err))
		return
	}
	r.tokens.Store(next)
	r.certificate.log.Info("the tokens of the admin API were changed", "file", t.path)
}
