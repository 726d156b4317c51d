package app

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"portolan.dev/cmd/internal/secretfile"
	"portolan.dev/config"
)

func writeSecret(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestParseLogin(t *testing.T) {
	for text, want := range map[string]string{"user:pass:word\n": "pass:word", "u:\r\n": "", "hunter2": "-", "u:hunter2\nmore\n": "-", "": "-", ":hunter2": "-"} {
		login, err := parseLogin("secret", []byte(text))
		if (err == nil) != (want != "-") || err == nil && login.Password != want {
			t.Errorf("%q: %+v, %v", text, login, err)
		}
		if err != nil && (strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "user:password")) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// Files that probes share are read once, and what they hold is taken up by what has been
// handed out.
func TestFilesOfProbes(t *testing.T) {
	dir := t.TempDir()
	secret, bundle := filepath.Join(dir, "secret"), filepath.Join(dir, "ca.pem")
	pair := config.TLS{Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	writeSecret(t, secret, "u:old\n")
	writePair(t, config.TLS{Certificate: bundle, Key: filepath.Join(dir, "other.key")}, 1)
	writePair(t, pair, 2)
	f := newKeptFiles(secretfile.SystemRoots())
	login, err1 := f.Login(secret)
	_, err2 := f.Login(secret)
	roots, err3 := f.Roots(bundle)
	own, err4 := f.Certificate(pair.Certificate, pair.Key)
	for _, err := range []error{err1, err2, err3, err4} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(f.all) != 4 { // with the authorities of the system
		t.Errorf("%d are kept", len(f.all))
	}
	pool, shown := roots(), own().Certificate[0]
	var log bytes.Buffer
	a := &App{log: slog.New(slog.NewTextHandler(&log, nil))}
	a.world.Store(&World{kept: f})
	writeSecret(t, secret, "u:new\n")
	writePair(t, config.TLS{Certificate: bundle, Key: filepath.Join(dir, "other.key")}, 3)
	writePair(t, pair, 4)
	a.lookAtFiles(t.Context())
	if got := login(); got.Password != "new" {
		t.Errorf("%+v", got)
	}
	if roots().Equal(pool) || bytes.Equal(own().Certificate[0], shown) {
		t.Error("the old certificates stay")
	}
	if n := strings.Count(log.String(), "taken up"); n != 3 || strings.Contains(log.String(), "new\n") {
		t.Errorf("%d lines: %s", n, log.String())
	}
	for path, want := range map[string]string{secret: "credentials: ", bundle: "ca_file: "} {
		writeSecret(t, path, "hunter2")
		again := newKeptFiles(f.system)
		var err error
		if path == secret {
			_, err = again.Login(path)
		} else {
			_, err = again.Roots(path)
		}
		if err == nil || !strings.Contains(err.Error(), want+path) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// A reload says which files hold something else than before, unless that has been taken
// up, and said, already.
func TestChangedFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	keep := func() *keptFiles {
		t.Helper()
		f := newKeptFiles(secretfile.SystemRoots())
		if _, err := f.Login(path); err != nil {
			t.Fatal(err)
		}
		return f
	}
	writeSecret(t, path, "u:old")
	before := keep()
	if names := keep().changed(before); len(names) != 0 {
		t.Errorf("%q", names)
	}
	writeSecret(t, path, "u:new")
	if names := keep().changed(before); len(names) != 1 || names[0] != "credentials "+path {
		t.Errorf("%q", names)
	}
	if _, err := before.all[1].Look(); err != nil {
		t.Fatal(err)
	}
	if names := keep().changed(before); len(names) != 0 {
		t.Errorf("%q", names)
	}
}
