package app

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What is read through links is granted with the folders they lead through, and
// nothing above.
func TestFolders(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	in := func(path string) string { return filepath.Join(root, path) }
	for _, dir := range []string{"live/site", "archive/site", "secret/..2026", "app/releases/5/tls", "plain", "elsewhere/v1"} {
		if err := os.MkdirAll(in(dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{
		"live/site/cert.pem": "../../archive/site/cert1.pem", "secret/..data": "..2026", "secret/tls.crt": "..data/tls.crt",
		"app/current": "releases/5", "away": in("elsewhere/v1"), "up": "../" + filepath.Base(root) + "/elsewhere/v1",
		"live/site/twice.pem": in("secret/tls.crt"), "loop": "loop",
	} {
		if err := os.Symlink(to, in(name)); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string][]string{
		"plain/cert.pem":           {"plain"},
		"plain/*.yaml":             {"plain"},
		"missing/cert.pem":         {"missing"},
		"live/site/cert.pem":       {"archive/site", "live/site"},
		"secret/tls.crt":           {"secret", "secret/..data"},
		"app/current/tls/cert.pem": {"app", "app/current/tls"},
		"away/cert.pem":            {"away"},
		"up/cert.pem":              {"up"},
		"live/site/twice.pem":      {"live/site", "secret", "secret/..data"},
		"loop":                     {""},
	} {
		var got, all []string
		for _, dir := range want {
			all = append(all, in(dir))
		}
		for _, dir := range folders(in(path)) {
			got = append(got, filepath.Clean(dir))
		}
		slices.Sort(got)
		if d := cmp.Diff(all, slices.Compact(got)); d != "" {
			t.Errorf("%s: (-want +got)\n%s", path, d)
		}
	}
	for _, top := range []string{"/bin/sh", "/var/run/x", "/lib/x.pem"} { // links of the system, on many
		for _, dir := range folders(top) {
			if dir == "/" || dir == "/var" || dir == "/usr" {
				t.Errorf("%s grants %s", top, dir)
			}
		}
	}
}

// A resolver's configuration that a tool has replaced is another file, which must be
// readable: beside the old one, or where a link leads.
func TestResolverFolders(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	etc, resolve := filepath.Join(root, "etc"), filepath.Join(root, "run/resolve")
	for _, dir := range []string{etc, resolve} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	plain, link := filepath.Join(etc, "plain.conf"), filepath.Join(etc, "link.conf")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../run/resolve/stub.conf", link); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path string
		uid  int
		want []string
	}{{plain, 0, nil}, {plain, 7, []string{etc}}, {link, 0, []string{resolve}}, {link, 7, []string{etc, resolve}}} {
		var got []string
		for _, dir := range resolverFolders(tt.path, tt.uid) {
			got = append(got, filepath.Clean(dir))
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s of user %d: (-want +got)\n%s", tt.path, tt.uid, d)
		}
	}
}
