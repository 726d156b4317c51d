//go:build linux

package activity

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"portolan.dev/resolver/decide"
)

// folder returns a folder in memory.
func folder(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "portolan-test-") //nolint:usetesting // has to lie in memory
	if err != nil {
		tb.Skipf("no memory file system: %v", err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func create(tb testing.TB, path string) (*Table, *Left) {
	tb.Helper()
	table, left, why, err := Create(path, 1000)
	if err != nil || why != nil && !errors.Is(why, fs.ErrNotExist) {
		tb.Fatal(why, err)
	}
	tb.Cleanup(func() { _ = table.Close(false) })
	return table, left
}

func regions(names ...string) (out [decide.MaxRegions]string) {
	copy(out[:], names)
	return out
}

func registries(keys ...string) func(int) []string {
	return func(from int) []string { return keys[min(from, len(keys)):] }
}

// publish names what entries hold and puts the table in its place.
func publish(tb testing.TB, table *Table, seed uint64) {
	tb.Helper()
	if err := table.Name(regions("westus", "eastus"), registries("a", "b")); err != nil {
		tb.Fatal(err)
	}
	if err := table.Publish(seed); err != nil {
		tb.Fatal(err)
	}
}

// killed copies what the process would leave behind if it were killed now.
func killed(tb testing.TB, path string) string {
	tb.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	to := filepath.Join(folder(tb), "left")
	if err := os.WriteFile(to, data, 0o600); err != nil {
		tb.Fatal(err)
	}
	return to
}

func TestATableOutlivesItsProcess(t *testing.T) {
	path := filepath.Join(folder(t), "units")
	table, left := create(t, path)
	if left != nil {
		t.Errorf("%+v was left by nobody", left)
	}
	publish(t, table, 4711)
	entry := decide.Entry{LastSeen: 1000, Until: 1900, Region: 1, Renewals: 2, Standing: decide.Qualified}
	table.Holds.Put(decide.NewKey(4711, 1, 2, 3), entry)
	if err := table.Name(regions("westus", "eastus", "japaneast"), registries("a", "b", "c")); err != nil {
		t.Fatal(err)
	}
	_, left = create(t, killed(t, path))
	if left == nil {
		t.Fatal("nothing was left")
	}
	if got, ok := left.Holds.Get(decide.NewKey(4711, 1, 2, 3)); !ok || got != entry {
		t.Errorf("%+v was left, want %+v", got, entry)
	}
	if left.Seed != 4711 || left.Regions != regions("westus", "eastus", "japaneast") || left.Registries[2] != "c" || len(left.Registries) != 3 {
		t.Errorf("left: seed %d, %v, %v", left.Seed, left.Regions[:4], left.Registries)
	}
}

// firstLayout returns a file as it was before entries had a standing: with protected
// set for units met in two different seconds, and an epoch of four bits below it.
func firstLayout(tb testing.TB, buckets int, states []uint64, seed uint64) []byte {
	tb.Helper()
	b := append([]byte(magic1), header(buckets, seed)[len(magic):headerUsed-4]...)
	b = binary.NativeEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	b = append(b, make([]byte, headerSize-headerUsed+buckets*decide.BucketSize)...)
	for i, state := range states {
		at := headerSize + i/7*decide.BucketSize + 8 + i%7*16
		binary.NativeEndian.PutUint64(b[at:], uint64(firstKey(i)))
		binary.NativeEndian.PutUint64(b[at+8:], state)
	}
	b = appendName(b, regionName, 0, "westus")
	return appendName(b, registryName, 5, "a")
}

func firstKey(i int) decide.Key { return decide.NewKey(7, 5, uint64(i), 1) }

// An upgrade keeps what the version before has left, whatever the epochs of its ways.
func TestATableOfTheFirstLayoutIsRead(t *testing.T) {
	const protected = 1 << 4
	var states []uint64
	want := make(map[decide.Key]decide.Entry)
	for epoch := range uint64(16) {
		for _, bits := range []uint64{0, protected} {
			e := decide.Entry{LastSeen: 1_800_000_000 + uint32(epoch), Region: 63 - uint8(epoch), Renewals: uint8(epoch)}
			if bits == protected {
				e.Standing = decide.Qualified
				e.Until = e.LastSeen + 900
			}
			want[firstKey(len(states))] = e
			states = append(states, uint64(e.LastSeen)<<32|uint64(max(e.Until, e.LastSeen)-e.LastSeen)<<15|uint64(e.Region)<<9|
				uint64(e.Renewals)<<5|bits|epoch)
		}
	}
	path := filepath.Join(folder(t), "units")
	if err := os.WriteFile(path, firstLayout(t, 8, states, 7), 0o600); err != nil {
		t.Fatal(err)
	}
	table, left := create(t, path)
	if left == nil || left.Seed != 7 || left.Regions[0] != "westus" || left.Registries[5] != "a" {
		t.Fatalf("left: %+v", left)
	}
	got := make(map[decide.Key]decide.Entry)
	left.Holds.Each(func(k decide.Key, e decide.Entry) { got[k] = e })
	if !maps.Equal(got, want) {
		t.Errorf("%v was read, want %v", got, want)
	}
	publish(t, table, 7)
	if b, err := os.ReadFile(path); err != nil || string(b[:len(magic)]) != magic {
		t.Errorf("the next table begins with %q, %v", b[:len(magic)], err)
	}
}

// Copies are taken while others write, as a kill would find the memory: all that they
// hold is what was once written.
func TestATableIsTrueAtEveryInstant(t *testing.T) {
	path := filepath.Join(folder(t), "units")
	table, _ := create(t, path)
	publish(t, table, 1)
	var identity [decide.MaxRegions]uint8
	for i := range identity {
		identity[i] = uint8(i)
	}
	var stop atomic.Bool
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			s := decide.Situation{Rank: []uint8{0, 1, 2, 3}, Masks: decide.Masks{Routed: 15, Up: 15}, Configured: 15, Stable: &identity, Local: &identity}
			for i := uint64(0); !stop.Load(); i++ {
				unit := (i*uint64(2*w+1) + uint64(w)) % 5000 // more than there is room for
				table.Holds.Serve(decide.NewKey(1, uint32(unit%4), unit, 0), uint8(unit%4), uint32(5000+unit), &s)
			}
		})
	}
	keys := make(map[decide.Key]uint64)
	for unit := range uint64(5000) {
		keys[decide.NewKey(1, uint32(unit%4), unit, 0)] = unit
	}
	copied := func() map[decide.Key]decide.Entry {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		left, err := read(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		out := make(map[decide.Key]decide.Entry)
		left.Holds.Each(func(k decide.Key, e decide.Entry) { out[k] = e })
		return out
	}
	seen := 0
	for range 60 {
		// A kill stops all at one instant, and a copy takes longer: what two copies agree
		// on was there.
		first, second := copied(), copied()
		for k, e := range first {
			if second[k] != e {
				continue
			}
			unit, ok := keys[k]
			if !ok || uint64(e.Region) != unit%4 || uint64(e.LastSeen) != 5000+unit {
				t.Errorf("unit %d (known %v): %+v", unit, ok, e)
			}
			seen++
		}
	}
	stop.Store(true)
	writers.Wait()
	if seen == 0 {
		t.Error("nothing was seen")
	}
}

func TestAProcessLeavesNothingThatIsSaved(t *testing.T) {
	path := filepath.Join(folder(t), "units")
	table, _, _, err := Create(path, 1000)
	if err != nil {
		t.Fatal(err)
	}
	publish(t, table, 1)
	if err := table.Close(true); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after a clean end: %v", err)
	}
	again, _, _, err := Create(path, 1000) // and is not published
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(false); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(path + "*"); len(left) > 0 {
		t.Errorf("after a start that came to nothing: %v", left)
	}
}

func TestATableIsNotTakenFromOthers(t *testing.T) {
	dir := folder(t)
	path := filepath.Join(dir, "units")
	table, _ := create(t, path)
	publish(t, table, 1)
	if _, _, _, err := Create(path, 1000); !errors.Is(err, ErrInUse) {
		t.Errorf("a table in use: %v", err)
	}
	readable := killed(t, path)
	if err := os.Chmod(readable, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := Create(readable, 1000); !errors.Is(err, ErrForeign) {
		t.Errorf("a table that others may read: %v", err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(killed(t, path), link); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := Create(link, 1000); !errors.Is(err, ErrForeign) {
		t.Errorf("a link: %v", err)
	}
	if _, _, _, err := Create(filepath.Join(dir, "none", "units"), 1000); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	if _, _, _, err := Create("/proc/units", 1000); !errors.Is(err, ErrNotMemory) {
		t.Errorf("another file system: %v", err)
	}
}

// Whatever is left, the next process starts: with what is whole.
func TestDamageIsFound(t *testing.T) {
	path := filepath.Join(folder(t), "units")
	table, _ := create(t, path)
	publish(t, table, 1)
	whole, err := os.ReadFile(killed(t, path))
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func([]byte) []byte{
		"empty":          func([]byte) []byte { return nil },
		"no magic":       func(b []byte) []byte { b[0]++; return b },
		"other count":    func(b []byte) []byte { b[24]++; return b },
		"only a header":  func(b []byte) []byte { return b[:headerSize] },
		"half a table":   func(b []byte) []byte { return b[:headerSize+1000] },
		"another's file": func([]byte) []byte { return []byte(strings.Repeat("hello", 10_000)) },
	} {
		damaged := filepath.Join(folder(t), "left")
		if err := os.WriteFile(damaged, damage(bytes.Clone(whole)), 0o600); err != nil {
			t.Fatal(err)
		}
		table, left, why, err := Create(damaged, 1000)
		if err != nil || left != nil || !errors.Is(why, ErrDamaged) {
			t.Errorf("%s: left %v, why %v, %v", name, left, why, err)
			continue
		}
		publish(t, table, 2)
		_ = table.Close(true)
	}
	for cut := 1; cut < recordHead+len("b"); cut++ { // the last name is "b"
		left, err := read(bytes.NewReader(whole[:len(whole)-cut]), int64(len(whole)-cut))
		if err != nil || len(left.Registries) != 1 || left.Registries[0] != "a" || left.Regions != regions("westus", "eastus") {
			t.Errorf("%d octets short: %+v, %v", cut, left, err)
		}
	}
}

func TestPathsTellServersApart(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if a, b := Path("/x", dir, 1), Path("/x", link, 1); a != b {
		t.Errorf("%s and %s are one folder", a, b)
	}
	seen := make(map[string]bool)
	for _, p := range []string{Path("/x", dir, 1), Path("/x", dir, 2), Path("/x", dir+"/b", 1), Path("/y", dir, 1)} {
		if seen[p] {
			t.Errorf("%s twice", p)
		}
		seen[p] = true
	}
}

func TestServingFromSharedMemoryAllocatesNothing(t *testing.T) {
	table, _ := create(t, filepath.Join(folder(t), "units"))
	publish(t, table, 1)
	serve := server(table.Holds)
	if n := testing.AllocsPerRun(1000, serve); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// server returns a function that serves one of many units.
func server(h *decide.Holds) func() {
	var identity [decide.MaxRegions]uint8
	for i := range identity {
		identity[i] = uint8(i)
	}
	s := decide.Situation{Rank: []uint8{0, 1}, Masks: decide.Masks{Routed: 3, Up: 3}, Configured: 3, Stable: &identity, Local: &identity}
	i := uint64(0)
	return func() {
		i = i*6364136223846793005 + 1442695040888963407
		h.Serve(decide.NewKey(1, 1, i>>44%100_000, 0), 0, uint32(1000+i>>60), &s)
	}
}

func BenchmarkServe(b *testing.B) {
	const units = 200_000
	for _, where := range []string{"heap", "shared"} {
		b.Run(where, func(b *testing.B) {
			h := decide.NewHolds(units)
			if where == "shared" {
				table, _, _, err := Create(filepath.Join(folder(b), "units"), units)
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { _ = table.Close(false) })
				h = table.Holds
			}
			serve := server(h)
			b.ReportAllocs()
			for b.Loop() {
				serve()
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	small := append(header(1, 7), make([]byte, headerSize-headerUsed+decide.BucketSize)...)
	f.Add(small)
	f.Add(appendName(appendName(small, regionName, 3, "westus"), registryName, 5, "a"))
	f.Add([]byte(fmt.Sprintf("%s%4100d", magic, 1)))
	f.Add(firstLayout(f, 1, []uint64{1<<63 | 31}, 7))
	f.Fuzz(func(t *testing.T, data []byte) {
		left, err := read(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		left.Holds.Each(func(k decide.Key, e decide.Entry) {
			if k == 0 || e.Region >= decide.MaxRegions {
				t.Errorf("%v: %+v", k, e)
			}
		})
	})
}

// What nobody comes back for is removed once it does not matter any more, and nothing
// else.
func TestSweep(t *testing.T) {
	dir := folder(t)
	now := time.Now()
	later := now.Add(2 * decide.Keep * time.Second)
	leave := func(state string, seen time.Time) string {
		t.Helper()
		path := Path(dir, state, 7)
		table, _ := create(t, path)
		publish(t, table, 1)
		table.Holds.Put(decide.NewKey(1, 1, 2, 3), decide.Entry{LastSeen: uint32(seen.Unix())})
		return path
	}
	alone := func(path string) string { // as after a kill: without the lock
		t.Helper()
		left := killed(t, path)
		if err := os.Rename(left, path); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now, now); err != nil {
			t.Fatal(err)
		}
		return path
	}
	mine, stale, active := alone(leave("/mine", now)), alone(leave("/stale", now)), alone(leave("/active", later))
	used := leave("/used", now)
	if err := os.Chtimes(used, now, now); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "portolan-8-0123456789abcdef")
	if err := os.Rename(alone(leave("/other", now)), other); err != nil {
		t.Fatal(err)
	}
	if n := Sweep(mine, now); n != 0 {
		t.Errorf("%d removed while they matter", n)
	}
	if n := Sweep(mine, later); n != 1 {
		t.Errorf("%d removed, want 1", n)
	}
	for path, stays := range map[string]bool{mine: true, stale: false, active: true, used: true, other: true} {
		if _, err := os.Lstat(path); (err == nil) != stays {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// While one process hands over to the next both have a table: the next one reads the
// first one's again when that has fallen silent, and if the next one never serves the
// first one's stays where it was.
func TestATableIsLent(t *testing.T) {
	path := filepath.Join(folder(t), "units")
	first, _ := create(t, path)
	publish(t, first, 7)
	first.Holds.Put(decide.NewKey(1, 1, 2, 3), decide.Entry{LastSeen: 100, Region: 1})
	if _, _, _, err := Create(path, 1000); !errors.Is(err, ErrInUse) {
		t.Errorf("before it is lent: %v", err)
	}
	if err := first.Lend(); err != nil {
		t.Fatal(err)
	}
	failed, left := create(t, path)
	if left == nil || left.Seed != 7 {
		t.Fatalf("lent: %+v", left)
	}
	if err := first.Back(); !errors.Is(err, ErrInUse) {
		t.Errorf("taken back while another process has it: %v", err)
	}
	if err := failed.Close(false); err != nil {
		t.Fatal(err)
	}
	if err := first.Back(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got[:headerUsed], first.memory[:headerUsed]) {
		t.Errorf("after a process that failed: %v", err)
	}
	if err := first.Lend(); err != nil {
		t.Fatal(err)
	}
	next, _ := create(t, path)
	publish(t, next, 7)
	late := decide.NewKey(1, 4, 5, 6)
	first.Holds.Put(late, decide.Entry{LastSeen: 101, Region: 1})
	again, err := next.Again()
	if err != nil {
		t.Fatal(err)
	}
	if e, ok := again.Holds.Get(late); !ok || e.LastSeen != 101 || again.Seed != 7 || again.Regions[1] != "eastus" {
		t.Errorf("what came late: %+v %v, seed %d", e, ok, again.Seed)
	}
	next.Forget()
	if _, err := next.Again(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("forgotten: %v", err)
	}
	// The first one ends and leaves the path to the next.
	if err := first.Close(false); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got[:headerUsed], next.memory[:headerUsed]) {
		t.Errorf("after the end of the first: %v", err)
	}
}
