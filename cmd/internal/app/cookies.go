package app

import (
	"bufio"
	"bytes"
	crand "crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"portolan.dev/config"
	"portolan.dev/resolver/wire"
)

// maxSecrets bounds a file of secrets in octets; three lines are what it needs.
const maxSecrets = 64 << 10

// cookieKeys reads the secrets that the configuration names; nil without any.
func cookieKeys(c config.Cookies) (*wire.CookieKeys, error) {
	if c.Secrets == "" {
		return nil, nil //nolint:nilnil // no file is no error and no keys
	}
	data, err := readPrivate(c.Secrets, maxSecrets)
	if err != nil {
		return nil, fmt.Errorf("server.cookies.secrets: %w", err)
	}
	keys, err := parseSecrets(c.Secrets, data)
	if err != nil {
		return nil, err
	}
	keys.Enforce = c.Enforce
	return keys, nil
}

// readPrivate reads a file that nobody but its owner may write and nobody beyond its
// group may read.
func readPrivate(path string, most int64) ([]byte, error) {
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o027 != 0 {
		return nil, fmt.Errorf("%s: mode %04o lets others in: chmod 0640 or 0600", path, info.Mode().Perm())
	}
	return readFile(path, most)
}

// readFile reads a regular file of at most so many octets.
func readFile(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: paths are relative to the file that names them", err)
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: is no regular file: name a file", path)
	case info.Size() > most:
		return nil, fmt.Errorf("%s: %d octets are too many: use at most %d", path, info.Size(), most)
	}
	return os.ReadFile(path)
}

// parseSecrets reads lines of a role and 128 bits in hexadecimal. Empty lines and
// those that begin with # are left out. Errors do not show what a line holds.
func parseSecrets(path string, data []byte) (*wire.CookieKeys, error) {
	keys := &wire.CookieKeys{}
	seen := make(map[string]bool)
	lines := bufio.NewScanner(bytes.NewReader(data))
	for number := 1; lines.Scan(); number++ {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		fault := func(text string) error { return fmt.Errorf("%s:%d: %s", path, number, text) }
		role := fields[0]
		if role != "active" && role != "previous" && role != "next" || len(fields) != 2 {
			return nil, fault("is not a role and a secret: write active, previous or next and 32 hexadecimal digits")
		}
		if seen[role] {
			return nil, fault("there is another " + role + " secret: remove one")
		}
		seen[role] = true
		secret, err := hex.DecodeString(fields[1])
		if err != nil || len(secret) != len(wire.CookieSecret{}) {
			return nil, fault("the secret is not 32 hexadecimal digits: make one with openssl rand -hex 16")
		}
		if role == "active" {
			keys.Active = wire.CookieSecret(secret)
		} else {
			keys.Accept = append(keys.Accept, wire.CookieSecret(secret))
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if !seen["active"] {
		return nil, fmt.Errorf("%s: there is no active secret: add one", path)
	}
	return keys, nil
}

// ownSecret draws the secret of this process, or takes that of the one before: clients
// go on using the cookies they have.
func (a *App) ownSecret() (wire.CookieSecret, error) {
	var secret wire.CookieSecret
	if a.before != nil {
		return a.before.Secret, nil
	}
	if _, err := crand.Read(secret[:]); err != nil {
		return secret, fmt.Errorf("draw a cookie secret: %w", err)
	}
	return secret, nil
}
