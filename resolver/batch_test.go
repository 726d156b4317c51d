package resolver_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/miekg/dns"

	"portolan.dev/resolver"
)

// stray is a random query: one of the classes of answer, about a random place, from
// a random address, at times damaged.
func stray(tb testing.TB, rng *rand.Rand) (msg []byte, from netip.AddrPort) {
	tb.Helper()
	m := classes[rng.IntN(len(classes))].query()
	if opt := m.IsEdns0(); opt != nil && rng.IntN(3) > 0 {
		for _, o := range opt.Option {
			if e, ok := o.(*dns.EDNS0_SUBNET); ok && e.Family == 1 {
				e.SourceNetmask = uint8(rng.IntN(33))
				e.Address = netip.PrefixFrom(randomIPv4(rng), int(e.SourceNetmask)).Masked().Addr().AsSlice()
			}
		}
	}
	msg, err := m.Pack()
	if err != nil {
		tb.Fatal(err)
	}
	switch rng.IntN(10) {
	case 0:
		msg = msg[:rng.IntN(len(msg))]
	case 1:
		msg[rng.IntN(len(msg))] ^= 1 << rng.IntN(8)
	}
	addr := randomIPv4(rng)
	if rng.IntN(2) == 0 {
		b := [16]byte{0x20, 0x01, 0x0d, 0xb8, byte(rng.Uint32()), byte(rng.Uint32())}
		addr = netip.AddrFrom16(b)
	}
	return msg, netip.AddrPortFrom(addr, 4242)
}

func randomIPv4(rng *rand.Rand) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(1 + rng.IntN(223)), byte(rng.Uint32()), byte(rng.Uint32()), 0})
}

// A batch answers what each of its queries alone would be answered, whatever it
// answered before.
func TestABatchAnswersAsOneByOne(t *testing.T) {
	compareBatches(t, contoso, 300, stray)
}

// So it does where it reads ahead of many registries.
func TestABatchOfManyRegistries(t *testing.T) {
	const registries = 1200
	compareBatches(t, fleetText(registries), 30, ofTheFleet(registries))
}

// ofTheFleet makes random queries for one of many registries.
func ofTheFleet(registries int) func(testing.TB, *rand.Rand) ([]byte, netip.AddrPort) {
	return func(tb testing.TB, rng *rand.Rand) ([]byte, netip.AddrPort) {
		tb.Helper()
		subnet := netip.PrefixFrom(randomIPv4(rng), 24).String()
		msg, err := question(fmt.Sprintf("registry%d.example.io.", rng.IntN(registries)), dns.TypeA, subnet).Pack()
		if err != nil {
			tb.Fatal(err)
		}
		return msg, loopback
	}
}

// compareBatches answers random batches of queries, and each query alone on another
// server.
func compareBatches(t *testing.T, config string, rounds int, query func(testing.TB, *rand.Rand) ([]byte, netip.AddrPort)) {
	t.Helper()
	compareServers(t, newServer(t, config), newServer(t, config), rounds, query)
}

func compareServers(t *testing.T, one, together *server, rounds int, query func(testing.TB, *rand.Rand) ([]byte, netip.AddrPort)) {
	t.Helper()
	batch := together.udp.Batch()
	rng := rand.New(rand.NewPCG(7, 7))
	var msgs [resolver.BatchSize][]byte
	var from [resolver.BatchSize]netip.AddrPort
	for round := range rounds {
		n := 1 + rng.IntN(resolver.BatchSize)
		batch.Reset()
		for i := range n {
			msgs[i], from[i] = query(t, rng)
			batch.Read(msgs[i], from[i])
		}
		batch.Look()
		now := clock.Unix() + int64(round)
		for i := range n {
			want := one.udp.Answer(nil, msgs[i], from[i], now)
			if got := batch.Answer(nil, i, now); !bytes.Equal(got, want) {
				t.Fatalf("round %d, query %d of %d from %v: %x\nis answered %x\n    instead of %x", round, i, n, from[i], msgs[i], got, want)
			}
		}
	}
	if got, want := together.resolver.Totals().Responses, one.resolver.Totals().Responses; got != want {
		t.Errorf("counted %v, want %v", got, want)
	}
}
