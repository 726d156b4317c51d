package app

import (
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

const (
	// spareHeap is how much garbage may gather before it is collected. The arrays that
	// are served from are large and hardly change, so that in proportion to them far
	// too much would.
	spareHeap = 24 << 20
	// loadingPercent is the same while a configuration is loaded, in percent of what
	// is in use: less costs more processor time.
	loadingPercent = 40
	// limitPart is the part of the memory that a container may have which the heap may
	// grow to; kernel buffers and the code count against it too.
	limitPart = 0.9
)

// settleMemory gives back what loading left behind, and keeps the heap near what is in
// use from here on.
func settleMemory() {
	debug.FreeOSMemory()
	if os.Getenv("GOGC") != "" {
		return
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m) // right behind a collection: what is allocated is in use
	debug.SetGCPercent(gcPercent(m.HeapAlloc))
}

// gcPercent is the percentage of live octets that leaves spareHeap between two
// collections.
func gcPercent(live uint64) int {
	return int(min(max(100*spareHeap/max(live, 1), 5), 100))
}

// loadMemory is how the garbage collector works while a configuration is loaded.
func loadMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(loadingPercent)
	}
}

// LimitMemory makes the limit of the control group that the process is in one of the
// heap too: near it garbage is collected more often, instead of the kernel ending
// the process. GOMEMLIMIT has the last word. Without a limit nothing happens.
func LimitMemory() {
	if limit, ok := groupLimit("/proc/self/cgroup", "/sys/fs/cgroup"); ok && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(float64(limit) * limitPart))
	}
}

// groupLimit returns the least memory limit of the control group named in a file
// and of those above it (cgroup version 2); false for none.
func groupLimit(self, root string) (limit uint64, ok bool) {
	data, err := os.ReadFile(self)
	if err != nil {
		return 0, false
	}
	_, path, found := strings.Cut(strings.TrimSpace(string(data)), "0::")
	if !found {
		return 0, false
	}
	path, _, _ = strings.Cut(path, "\n")
	limit = math.MaxUint64
	for path = filepath.Clean("/" + path); ; path = filepath.Dir(path) {
		text, err := os.ReadFile(filepath.Join(root, path, "memory.max"))
		if n, convErr := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64); err == nil && convErr == nil {
			limit, ok = min(limit, n), true
		}
		if path == "/" {
			return limit, ok
		}
	}
}
