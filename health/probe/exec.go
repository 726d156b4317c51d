package probe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"portolan.dev/health"
)

const (
	// exitNeutral is the exit code by which a command says nothing either way:
	// EX_TEMPFAIL of sysexits.h.
	exitNeutral = 75
	// maxOutput is how much of the output is kept; the rest is read and dropped.
	maxOutput = 4 << 10
	// outputDelay is how long output may stay open after the command has ended,
	// because a process that left its group still holds it.
	outputDelay = 100 * time.Millisecond
	// commandPath is the PATH of commands whose environment sets none.
	commandPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// execProber runs a command: exit code 0 passes, 75 says nothing, all others fail.
// The first line of its output is the detail. It runs in / with an environment of
// PATH, PORTOLAN_ADDRESS, PORTOLAN_HOST, PORTOLAN_SERVER_NAME, PORTOLAN_PATH and what the spec
// adds, in a process group of its own that is killed when it ends or its time
// is up. A process that leaves the group outlives the probe.
type execProber struct {
	command []string
	env     []string
}

func newExec(s *Spec) (*execProber, error) {
	if len(s.Command) == 0 || !filepath.IsAbs(s.Command[0]) {
		return nil, errors.New("the command must be an absolute path and its arguments")
	}
	if info, err := os.Stat(s.Command[0]); err != nil {
		return nil, err
	} else if info.IsDir() || info.Mode().Perm()&0o111 == 0 {
		return nil, fmt.Errorf("%s cannot be executed: see its mode", s.Command[0])
	}
	for _, e := range s.Env {
		if name, _, ok := strings.Cut(e, "="); !ok || name == "" {
			return nil, fmt.Errorf("environment %q: write NAME=value", clean(e))
		}
	}
	env := slices.Concat([]string{
		commandPath, "PORTOLAN_ADDRESS=" + s.Address, "PORTOLAN_HOST=" + s.host(),
		"PORTOLAN_SERVER_NAME=" + s.ServerName, "PORTOLAN_PATH=" + s.Path,
	}, s.Env)
	return &execProber{s.Command, env}, nil
}

// Probe implements [health.Prober].
func (p *execProber) Probe(ctx context.Context) health.Result {
	var out firstLine
	cmd := exec.CommandContext(ctx, p.command[0], p.command[1:]...) //nolint:gosec // the command of the operator
	cmd.Env, cmd.Dir = p.env, "/"
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = outputDelay
	err := runGroup(cmd)
	line := out.String()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return silent("timeout")
	case err == nil || errors.Is(err, exec.ErrWaitDelay):
		return pass(either(line, "exit 0"))
	case !errors.As(err, &exit):
		return failed(&startError{err})
	case exit.ExitCode() == exitNeutral:
		r := neutral(either(line, exit.Error()))
		r.Fault = health.Silent
		return r
	case line != "":
		return silent(exit.Error() + ": " + line)
	}
	return silent(exit.Error())
}

// silent is the verdict on a target that a command finds fault with: nobody knows whether
// it has answered.
func silent(detail string) health.Result {
	r := fail(detail)
	r.Fault = health.Silent
	return r
}

func either(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// firstLine keeps the start of what is written to it.
type firstLine struct {
	mu   sync.Mutex
	kept []byte
}

// Write implements [io.Writer]. It never fails, so that a talkative command is not
// stopped by it.
func (f *firstLine) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kept = append(f.kept, p[:min(len(p), maxOutput-len(f.kept))]...)
	return len(p), nil
}

// String returns the first line that is not blank.
func (f *firstLine) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	line, _, _ := strings.Cut(strings.TrimSpace(string(f.kept)), "\n")
	return strings.TrimSpace(line)
}
