package cached

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var begin = time.Unix(1_790_000_000, 0)

func at(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }

func TestExpires(t *testing.T) {
	lowered := Spans(nil).Replace(300, 60, at(100)) // expires by 400
	for _, tt := range []struct {
		what  string
		spans Spans
		last  int
		ttl   uint32
		want  int
	}{
		{"no change", nil, 50, 60, 110},
		{"last given before it was lowered", lowered, 50, 60, 350},
		{"last given long after", lowered, 1000, 60, 1060},
		{"last given soon after", lowered, 120, 60, 400},
		{"raised again", lowered.Replace(60, 600, at(200)), 250, 600, 850},
		{"lowered twice", lowered.Replace(60, 10, at(200)), 210, 10, 400},
		{"lowered twice, the second matters", Spans(nil).Replace(300, 200, at(0)).Replace(200, 10, at(250)), 260, 10, 450},
	} {
		if got := tt.spans.Expires(at(tt.last), tt.ttl); !got.Equal(at(tt.want)) {
			t.Errorf("%s: %v after the begin, want %d s", tt.what, got.Sub(begin), tt.want)
		}
	}
}

// world is a registry with one replica that is answered to caches, in the record and
// as it is: every answer, and every configuration with its end.
type world struct {
	now     time.Time
	ttl     uint32
	last    time.Time
	assumed time.Time // no answer is known since; the start
	entries []time.Time
	spells  []Span // Until is the end of the configuration here
	record  Record
}

func (w *world) given() time.Time { return latest(w.last, w.assumed) }

// configure changes the TTL: by a reload, by a restart, or by an upgrade, in which the
// process before answers on for a moment.
func (w *world) configure(t *testing.T, rng *rand.Rand, ttl uint32) {
	t.Helper()
	w.spells = append(w.spells, Span{w.ttl, w.now})
	next := func(end time.Time) Record {
		r := Record{Name: "r.test.", TTL: ttl}
		w.record.Follow(&r, end)
		return r
	}
	switch rng.IntN(4) {
	case 0: // a restart
		w.record = saved(t, next(w.now))
		w.last, w.assumed = time.Time{}, w.now
	case 1: // a kill between the writing and the serving, and a restart
		w.record = saved(t, next(Open))
		w.record.TTL = max(w.ttl, ttl) // what was written, not less than what was served in fact
		w.record = saved(t, next(w.now))
		w.last, w.assumed = time.Time{}, w.now
	case 2: // an upgrade
		open := next(Open)
		w.give(w.ttl)
		if got, least := open.Global.Expires(w.now, ttl), w.held(); got.Before(least) {
			t.Errorf("while the process before answers: %v, a cache holds it until %v", got.Sub(begin), least.Sub(begin))
		}
		w.pass(rng)
		w.give(w.ttl)
		w.spells[len(w.spells)-1].Until = w.now
		w.record = saved(t, next(w.now))
		w.last, w.assumed = time.Time{}, w.now
	default:
		w.record = next(w.now)
	}
	w.ttl = ttl
}

func saved(t *testing.T, r Record) Record {
	t.Helper()
	var out Record
	if err := Read(Append(Header(), &r), func(r *Record) { out = r.Clone() }); err != nil {
		t.Fatal(err)
	}
	return out
}

func (w *world) give(ttl uint32) {
	w.last = w.now
	w.entries = append(w.entries, after(w.now, ttl))
}

func (w *world) pass(rng *rand.Rand) {
	w.now = w.now.Add(time.Duration(rng.IntN(90)) * time.Second)
}

// held is when the last cache lets go of the replica.
func (w *world) held() time.Time { return slices.MaxFunc(w.entries, time.Time.Compare) }

// rule is what the package says of itself, from the whole history.
func (w *world) rule() time.Time {
	at := after(w.given(), w.ttl)
	for _, s := range w.spells {
		if s.TTL > w.ttl {
			at = latest(at, after(earliest(w.given(), s.Until), s.TTL))
		}
	}
	return at
}

// Whatever becomes of TTLs, answers and processes, what is said is never before the last cache entry
// expires, and not after what the rule says.
func TestCachesAreKnown(t *testing.T) {
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		ttls := []uint32{1, 10, 30, 60, 60, 120, 300, 3600}
		w := &world{now: begin, ttl: ttls[rng.IntN(len(ttls))], assumed: begin}
		w.record = Record{Name: "r.test.", TTL: w.ttl}
		w.give(w.ttl)
		for range 30 {
			w.pass(rng)
			if rng.IntN(2) == 0 {
				w.give(w.ttl)
			} else {
				w.configure(t, rng, ttls[rng.IntN(len(ttls))])
			}
			got := w.record.Global.Expires(w.given(), w.ttl)
			if least := w.held(); got.Before(least) {
				t.Fatalf("seed %d: said %v after the begin, but a cache holds it until %v", seed, got.Sub(begin), least.Sub(begin))
			}
			if most := w.rule(); got.After(most) {
				t.Fatalf("seed %d: said %v after the begin, by the rule it is %v", seed, got.Sub(begin), most.Sub(begin))
			}
		}
	}
}

// Spans that cannot decide any more are dropped, so that no number of changes makes the
// record grow.
func TestSpansStayFew(t *testing.T) {
	var s Spans
	ttl, rng := uint32(60), rand.New(rand.NewPCG(1, 2))
	for i := range 10_000 {
		next := 1 + rng.Uint32N(300)
		s = s.Replace(ttl, next, at(i*10))
		if ttl = next; len(s) > 40 {
			t.Fatalf("%d spans after %d changes", len(s), i+1)
		}
	}
	if s = s.Replace(ttl, 1, at(1_000_000)); len(s) > 1 {
		t.Errorf("long after: %v", s)
	}
}

func TestFollowAddresses(t *testing.T) {
	long, now := time.Time{}, at(1000)
	for _, tt := range []struct {
		what  string
		old   Record
		next  []Replica
		until []time.Time
	}{
		{"the same", Record{TTL: 60, RegionalTTL: 300, Replicas: []Replica{{"a", []uint32{1, 2}, long}}}, []Replica{{"a", []uint32{2, 1}, long}}, []time.Time{long}},
		{"one more", Record{TTL: 60, RegionalTTL: 300, Replicas: []Replica{{"a", []uint32{1}, long}}}, []Replica{{"a", []uint32{1, 2}, long}}, []time.Time{long}},
		{"another", Record{TTL: 60, RegionalTTL: 300, Replicas: []Replica{{"a", []uint32{1}, long}}}, []Replica{{"a", []uint32{2}, long}}, []time.Time{at(1300)}},
		{"another, without regional names", Record{TTL: 60, Replicas: []Replica{{"a", []uint32{1}, long}}}, []Replica{{"a", []uint32{2}, long}}, []time.Time{at(1060)}},
		{"another, with a longer regional TTL before", Record{TTL: 60, RegionalTTL: 30, Regional: Spans{{300, at(1200)}}, Replicas: []Replica{{"a", []uint32{1}, long}}}, []Replica{{"a", []uint32{2}, long}}, []time.Time{at(1200)}},
		{"gone", Record{TTL: 60, RegionalTTL: 300, Replicas: []Replica{{"a", []uint32{1}, long}}}, nil, []time.Time{at(1300)}},
		{"while they are given", Record{TTL: 60, RegionalTTL: 300, Replicas: []Replica{{"a", []uint32{2}, Open}}}, []Replica{{"a", []uint32{2}, long}}, []time.Time{at(1300)}},
		{"twice", Record{TTL: 60, RegionalTTL: 30, Replicas: []Replica{{"a", []uint32{1}, at(1200)}}}, []Replica{{"a", []uint32{2}, long}}, []time.Time{at(1200)}},
		{"long ago", Record{TTL: 60, Replicas: []Replica{{"a", []uint32{1}, at(1000).Add(-2 * forget)}}}, []Replica{{"a", []uint32{1}, long}}, []time.Time{long}},
	} {
		next := Record{TTL: 60, RegionalTTL: tt.old.RegionalTTL, Replicas: tt.next}
		tt.old.Follow(&next, now)
		for i, want := range tt.until {
			if got := next.Replicas[i].Until; !got.Equal(want) {
				t.Errorf("%s: %v, want %v", tt.what, got, want)
			}
		}
	}
}

func TestEncoding(t *testing.T) {
	records := []Record{
		{Name: "a.test.", TTL: 60, RegionalTTL: 300, Global: Spans{{300, at(5)}, {120, Open}}, Regional: Spans{{86400, at(7)}}, Replicas: []Replica{
			{"westus", []uint32{1, 1 << 31}, time.Time{}}, {"eastus", nil, at(9)},
		}},
		{Name: "b.test."},
	}
	b := Header()
	for i := range records {
		b = Append(b, &records[i])
	}
	read := func(b []byte) (out []Record, err error) {
		err = Read(b, func(r *Record) { out = append(out, r.Clone()) })
		return out, err
	}
	if got, err := read(b); err != nil || !cmp.Equal(records, got) {
		t.Errorf("%v, %s", err, cmp.Diff(records, got))
	}
	whole := len(Append(Header(), &records[0]))
	for n := range b {
		if _, err := read(b[:n]); (err == nil) != (n == 1 || n == whole) {
			t.Errorf("the first %d of %d octets: %v", n, len(b), err)
		}
	}
	if _, err := read([]byte{version + 1}); !errors.Is(err, ErrVersion) {
		t.Errorf("another version: %v", err)
	}
}

// FuzzRead: no octets make it fail otherwise than with an error, and what it reads is
// what Append writes.
func FuzzRead(f *testing.F) {
	r := Record{Name: "a.", TTL: 60, Global: Spans{{300, at(5)}}, Replicas: []Replica{{"westus", []uint32{1}, Open}}}
	f.Add(Append(Header(), &r))
	f.Fuzz(func(t *testing.T, b []byte) {
		again := Header()
		var first []Record
		if Read(b, func(r *Record) { first = append(first, r.Clone()); again = Append(again, r) }) != nil {
			return
		}
		var second []Record
		if err := Read(again, func(r *Record) { second = append(second, r.Clone()) }); err != nil || !cmp.Equal(first, second) {
			t.Errorf("%v: %s", err, cmp.Diff(first, second))
		}
	})
}
