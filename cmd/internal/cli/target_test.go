package cli

import (
	"context"
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"portolan.dev/cmd/internal/admin"
)

// remoteServer serves api to other machines until the test ends, and returns its URL
// and a file with what it shows.
func remoteServer(t *testing.T, api admin.API, token string) (url, ca string) {
	t.Helper()
	shown := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(shown.Close)
	s, err := admin.New(admin.Options{
		Remote:   admin.Remote{Listen: "127.0.0.1:0", TLS: shown.TLS, Allow: func(got string) bool { return got == token }},
		Gatherer: prometheus.NewRegistry(), API: api, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: shown.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return "https://" + s.RemoteAddr(), ca
}

func TestVerbsReachAServerElsewhere(t *testing.T) {
	token := strings.Repeat("t", 64)
	url, ca := remoteServer(t, &verbsAPI{}, token)
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, bad := file("good", "# of ann\n"+token+"\n", 0o600), file("bad", strings.Repeat("x", 64), 0o600)
	open, empty := file("open", token, 0o604), file("empty", "# nothing\n", 0o600)
	environ := map[string]string{"PORTOLAN_SERVER": url, "PORTOLAN_TOKEN_FILE": good, "PORTOLAN_CA": ca}
	for name, c := range map[string]struct {
		args string
		env  map[string]string
		code int
		want string
	}{
		"flags":               {"status --server " + url + " --token-file " + good + " --ca " + ca, nil, ExitOK, "myregistry"},
		"the environment":     {"status", environ, ExitOK, "myregistry"},
		"a socket beats it":   {"status --socket " + dir + "/none", environ, ExitFailed, dir + "/none"},
		"another token":       {"status --server " + url + " --token-file " + bad + " --ca " + ca, nil, ExitFailed, "no token that lets in"},
		"nobody to trust":     {"status --server " + url + " --token-file " + good, nil, ExitFailed, "--ca"},
		"no token":            {"status --server " + url, nil, ExitUsage, "--token-file"},
		"an open token":       {"status --server " + url + " --token-file " + open, nil, ExitFailed, "chmod 0600"},
		"an empty token file": {"status --server " + url + " --token-file " + empty, nil, ExitFailed, "no token in it"},
		"no TLS":              {"status --server http://127.0.0.1:1 --token-file " + good, nil, ExitUsage, "https://"},
		"both":                {"status --server " + url + " --socket /x", nil, ExitUsage, "exclude"},
		"no certificate":      {"status --server " + url + " --token-file " + good + " --ca " + good, nil, ExitFailed, "PEM"},
	} {
		var out, errs strings.Builder
		e := &env{strings.NewReader(""), &out, &errs, func(key string) string { return c.env[key] }, time.Now}
		code := e.run(t.Context(), strings.Fields(c.args))
		if text := out.String() + errs.String(); code != c.code || !strings.Contains(text, c.want) {
			t.Errorf("%s: exit code %d, want %d and %q:\n%s", name, code, c.code, c.want, text)
		}
	}
}
