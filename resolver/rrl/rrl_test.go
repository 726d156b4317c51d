package rrl

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

const start = 1_800_000_000

func limiter(rate, burst uint32) *Limiter {
	return New(Policy{Rates: [classes]uint32{rate, rate, rate}, Burst: burst}, NewTable(1<<20, 42))
}

// allowed counts how many of n responses to addr pass at one moment.
func allowed(l *Limiter, addr string, n int, now int64) (passed int) {
	a := netip.MustParseAddr(addr)
	for i := range n {
		if l.Take(a, Answer, now, uint64(i)) {
			passed++
		}
	}
	return passed
}

func TestRateAndBurst(t *testing.T) {
	for _, addr := range []string{"192.0.2.1", "2001:db8::1"} {
		l := limiter(100, 250)
		if n := allowed(l, addr, 1000, start); n != 250 {
			t.Errorf("%s: %d at once, want the burst of 250", addr, n)
		}
		total := 0
		for s := range int64(10) {
			total += allowed(l, addr, 1000, start+1+s)
		}
		if total < 995 || total > 1005 {
			t.Errorf("%s: %d in ten seconds of flood, want the rate of 100 a second", addr, total)
		}
		if n := allowed(l, addr, 1000, start+60); n != 250 {
			t.Errorf("%s: %d after a pause, want 250", addr, n)
		}
		for s := range int64(60) {
			if n := allowed(l, addr, 100, start+100+s); n != 100 {
				t.Fatalf("%s: %d of 100 pass at the rate itself", addr, n)
			}
		}
	}
}

// A network has its own count, which a victim's neighbours do not pay into.
func TestNetworks(t *testing.T) {
	for _, tt := range []struct {
		name, base string
		vary       int // the octet of the address that is forged
		multiple   int
		neighbour  string // outside the network
	}{
		{"/24", "192.0.2.0", 3, multiple4Mid, "192.0.3.1"},
		{"/56", "2001:db8:1:2::", 15, multiple6Mid, "2001:db8:1:100::1"},
		{"/48", "2001:db8:1::", 6, multiple6Site, "2001:db8:2::1"},
		{"/32", "2001:db8::", 4, multiple6Coarse, "2001:db9::1"},
	} {
		l := limiter(10, 20)
		a := netip.MustParseAddr(tt.base).AsSlice()
		passed := 0
		for i := range 100_000 {
			a[tt.vary] = byte(i)
			if len(a) == 16 && tt.vary < 15 {
				a[tt.vary+1] = byte(i >> 8)
			}
			addr, _ := netip.AddrFromSlice(a)
			if l.Take(addr, Answer, start, uint64(i)) {
				passed++
			}
		}
		if want := 20 * tt.multiple; passed < want*9/10 || passed > want*13/10 {
			t.Errorf("%s: %d pass, want about %d", tt.name, passed, want)
		}
		if n := allowed(l, tt.neighbour, 20, start); n != 20 {
			t.Errorf("%s: %d of 20 pass to a neighbour", tt.name, n)
		}
	}
	l := limiter(10, 20)
	allowed(l, "192.0.2.1", 100_000, start)
	if n := allowed(l, "192.0.2.2", 20, start); n != 20 {
		t.Errorf("%d of 20 pass beside a flooded address", n)
	}
}

// The /16 is for floods whose forged addresses are spread over many /24s.
func TestCarpet(t *testing.T) {
	l := limiter(10, 20)
	passed := 0
	for i := range 1 << 17 {
		if l.Take(netip.AddrFrom4([4]byte{198, 18, byte(i >> 2), byte(i)}), Answer, start, uint64(i)) {
			passed++
		}
	}
	if want := 20 * multiple4Coarse; passed < want*9/10 || passed > want*12/10 {
		t.Errorf("%d pass over a /16, want about %d", passed, want)
	}
}

func TestClassesHaveTheirOwnCounts(t *testing.T) {
	l := New(Policy{Rates: [classes]uint32{10, 5, 0}, Burst: 10}, NewTable(0, 1))
	a := netip.MustParseAddr("192.0.2.1")
	passed := [classes]int{}
	for class := range classes {
		for i := range 100 {
			if l.Take(a, class, start, uint64(i)) {
				passed[class]++
			}
		}
	}
	if passed != [classes]int{10, 10, 100} {
		t.Errorf("%v", passed)
	}
}

func TestExempt(t *testing.T) {
	l := New(Policy{Rates: [classes]uint32{1, 1, 1}, Burst: 1, Exempt: []netip.Prefix{
		netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32"),
	}}, NewTable(0, 1))
	for addr, want := range map[string]int{"192.0.2.1": 50, "2001:db8::1": 50, "192.0.3.1": 1, "2001:db9::1": 1} {
		if n := allowed(l, addr, 50, start); n != want {
			t.Errorf("%s: %d of 50 pass, want %d", addr, n, want)
		}
	}
}

// A step of the clock, to either side, must block nobody.
func TestClockSteps(t *testing.T) {
	for _, step := range []int64{-3600, 3600, -86400 * 150, 86400 * 150, 86400 * 365 * 20} {
		l := limiter(100, 250)
		allowed(l, "192.0.2.1", 1000, start)
		if n := allowed(l, "192.0.2.1", 1000, start+step); n != 250 {
			t.Errorf("%d pass after a step of %d s, want 250", n, step)
		}
	}
	l := limiter(100, 250)
	allowed(l, "192.0.2.1", 1000, start)
	if n := allowed(l, "192.0.2.1", 1000, start-1); n != 0 {
		t.Errorf("%d pass for a worker whose clock is a second behind, want 0", n)
	}
}

// A flood from everywhere must not block an address that asks now and then.
func TestFloodFromEverywhereBlocksNobody(t *testing.T) {
	l := limiter(100, 250)
	rng := rand.New(rand.NewPCG(1, 2))
	a := netip.MustParseAddr("203.0.113.7")
	for s := range int64(20) {
		for i := range uint64(20_000) {
			u := rng.Uint32()
			l.Take(netip.AddrFrom4([4]byte{byte(1 + u%200), byte(u >> 8), byte(u >> 16), byte(u >> 24)}), Answer, start+s, i)
		}
		if !l.Take(a, Answer, start+s, 0) {
			t.Fatalf("blocked in second %d", s)
		}
	}
}

func TestTakeDoesNotAllocate(t *testing.T) {
	l := limiter(100, 250)
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	if n := testing.AllocsPerRun(100, func() { l.Take(v4, Answer, start, 0); l.Take(v6, Negative, start, 0) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkTake(b *testing.B) {
	l := New(Policy{Rates: [classes]uint32{100, 100, 100}, Burst: 250}, NewTable(2<<20, 42))
	for _, bb := range []struct {
		name string
		addr func(*rand.Rand) netip.Addr
	}{
		{"ipv4-one", func(*rand.Rand) netip.Addr { return netip.MustParseAddr("192.0.2.1") }},
		{"ipv6-one", func(*rand.Rand) netip.Addr { return netip.MustParseAddr("2001:db8::1") }},
		{"ipv4-many", func(r *rand.Rand) netip.Addr {
			u := r.Uint32()
			return netip.AddrFrom4([4]byte{byte(u), byte(u >> 8), byte(u >> 16), byte(u >> 24)})
		}},
		{"ipv6-many", func(r *rand.Rand) netip.Addr {
			a := netip.MustParseAddr("2001:db8::1").As16()
			u := r.Uint64()
			for i := range 8 {
				a[2+i] = byte(u >> (8 * i))
			}
			return netip.AddrFrom16(a)
		}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			rng := rand.New(rand.NewPCG(1, 2))
			addrs := make([]netip.Addr, 1<<13)
			for i := range addrs {
				addrs[i] = bb.addr(rng)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				// A second for every 64 responses: at the rate, so that none is limited.
				l.Take(addrs[i&(1<<13-1)], Answer, start+int64(i>>6), uint64(i))
				i++
			}
		})
	}
}

// The least burst there is lets the first response to everybody through, also where it
// is one that stands for others.
func TestTheFirstResponsePasses(t *testing.T) {
	for _, rate := range []uint32{1, 10, 1000, 1 << 24, 1 << 30} {
		for _, base := range []string{"192.0.2.0", "2001:db8::"} {
			l := limiter(rate, 1)
			a := netip.MustParseAddr(base).AsSlice()
			for i := range 100 {
				a[0], a[1], a[len(a)-1] = byte(i), byte(i>>8), 1
				addr, _ := netip.AddrFromSlice(a)
				if !l.Take(addr, Answer, start, uint64(i)) {
					t.Errorf("%d a second: the first response to %v is refused", rate, addr)
				}
			}
		}
	}
}

// A place without a count is empty at any time, also shortly before the clock of counts
// begins again.
func TestAnEmptyPlaceIsEmpty(t *testing.T) {
	for _, now := range []uint64{0, 1, 1<<timeBits - 1, start * second} {
		if d := remaining(0, now, second); d != 0 {
			t.Errorf("at %d an empty place is %d ahead", now, d)
		}
	}
	if d := remaining(1<<timeBits|5, 3, second); d != 2 {
		t.Errorf("a count at 5 is %d ahead of 3", d)
	}
}
