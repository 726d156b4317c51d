package sandbox

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
		for _, dir := range Folders(in(path)) {
			got = append(got, filepath.Clean(dir))
		}
		slices.Sort(got)
		if d := cmp.Diff(all, slices.Compact(got)); d != "" {
			t.Errorf("%s: (-want +got)\n%s", path, d)
		}
	}
	for _, top := range []string{"/bin/sh", "/var/run/x", "/lib/x.pem"} { // links of the system, on many
		for _, dir := range Folders(top) {
			if dir == "/" || dir == "/var" || dir == "/usr" {
				t.Errorf("%s grants %s", top, dir)
			}
		}
	}
}

// Links and variables are followed to their folders, wherever those are; what lies in a
// folder that belongs to everybody is granted alone.
func TestSystem(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"certs", "lease", "etc"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(root, "etc/resolv.conf")
	if err := os.Symlink("../lease/resolv.conf", link); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"SSL_CERT_DIR": root + "/certs:/nowhere/else", "SSL_CERT_FILE": root + "/own/ca.pem"}
	found, files := system(func(name string) string { return env[name] }, []string{link, "/etc/hosts", "/run/resolv.conf"})
	for _, want := range []string{root + "/certs", root + "/own", root + "/etc", root + "/lease"} {
		if !slices.Contains(found, want) {
			t.Errorf("%v lacks %s", found, want)
		}
	}
	for _, never := range []string{"/", "/run", "/etc", "/nowhere"} {
		if slices.Contains(found, never) {
			t.Errorf("%v has %s", found, never)
		}
	}
	if !slices.Equal(files, []string{"/run/resolv.conf", "/nowhere/else"}) {
		t.Errorf("granted alone: %v", files)
	}
}
