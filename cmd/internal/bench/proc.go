//go:build linux

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of times in /proc/PID/stat: 1/USER_HZ, which is 100 on every
// architecture that matters here.
const tick = 10 * time.Millisecond

// usage is what a process group has used of CPUs.
type usage struct{ user, system time.Duration }

func (u usage) total() time.Duration { return u.user + u.system }

func (u usage) minus(v usage) usage { return usage{u.user - v.user, u.system - v.system} }

// memory is what a process group takes, in bytes. Pages that several processes
// share count in each one's RSS, and once in all in PSS.
type memory struct{ rss, pss int64 }

// usage adds up all threads of all processes of the group.
func (p *process) usage() (u usage, err error) {
	err = p.each(func(dir string, stat []string) error {
		user, err1 := strconv.ParseInt(stat[11], 10, 64) // field 14 of proc(5): utime
		system, err2 := strconv.ParseInt(stat[12], 10, 64)
		if err1 != nil || err2 != nil {
			return fmt.Errorf("%s/stat: %q", dir, stat)
		}
		u.user += time.Duration(user) * tick
		u.system += time.Duration(system) * tick
		return nil
	})
	return u, err
}

// memory adds up the processes of the group.
func (p *process) memory() (m memory, err error) {
	err = p.each(func(dir string, _ []string) error {
		data, err := os.ReadFile(dir + "/smaps_rollup")
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(data)) {
			fields := strings.Fields(line)
			if len(fields) < 3 {
				continue
			}
			kib, _ := strconv.ParseInt(fields[1], 10, 64) // 0 for the lines that are no sizes
			switch fields[0] {
			case "Rss:":
				m.rss += kib << 10
			case "Pss:":
				m.pss += kib << 10
			}
		}
		return nil
	})
	return m, err
}

// each calls f for every process of the group with its folder in /proc and the
// fields of its stat from the third on.
func (p *process) each(f func(dir string, stat []string) error) error {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return err
	}
	found := false
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended meanwhile
		}
		fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:])) // names may have spaces
		if len(fields) < 13 || fields[2] != strconv.Itoa(p.cmd.Process.Pid) {
			continue
		}
		found = true
		if err := f(filepath.Dir(path), fields); err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("%s has ended: %s", p.name, p.log.String())
	}
	return nil
}

// machine prints what the figures were measured on.
func (r *rig) machine(benchmark string) {
	model := "unknown CPU"
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if name, ok := strings.CutPrefix(lines.Text(), "model name"); ok {
				model = strings.Trim(name, "\t :")
				break
			}
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease") // without it the line is shorter
	average, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(average), " ")
	r.printf("`make bench-%s`, %s: %s, %d CPUs, Linux %s, %s; load average before it %s.\n\n", benchmark,
		r.now().UTC().Format(time.DateOnly), model, runtime.NumCPU(), strings.TrimSpace(string(kernel)), runtime.Version(), first)
}
