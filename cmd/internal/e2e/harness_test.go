//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for something that has to happen. It is generous:
// what has to be quick is measured.
const patience = time.Minute

// scratch holds what lives as long as the test process: the binary.
var scratch string

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "portolan-e2e-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:forbidigo // there is no test yet that could fail
	}
	defer os.RemoveAll(scratch)
	sweepNamespaces()
	m.Run() // the test framework exits with its result when TestMain returns
}

// portolan returns the path of the binary, which is built once.
func portolan(t *testing.T) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var build = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "portolan")
	cmd := exec.Command("go", "build", "-o", path, "portolan.dev/cmd/portolan")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as `make build` does
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// missing skips the test for a reason, or fails it in CI.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("not skipped, for this is CI: "+format, args...)
	}
	t.Skipf(format, args...)
}

// need skips the test where one of the programs is not installed, and returns
// their paths.
func need(t *testing.T, programs ...string) []string {
	t.Helper()
	paths := make([]string, len(programs))
	for i, name := range programs {
		path, err := exec.LookPath(name)
		if err != nil {
			missing(t, "%s is not installed", name)
		}
		paths[i] = path
	}
	return paths
}

// eventually polls ok until it is true, every few milliseconds, and fails the
// test if that takes longer than within.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// process is a program that runs beside the test. It is killed with the test
// process, and at the end of the test at the latest.
type process struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	now  *os.Process // cmd's, or the one that has taken its place since
	log  logBuffer
	mute bool          // who started it shows what it has said
	done chan struct{} // closed when it has ended and cmd.ProcessState is set
}

// start starts a program in a namespace; nil is the one of the test.
func start(t *testing.T, n *netns, name string, args ...string) *process {
	t.Helper()
	return startWith(t, n, nil, name, args...)
}

// startWith is start with descriptors, which the program has from 3 on.
func startWith(t *testing.T, n *netns, files []*os.File, name string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: filepath.Base(name), cmd: n.command(name, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.ExtraFiles = &p.log, &p.log, files
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	p.now = p.cmd.Process
	go func() {
		// It waits for everybody who can write to the log: also for who takes its place.
		_ = p.cmd.Wait() // what it says is in ProcessState
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() && !p.mute && p.log.len() > 0 {
			t.Logf("log of %s:\n%s", p.name, p.log.tail(25))
		}
	})
	return p
}

// signal sends a signal to the process, by its id.
func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.now.Signal(s); err != nil {
		p.t.Fatalf("%v to %s: %v", s, p.name, err)
	}
}

// kill ends the process at once and returns when it has ended.
func (p *process) kill() {
	_ = p.now.Kill() // it may have ended
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Errorf("%s: a process that it has started still runs", p.name)
	}
}

// wait returns the exit code, and fails the test if the process has not ended
// within the time given.
func (p *process) wait(within time.Duration) int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(within):
		p.t.Fatalf("%s has not ended within %v", p.name, within)
	}
	return p.cmd.ProcessState.ExitCode()
}

// ended reports whether the process has ended.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// waitLog returns the first line from offset on (an earlier length of the log)
// that contains text.
func (p *process) waitLog(offset int, text string) string {
	p.t.Helper()
	return p.waitLogWithin(patience, offset, text)
}

func (p *process) waitLogWithin(within time.Duration, offset int, text string) string {
	p.t.Helper()
	var line string
	eventually(p.t, within, "a log line of "+p.name+" with "+text, func() bool {
		line = p.log.line(offset, text)
		if line == "" && p.ended() {
			p.t.Fatalf("%s has ended: exit code %d", p.name, p.cmd.ProcessState.ExitCode())
		}
		return line != ""
	})
	return line
}

// logBuffer collects what a process prints.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// len returns how much has been printed: an offset for waitLog.
func (l *logBuffer) len() int { return len(l.String()) }

// line returns the first whole line from offset on that contains text, or "".
func (l *logBuffer) line(offset int, text string) string {
	for line := range strings.Lines(l.String()[offset:]) {
		if strings.HasSuffix(line, "\n") && strings.Contains(line, text) {
			return strings.TrimSuffix(line, "\n")
		}
	}
	return ""
}

// tail returns the last n lines.
func (l *logBuffer) tail(n int) string {
	lines := strings.SplitAfter(l.String(), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "")
}

// outcome is what a program that was run to its end has said.
type outcome struct {
	code int
	text string // output and errors together
}

// run runs a program in a namespace to its end.
func run(t *testing.T, n *netns, name string, args ...string) outcome {
	t.Helper()
	p := start(t, n, name, args...)
	p.mute = true
	code := p.wait(patience)
	return outcome{code, p.log.String()}
}

// must runs a program and fails the test unless it exits with 0.
func must(t *testing.T, n *netns, name string, args ...string) string {
	t.Helper()
	o := run(t, n, name, args...)
	if o.code != 0 {
		t.Fatalf("%s %s: exit code %d\n%s", name, strings.Join(args, " "), o.code, o.text)
	}
	return o.text
}
