package compile_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"portolan.dev/resolver"
	"portolan.dev/resolver/compile"
	"portolan.dev/resolver/decide"
	"portolan.dev/resolver/wire"
	"portolan.dev/resolver/zone"
)

// two is a zone with two registries; the second names a region first.
const two = `
geo: {networks: {lab: {prefixes: [198.51.100.0/24, "2001:db8:77::/48"], region: eastus}, 10.0.0.0/8: westus}}
zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}}
regions: {westeurope: {bias: 7}, lab: {latitude: 47.4, longitude: 8.5, country: CH}}
registries:
  a: {replicas: {westus: {addresses: [192.0.2.1]}, westeurope: {addresses: [192.0.2.2], global_endpoint_routing: false}, lab: {addresses: [192.0.2.3]}}}
  b: {all_down: nodata, replicas: {aws/us-east-1: {addresses: [192.0.2.4]}, westus: {addresses: [192.0.2.5]}}}
`

// Regions are numbered as configured, whatever the order of replicas; labels lose
// their provider.
func TestRegions(t *testing.T) {
	s := run{}.must(t, two).Snapshot
	var got []string
	for _, r := range s.Regions {
		got = append(got, r.Name+" is "+r.Label)
	}
	want := []string{"westeurope is westeurope", "lab is lab", "eastus is eastus", "westus is westus", "aws/us-east-1 is us-east-1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if r := s.Regions[0]; r.Bias != 7 {
		t.Errorf("bias %v", r.Bias)
	}
	if r := s.Regions[1]; r.Latitude != 47.4 || r.Longitude != 8.5 || r.Country != "CH" {
		t.Errorf("lab is at %+v in %s", r.Point, r.Country)
	}
	if diff := cmp.Diff([]string{"lab", "10.0.0.0/8"}, s.Sites); diff != "" {
		t.Error(diff)
	}
}

// Replicas stand by region number, with what the configuration says of routing.
func TestReplicaOrderAndMasks(t *testing.T) {
	s := run{}.must(t, two).Snapshot
	if len(s.Replicas) != 5 || len(s.Live) != 2 {
		t.Fatalf("%d replicas, %d registries", len(s.Replicas), len(s.Live))
	}
	for _, tt := range []struct {
		key     string
		up, out []string
		policy  decide.AllDownPolicy
	}{
		{"a", []string{"westeurope", "lab", "westus"}, []string{"westeurope"}, decide.ServeNearest},
		{"b", []string{"westus", "us-east-1"}, nil, decide.ServeNothing},
	} {
		n, r := registry(t, s, tt.key)
		masks := s.Live[n].Masks()
		for i, region := range s.Regions {
			has := slices.Contains(tt.up, region.Label)
			routed := has && !slices.Contains(tt.out, region.Label)
			if r.Configured.Has(uint8(i)) != has || masks.Up.Has(uint8(i)) != has || masks.Routed.Has(uint8(i)) != routed {
				t.Errorf("%s in %s: configured %t up %t routed %t", tt.key, region.Label, r.Configured.Has(uint8(i)), masks.Up.Has(uint8(i)), masks.Routed.Has(uint8(i)))
			}
		}
		if r.AllDown != tt.policy {
			t.Errorf("%s: policy %d", tt.key, r.AllDown)
		}
	}
	// The last octet of the only address tells the replica.
	for key, octets := range map[string][]byte{"a": {2, 3, 1}, "b": {5, 4}} {
		_, r := registry(t, s, key)
		for i, want := range octets {
			p := s.Replicas[int(r.First)+i]
			body := s.Bodies[p.Body : p.Body+uint32(p.Alias)+uint32(p.IPv4)]
			if got := body[len(body)-1]; got != want {
				t.Errorf("replica %d of %s ends in %d, want %d", i, key, got, want)
			}
		}
	}
}

func TestSettings(t *testing.T) {
	s := run{}.must(t, "server: {identity: ns7, udp_size: 900, ecs: false, version: x}\ndiagnostics: {allow: [10.0.0.0/8]}\n"+two[1:]).Snapshot
	if s.Identity != "ns7" || s.UDPSize != 900 || s.ECS || s.Version != "x" || len(s.Allow) != 1 || string(s.NSID[4:]) != "ns7" {
		t.Errorf("%+v", s)
	}
	if s := (run{}).must(t, two).Snapshot; s.Identity != "host" || string(s.NSID[4:]) != "host" {
		t.Errorf("identity %q, want that of the host", s.Identity)
	}
}

// A registry counts in the same places over any number of reloads, and in others
// while its regions are others.
func TestSlots(t *testing.T) {
	slots := compile.NewSlots()
	places := func(text, key string, regions ...string) []uint32 {
		t.Helper()
		s := run{slots: slots}.must(t, text).Snapshot
		var out []uint32
		for _, r := range regions {
			out = append(out, replica(t, s, key, r).Slot)
		}
		return out
	}
	a := places(two, "a", "westeurope", "lab", "westus")
	b := places(two, "b", "westus", "us-east-1")
	if all := append(slices.Clone(a), b...); len(slices.Compact(slices.Sorted(slices.Values(all)))) != 5 || slices.Max(all) != 4 {
		t.Fatalf("slots %v", all)
	}
	// Another order, another address, another registry in front: the same places.
	moved := strings.Replace(two, "registries:", "registries:\n  aa: {replicas: {westus: {addresses: [192.0.2.9]}}}", 1)
	moved = strings.Replace(moved, "192.0.2.4", "192.0.2.44", 1)
	if got := places(moved, "b", "westus", "us-east-1"); !slices.Equal(got, b) {
		t.Errorf("slots %v, were %v", got, b)
	}
	fewer := strings.Replace(two, ", lab: {addresses: [192.0.2.3]}", "", 1)
	other := places(fewer, "a", "westeurope", "westus")
	if slices.Contains(a, other[0]) || slices.Contains(b, other[0]) || slots.Len() != 8 {
		t.Errorf("slots %v of %d with other regions, were %v", other, slots.Len(), a)
	}
	// Back and forth does not use places up.
	for range 3 {
		if got := places(two, "a", "westeurope", "lab", "westus"); !slices.Equal(got, a) {
			t.Errorf("slots %v, were %v", got, a)
		}
		if got := places(fewer, "a", "westeurope", "westus"); !slices.Equal(got, other) {
			t.Errorf("slots %v, were %v", got, other)
		}
	}
	if slots.Len() != 8 || len(slots.Blocks()) != 4 {
		t.Errorf("%d slots in %d blocks", slots.Len(), len(slots.Blocks()))
	}
}

// Serials rise with each compilation and never fall, by whatever a clock does and
// in whatever order zones come.
func TestSerials(t *testing.T) {
	text := func(zones string) string {
		return "zones: {" + zones + "}\nregistries: {a: {zone: example.io, replicas: {westus: {addresses: [192.0.2.1]}}}}"
	}
	const io, net = "example.io: {nameservers: {ns.test.: []}}", "example.net: {nameservers: {ns.test.: []}}"
	first := run{}.must(t, text(io)).Snapshot
	if got := first.Serials[0].Load(); got != uint32(clock.Unix()) || first.Generation != 1 {
		t.Errorf("first serial %d, generation %d", got, first.Generation)
	}
	second := run{previous: first}.must(t, text(net+", "+io)).Snapshot
	if net, io := second.Serials[0].Load(), second.Serials[1].Load(); io != uint32(clock.Unix())+1 || net != uint32(clock.Unix()) || second.Generation != 2 {
		t.Errorf("serials %d and %d, generation %d", net, io, second.Generation)
	}
	back := run{previous: second, now: clock.Add(-time.Hour)}.must(t, text(net+", "+io)).Snapshot
	if net, io := back.Serials[0].Load(), back.Serials[1].Load(); io != uint32(clock.Unix())+2 || net != uint32(clock.Unix())+1 {
		t.Errorf("serials %d and %d after the clock went back", net, io)
	}
	later := run{previous: back, now: clock.Add(time.Hour)}.must(t, text(net+", "+io)).Snapshot
	if io := later.Serials[1].Load(); io != uint32(clock.Add(time.Hour).Unix()) {
		t.Errorf("serial %d an hour later", io)
	}
}

// Only zones are required of a configuration: one without registries is a server of
// static names.
func TestNoRegistries(t *testing.T) {
	s := run{}.must(t, "zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}}").Snapshot
	if _, _, found := find(t, s, "ns1.example.io"); found != zone.Hit || len(s.Regions) != 0 || len(s.Registries) != 0 {
		t.Errorf("found %d, %d regions", found, len(s.Regions))
	}
}

// The names of a registry, by its switches.
func TestNames(t *testing.T) {
	s := run{files: files{"f.zone": "mail A 192.0.2.80\n@ MX 10 mail\n"}}.must(t, `
zones:
  example.io: {nameservers: {ns1: [192.0.2.53, "2001:db8::53"], ns.example.net.: [192.0.2.99]}, records: f.zone}
  own.test: {nameservers: {ns1.example.io.: []}}
registries:
  a: {zone: example.io, regional_endpoints: enabled, data_endpoints: enabled, replicas: {westus: {addresses: [192.0.2.1], data: {target: blobs.test}}, eastus: {target: lb.test}}}
  b: {zone: example.io, replicas: {westus: {addresses: [192.0.2.2]}}}
  c: {zone: own.test, name: "@", regional_endpoints: enabled, replicas: {westus: {addresses: [192.0.2.3, "2001:db8::3"]}}}
`).Snapshot
	for text, want := range map[string][]uint16{
		"example.io":               {wire.TypeSOA, wire.TypeNS, wire.TypeMX},
		"ns1.example.io":           {wire.TypeA, wire.TypeAAAA},
		"mail.example.io":          {wire.TypeA},
		"a.westus.geo.example.io":  {wire.TypeA},
		"a.eastus.geo.example.io":  {wire.TypeCNAME},
		"a.westus.data.example.io": {wire.TypeCNAME},
		"a.eastus.data.example.io": {wire.TypeCNAME}, // that of the replica
		"geo.example.io":           nil,
		"westus.data.example.io":   nil,
		"a.example.io":             nil, // decided, not looked up
		"own.test":                 {wire.TypeSOA, wire.TypeNS},
		"westus.geo.own.test":      {wire.TypeA, wire.TypeAAAA},
		"_whoami.own.test":         nil,
		"_explain.a.example.io":    nil,
		"_explain.own.test":        nil,
		"_explain.b.example.io":    nil,
		"westus.geo.example.io":    nil,
		"eastus.geo.example.io":    nil,
		"_whoami.example.io":       nil,
		"data.example.io":          nil,
		"eastus.data.example.io":   nil,
		"geo.own.test":             nil,
		"b.example.io":             nil,
	} {
		if got := types(t, s, text); !slices.Equal(got, want) {
			t.Errorf("%s has types %v, want %v", text, got, want)
		}
	}
	for _, text := range []string{"b.westus.geo.example.io", "b.westus.data.example.io", "westus.data.own.test", "data.own.test"} {
		if _, _, found := find(t, s, text); found != zone.Miss {
			t.Errorf("%s: %d, and its switch is off", text, found)
		}
	}
	for text, kind := range map[string]zone.Kind{
		"a.example.io": zone.Global, "own.test": zone.Global, "_explain.own.test": zone.Explain, "_whoami.example.io": zone.Whoami,
		"a.westus.geo.example.io": zone.Static,
	} {
		if node, _, _ := find(t, s, text); node.Kind != kind {
			t.Errorf("%s is of kind %d, want %d", text, node.Kind, kind)
		}
	}
}

// What a child zone owns is answered from it, wherever it stands in the file.
func TestNestedZones(t *testing.T) {
	zones := []string{
		`example.io: {nameservers: {ns1: [192.0.2.53], ns2.sub.example.io: [192.0.2.54], ns1.sub.example.io: [192.0.2.99]}}`,
		`sub.example.io: {nameservers: {ns1: [192.0.2.55], ns.test.: []}}`,
		`x.y.sub.example.io: {nameservers: {ns.test.: []}}`,
	}
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 2, 0}} {
		text := "zones:\n  " + zones[order[0]] + "\n  " + zones[order[1]] + "\n  " + zones[order[2]]
		s := run{}.must(t, text+"\nregistries: {a: {zone: sub.example.io, replicas: {westus: {addresses: [192.0.2.1]}}}}").Snapshot
		for name, zoneName := range map[string]string{
			"ns1.example.io": "example.io.", "ns1.sub.example.io": "sub.example.io.", "ns2.sub.example.io": "sub.example.io.",
			"a.sub.example.io": "sub.example.io.", "y.sub.example.io": "sub.example.io.", "x.y.sub.example.io": "x.y.sub.example.io.",
			"sub.example.io": "sub.example.io.",
		} {
			if _, z, found := find(t, s, name); found != zone.Hit || z != zoneName {
				t.Errorf("%v: %s: %d in %s, want %s", order, name, found, z, zoneName)
			}
		}
		// The zone that owns a name knows its address best.
		if !strings.Contains(addressesOf(t, s, "ns1.sub.example.io"), "\xc0\x00\x02\x37") {
			t.Errorf("%v: the address of a name server of the child is that of the parent", order)
		}
	}
}

// addressesOf returns the octets of the RRsets of a name.
func addressesOf(tb testing.TB, s *resolver.Snapshot, text string) string {
	tb.Helper()
	node, _, _ := find(tb, s, text)
	var out []byte
	sets := s.Names.Sets(node)
	for i := range sets {
		out, _ = s.Names.Append(out, &sets[i], 0, 1<<16)
	}
	return string(out)
}

func TestFaultsOfZones(t *testing.T) {
	const registries = "\nregistries: {a: {zone: example.io, replicas: {westus: {addresses: [192.0.2.1], probe: p}}}}\nprobes: {p: {type: registry, credentials: gone}}"
	const one = "zones: {example.io: {nameservers: {ns1: [192.0.2.53]}, records: f.zone}}" + registries
	large := strings.Repeat(strings.Repeat("x", 250)+" ", 140) // below 64 KiB alone, above it together
	for _, tt := range []struct {
		what, text, file string
		words            []string
	}{
		{"a missing file", strings.Replace(one, "f.zone", "g.zone", 1), "", []string{"test.yaml:1:9: zones.example.io: records:", "g.zone", "relative"}},
		{"a fault in the file", one, "b A 192.0.2.1\nb NS x\nc NS x", []string{"f.zone:2: b.example.io.: its name server", "f.zone:3: c.example.io.: its name server"}},
		{"the name of a registry", one, "a TXT hello", []string{"test.yaml:1:9: zones.example.io: records: f.zone:1: a.example.io.", "registry", "rename"}},
		{"the name of diagnostics", one, "_explain.a TXT hello", []string{"f.zone:1: _explain.a.example.io.", "rename"}},
		{"an address of a name server", one, "ns1 A 192.0.2.1", []string{"f.zone:1: ns1.example.io.", "`nameservers`", "remove"}},
		{
			"a name of the zone below", strings.Replace(one, "zones: {", "zones: {sub.example.io: {nameservers: {ns.test.: []}}, ", 1), "x.sub A 192.0.2.1\nsub TXT x",
			[]string{"f.zone:1: x.sub.example.io.", "f.zone:2: sub.example.io.", "zone sub.example.io", "move"},
		},
		{"an answer that is too large", one, "b TXT y " + large + "\nb TXT z " + large, []string{"f.zone:2: b.example.io.", "65535", "fewer"}},
	} {
		t.Run(tt.what, func(t *testing.T) {
			_, err := run{files: files{"f.zone": tt.file}}.compile(t, tt.text)
			// A fault of a zone hides no other.
			says(t, err, append(tt.words, "registries.a.replicas.westus: probe p: credentials:", "gone")...)
		})
	}
}

// A name server inside the zone may have other records in the file.
func TestNameServerWithMoreRecords(t *testing.T) {
	s := run{files: files{"f.zone": "ns1 TXT hello\nns1 AAAA 2001:db8::1"}}.must(t,
		"zones: {example.io: {nameservers: {ns1: [192.0.2.53]}, records: f.zone}}\nregistries: {a: {replicas: {westus: {addresses: [192.0.2.1]}}}}").Snapshot
	if got := types(t, s, "ns1.example.io"); !slices.Equal(got, []uint16{wire.TypeA, wire.TypeTXT, wire.TypeAAAA}) {
		t.Errorf("types %v", got)
	}
}
