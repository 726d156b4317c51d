//go:build linux

package e2e

import (
	"fmt"
	"slices"
	"testing"

	"github.com/miekg/dns"
)

// typeInputs are rows 39 to 46: classes and types.
func typeInputs() []badInput {
	refused := expected{rcode: dns.RcodeRefused}
	chaos := func(name string, qtype uint16) []byte { return queryFor(asked(named(name), qtype, dns.ClassCHAOS)) }
	in := []badInput{
		{row: "39 id.server", msg: chaos("id.server", dns.TypeTXT), want: expected{check: wantText("e2e")}},
		{row: "39 hostname.bind", msg: chaos("hostname.bind", dns.TypeTXT), want: expected{check: wantText("e2e")}},
		{row: "39 version.bind, not configured", msg: chaos("version.bind", dns.TypeTXT), want: refused},
		{row: "39 version.server, not configured", msg: chaos("version.server", dns.TypeTXT), want: refused},
		{row: "40 id.server A", msg: chaos("id.server", dns.TypeA), want: refused},
		{row: "40 another name", msg: chaos(exampleName, dns.TypeTXT), want: refused},
		{row: "41 ANY at the global name", msg: query(exampleName, dns.TypeANY), want: expected{check: wantOneRRset(dns.TypeCNAME)}},
		{row: "41 ANY where there is no alias", msg: query("plain.example.io", dns.TypeANY), want: expected{check: wantOneRRset(dns.TypeA)}},
		{row: "41 ANY at a regional name", msg: query("myregistry.westus.geo.example.io", dns.TypeANY), want: expected{check: wantOneRRset(dns.TypeA)}},
		{row: "41 ANY at the apex", msg: query("example.io", dns.TypeANY), want: expected{check: wantOneRRset(dns.TypeSOA)}},
		{row: "41 ANY at an empty non-terminal", msg: query("geo.example.io", dns.TypeANY), want: expected{check: wantNegative}},
		{row: "42 AXFR", msg: query("example.io", dns.TypeAXFR), want: refused},
		{row: "42 AXFR elsewhere", msg: query("example.org", dns.TypeAXFR), want: refused},
		{row: "42 IXFR without SOA", msg: query("example.io", dns.TypeIXFR), want: refused},
		{row: "42 IXFR", msg: ixfr(), want: refused},
		{row: "44 NXNAME", msg: query(exampleName, 128, opt(1232, 0)), want: expected{rcode: dns.RcodeFormatError, opt: true, check: wantEDE(30)}},
		{row: "44 NXNAME without EDNS", msg: query(exampleName, 128), want: expected{rcode: dns.RcodeFormatError}},
		{row: "45 RRSIG at a regional name", msg: query("myregistry.westus.geo.example.io", dns.TypeRRSIG), want: expected{check: wantNegative}},
		{row: "45 RRSIG at the apex", msg: query("example.io", dns.TypeRRSIG), want: expected{check: wantNegative}},
		{row: "50 DS at the apex", msg: query("example.io", dns.TypeDS), want: expected{check: wantNegative}},
		{row: "50 DNSKEY at the apex", msg: query("example.io", dns.TypeDNSKEY), want: expected{check: wantNegative}},
		{row: "50 NSEC at the apex", msg: query("example.io", dns.TypeNSEC), want: expected{check: wantNegative}},
	}
	for _, class := range []uint16{0, 2, dns.ClassHESIOD, dns.ClassNONE, dns.ClassANY, 65280, 65535} {
		in = append(in, badInput{row: fmt.Sprintf("40 class %d", class), msg: queryFor(asked(named(exampleName), dns.TypeA, class)), want: refused})
	}
	for qtype, rcode := range map[uint16]int{
		0: dns.RcodeFormatError, dns.TypeOPT: dns.RcodeFormatError,
		dns.TypeTKEY: dns.RcodeNotImplemented, dns.TypeTSIG: dns.RcodeNotImplemented,
		dns.TypeMAILA: dns.RcodeNotImplemented, dns.TypeMAILB: dns.RcodeNotImplemented,
	} {
		in = append(in, badInput{row: fmt.Sprintf("43 type %d", qtype), msg: query(exampleName, qtype), want: expected{rcode: rcode}})
	}
	for _, qtype := range []uint16{dns.TypeHTTPS, dns.TypeSVCB, dns.TypeHINFO, 65280, 65535} {
		in = append(in,
			badInput{row: fmt.Sprintf("46 type %d, address alone", qtype), msg: query("plain.example.io", qtype), want: expected{check: wantNegative}},
			badInput{row: fmt.Sprintf("46 type %d, regional name", qtype), msg: query("myregistry.westus.geo.example.io", qtype), want: expected{check: wantNegative}},
			badInput{row: fmt.Sprintf("46 type %d, alias", qtype), msg: query(exampleName, qtype), want: expected{check: wantOneRRset(dns.TypeCNAME)}})
	}
	return in
}

// ixfr is a request for what changed since a serial (RFC 1995 section 3).
func ixfr() []byte {
	soa := slices.Concat([]byte{0, 0}, make([]byte, 20))
	return slices.Concat(header(flagRD, 1, 0, 1, 0), asked(named("example.io"), dns.TypeIXFR, dns.ClassINET), record(0, dns.TypeSOA, dns.ClassINET, 0, soa))
}

func wantText(text string) func(*testing.T, client, []byte, *dns.Msg) {
	return func(t *testing.T, c client, _ []byte, m *dns.Msg) {
		t.Helper()
		if len(m.Answer) == 1 && m.Authoritative {
			if txt, ok := m.Answer[0].(*dns.TXT); ok && txt.Hdr.Class == dns.ClassCHAOS && slices.Equal(txt.Txt, []string{text}) {
				return
			}
		}
		t.Errorf("%v: want %q: %v", c, text, m)
	}
}

// wantOneRRset wants records of one type and nothing besides.
func wantOneRRset(rrtype uint16) func(*testing.T, client, []byte, *dns.Msg) {
	return func(t *testing.T, c client, _ []byte, m *dns.Msg) {
		t.Helper()
		if len(m.Answer) == 0 || !m.Authoritative {
			t.Errorf("%v: %v", c, m)
		}
		for _, rr := range m.Answer {
			if rr.Header().Rrtype != rrtype {
				t.Errorf("%v: a record of another type than %s: %v", c, dns.TypeToString[rrtype], rr)
			}
		}
	}
}

func wantEDE(code uint16) func(*testing.T, client, []byte, *dns.Msg) {
	return func(t *testing.T, c client, _ []byte, m *dns.Msg) {
		t.Helper()
		if ede, ok := optionOf[*dns.EDNS0_EDE](m); !ok || ede.InfoCode != code {
			t.Errorf("%v: want extended error %d: %v", c, code, m)
		}
	}
}

// policyInputs are rows 47 to 51: where a name lies, and the bits of the header.
func policyInputs() []badInput {
	elsewhere := expected{rcode: dns.RcodeRefused, opt: true, check: wantEDE(20)}
	in := []badInput{
		{row: "48 below a name that does not exist", msg: query("a.b.nowhere.example.io", dns.TypeA), want: expected{rcode: dns.RcodeNameError, check: wantNegative}},
		{row: "48 below the global name", msg: query("a."+exampleName, dns.TypeA), want: expected{rcode: dns.RcodeNameError, check: wantNegative}},
		{row: "48 a region without replica", msg: query("myregistry.eastus.geo.example.io", dns.TypeA), want: expected{rcode: dns.RcodeNameError, check: wantNegative}},
		{row: "48 regional name not enabled", msg: query("plain.westus.geo.example.io", dns.TypeA), want: expected{rcode: dns.RcodeNameError, check: wantNegative}},
		{row: "49 elsewhere", msg: query("example.org", dns.TypeA, opt(1232, 0)), want: elsewhere},
		{row: "49 the parent", msg: query("io", dns.TypeNS, opt(1232, 0)), want: elsewhere},
		{row: "49 root NS", msg: queryFor(asked(labels(), dns.TypeNS, dns.ClassINET), opt(1232, 0)), want: elsewhere},
		{row: "49 another zone with the same end", msg: query("badexample.io", dns.TypeA, opt(1232, 0)), want: elsewhere},
		{row: "49 without EDNS", msg: query("example.org", dns.TypeA), want: expected{rcode: dns.RcodeRefused}},
	}
	for _, name := range []string{"geo.example.io", "westus.geo.example.io", "westeurope.geo.example.io"} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypeNS, dns.TypeSOA} {
			in = append(in, badInput{row: fmt.Sprintf("47 %s type %d", name, qtype), msg: query(name, qtype), want: expected{check: wantNegative}})
		}
	}
	// All mixes of AA, TC, RD, RA, Z, AD, CD and the response code: compare says
	// what comes back.
	for _, bits := range []uint16{0, 0x0010, 0x0020, 0x0030, 0x0040, 0x0080, 0x0100, 0x0110, 0x0200, 0x0400, 0x01b0, 0x000f, 0x07ff} {
		msg := query(exampleName, dns.TypeA)
		msg[2], msg[3] = byte(bits>>8), byte(bits)
		in = append(in, badInput{row: fmt.Sprintf("51 bits %04x", bits), msg: msg, want: expected{check: func(t *testing.T, c client, answer []byte, m *dns.Msg) {
			t.Helper()
			if len(m.Answer) != 2 || !m.Authoritative || m.Truncated || answer[3]&0xf != 0 {
				t.Errorf("%v: %v", c, m)
			}
		}}})
	}
	return in
}
