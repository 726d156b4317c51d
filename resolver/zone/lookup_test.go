package zone_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"portolan.dev/resolver/wire"
	"portolan.dev/resolver/zone"
)

// Reading ahead, for names that are there and names that are not, changes nothing.
func TestWarm(t *testing.T) {
	const many = 5000
	b := zone.NewBuilder(7)
	id := addZone(t, b, "example.io.")
	for i := range many {
		if err := b.Define(id, name(t, fmt.Sprintf("n%d.example.io.", i)), zone.Static, uint32(i)); err != nil {
			t.Fatal(err)
		}
	}
	table := finish(t, b)
	rng := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		var queries [64]wire.Query
		var hashes [64]uint64
		var met [64]uint32
		for i := range queries {
			qname := name(t, fmt.Sprintf("n%d.example.io.", rng.IntN(2*many)))
			queries[i].Parse(message(qname, wire.TypeA))
			hashes[i] = table.Hash(&queries[i])
		}
		table.Warm(hashes[:], met[:])
		for i := range queries {
			node, _, found := table.FindHash(&queries[i], hashes[i])
			alone, _, want := table.Find(&queries[i])
			if node != alone || found != want {
				t.Fatalf("%s: %v, %d, want %v, %d", wire.AppendName(nil, queries[i].Name()), node, found, alone, want)
			}
		}
	}
}

// The tag of a slot only saves comparisons: a name that is not there is not found where
// another has its tag and its slot.
func TestNamesWithTheSameTag(t *testing.T) {
	const seed, many, low = 7, 1_500_000, 64 - 1 // of the slots of a small table
	var padded [32]byte
	hash := func(i uint64) uint64 { return wire.Hash(padded[:], putTagged(padded[:], i), seed) }
	keys := make([]uint64, many) // the tag, and the number of the name
	for i := range keys {
		keys[i] = hash(uint64(i))&^(1<<32-1) | uint64(i)
	}
	slices.Sort(keys)
	pairs := 0
	for i := 1; i < many; i++ {
		a, b := keys[i-1]&(1<<32-1), keys[i]&(1<<32-1)
		if keys[i-1]>>32 != keys[i]>>32 || hash(a)&low != hash(b)&low {
			continue
		}
		pairs++
		builder := zone.NewBuilder(seed)
		id := addZone(t, builder, "t.")
		if err := builder.Define(id, tagged(a), zone.Static, 0); err != nil {
			t.Fatal(err)
		}
		table := finish(t, builder)
		if _, _, found := find(t, table, tagged(a)); found != zone.Hit {
			t.Errorf("%x is not found", tagged(a))
		}
		if _, _, found := find(t, table, tagged(b)); found != zone.Miss {
			t.Errorf("%x is found in the place of %x", tagged(b), tagged(a))
		}
	}
	if pairs == 0 {
		t.Error("no two names have the same tag and slot: try more")
	}
}

// putTagged writes a name of its own for each number, in wire form.
func putTagged(dst []byte, i uint64) int {
	dst[0], dst[9], dst[10], dst[11] = 8, 1, 't', 0
	for at := 1; at < 9; at++ {
		dst[at] = 0x80 | byte(i&0x7f)
		i >>= 7
	}
	return 12
}

func tagged(i uint64) []byte {
	var name [12]byte
	putTagged(name[:], i)
	return name[:]
}

// What is for all other types answers them whatever stands before or behind it; without
// it, a CNAME does.
func TestTheRestAnswers(t *testing.T) {
	alias := zone.Set{Type: wire.TypeCNAME, TTL: 1, Data: [][]byte{name(t, "x.net.")}}
	rest := zone.Set{Chain: []wire.RR{{Owner: name(t, "n.example.io."), Type: wire.TypeCNAME, Class: wire.ClassIN, TTL: 2, Data: name(t, "y.net.")}}}
	for title, tt := range map[string]struct {
		sets []zone.Set
		want uint16 // the type of the set that answers for A
	}{
		"both":            {[]zone.Set{alias, rest}, 0},
		"the other order": {[]zone.Set{rest, alias}, 0},
		"an alias":        {[]zone.Set{alias}, wire.TypeCNAME},
	} {
		b := zone.NewBuilder(7)
		id := addZone(t, b, "example.io.")
		if err := b.Define(id, name(t, "n.example.io."), zone.Static, 0, tt.sets...); err != nil {
			t.Fatal(err)
		}
		table := finish(t, b)
		node, _, _ := find(t, table, name(t, "n.example.io."))
		if got := table.Answer(node, wire.TypeA); got == nil || got.Type != tt.want {
			t.Errorf("%s: %+v", title, got)
		}
		if got := table.Answer(node, wire.TypeCNAME); got == nil || got.Type != wire.TypeCNAME {
			t.Errorf("%s: CNAME: %+v", title, got)
		}
	}
}
