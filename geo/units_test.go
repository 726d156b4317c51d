package geo

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

// kinship is what two addresses must share for one scope to hold both.
type kinship struct {
	unit             string
	special, wrapped bool // counted by who asks, or known by too few bits: kept apart
}

// kinshipOf tells units apart by asking every prefix.
func kinshipOf(sites []Site, addr netip.Addr) kinship {
	contains := func(p netip.Prefix) bool { return p.Contains(addr) }
	width := UnitBits6
	if addr.Is4() {
		width = UnitBits4
	}
	k := kinship{unit: netip.PrefixFrom(addr, width).Masked().String()}
	if k.wrapped = slices.ContainsFunc(wrappedBlocks(), contains); k.wrapped {
		return k
	}
	site, bits := -1, -1
	for i, s := range sites {
		for _, p := range s.Prefixes {
			if p.Contains(addr) && p.Bits() > bits {
				site, bits = i, p.Bits()
			}
		}
	}
	k.special = site < 0 && slices.ContainsFunc(specialBlocks(), contains)
	if site >= 0 && (!sites[site].Plain || bits > width) {
		k.unit = fmt.Sprint("site ", site)
	}
	return k
}

// somePlain makes plain sites of some that have one prefix.
func somePlain(rnd *rand.Rand, sites []Site) []Site {
	for i := range sites {
		sites[i].Plain = len(sites[i].Prefixes) == 1 && rnd.IntN(2) == 0
	}
	return sites
}

// borders are the addresses at which the unit of an address can change, with some
// before and behind each, sorted.
func borders(sites []Site) []netip.Addr {
	prefixes := slices.Concat(specialBlocks(), wrappedBlocks())
	for _, s := range sites {
		prefixes = append(prefixes, s.Prefixes...)
	}
	var addrs []netip.Addr
	for _, p := range prefixes {
		last := lastAddr(p)
		addrs = append(addrs, p.Masked().Addr(), last)
		for _, a := range []netip.Addr{p.Masked().Addr().Prev(), last.Next()} {
			if a.IsValid() {
				addrs = append(addrs, a)
			}
		}
	}
	for _, a := range slices.Clone(addrs) {
		width := UnitBits6
		if a.Is4() {
			width = UnitBits4
		}
		whole := netip.PrefixFrom(a, width).Masked()
		addrs = append(addrs, whole.Addr(), lastAddr(whole))
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(addrs)
}

// unitAt is the unit of an address and its scope, by the index where there is one.
func unitAt(u *Units, ix *Index, a netip.Addr) (Unit, netip.Prefix) {
	if a.Is4() {
		class, scope := u.Find4(key4(a))
		if ix != nil {
			class, scope = ix.Find4(key4(a))
		}
		unit, scope := u.Of4(key4(a), class, scope)
		return unit, netip.PrefixFrom(a, int(scope)).Masked()
	}
	hi, lo := key6(a)
	class, scope := u.Find6(hi, lo)
	if ix != nil {
		class, scope = ix.Find6(hi, lo)
	}
	unit, scope := u.Of6(hi, class, scope)
	return unit, netip.PrefixFrom(a, int(scope)).Masked()
}

// TestUnitsAgainstModel wants the same units of an index and of Units alone, and of
// both those of the model; and around each address the widest prefix in which nobody
// is of another unit.
func TestUnitsAgainstModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(150) {
		rnd := rand.New(rand.NewPCG(seed, 24))
		table := randomTable(rnd)
		sites := somePlain(rnd, randomSites(rnd, 3))
		u, err := NewUnits(sites)
		if err != nil {
			t.Fatal(err)
		}
		ix := mustIndex(t, table, randomRegions(rnd, 3), sites, -1)
		names := make(map[string]Unit)
		kin := make(map[Unit]string)
		at := borders(sites)
		for _, a := range at {
			k := kinshipOf(sites, a)
			unit, scope := unitAt(u, ix, a)
			if alone, scopeAlone := unitAt(u, nil, a); alone != unit || scopeAlone != scope {
				t.Fatalf("seed %d: %s is of unit %v, scope %v, and without the index %v, %v", seed, a, unit, scope, alone, scopeAlone)
			}
			if name, ok := names[k.unit]; ok && name != unit {
				t.Fatalf("seed %d: %s of %s has two names", seed, a, k.unit)
			}
			if other, ok := kin[unit]; ok && other != k.unit {
				t.Fatalf("seed %d: %s and %s are one unit", seed, k.unit, other)
			}
			names[k.unit], kin[unit] = unit, k.unit
			if !k.wrapped {
				checkUnitScope(t, seed, sites, a, scope, at)
			}
		}
		if t.Failed() {
			return
		}
	}
}

func checkUnitScope(t *testing.T, seed uint64, sites []Site, a netip.Addr, scope netip.Prefix, at []netip.Addr) {
	t.Helper()
	k := kinshipOf(sites, a)
	stranger := func(p netip.Prefix) (netip.Addr, bool) {
		i, _ := slices.BinarySearchFunc(at, p.Addr(), netip.Addr.Compare)
		for ; i < len(at) && p.Contains(at[i]); i++ {
			if kinshipOf(sites, at[i]) != k {
				return at[i], true
			}
		}
		return netip.Addr{}, false
	}
	if other, ok := stranger(scope); ok {
		t.Errorf("seed %d: scope %v of %s holds %s, of another unit", seed, scope, a, other)
	}
	if scope.Bits() == 0 || scope.String() == k.unit {
		return
	}
	parent := netip.PrefixFrom(a, scope.Bits()-1).Masked()
	if _, ok := stranger(parent); !ok {
		t.Errorf("seed %d: scope %v of %s, where all of %v is one unit", seed, scope, a, parent)
	}
}

// TestUnitNames compares the units of a configuration with those of a changed one: two
// have the same name just when they have the same addresses.
func TestUnitNames(t *testing.T) {
	t.Parallel()
	same, differ := 0, 0
	for seed := range uint64(150) {
		rnd := rand.New(rand.NewPCG(seed, 48))
		before := somePlain(rnd, randomSites(rnd, 3))
		after := changedSites(rnd, before)
		all := borders(slices.Concat(before, after))
		// members lists the addresses of each unit by its name.
		members := func(sites []Site) (map[Unit]string, []Unit) {
			u, err := NewUnits(sites)
			if err != nil {
				t.Fatal(err)
			}
			of, units := make(map[Unit]string), make([]Unit, len(all))
			for i, a := range all {
				if kinshipOf(sites, a).wrapped {
					continue
				}
				units[i], _ = unitAt(u, nil, a)
				of[units[i]] += a.String() + " "
			}
			return of, units
		}
		was, unitsWere := members(before)
		is, units := members(after)
		for i := range all {
			if (unitsWere[i] == units[i]) != (was[unitsWere[i]] == is[units[i]]) {
				t.Fatalf("seed %d: %s: unit %v of %s; then %v of %s", seed, all[i], unitsWere[i], was[unitsWere[i]], units[i], is[units[i]])
			}
			if unitsWere[i] == units[i] {
				same++
			} else {
				differ++
			}
		}
	}
	if same < 1000 || differ < 1000 {
		t.Errorf("%d addresses stay in their unit and %d do not: too few", same, differ)
	}
}

// changedSites renames, adds, removes, moves prefixes between sites, and makes plain
// ones sites.
func changedSites(rnd *rand.Rand, sites []Site) []Site {
	out := make([]Site, 0, len(sites)+1)
	for _, s := range sites {
		s.Prefixes = slices.Clone(s.Prefixes)
		switch rnd.IntN(6) {
		case 0:
			s.Name += " renamed"
		case 1:
			continue
		case 2:
			s.Plain = !s.Plain && len(s.Prefixes) == 1
		case 3:
			if n := len(out); n > 0 && len(s.Prefixes) > 1 && !out[n-1].Plain {
				out[n-1].Prefixes = append(out[n-1].Prefixes, s.Prefixes[0])
				s.Prefixes = s.Prefixes[1:]
			}
		}
		out = append(out, s)
	}
	rnd.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

func TestPlainSites(t *testing.T) {
	t.Parallel()
	sites := []Site{
		{Name: "10.0.0.0/8", Prefixes: prefixes("10.0.0.0/8"), Plain: true},
		{Name: "10.1.2.128/25", Prefixes: prefixes("10.1.2.128/25"), Plain: true},
		{Name: "10.1.3.0/24", Prefixes: prefixes("10.1.3.0/24"), Plain: true},
		{Name: "wide", Prefixes: prefixes("11.0.0.0/8", "2001:db8::/32")},
		{Name: "2600:1700:abc::/47", Prefixes: prefixes("2600:1700:abc::/47"), Plain: true},
		{Name: "2600:1700:abc:100::/56", Prefixes: prefixes("2600:1700:abc:100::/56"), Plain: true},
	}
	u, err := NewUnits(sites)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		a, b     string
		together bool
		scope    string // of a
	}{
		{"10.1.2.129", "10.1.2.255", true, "10.1.2.128/25"},
		{"10.1.2.1", "10.1.2.127", true, "10.1.2.0/25"},
		{"10.1.2.1", "10.1.2.129", false, "10.1.2.0/25"},
		{"10.1.3.1", "10.1.3.255", true, "10.1.3.0/24"},
		{"10.1.3.1", "10.1.4.1", false, "10.1.3.0/24"},
		{"11.1.3.1", "11.200.4.1", true, "11.0.0.0/8"},
		{"11.1.3.1", "2001:db8:7::1", true, "11.0.0.0/8"},
		{"2600:1700:abc:100::1", "2600:1700:abc:1ff::1", true, "2600:1700:abc:100::/56"},
		{"2600:1700:abc::1", "2600:1700:abc:200::1", true, "2600:1700:abc::/56"},
		{"2600:1700:abc:ff00::1", "2600:1700:abd::1", false, "2600:1700:abc:8000::/49"},
	} {
		unit, scope := unitAt(u, nil, netip.MustParseAddr(c.a))
		if other, _ := unitAt(u, nil, netip.MustParseAddr(c.b)); (unit == other) != c.together || scope.String() != c.scope {
			t.Errorf("%s and %s: units %v and %v, scope %v", c.a, c.b, unit, other, scope)
		}
	}
}
