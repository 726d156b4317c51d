package app

import (
	crand "crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"

	"portolan.dev/cmd/internal/secretfile"
	"portolan.dev/config"
	"portolan.dev/resolver/wire"
)

// cookieKeys reads the secrets that the configuration names; nil without any.
func cookieKeys(c config.Cookies) (*wire.CookieKeys, error) {
	if c.Secrets == "" {
		return nil, nil //nolint:nilnil // no file is no error and no keys
	}
	data, err := secretfile.Secret(c.Secrets).Read()
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

// parseSecrets reads lines of a role and 128 bits in hexadecimal. Empty lines and
// those that begin with # are left out. Errors do not show what a line holds.
func parseSecrets(path string, data []byte) (*wire.CookieKeys, error) {
	keys := &wire.CookieKeys{}
	seen := make(map[string]bool)
	lines, numbers := secretfile.Lines(data)
	for i, line := range lines {
		fields, number := strings.Fields(string(line)), numbers[i]
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
