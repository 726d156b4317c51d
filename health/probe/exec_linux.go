package probe

import (
	"errors"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// runGroup runs cmd in a process group of its own and kills what is left of the
// group when cmd ends or its context does.
//
// The group is killed while cmd, its leader, is not yet reaped: until then no other
// process and no other group can get its number.
func runGroup(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	g := group{}
	cmd.Cancel = func() error { return g.kill(cmd.Process.Pid) }
	if err := cmd.Start(); err != nil {
		return err
	}
	for {
		err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	_ = g.kill(cmd.Process.Pid)
	g.close()
	return cmd.Wait()
}

// group is a process group that may be killed until it is closed.
type group struct {
	mu     sync.Mutex
	closed bool
}

func (g *group) kill(leader int) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return os.ErrProcessDone
	}
	return unix.Kill(-leader, unix.SIGKILL)
}

func (g *group) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}
