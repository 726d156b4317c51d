package resolver_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"portolan.dev/resolver/decide"
)

// asker sends queries for own.example as clients and floods do.
type asker struct {
	s                  *server
	plain, ecs4, ecs6  []byte
	dst                []byte
	westus, westeurope []byte // the addresses that answers hold
	now                int64
}

func newAsker(t *testing.T, table int) *asker {
	t.Helper()
	s := newServer(t, strings.Replace(contoso, "  atapex:\n    zone: own.example\n", "  atapex:\n    zone: own.example\n    sticky: {hold: 15m}\n", 1))
	s.s.Holds = decide.NewHolds(table)
	a := &asker{s: s, westus: []byte{192, 0, 2, 110}, westeurope: []byte{192, 0, 2, 140}, now: clock.Unix()}
	for to, subnet := range map[*[]byte]string{&a.plain: "", &a.ecs4: seattle, &a.ecs6: "2001:db8:1::/48"} {
		msg, err := question("own.example.", dns.TypeA, subnet).Pack()
		if err != nil {
			t.Fatal(err)
		}
		*to = msg
	}
	return a
}

// ask asks from an address, for a client subnet unless that is the zero Prefix, and
// returns the address in the answer.
func (a *asker) ask(from netip.Addr, subnet netip.Prefix) []byte {
	msg := a.plain
	if subnet.IsValid() {
		msg = a.ecs4
		if subnet.Addr().Is6() {
			msg = a.ecs6
		}
		octets := subnet.Addr().AsSlice()[:subnet.Bits()/8]
		copy(msg[len(msg)-len(octets):], octets)
	}
	a.dst = a.s.udp.Answer(a.dst[:0], msg, netip.AddrPortFrom(from, 4242), a.now)
	for _, want := range [][]byte{a.westus, a.westeurope} {
		if bytes.Contains(a.dst, want) {
			return want
		}
	}
	return nil
}

// host is a client: an address, or a subnet behind a resolver.
type host struct {
	from   netip.Addr
	subnet netip.Prefix
}

func random6(rng *rand.Rand) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], 0x2600<<48|rng.Uint64()>>16<<12)
	return netip.AddrFrom16(b)
}

func random4(rng *rand.Rand) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(20 + rng.IntN(100)), byte(rng.IntN(256)), byte(rng.IntN(256)), 1})
}

// public is a resolver that sends client subnets, and a flood of them.
var public = netip.MustParseAddr("192.0.2.53")

// hostsOn returns clients that are given westus, of both families, with resolvers of
// their own and behind the public one. No flood here has their addresses.
func (a *asker) hostsOn(t *testing.T, n int) (hosts []host) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 9))
	found := [4]int{}
	for range 10_000 {
		h := host{from: netip.AddrFrom4([4]byte{128, 95, byte(rng.IntN(256)), 7})}
		kind := rng.IntN(4)
		if kind >= 2 {
			var b [16]byte
			binary.BigEndian.PutUint64(b[:], 0x2607_0000_0000_0000|rng.Uint64()>>16<<16&0xffff_ffff_0000)
			h.from = netip.AddrFrom16(b)
		}
		if kind%2 == 1 {
			bits := 24
			if h.from.Is6() {
				bits = 48
			}
			subnet, err := h.from.Prefix(bits)
			if err != nil {
				t.Fatal(err)
			}
			h = host{public, subnet}
		}
		if found[kind] < n && bytes.Equal(a.ask(h.from, h.subnet), a.westus) {
			found[kind]++
			hosts = append(hosts, h)
		}
	}
	for kind, got := range found {
		if got < n {
			t.Fatalf("only %d clients of kind %d near westus", got, kind)
		}
	}
	a.s.s.Holds = decide.NewHolds(a.s.s.Holds.Cap() / 2) // forget the search; as large as before
	return hosts
}

// A flood of forged sources and client subnets, of both families, that has begun when a
// replica is drained, moves nobody who was active before.
func TestAFloodMovesNobody(t *testing.T) {
	floods := map[string]func(rng *rand.Rand) (netip.Addr, netip.Prefix){
		"forged IPv4": func(rng *rand.Rand) (netip.Addr, netip.Prefix) { return random4(rng), netip.Prefix{} },
		"forged IPv6": func(rng *rand.Rand) (netip.Addr, netip.Prefix) { return random6(rng), netip.Prefix{} },
		"IPv4 subnets from one source": func(rng *rand.Rand) (netip.Addr, netip.Prefix) {
			return public, netip.PrefixFrom(random4(rng), 24).Masked()
		},
		"IPv6 subnets from one source": func(rng *rand.Rand) (netip.Addr, netip.Prefix) {
			return public, netip.PrefixFrom(random6(rng), 48).Masked()
		},
		"IPv6 subnets from forged sources": func(rng *rand.Rand) (netip.Addr, netip.Prefix) {
			return random4(rng), netip.PrefixFrom(random6(rng), 48).Masked()
		},
	}
	for name, next := range floods {
		t.Run(name, func(t *testing.T) {
			a := newAsker(t, 2000)
			hosts := a.hostsOn(t, 10)
			registry, _ := a.s.s.FindRegistry("atapex")
			rng := rand.New(rand.NewPCG(2, 9))
			var last [3][]host // of the seconds before: each unit of the flood asks three times
			begin, drain := a.now, a.now+900
			moved := 0
			for ; a.now < drain+1800; a.now++ {
				if a.now == drain {
					masks := a.s.s.Live[registry].Masks()
					masks.Routed = masks.Routed.With(a.s.region("westus"), false)
					a.s.s.Live[registry].Change(masks, time.Unix(a.now, 0), false)
				}
				for i, h := range hosts {
					if (a.now-begin+int64(i))%60 == 0 && !bytes.Equal(a.ask(h.from, h.subnet), a.westus) {
						moved++
					}
				}
				if a.now < begin+300 {
					continue
				}
				fresh := make([]host, 20)
				for i := range fresh {
					fresh[i].from, fresh[i].subnet = next(rng)
				}
				last = [3][]host{fresh, last[0], last[1]}
				for _, hosts := range last {
					for _, h := range hosts {
						a.ask(h.from, h.subnet)
					}
				}
			}
			if moved > 0 {
				t.Errorf("%d answers to clients that were active before the flood are another replica", moved)
			}
			l := a.s.s.Holds.Losses()
			if l.Evicted+l.Full+l.Source < 1000 {
				t.Errorf("the flood was too small to show anything: %+v", l)
			}
			if one := strings.HasSuffix(name, "one source"); one != (l.Source > 0) {
				t.Errorf("%+v", l)
			}
		})
	}
}
