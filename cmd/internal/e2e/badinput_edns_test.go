//go:build linux

package e2e

import (
	"bytes"
	"slices"
	"testing"

	"github.com/miekg/dns"
)

// ednsInputs are rows 18 to 24: the OPT record and sizes.
func ednsInputs() []badInput {
	broken := expected{rcode: dns.RcodeFormatError}
	fine := expected{opt: true, check: wantPlainOPT}
	badVersion := expected{rcode: dns.RcodeBadVers, opt: true, check: wantPlainOPT}
	ask := func(additional ...[]byte) []byte { return query(exampleName, dns.TypeA, additional...) }
	cut := opt(1232, 0, ednsOption(65001, 1, 2, 3))
	return []badInput{
		{row: "18 OPT owner is not the root", msg: ask(record('x', dns.TypeOPT, 1232, 0, nil)), want: broken},
		{row: "18 two OPT records", msg: ask(opt(1232, 0), opt(1232, 0)), want: broken},
		{row: "18 OPT in the answer section", msg: inSection(1), want: broken},
		{row: "18 OPT in the authority section", msg: inSection(2), want: broken},
		{row: "18 OPT cut short", msg: ask(cut[:len(cut)-1]), want: broken},
		{row: "18 OPT without its length", msg: ask(cut[:9]), want: broken},
		{row: "18 option behind the end", msg: ask(opt(1232, 0, []byte{0xfd, 0xe9, 0, 4, 1, 2, 3})), want: broken},
		{row: "18 option of three octets", msg: ask(opt(1232, 0, []byte{0xfd, 0xe9, 0})), want: broken},
		{row: "18 a record that is no OPT", msg: ask(record(0, dns.TypeA, dns.ClassINET, 0, []byte{1, 2, 3, 4})), want: broken},
		{row: "19 version 1", msg: ask(opt(1232, 1<<16)), want: badVersion},
		{row: "19 version 255", msg: ask(opt(1232, 255<<16)), want: badVersion},
		{row: "19 version 1, options not read", msg: ask(opt(1232, 1<<16, ecs(1, 24, 9, 1), ednsOption(dns.EDNS0COOKIE, 1))), want: badVersion},
		{row: "20 unknown option", msg: ask(opt(1232, 0, ednsOption(65001, 1, 2, 3))), want: fine},
		{row: "20 unknown option, empty", msg: ask(opt(1232, 0, ednsOption(65001))), want: fine},
		{row: "20 unknown option, long", msg: ask(opt(1232, 0, ednsOption(9999, make([]byte, 600)...))), want: fine},
		{row: "21 all flags but DO", msg: ask(opt(1232, 0x7fff)), want: expected{opt: true, check: wantFlags(0)}},
		{row: "21 all flags", msg: ask(opt(1232, 0xffff)), want: expected{opt: true, check: wantFlags(0x8000)}},
		{row: "22 no EDNS, 512 fit", msg: query("big.example.io", dns.TypeTXT), want: expected{check: wantTruncated(512)}},
		{row: "22 size 0", msg: query("big.example.io", dns.TypeTXT, opt(0, 0)), want: expected{opt: true, check: wantTruncated(512)}},
		{row: "22 size 511", msg: query("big.example.io", dns.TypeTXT, opt(511, 0)), want: expected{opt: true, check: wantTruncated(512)}},
		{row: "22 size 0, it fits", msg: ask(opt(0, 0)), want: fine},
		{row: "22 size 1232, 700 octets fit", msg: query("big.example.io", dns.TypeTXT, opt(1232, 0)), want: expected{opt: true, check: wantWhole(700)}},
		{row: "23 size 65535", msg: query("huge.example.io", dns.TypeTXT, opt(65535, 0)), want: expected{opt: true, check: wantTruncated(1232)}},
		{row: "23 size 4096", msg: query("huge.example.io", dns.TypeTXT, opt(4096, 0)), want: expected{opt: true, check: wantTruncated(1232)}},
		{row: "24 no EDNS", msg: query("huge.example.io", dns.TypeTXT), want: expected{check: wantTruncated(512)}},
	}
}

// inSection is a query with an OPT record in the answer or the authority section.
func inSection(section int) []byte {
	counts := []uint16{1, 0, 0, 0}
	counts[section] = 1
	return slices.Concat(header(flagRD, counts...), asked(named(exampleName), dns.TypeA, dns.ClassINET), opt(1232, 0))
}

// wantPlainOPT wants an OPT record of version 0 without flags and options.
func wantPlainOPT(t *testing.T, c client, answer []byte, m *dns.Msg) {
	t.Helper()
	wantFlags(0)(t, c, answer, m)
	if o := m.IsEdns0(); o != nil && len(o.Option) > 0 {
		t.Errorf("%v: options %v", c, o.Option)
	}
	if m.Rcode == dns.RcodeSuccess && len(m.Answer) == 0 {
		t.Errorf("%v: no answer: %v", c, m)
	}
}

// wantFlags wants an OPT record of version 0 that offers 1232 octets, with flags.
func wantFlags(flags uint32) func(*testing.T, client, []byte, *dns.Msg) {
	return func(t *testing.T, c client, _ []byte, m *dns.Msg) {
		t.Helper()
		if o := m.IsEdns0(); o == nil || o.Version() != 0 || o.Hdr.Ttl&0xffff != flags || o.UDPSize() != 1232 {
			t.Errorf("%v: OPT record %v, want flags %x", c, o, flags)
		}
	}
}

// wantTruncated wants TC and nothing else over UDP, within limit octets, and all
// of it over TCP.
func wantTruncated(limit int) func(*testing.T, client, []byte, *dns.Msg) {
	return func(t *testing.T, c client, answer []byte, m *dns.Msg) {
		t.Helper()
		extra := 0
		if m.IsEdns0() != nil {
			extra = 1
		}
		if c.network != "udp" {
			if m.Truncated || len(m.Answer) == 0 || len(answer) <= limit {
				t.Errorf("%v: not the whole answer: %v", c, m)
			}
			return
		}
		if !m.Truncated || len(m.Answer)+len(m.Ns) > 0 || len(m.Extra) != extra || len(answer) > limit {
			t.Errorf("%v: %d octets, want TC and empty sections: %v", c, len(answer), m)
		}
	}
}

// wantWhole wants an answer that is longer than some octets, and not truncated.
func wantWhole(octets int) func(*testing.T, client, []byte, *dns.Msg) {
	return func(t *testing.T, c client, answer []byte, m *dns.Msg) {
		t.Helper()
		if m.Truncated || len(m.Answer) == 0 || len(answer) <= octets {
			t.Errorf("%v: %d octets: %v", c, len(answer), m)
		}
	}
}

// subnetInputs are rows 29 to 32: the client subnet of RFC 7871. Loopback, from
// which the tests ask, has no place on the map: the default region counts, which
// is westeurope.
func subnetInputs() []badInput {
	broken := expected{rcode: dns.RcodeFormatError, opt: true, check: wantNoSubnet}
	ask := func(o []byte) []byte { return query(exampleName, dns.TypeA, opt(1232, 0, o)) }
	seattle := []byte{128, 95, 0}
	in := []badInput{
		{row: "29 scope is not 0", msg: ask(ecs(1, 24, 24, seattle...)), want: broken},
		{row: "29 too few octets", msg: ask(ecs(1, 24, 0, 128, 95)), want: broken},
		{row: "29 too many octets", msg: ask(ecs(1, 24, 0, 128, 95, 0, 0)), want: broken},
		{row: "29 bits behind the prefix", msg: ask(ecs(1, 23, 0, 128, 95, 1)), want: broken},
		{row: "29 IPv4 prefix of 33", msg: ask(ecs(1, 33, 0, 128, 95, 0, 0, 0)), want: broken},
		{row: "29 IPv6 prefix of 129", msg: ask(ecs(2, 129, 0, make([]byte, 17)...)), want: broken},
		{row: "29 three octets", msg: ask(ednsOption(dns.EDNS0SUBNET, 0, 1, 24)), want: broken},
		{row: "29 empty", msg: ask(ednsOption(dns.EDNS0SUBNET)), want: broken},
		{row: "30 family 0", msg: ask(ecs(0, 0, 0)), want: broken},
		{row: "30 family 3", msg: ask(ecs(3, 24, 0, seattle...)), want: broken},
		{row: "30 family 16387", msg: ask(ecs(16387, 24, 0, seattle...)), want: broken},
		{row: "31 IPv4 /0", msg: ask(ecs(1, 0, 0)), want: wantSubnet("westeurope", 0, 0)},
		{row: "31 IPv6 /0", msg: ask(ecs(2, 0, 0)), want: wantSubnet("westeurope", 0, 0)},
		// The well-formed ones, without which the others prove nothing.
		{row: "29 well formed", msg: ask(ecs(1, 24, 0, seattle...)), want: wantSubnet("westus", 1, 24)},
		{row: "29 IPv4 /32", msg: ask(ecs(1, 32, 0, 128, 95, 0, 1)), want: wantSubnet("westus", 1, 32)},
		{row: "29 IPv4 /27", msg: ask(ecs(1, 27, 0, 128, 95, 0, 32)), want: wantSubnet("westus", 1, 27)},
	}
	// A block of special-purpose addresses is one answer: its own length is the
	// scope (RFC 7871 section 10), or that of two which lie side by side, such as
	// multicast and reserved. With 0 it would overlap tailored answers.
	for _, block := range []struct {
		row    string
		option []byte
		scope  uint8
	}{
		{"32 private, 10.1.2.0/24", ecs(1, 24, 0, 10, 1, 2), 8},
		{"32 private, 192.168.1.0/24", ecs(1, 24, 0, 192, 168, 1), 16},
		{"32 private, 172.16.1.0/24", ecs(1, 24, 0, 172, 16, 1), 12},
		{"32 loopback, 127.0.0.0/24", ecs(1, 24, 0, 127, 0, 0), 8},
		{"32 shared, 100.64.1.0/24", ecs(1, 24, 0, 100, 64, 1), 10},
		{"32 link-local, 169.254.1.0/24", ecs(1, 24, 0, 169, 254, 1), 16},
		{"32 multicast, 224.0.1.0/24", ecs(1, 24, 0, 224, 0, 1), 3},
		{"32 unique local, fd00:1::/32", ecs(2, 32, 0, 0xfd, 0, 0, 1), 7},
		{"32 link-local, fe80::/48", ecs(2, 48, 0, 0xfe, 0x80, 0, 0, 0, 0), 9},
	} {
		in = append(in, badInput{row: block.row, msg: ask(block.option), want: wantSubnet("westeurope", block.scope, block.scope)})
	}
	return in
}

func wantNoSubnet(t *testing.T, c client, _ []byte, m *dns.Msg) {
	t.Helper()
	if o, ok := optionOf[*dns.EDNS0_SUBNET](m); ok {
		t.Errorf("%v: a client subnet in an error: %v", c, o)
	}
}

// wantSubnet wants an answer for a region, the client subnet as it was sent, and a
// scope within bounds.
func wantSubnet(region string, least, most uint8) expected {
	return expected{opt: true, check: func(t *testing.T, c client, _ []byte, m *dns.Msg) {
		t.Helper()
		if len(m.Answer) != 2 || !bytes.Contains([]byte(m.Answer[0].String()), []byte("."+region+".geo.")) {
			t.Errorf("%v: want %s: %v", c, region, m.Answer)
		}
		o, ok := optionOf[*dns.EDNS0_SUBNET](m)
		if !ok || o.SourceScope < least || o.SourceScope > most {
			t.Errorf("%v: client subnet %v, want a scope of %d to %d", c, o, least, most)
		}
	}}
}
