package config

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// loaded is what comes of a document.
func loaded(p parsed) (*Config, error) {
	l := &loader{d: newDecoder(Options{})}
	l.d.careful = true
	main := l.source("f.yaml")
	l.read(main, p, func(*cursor) {})
	return l.d.result(main)
}

// inParts reads a document in parts of a size; nil for one that is not.
func inParts(text string, size int) *parsed {
	d := newDecoder(Options{})
	d.careful, d.part = true, size
	p := d.parse([]byte(text), &source{name: "f.yaml"})
	if p.parts == nil {
		return nil
	}
	return &p
}

// TestPartsAreTheWhole reads generated files, most of them damaged a little, in
// small parts and as a whole by the library.
func TestPartsAreTheWhole(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const runs = 1500
	taken, good := 0, 0
	for range runs {
		text := registriesText(rng)
		for range rng.IntN(3) {
			at := rng.IntN(len(text))
			text = text[:at] + string("\n :-#,[]{}\"'&*!|>ab1"[rng.IntN(20)]) + text[at+rng.IntN(2):]
		}
		p := inParts(text, 60)
		if p == nil {
			continue
		}
		taken++
		got, gotErr := loaded(*p)
		root, problem := parseLibrary([]byte(text))
		want, wantErr := loaded(parsed{root: root, problem: problem})
		if problem != nil {
			// What else is wrong may be said of the parts before as well.
			if gotErr == nil || !strings.Contains(gotErr.Error(), wantErr.Error()) {
				t.Fatalf("%v, want %v\n%s", gotErr, wantErr, text)
			}
			continue
		}
		if wantErr == nil {
			good++
		}
		if diff := cmp.Diff(fmt.Sprint(wantErr), fmt.Sprint(gotErr)); diff != "" {
			t.Fatalf("other errors (-whole +parts):\n%s\n%s", diff, text)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, netip.Prefix{})); diff != "" {
			t.Fatalf("another configuration (-whole +parts):\n%s\n%s", diff, text)
		}
	}
	if taken < runs/3 || good < runs/10 {
		t.Errorf("%d of %d in parts, %d of them good: too few to compare", taken, runs, good)
	}
}

// registriesText writes a configuration in the ways people do.
func registriesText(rng *rand.Rand) string {
	var b strings.Builder
	pick := func(words ...string) string { return words[rng.IntN(len(words))] }
	b.WriteString(pick("", "# head\n") + zoneLine)
	b.WriteString("registries:" + pick("", " ", " # of the team") + "\n" + pick("", "\n", "  # first\n"))
	for i := range 3 + rng.IntN(6) {
		fmt.Fprintf(&b, pick("  r%d:", "  \"r%d\":", "  'r%d':")+pick("", " # note")+"\n", i)
		b.WriteString(pick("", "    zone: example.io\n", "    zone:\n      example.io\n", "    sticky: {ttl: 60s}\n", "\n", "  # odd comment\n"))
		b.WriteString("    replicas:\n")
		b.WriteString(pick("      west: {addresses: [192.0.2.1]}\n", "      west:\n        addresses:\n        - 192.0.2.1\n", "      west: {addresses: ['192.0.2.1'],  }\n"))
		b.WriteString(pick("", "      east: {target: host.example.net}\n", "      east:\n        target:\n          host.example.net\n"))
		if rng.IntN(50) == 0 {
			b.WriteString("      north: {target:\n        host.example.net}\n") // no whole line
		}
	}
	b.WriteString(pick("", "server: {identity: x}\n", "# tail\n", "regions:\n  west: {bias: 7}\n"))
	return b.String()
}
