package cli

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"portolan.dev/cmd/internal/admin"
)

// defaultSocket is where a server listens for operators unless told otherwise.
const defaultSocket = "/run/portolan/admin.sock"

// target is the running server that a verb talks to: over its socket, or from another
// machine over TLS with a token.
type target struct {
	socket, server, tokenFile, ca string

	made *admin.Client // before the verb runs
}

// client is one of the server that the flags name.
func (t *target) client() *admin.Client { return t.made }

// flags adds --socket, --server, --token-file and --ca, whose defaults are in the
// environment.
func (t *target) flags(e *env, cmd *cobra.Command) {
	socket := e.getenv("PORTOLAN_SOCKET")
	if socket == "" {
		socket = defaultSocket
	}
	f := cmd.Flags()
	f.StringVar(&t.socket, "socket", socket, "admin socket of the running server (or PORTOLAN_SOCKET)")
	f.StringVar(&t.server, "server", e.getenv("PORTOLAN_SERVER"), "https://HOST:PORT of a server elsewhere, in place of a socket (or PORTOLAN_SERVER)")
	f.StringVar(&t.tokenFile, "token-file", e.getenv("PORTOLAN_TOKEN_FILE"), "file with a token for --server (or PORTOLAN_TOKEN_FILE)")
	f.StringVar(&t.ca, "ca", e.getenv("PORTOLAN_CA"), "PEM file of the authorities to trust for --server, in place of the system's (or PORTOLAN_CA)")
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) (err error) {
		if value(cmd, "config") != "" {
			return nil // works from the file alone
		}
		t.made, err = t.connect(cmd)
		return err
	}
}

// connect makes the client. A socket that was asked for beats a server that the
// environment names.
func (t *target) connect(cmd *cobra.Command) (*admin.Client, error) {
	given := func(flag string) bool { return cmd.Flags().Changed(flag) }
	switch {
	case given("socket") && given("server"):
		return nil, usageError{errors.New("--socket and --server exclude each other: give one")}
	case t.server == "" || given("socket"):
		return admin.NewClient(t.socket), nil
	case t.tokenFile == "":
		return nil, usageError{errors.New("--server needs a token: name its file with --token-file")}
	}
	token, err := readToken(t.tokenFile)
	if err != nil {
		return nil, err
	}
	roots, err := readRoots(t.ca)
	if err != nil {
		return nil, err
	}
	c, err := admin.NewRemoteClient(t.server, token, roots)
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}

// readToken reads the first token of a file, which others must not be able to read.
func readToken(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o007 != 0 {
		return "", fmt.Errorf("--token-file: %s: mode %04o lets others in: chmod 0600", path, mode)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			return line, nil
		}
	}
	return "", fmt.Errorf("--token-file: %s: no token in it", path)
}

// readRoots reads the authorities to trust; nil for those of the system.
func readRoots(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // nil is a value here: those of the system
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--ca: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("--ca: %s: no certificate in it: name a PEM file", path)
	}
	return roots, nil
}
