package ledger

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
)

// soundFile makes a ledger with trees of two levels, free pages and records of all
// kinds, and returns its bytes and what it says.
func soundFile(t *testing.T) (file []byte, state State, events []Event) {
	t.Helper()
	r, clk, path := rand.New(rand.NewPCG(5, 6)), newClock(), tempPath(t)
	o := Options{Now: clk.now, MaxEvents: 150}
	f := mustOpen(t, path, o)
	for range 12 {
		batch := make([]Event, 25)
		for i := range batch {
			batch[i] = randomEvent(r, clk.now())
		}
		mustAppend(t, f, batch...)
	}
	if err := f.SetSerials(t.Context(), map[string]uint32{"example.io.": 2026030101, "example.org.": 7}); err != nil {
		t.Fatal(err)
	}
	mustClose(t, f)
	f = mustOpen(t, path, o)
	settled(t, f)
	state = mustState(t, f)
	events, err := f.Events(t.Context(), 0, 0)
	if err != nil || len(events) != 150 {
		t.Fatalf("%d events, %v", len(events), err)
	}
	mustClose(t, f)
	if file, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	return file, state, events
}

type damageTest struct {
	path   string
	state  State
	events []Event
}

// open demands that a file is either refused, with all an operator needs, or
// says what it said before it was damaged.
func (d damageTest) open(t *testing.T, file []byte, what string) (refused bool) {
	t.Helper()
	if err := os.WriteFile(d.path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(d.path, Options{Now: newClock().now, MaxEvents: 1000})
	if err != nil {
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), d.path) || !strings.Contains(err.Error(), "backup") {
			t.Errorf("%s: %v", what, err)
		}
		if now, err := os.ReadFile(d.path); err != nil || !bytes.Equal(now, file) {
			t.Errorf("%s: a file that was refused has been changed (%v)", what, err)
		}
		return true
	}
	defer f.Close()
	if diff := diffState(d.state, mustState(t, f)); diff != "" {
		t.Fatalf("%s: accepted, with another state:\n%s", what, diff)
	}
	events, err := f.Events(t.Context(), 0, 0)
	// Compared as text: cmp takes its time, and there are thousands of files.
	if err != nil || texts(t, d.events) != texts(t, events) {
		t.Fatalf("%s: accepted, with other events: %v\n%s", what, err, cmp.Diff(d.events, events))
	}
	return false
}

func texts(t *testing.T, events []Event) string {
	t.Helper()
	b, err := json.Marshal(events)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func newDamageTest(t *testing.T) ([]byte, damageTest) {
	t.Helper()
	file, state, events := soundFile(t)
	d := damageTest{tempPath(t), state, events}
	if d.open(t, file, "sound") {
		t.Fatal("a sound file is refused")
	}
	return file, d
}

func TestTruncatedFileIsRefused(t *testing.T) {
	t.Parallel()
	file, d := newDamageTest(t)
	meta, err := readMeta(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	used := int(meta.end) * int(meta.pageSize) // what follows is room to grow
	for n := 0; n < used; n += 509 {
		if !d.open(t, file[:n], fmt.Sprintf("cut to %d of %d", n, used)) {
			t.Errorf("cut to %d of %d: accepted", n, used)
		}
	}
	if !d.open(t, file[:used-1], "last byte cut") {
		t.Error("last byte cut: accepted")
	}
}

func TestGarbageIsRefusedOrHarmless(t *testing.T) {
	t.Parallel()
	file, d := newDamageTest(t)
	r, page := rand.New(rand.NewPCG(8, 9)), os.Getpagesize()
	pages := len(file) / page
	garbage := make([]byte, page)
	for i := range garbage {
		garbage[i] = byte(r.Uint32())
	}
	var refused, accepted int
	try := func(what string, change func(b []byte)) {
		b := bytes.Clone(file)
		change(b)
		if d.open(t, b, what) {
			refused++
		} else {
			accepted++
		}
	}
	for p := range pages {
		at := b2(page, p)
		try(fmt.Sprintf("page %d garbage", p), func(b []byte) { copy(at(b), garbage) })
		try(fmt.Sprintf("page %d zero", p), func(b []byte) { clear(at(b)) })
		try(fmt.Sprintf("page %d half zero", p), func(b []byte) { clear(at(b)[page/2:]) })
		other := r.IntN(pages)
		try(fmt.Sprintf("page %d is page %d", p, other), func(b []byte) { copy(at(b), b2(page, other)(b)) })
	}
	many := 1
	switch {
	case long():
		many = 10
	case testing.Short():
		many = 0
	}
	for range 100 + 200*many { // fields of headers and elements lie at the front of a page
		p, at, v := r.IntN(pages), 4*r.IntN(60), []uint32{0, 1, 3, 0xFFFF, 1 << 31, 0xFFFFFFFF, r.Uint32()}[r.IntN(7)]
		try(fmt.Sprintf("page %d, %#x at %d", p, v, at), func(b []byte) { binary.NativeEndian.PutUint32(b2(page, p)(b)[at:], v) })
	}
	for range 100 + 100*many {
		at, bit := r.IntN(len(file)), byte(1)<<r.IntN(8)
		try(fmt.Sprintf("bit %#x at %d", bit, at), func(b []byte) { b[at] ^= bit })
	}
	t.Logf("%d files refused, %d as good as before", refused, accepted)
	if refused == 0 || accepted == 0 {
		t.Error("the damage is all of one kind")
	}
}

// b2 returns the page of a file.
func b2(size, page int) func([]byte) []byte {
	return func(b []byte) []byte { return b[page*size : (page+1)*size] }
}

func TestWhatIsNotALedgerIsRefused(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "other.db")
	db, err := bbolt.Open(other, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for name, contents := range map[string]string{"empty": "", "text": strings.Repeat("server: {}\n", 10_000), "short": "x"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(contents), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"other.db", "empty", "text", "short"} {
		if f, err := Open(filepath.Join(dir, name), Options{Now: time.Now}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v, %v", name, f, err)
		}
	}
	if f, err := Open(dir, Options{Now: time.Now}); err == nil {
		t.Errorf("a folder: %v, %v", f, err)
	}
}

// bbolt opens with one header page as of the transaction before: a drain that was
// acknowledged would be forgotten without a word.
func TestNoTransactionIsForgotten(t *testing.T) {
	path := tempPath(t)
	f := mustOpen(t, path, Options{})
	mustAppend(t, f, Event{Kind: Start})
	mustAppend(t, f, Event{Kind: Drain, Registry: "r", Region: "x"})
	mustClose(t, f)
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for page := range 2 {
		b := bytes.Clone(file)
		b2(os.Getpagesize(), page)(b)[pageHeader+48] ^= 1
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path, Options{Now: time.Now}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("header page %d: %v", page, err)
		}
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	path := tempPath(t)
	f := mustOpen(t, path, Options{})
	err := f.update(func(tx *bbolt.Tx) error { return put(tx, bucketMeta, []byte("schema"), []byte("2")) })
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, f)
	if _, err := Open(path, Options{Now: time.Now}); err == nil || !strings.Contains(err.Error(), "its schema is 2") {
		t.Error(err)
	}
}

// A file that is damaged while it is open must not end the process.
func TestDamageAtRunTime(t *testing.T) {
	path := tempPath(t)
	f := mustOpen(t, path, Options{})
	r := rand.New(rand.NewPCG(1, 1))
	for range 10 {
		batch := make([]Event, 100)
		for i := range batch {
			batch[i] = randomEvent(r, time.Now())
		}
		mustAppend(t, f, batch...)
	}
	if err := os.Truncate(path, int64(2*os.Getpagesize())); err != nil {
		t.Fatal(err)
	}
	watched := f.Watch(t.Context(), 1)
	if events, err := f.Events(t.Context(), 0, 0); !errors.Is(err, ErrCorrupt) {
		t.Errorf("read: %d events, %v", len(events), err)
	}
	for range watched {
	}
	if _, err := f.Append(t.Context(), 0, Event{Kind: Start}); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "restart") {
		t.Errorf("append: %v", err)
	}
	mustClose(t, f)
	if _, err := Open(path, Options{Now: time.Now}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("reopen: %v", err)
	}
}

// FuzzCheckPages: no file that passes makes bbolt panic, fault, loop or complain.
func FuzzCheckPages(f *testing.F) {
	f.Fuzz(func(t *testing.T, file []byte) {
		if len(file) > 1<<16 {
			return
		}
		if len(file) >= 2048 { // let it get past the checksums of the headers
			for _, at := range []int{0, 1024} {
				sum := fnv.New64a()
				sum.Write(file[at+pageHeader : at+pageHeader+metaSize-8])
				binary.NativeEndian.PutUint64(file[at+pageHeader+metaSize-8:], sum.Sum64())
			}
		}
		if checkPages(bytes.NewReader(file), int64(len(file))) != nil {
			return
		}
		path := filepath.Join(t.TempDir(), "db")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType, NoStatistics: true})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		err = db.View(func(tx *bbolt.Tx) error {
			for err := range tx.Check() {
				t.Error(err)
			}
			return tx.ForEach(func(_ []byte, b *bbolt.Bucket) error {
				if b == nil { // a plain key
					return nil
				}
				return b.ForEach(func(_, _ []byte) error { return nil })
			})
		})
		if err != nil {
			t.Error(err)
		}
	})
}
