//go:build linux

package probe

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"portolan.dev/health"
)

func shell(script string) Spec {
	return Spec{
		Type: Exec, Address: "192.0.2.10:443", Host: "myregistry.example.io", Path: "/v2/",
		Command: []string{"/bin/sh", "-c", script, "probe"}, Env: []string{"EXTRA=one two"},
	}
}

func TestExec(t *testing.T) {
	t.Setenv("SECRET_OF_THE_SERVER", "x")
	tests := []struct {
		name, script string
		verdict      health.Verdict
		detail       string
	}{
		{"silent", "exit 0", health.Pass, "exit 0"},
		{"first line", "echo; echo ' fine '; echo more", health.Pass, "fine"},
		{"standard error", "echo bad >&2; exit 2", health.Fail, "exit status 2: bad"},
		{"fails", "exit 1", health.Fail, "exit status 1"},
		{"neutral", "echo busy; exit 75", health.Neutral, "busy"},
		{"neutral and silent", "exit 75", health.Neutral, "exit status 75"},
		{"signal", "kill -9 $$", health.Fail, "signal: killed"},
		{"environment", `echo "$PORTOLAN_ADDRESS $PORTOLAN_HOST $PORTOLAN_PATH $EXTRA$SECRET_OF_THE_SERVER"`, health.Pass, "192.0.2.10:443 myregistry.example.io /v2/ one two"},
		{"directory", "pwd", health.Pass, "/"},
		{"no input", "read x || echo none", health.Pass, "none"},
		{"control characters", `printf '\033[2Jx'`, health.Pass, "?[2Jx"},
		{"10 MB of output", "head -c 10485760 /dev/zero | tr '\\0' x", health.Pass, "xxx"},
		{"hangs", "sleep 600", health.Fail, "timeout"},
		{"hangs and ignores TERM", "trap '' TERM HUP INT; while :; do sleep 600; done", health.Fail, "timeout"},
		{"endless output", "while :; do echo x; done", health.Fail, "timeout"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want(t, tryFor(t, shell(tt.script), patience(tt.detail)), tt.verdict, tt.detail)
		})
	}
}

// TestExecLeavesNothingBehind starts grandchildren, in the foreground and the background, with and
// without an end of the command before its timeout.
func TestExecLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"command ends":        `sleep 600 & echo $! > FILE; echo ok`,
		"command hangs":       `sleep 600 & echo $! > FILE; wait`,
		"output closed":       `sleep 600 >/dev/null 2>&1 & echo $! > FILE; echo ok`,
		"great-grandchild":    `(sleep 600 & echo $! > FILE) & wait; echo ok`,
		"ignores what can be": `(trap '' TERM HUP INT; sleep 600 & echo $! > FILE; wait) & wait`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "pid")
			// In this time even a slow machine has started them all.
			tryFor(t, shell(strings.ReplaceAll(script, "FILE", file)), 4*time.Second)
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
			if err != nil {
				t.Fatal(err)
			}
			for range 2000 {
				if gone(pid) {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
			t.Errorf("process %d goes on", pid)
			_ = syscall.Kill(pid, syscall.SIGKILL)
		})
	}
}

// gone says whether a process has ended; one that nobody has reaped has.
func gone(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return true
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(after, "Z")
}

// TestExecProcessThatLeavesTheGroup holds the output open from a session of its own: the
// probe does not wait for it.
func TestExecProcessThatLeavesTheGroup(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	began := time.Now()
	r := tryFor(t, shell(`setsid sh -c 'echo $$ > `+file+`; exec sleep 300' & while [ ! -s `+file+` ]; do sleep 0.01; done; echo ok`), time.Minute)
	want(t, r, health.Pass, "ok")
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("waited %v", took)
	}
	text, _ := os.ReadFile(file)
	if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

func TestExecCanceled(t *testing.T) {
	p, err := New(shell("sleep 600"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if r := p.Probe(ctx); r.Verdict != health.Fail {
		t.Errorf("got %+v", r)
	}
}
