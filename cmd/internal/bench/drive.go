//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"portolan.dev/cmd/internal/load"
)

// name is the registry that everybody serves.
const name = "myregistry.example.io"

// warming is how long a server is driven before it is measured.
const warming = 300 * time.Millisecond

// asking is one run of `portolan load`.
type asking struct {
	server   netip.AddrPort
	mix      string // a kind or a file
	rate     int    // 0: closed loop
	inFlight int
	duration time.Duration
	cpus     []int
	sockets  int
	timeout  time.Duration // after which a query is lost
}

// closed is a closed loop from the CPU of the load.
func (r *rig) closed(server netip.AddrPort, mix string) asking {
	return asking{server: server, mix: mix, inFlight: r.inFlight, duration: r.duration, cpus: []int{r.loadCPU}, sockets: 1, timeout: 2 * time.Second}
}

// ask runs the load and returns its report.
func (r *rig) ask(ctx context.Context, a *asking) (*load.Report, error) {
	args := []string{
		"-c", join(a.cpus), r.portolan, "load", "--server", a.server.String(), "--name", name, "--mix", a.mix, "-o", "json", "--spin",
		"--warmup", "0s", "--duration", a.duration.String(), "--threads", strconv.Itoa(len(a.cpus)), "--cpus", join(a.cpus),
		"--sockets", strconv.Itoa(a.sockets), "--rate", strconv.Itoa(a.rate), "--timeout", a.timeout.String(),
	}
	if a.rate == 0 {
		args = append(args, "--in-flight", strconv.Itoa(a.inFlight))
	}
	cmd := exec.CommandContext(ctx, "taskset", args...) //nolint:gosec // our own program
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("load on %s: %w: %s", a.server, err, errs.String())
	}
	report := new(load.Report)
	if err := json.Unmarshal(out.Bytes(), report); err != nil {
		return nil, fmt.Errorf("load on %s printed %q: %w", a.server, out.String(), err)
	}
	return report, nil
}

// measured is a report and what the server used meanwhile, in microseconds of CPU
// for each answer.
type measured struct {
	*load.Report
	user, system float64
}

func (m *measured) cpu() float64 { return m.user + m.system }

// measure drives the server of process p, first a little to warm it up.
func (r *rig) measure(ctx context.Context, p *process, a *asking) (*measured, error) {
	warm := *a
	warm.duration = warming
	if _, err := r.ask(ctx, &warm); err != nil {
		return nil, err
	}
	before, err := p.usage()
	if err != nil {
		return nil, err
	}
	report, err := r.ask(ctx, a)
	if err != nil {
		return nil, err
	}
	after, err := p.usage()
	if err != nil {
		return nil, err
	}
	used := after.minus(before)
	each := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 / float64(report.Answered) }
	return &measured{report, each(used.user), each(used.system)}, nil
}
