//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// nobody is the user of confined tests.
const nobody = 65534

// confinedAs returns a command that runs one as systemd would by the package's unit:
// another user, no new privileges, and of all that root can do the port alone.
func confinedAs(user, group string, command ...string) []string {
	return append([]string{
		"setpriv", "--reuid=" + user, "--regid=" + group, "--clear-groups", "--no-new-privs",
		"--inh-caps=-all,+net_bind_service", "--ambient-caps=-all,+net_bind_service", "--bounding-set=-all,+net_bind_service",
	}, command...)
}

// TestUnprivileged serves port 53 with the packaged configuration as an ordinary
// user that can bind it and nothing else.
func TestUnprivileged(t *testing.T) {
	t.Parallel()
	need(t, "setpriv", "dig")
	n := newNetns(t, "127.0.0.1")
	dir := t.TempDir()
	config, err := os.ReadFile("../../../deploy/portolan.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer(":5300", ":53", "/run/portolan", dir, "/var/lib/portolan", dir, "/etc/portolan", dir).Replace(string(config))
	binary, err := os.ReadFile(portolan(t))
	if err != nil {
		t.Fatal(err)
	}
	path, program := filepath.Join(dir, "portolan.yaml"), filepath.Join(dir, "portolan")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, binary, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chown(d, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	command := confinedAs(strconv.Itoa(nobody), strconv.Itoa(nobody), program, "serve", "-c", path)
	s := start(t, n, command[0], command[1:]...)
	s.waitLog(0, "msg=serving")
	// It can start its own program again, and that can do no more.
	must(t, n, portolan(t), "upgrade", "--socket", filepath.Join(dir, "admin.sock"))
	s.follow(0)
	for _, at := range []string{"127.0.0.1", "::1"} {
		if o := run(t, n, "dig", "+short", "@"+at, "myregistry.example.io"); !strings.Contains(o.text, "192.0.2.") {
			t.Errorf("dig at %s: %s", at, o.text)
		}
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.now.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Uid:\t65534\t65534\t65534\t65534", "CapEff:\t0000000000000400", "CapBnd:\t0000000000000400", "NoNewPrivs:\t1"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("the process has no %q:\n%s", want, status)
		}
	}
}

// worstExposure is what systemd's own measure of the unit may come to, times ten; it
// is in docs/install.md.
const worstExposure = 16

// TestUnit has systemd check the unit and say how exposed it leaves the server.
func TestUnit(t *testing.T) {
	t.Parallel()
	need(t, "systemd-analyze")
	dir := t.TempDir()
	for _, name := range []string{"portolan.service", "portolan.socket"} {
		unit, err := os.ReadFile("../../../deploy/systemd/" + name)
		if err != nil {
			t.Fatal(err)
		}
		here := strings.ReplaceAll(string(unit), "/usr/bin/portolan", portolan(t))
		if err := os.WriteFile(filepath.Join(dir, name), []byte(here), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "portolan.service")
	out, err := exec.Command("systemd-analyze", "verify", "--man=no", path, filepath.Join(dir, "portolan.socket")).CombinedOutput()
	if err != nil || strings.Contains(string(out), "portolan.s") {
		t.Errorf("verify: %v\n%s", err, out)
	}
	out, err = exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", path).CombinedOutput()
	m := regexp.MustCompile(`Overall exposure level for \S+: (\d+)\.(\d)`).FindStringSubmatch(string(out))
	if m == nil {
		t.Fatalf("security: %v\n%s", err, out)
	}
	if level := m[1] + m[2]; level > fmt.Sprintf("%02d", worstExposure) {
		t.Errorf("exposure %s.%s, want at most %.1f\n%s", m[1], m[2], worstExposure/10., out)
	}
}

// TestMaintainerScripts runs the scripts of the package with stand-ins for systemctl and
// portolan: a running server is upgraded and never restarted, and the socket unit comes
// and goes with the service.
func TestMaintainerScripts(t *testing.T) {
	t.Parallel()
	need(t, "unshare")
	if os.Getuid() != 0 {
		missing(t, "only root has file systems of its own")
	}
	scripts, err := filepath.Abs("../../../deploy/debian")
	if err != nil {
		t.Fatal(err)
	}
	const reload = "systemctl daemon-reload\n"
	enabled, active := "systemctl is-enabled --quiet portolan.service\n", "systemctl is-active --quiet portolan.service\n"
	for _, tt := range []struct {
		script, args  string
		state         string // of the service, what systemctl says yes to
		broken        bool   // the new program does not work
		want, warning string
	}{
		{"postinst", "configure", "", false, reload, ""},
		{"postinst", "configure 1.2", "", false, reload + enabled + active, ""},
		{"postinst", "configure 1.2", "is-enabled", false, reload + enabled + "systemctl enable --quiet portolan.socket\n" + active, ""},
		{"postinst", "configure 1.2", "is-active", false, reload + enabled + active + "portolan upgrade\n", ""},
		{"postinst", "configure 1.2", "is-active", true, reload + enabled + active + "portolan upgrade\n", "the old program goes on serving"},
		{"postinst", "abort-remove", "is-active", false, reload, ""},
		{"prerm", "upgrade 1.3", "is-active", false, "", ""},
		{"prerm", "remove", "is-active", false, "systemctl disable --now --quiet portolan.socket portolan.service\n", ""},
	} {
		dir := t.TempDir()
		for name, text := range map[string]string{
			"systemctl": "case \"$1\" in is-*) [ \"$1\" = \"" + tt.state + "\" ];; esac\n",
			"portolan":  fmt.Sprintf("[ %v = false ]\n", tt.broken),
		} {
			text = "#!/bin/sh\necho " + name + " \"$@\" >>\"" + dir + "/calls\"\n" + text
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		o := run(t, nil, "unshare", "--mount", "sh", "-c",
			"mount -t tmpfs none /run && mkdir -p /run/systemd/system && PATH="+dir+":$PATH exec sh "+filepath.Join(scripts, tt.script)+" "+tt.args)
		calls, _ := os.ReadFile(filepath.Join(dir, "calls")) // none for none
		if o.code != 0 || string(calls) != tt.want || !strings.Contains(o.text, tt.warning) || tt.warning == "" && o.text != "" {
			t.Errorf("%s %s with %q: exit code %d, %s\ncalls:\n%swant:\n%s", tt.script, tt.args, tt.state, o.code, o.text, calls, tt.want)
		}
	}
}

// TestPackage builds the Debian package, installs it here, runs what the unit runs
// as the user that it made, and removes it again.
func TestPackage(t *testing.T) {
	if os.Getenv("PORTOLAN_LONG") == "" {
		t.Skip("it installs a package on this machine: set PORTOLAN_LONG=1")
	}
	need(t, "dpkg", "make", "setpriv", "dig")
	if o := run(t, nil, "dpkg", "-s", "portolan"); o.code == 0 {
		t.Skip("portolan is installed on this machine")
	}
	root := "../../.."
	out, err := exec.Command("make", "-C", root, "deb", "VERSION=0.0.1").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	debs, err := filepath.Glob(filepath.Join(root, "bin", "portolan_0.0.1*.deb"))
	if err != nil || len(debs) != 1 {
		t.Fatalf("%v, %v", debs, err)
	}
	t.Cleanup(func() {
		must(t, nil, "dpkg", "--purge", "portolan")
		for _, gone := range []string{"/usr/bin/portolan", "/usr/lib/portolan", "/etc/portolan", "/var/lib/portolan"} {
			if _, err := os.Stat(gone); err == nil {
				t.Errorf("%s is left after purging", gone)
			}
		}
		_ = os.Remove(debs[0])
	})
	must(t, nil, "dpkg", "-i", debs[0])
	for _, dir := range []string{"/var/lib/portolan", "/run/portolan"} { // what systemd would make
		must(t, nil, "install", "-d", "-o", "portolan", "-g", "portolan", dir)
	}
	t.Cleanup(func() { _ = os.RemoveAll("/run/portolan") })
	unit, err := os.ReadFile("/usr/lib/systemd/system/portolan.service")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^ExecStart=(.*)$`).FindStringSubmatch(string(unit))
	command := confinedAs("portolan", "portolan", strings.Fields(line[1])...)
	s := start(t, nil, command[0], command[1:]...)
	s.waitLog(0, "msg=serving")
	if o := run(t, nil, "dig", "+short", "@127.0.0.1", "-p", "5300", "myregistry.example.io"); !strings.Contains(o.text, "192.0.2.") {
		t.Errorf("dig: %s", o.text)
	}
	if o := run(t, nil, "portolan", "status"); o.code != 0 || !strings.Contains(o.text, "sandbox: on") {
		t.Errorf("status: %s", o.text)
	}
	// The package is installed once more below the running server, and takes its place.
	must(t, nil, "dpkg", "-i", debs[0])
	must(t, nil, "portolan", "upgrade")
	s.follow(0)
	if o := run(t, nil, "dig", "+short", "@127.0.0.1", "-p", "5300", "myregistry.example.io"); !strings.Contains(o.text, "192.0.2.") {
		t.Errorf("dig after the upgrade: %s", o.text)
	}
	if o := run(t, nil, "man", "-l", "/usr/share/man/man1/portolan-drain.1"); o.code != 0 && !strings.Contains(o.text, "not found") {
		t.Errorf("man: %s", o.text)
	}
}
