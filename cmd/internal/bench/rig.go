//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

const (
	// patience bounds every wait for something that has to happen.
	patience = time.Minute
	// grace is how long a server may take to stop.
	grace = 3 * time.Second
)

// rig is what all benchmarks have in common.
type rig struct {
	portolan, cache    string
	outPath, intoPath  string
	serverCPU, loadCPU int
	rounds, inFlight   int
	duration, limit    time.Duration

	out, log  io.Writer
	now       func() time.Time
	dir       string // of this run
	shared    string // its folder in memory, "" where there is none
	processes []*process
	closeOut  func() error
	nextPort  int
}

// open makes the folder of the run and checks what every benchmark needs.
func (r *rig) open() (err error) {
	if runtime.NumCPU() < 2 {
		return errors.New("this needs two CPUs: one for the server, one for the load")
	}
	if r.portolan, err = filepath.Abs(r.portolan); err != nil {
		return err
	}
	for _, program := range []string{"taskset", r.portolan} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%w: `make build` makes portolan, util-linux has taskset", err)
		}
	}
	if r.closeOut, err = r.tee(r.outPath); err != nil {
		return err
	}
	r.nextPort = 15300
	// Servers keep their table of clients there, and leave it behind for the next.
	if r.shared, err = os.MkdirTemp("/dev/shm", "portolan-bench-"); err != nil {
		r.shared = ""
	}
	r.dir, err = os.MkdirTemp("", "portolan-bench-")
	return err
}

// close ends every process and removes the folder.
func (r *rig) close() error {
	for _, p := range r.processes {
		p.stop()
	}
	if r.shared != "" {
		_ = os.RemoveAll(r.shared) // what is left there takes memory, and is no reason to fail
	}
	return errors.Join(os.RemoveAll(r.dir), r.closeOut())
}

// port returns a loopback address that this run has not used yet.
func (r *rig) port() netip.AddrPort {
	r.nextPort++
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(r.nextPort))
}

// process is a program on CPUs of its own. It and its children are one process
// group; they are killed when this program dies, too.
type process struct {
	name string
	cmd  *exec.Cmd
	log  tail
	done chan struct{} // closed when it has ended
}

// start starts a program on the CPUs.
func (r *rig) start(ctx context.Context, cpus []int, name string, args ...string) (*process, error) {
	p := &process{name: filepath.Base(name), done: make(chan struct{})}
	p.cmd = exec.CommandContext(ctx, "taskset", append([]string{"-c", join(cpus), name}, args...)...) //nolint:gosec // the programs of the benchmark
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	p.cmd.Cancel = func() error { return syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }
	p.cmd.WaitDelay = grace
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() { // ends with the process, which stop and ctx see to
		_ = p.cmd.Wait() // that it has ended is all that counts
		close(p.done)
	}()
	r.processes = append(r.processes, p)
	return p, nil
}

// stop asks the process to end, and kills its group if it does not.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.done:
	case <-time.After(grace):
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // children may be left, or none
	<-p.done
}

// awaitAnswer waits until the server at addr answers for name with a success.
func (r *rig) awaitAnswer(ctx context.Context, p *process, addr netip.AddrPort, name string, within time.Duration) error {
	m := question(name, netip.MustParsePrefix("145.18.0.0/24")) // some servers answer only who can be placed
	c := &dns.Client{Timeout: 100 * time.Millisecond}
	for deadline := r.now().Add(within); r.now().Before(deadline); {
		select {
		case <-p.done:
			return fmt.Errorf("%s has ended: %s", p.name, p.log.String())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
		if a, _, err := c.ExchangeContext(ctx, m, addr.String()); err == nil && a.Rcode == dns.RcodeSuccess && len(a.Answer) > 0 {
			return nil
		}
	}
	return fmt.Errorf("%s does not answer for %s within %s: %s", p.name, name, within, p.log.String())
}

// question asks for the addresses of name on behalf of a client.
func question(name string, client netip.Prefix) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), dns.TypeA)
	m.SetEdns0(1232, false)
	m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_SUBNET{
		Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: uint8(client.Bits()), Address: client.Addr().AsSlice(),
	}}
	return m
}

// write writes a file of the run and returns its path.
func (r *rig) write(name, text string) (string, error) {
	path := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // servers that give up root must read it
		return "", err
	}
	return path, os.WriteFile(path, []byte(text), 0o644) //nolint:gosec // the same
}

func join(cpus []int) string {
	text := make([]string, len(cpus))
	for i, cpu := range cpus {
		text[i] = strconv.Itoa(cpu)
	}
	return strings.Join(text, ",")
}

// kept is how much of that is kept at least.
const kept = 4096

// tail keeps the end of what a program has said.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

// Write keeps the last few lines.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if len(t.buf) > 2*kept {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-kept:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.buf))
}
