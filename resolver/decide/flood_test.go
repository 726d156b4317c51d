package decide

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// flood is forged traffic: units of which each asks some times, gap seconds apart.
type flood struct {
	perSecond int // queries
	asks      int
	gap       uint32
	// source gives the address that a unit asks from, the zero Addr for the unit's own.
	source func(unit uint64) netip.Addr
}

// unitAddress returns the address of a unit, IPv4 and IPv6 in turn, and with it the
// words of its key as resolver makes them. Those of clients, from 1<<40 on, are no
// flood's.
func unitAddress(unit uint64) (a netip.Addr, hi, lo uint64) {
	if unit%2 == 0 {
		p := uint32(unit/2*2654435761)&0x7fffff | uint32(unit>>40)<<23
		return netip.AddrFrom4([4]byte{byte(p >> 16), byte(p >> 8), byte(p), 1}), uint64(p), 1
	}
	p := (unit*0x9e3779b97f4a7c15)>>16 | 0x2000_0000_0000
	var b [16]byte
	for i := range 6 {
		b[i] = byte(p >> (40 - 8*i))
	}
	return netip.AddrFrom16(b), p, 2
}

// second sends what falls into the second now, of a flood that began at start.
func (f *flood) second(w *world, h *Holds, kind, start, now uint32) {
	fresh := max(f.perSecond/f.asks, 1)
	base, _ := Choose(w.s.Rank, w.s.Masks, w.s.AllDown)
	for ask := range uint32(f.asks) {
		began := now - ask*f.gap
		if began < start || began > now {
			break
		}
		for i := range fresh {
			unit := uint64(kind)<<32 + uint64(began-start)*uint64(fresh) + uint64(i)
			from, hi, lo := unitAddress(unit)
			if f.source != nil {
				from = f.source(unit)
			}
			w.s.Asker = from
			h.Serve(NewKey(99, 7, hi, lo), base, now, &w.s)
		}
	}
}

// steady is a client that asks every so many seconds, for both types.
type steady struct {
	key          Key
	from         netip.Addr
	first, every uint32
	silent       uint32 // it asks nothing from then on until the change and a while after
	region       uint8
	moved        bool
}

func newSteady(i int, first, every uint32) *steady {
	from, hi, lo := unitAddress(1<<40 + uint64(i))
	return &steady{key: NewKey(99, 7, hi, lo), from: from, first: first + uint32(i)%every, every: every, silent: 1<<32 - 1}
}

func (c *steady) second(w *world, now, change uint32) {
	if now < c.first || (now-c.first)%c.every != 0 || now >= c.silent && now < change+200 {
		return
	}
	base, _ := Choose(w.s.Rank, w.s.Masks, w.s.AllDown)
	w.s.Asker = c.from
	for range 2 {
		region, _ := w.h.Serve(c.key, base, now, &w.s)
		c.moved = c.moved || now > change && region != c.region
		c.region = region
	}
}

// floods are the kinds that a table of the usual size, for 200,000 units, has to bear. The
// test has an eighth of it, and sends an eighth of them.
var floods = map[string][]flood{
	"once":               {{perSecond: 1000, asks: 1}},
	"twice slowly":       {{perSecond: 100, asks: 2, gap: 1}, {perSecond: 500, asks: 1}},
	"twice fast":         {{perSecond: 1500, asks: 2, gap: 1}, {perSecond: 1500, asks: 1}},
	"twice, far apart":   {{perSecond: 500, asks: 2, gap: 100}, {perSecond: 500, asks: 1}},
	"three times":        {{perSecond: 600, asks: 3, gap: 1}, {perSecond: 500, asks: 1}},
	"every five minutes": {{perSecond: 500, asks: 20, gap: 290}, {perSecond: 500, asks: 1}},
	"from one source":    {{perSecond: 1000, asks: 3, gap: 1, source: func(uint64) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, 1}) }}},
	"from many sources": {{perSecond: 1000, asks: 3, gap: 1, source: func(unit uint64) netip.Addr {
		return netip.AddrFrom4([4]byte{192, 0, byte(unit % 251), 1})
	}}},
}

// Clients that were active before a flood, that are active while it runs, and that
// qualified and then were silent until after the change, are all held through a drain
// in the midst of it. Those that come after it has filled the table for an hour compete
// for what is left of it: nearly all are in, and held, after twenty minutes.
func TestAFloodMovesNobodyWhoIsActive(t *testing.T) {
	const (
		begin  = modelStart
		start  = begin + 300    // of the flood
		late   = start + 3600   // of the clients that come then
		change = late + 1200    // the drain
		end    = change + 900*3 // still held then
	)
	if testing.Short() {
		t.Skip("millions of queries")
	}
	for name, kinds := range floods {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.h = NewHolds(200_000 / 8)
			var before, quiet, during []*steady
			for i := range 40 {
				before = append(before, newSteady(i, begin, 60))
				quiet = append(quiet, newSteady(100+i, begin, 60))
				quiet[i].silent = change - 200
				during = append(during, newSteady(200+i, late, 60))
			}
			for now := uint32(begin); now < end; now++ {
				if now == change {
					w.change(now, Masks{Routed: 0b110, Up: 0b111})
				}
				for i, f := range kinds {
					f.perSecond /= 8
					if now >= start {
						f.second(w, w.h, uint32(i+1), start, now)
					}
				}
				for i := range 40 {
					before[i].second(w, now, change)
					quiet[i].second(w, now, change)
					during[i].second(w, now, change)
				}
			}
			t.Logf("%+v", w.h.Losses())
			for _, kind := range []struct {
				name    string
				clients []*steady
				may     int // move
			}{{"before", before, 0}, {"quiet", quiet, 0}, {"during", during, 2}} {
				moved := 0
				for _, c := range kind.clients {
					if c.moved {
						moved++
					}
				}
				if moved > kind.may {
					t.Errorf("%d of %d clients of the kind %q moved", moved, len(kind.clients), kind.name)
				}
			}
		})
	}
}

// When a flood has filled the table, a client that is met in several seconds and then
// held keeps its way, whether or not the others of its bucket left it one to qualify
// for: any number of units that are met once leave it there.
func TestAFloodEvictsNobodyWhoIsHeld(t *testing.T) {
	const units, clients = 40_000, 40
	for asks := range uint32(4) {
		t.Run(fmt.Sprint(asks, " times"), func(t *testing.T) {
			w := newWorld(t)
			w.h = NewHolds(20_000)
			now := uint32(modelStart)
			serve := func(kind, n uint64, want uint8) (moved int) {
				base, _ := Choose(w.s.Rank, w.s.Masks, w.s.AllDown)
				for i := range n {
					from, hi, lo := unitAddress(kind<<32 + i)
					w.s.Asker = from
					if got, _ := w.h.Serve(NewKey(99, 7, hi, lo), base, now, &w.s); got != want {
						moved++
					}
				}
				return moved
			}
			for range asks {
				serve(1, units, 0)
				now++
			}
			for range 3 {
				serve(1<<8, clients, 0)
				now++
			}
			w.change(now, Masks{Routed: 0b110, Up: 0b111})
			now++
			moved := serve(1<<8, clients, 0)
			for kind := range uint64(5) {
				serve(2+kind, units, 1)
				now += 50
				moved += serve(1<<8, clients, 0)
			}
			if moved > 0 {
				t.Errorf("%d answers of %d to clients that are held are another replica", moved, 6*clients)
			}
		})
	}
}

// watched is a client in a flooded table and in one without a flood.
type watched struct {
	key  Key
	from netip.Addr
	next uint32
	safe uint32 // until then it is in the flooded table for good, as in the other
}

// The property: a unit that has qualified, or is held, is answered by a table that is
// far too small for a flood as by one that sees no flood, until it has been silent for
// longer than it matters. Whatever the flood.
func TestNoFloodMovesAUnitThatQualified(t *testing.T) {
	compared, held, evicted, refused := 0, 0, 0, 0
	for _, seed := range seeds(t, 60) {
		rng := rand.New(rand.NewPCG(seed, 11))
		w := newWorld(t)
		w.h = HoldsIn(make([]Bucket, 1<<rng.IntN(5)))
		calm := NewHolds(1000)
		var clients []*watched
		for i := range 2 + rng.IntN(4*len(w.h.buckets)) {
			from, hi, lo := unitAddress(1<<40 + uint64(i))
			clients = append(clients, &watched{key: NewKey(99, 7, hi, lo), from: from, next: modelStart + uint32(rng.IntN(60))})
		}
		var kinds []flood
		for range 1 + rng.IntN(3) {
			kinds = append(kinds, randomFlood(rng))
		}
		start := modelStart + uint32(rng.IntN(600))
		for now := uint32(modelStart); now < modelStart+6000; now++ {
			if rng.IntN(150) == 0 {
				w.change(now, Masks{Routed: Mask(rng.IntN(7)) + 1, Up: Mask(7).With(uint8(rng.IntN(3)), rng.IntN(3) > 0)})
			}
			for i := range kinds {
				if now >= start {
					kinds[i].second(w, w.h, uint32(i+1), start, now)
				}
			}
			for _, c := range clients {
				if now < c.next {
					continue
				}
				wrong, was := c.ask(w, calm, now)
				if wrong != "" {
					t.Fatalf("seed %d, %d s after the start, floods %+v: %s", seed, now-modelStart, kinds, wrong)
				}
				compared += int(was & 1)
				held += int(was >> 1)
				c.next = now + 1 + uint32(rng.IntN([]int{3, 60, 60, 300, 1200}[rng.IntN(5)]))
			}
		}
		l := w.h.Losses()
		evicted, refused = evicted+int(l.Evicted), refused+int(l.Full+l.Source)
	}
	t.Logf("%d answers compared, of them %d held; %d units evicted, %d newcomers refused", compared, held, evicted, refused)
	if compared < 1000 || held < 100 || evicted < 1000 || refused < 1000 {
		t.Error("the worlds were too quiet to show anything")
	}
}

func randomFlood(rng *rand.Rand) flood {
	f := flood{perSecond: 1 + rng.IntN(20), asks: 1 + rng.IntN(5), gap: uint32(1 + rng.IntN(100))}
	if rng.IntN(2) == 0 {
		prefixes := uint64(1 + rng.IntN(5))
		f.source = func(unit uint64) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, byte(unit % prefixes), 1}) }
	}
	return f
}

// ask asks both tables. was has bit 0 set when the answers had to be the same, and bit
// 1 when they were held, too.
func (c *watched) ask(w *world, calm *Holds, now uint32) (wrong string, was uint8) {
	base, _ := Choose(w.s.Rank, w.s.Masks, w.s.AllDown)
	w.s.Asker = c.from
	before, known := w.h.Get(c.key)
	region, held := w.h.Serve(c.key, base, now, &w.s)
	want, _ := calm.Serve(c.key, base, now, &w.s)
	safe := now <= c.safe
	if safe && (!known || region != want) {
		return fmt.Sprintf("a unit (in the table: %v, %+v) is given %d, without a flood %d; base %d", known, before, region, want, base), 0
	}
	if safe {
		was = 1
		if held {
			was = 3
		}
	}
	e, ok := w.h.Get(c.key)
	other, _ := calm.Get(c.key)
	same := ok && e.Region == other.Region && e.Until == other.Until && e.Renewals == other.Renewals
	c.safe = 0
	switch {
	case same && e.Standing == Qualified:
		c.safe = now + Keep
	case same && held:
		c.safe = e.Until + w.s.Policy.Idle
	}
	return "", was
}

// One source brings in its share and no more, however often it asks and for however
// long, and others find room beside it.
func TestASourceHasItsShare(t *testing.T) {
	for name, f := range map[string]flood{
		"once":          {perSecond: 20, asks: 1},
		"three times":   {perSecond: 40, asks: 3, gap: 1},
		"kept for ever": {perSecond: 60, asks: 100, gap: 1000},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.h = NewHolds(2000)
			one := netip.MustParseAddr("2001:db8:1:2::1")
			f.source = func(uint64) netip.Addr { return one }
			most := 0
			for now := uint32(modelStart); now < modelStart+6*3600; now++ {
				f.second(w, w.h, 1, modelStart, now)
				if now%60 == 0 {
					n := 0
					w.h.Each(func(_ Key, e Entry) {
						if now-e.LastSeen <= Keep {
							n++
						}
					})
					most = max(most, n)
				}
			}
			// Sliding periods let a few more in than a share at a time.
			if share := int(w.h.share()); most > share*5/4 || most < share/2 {
				t.Errorf("%d units of one source are in the table at once, its share is %d of %d", most, share, w.h.Cap())
			}
			if w.h.Losses().Source == 0 {
				t.Error("none was refused because of its source")
			}
			w.s.Asker = netip.MustParseAddr("2001:db8:2::1")
			k := NewKey(1, 7, 1, 9)
			w.h.Serve(k, 0, modelStart+6*3600, &w.s)
			if _, ok := w.h.Get(k); !ok {
				t.Error("a unit of another source found no room")
			}
		})
	}
}

// A busy resolver has room for the prefixes of its clients.
func TestABusyResolverHasRoom(t *testing.T) {
	w := newWorld(t)
	w.h = NewHolds(200_000)
	w.s.Asker = netip.MustParseAddr("192.0.2.53")
	for now := uint32(modelStart); now < modelStart+1800; now += 60 {
		for i := range uint64(20_000) {
			w.h.Serve(NewKey(1, 7, i, 1), 0, now, &w.s)
		}
	}
	if l := w.h.Losses(); l.Full+l.Source > 0 || l.Evicted > 100 { // a few fall into one bucket
		t.Errorf("%+v", l)
	}
}

func TestSourceOf(t *testing.T) {
	same := [][2]string{{"192.0.2.1", "192.0.2.255"}, {"192.0.2.1", "::ffff:192.0.2.7"}, {"2001:db8:1::1", "2001:db8:1:ffff::"}}
	for _, p := range same {
		if a, b := sourceOf(netip.MustParseAddr(p[0])), sourceOf(netip.MustParseAddr(p[1])); a != b || a == 0 {
			t.Errorf("%s is of source %x, %s of %x", p[0], a, p[1], b)
		}
	}
	if a, b := sourceOf(netip.MustParseAddr("192.0.2.1")), sourceOf(netip.MustParseAddr("192.0.3.1")); a == b {
		t.Error("two prefixes are one source")
	}
	if a, b := sourceOf(netip.MustParseAddr("2001:db8:1::1")), sourceOf(netip.MustParseAddr("2001:db8:2::1")); a == b {
		t.Error("two prefixes are one source")
	}
	for _, a := range []netip.Addr{{}, netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("::1"), netip.MustParseAddr("::ffff:127.0.0.1")} {
		if sourceOf(a) != 0 {
			t.Errorf("%v is a source", a)
		}
	}
}

func TestAFloodAllocatesNothing(t *testing.T) {
	w := newWorld(t)
	w.h = NewHolds(100)
	f := flood{perSecond: 20, asks: 2, gap: 1}
	now := uint32(modelStart)
	if n := testing.AllocsPerRun(500, func() {
		f.second(w, w.h, 1, modelStart, now)
		now++
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
