package wire

import (
	"bytes"
	"net"
	"testing"

	"github.com/miekg/dns"
)

// query packs a question with miekg/dns, so that every good case below is a
// message that another implementation made.
func query(tb testing.TB, name string, qtype uint16, edit func(*dns.Msg)) []byte {
	tb.Helper()
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	m.Id = 0x1234
	if edit != nil {
		edit(m)
	}
	b, err := m.Pack()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func withOPT(opts ...dns.EDNS0) func(*dns.Msg) {
	return func(m *dns.Msg) {
		m.SetEdns0(1232, true)
		m.IsEdns0().Option = opts
	}
}

func subnet(family uint16, source uint8, ip string) *dns.EDNS0_SUBNET {
	return &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: family, SourceNetmask: source, Address: net.ParseIP(ip)}
}

func TestParseGood(t *testing.T) {
	for _, tt := range []struct {
		name string
		msg  []byte
		want func(*Query) bool
	}{
		{"plain", query(t, "myregistry.example.io.", dns.TypeA, nil), func(q *Query) bool {
			return q.ID == 0x1234 && q.Type == TypeA && q.Class == ClassIN && !q.EDNS.Present
		}},
		{"case is folded", query(t, "MyRegistry.EXAMPLE.io.", dns.TypeA, nil), func(q *Query) bool {
			return string(AppendName(nil, q.Name())) == "myregistry.example.io." && bytes.Contains(q.Question(), []byte("MyRegistry"))
		}},
		{"root", query(t, ".", dns.TypeNS, nil), func(q *Query) bool { return len(q.Name()) == 1 }},
		{"edns", query(t, "a.", dns.TypeA, withOPT(&dns.EDNS0_NSID{Code: dns.EDNS0NSID})), func(q *Query) bool {
			return q.EDNS.Present && q.EDNS.DO && q.EDNS.NSID && q.EDNS.Size == 1232
		}},
		{"small size means 512", query(t, "a.", dns.TypeA, func(m *dns.Msg) { m.SetEdns0(100, false) }), func(q *Query) bool {
			return q.EDNS.Size == 512
		}},
		{"ecs v4", query(t, "a.", dns.TypeA, withOPT(subnet(1, 24, "192.0.2.0"))), func(q *Query) bool {
			return q.EDNS.ECS.Family == 1 && q.EDNS.ECS.Source == 24 && q.EDNS.ECS.Octets == 3 && q.EDNS.ECS.Addr[2] == 2
		}},
		{"ecs v6", query(t, "a.", dns.TypeA, withOPT(subnet(2, 56, "2001:db8::"))), func(q *Query) bool {
			return q.EDNS.ECS.Family == 2 && q.EDNS.ECS.Octets == 7
		}},
		{"ecs /0", query(t, "a.", dns.TypeA, withOPT(subnet(1, 0, "0.0.0.0"))), func(q *Query) bool {
			return q.EDNS.ECS.Family == 1 && q.EDNS.ECS.Octets == 0
		}},
		{"unknown option", query(t, "a.", dns.TypeA, withOPT(&dns.EDNS0_LOCAL{Code: 65001, Data: []byte("x")})), func(q *Query) bool {
			return q.EDNS.Present
		}},
		{"cookie", query(t, "a.", dns.TypeA, withOPT(&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "2464c4abcf10c957"})), func(q *Query) bool {
			return q.EDNS.CookieLen == 8 && q.EDNS.Cookie[0] == 0x24
		}},
		{"ixfr with SOA", query(t, "a.", dns.TypeIXFR, func(m *dns.Msg) {
			m.Ns = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: "a.", Rrtype: dns.TypeSOA, Class: 1}, Ns: ".", Mbox: "."}}
		}), func(q *Query) bool { return q.Type == TypeIXFR }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var q Query
			if d := q.Parse(tt.msg); d != Refer {
				t.Fatalf("disposition %d, rcode %d", d, q.Rcode)
			}
			if !tt.want(&q) {
				t.Errorf("parsed as %+v", q)
			}
		})
	}
}

// edit returns a copy of msg with the octets at off replaced.
func edit(msg []byte, off int, with ...byte) []byte {
	out := bytes.Clone(msg)
	copy(out[off:], with)
	return out
}

func TestParseBad(t *testing.T) {
	plain := query(t, "a.example.", dns.TypeA, nil)
	edns := query(t, "a.example.", dns.TypeA, withOPT())
	opt := len(edns) - OPTLen
	ecs := query(t, "a.example.", dns.TypeA, withOPT(subnet(1, 24, "192.0.2.0")))
	option := opt + OPTLen
	_ = option
	long := append(bytes.Clone(plain[:12]), bytes.Repeat(append([]byte{62}, bytes.Repeat([]byte("x"), 62)...), 5)...)
	long = append(long, 0, 0, 1, 0, 1)
	tsig := query(t, "a.example.", dns.TypeA, func(m *dns.Msg) { m.SetTsig("key.", dns.HmacSHA256, 300, 0) })
	for _, tt := range []struct {
		name  string
		msg   []byte
		want  Disposition
		rcode uint16
		edns  bool // an OPT is due in the reply
	}{
		{"empty", nil, Drop, 0, false},
		{"eleven octets", plain[:11], Drop, 0, false},
		{"a response", edit(plain, 2, 0x80), Drop, 0, false},
		{"notify", edit(plain, 2, 4<<3), Reject, RcodeNotImp, false},
		{"update with a cut name", edit(plain[:14], 2, 5<<3), Reject, RcodeNotImp, false},
		{"no question", edit(plain[:12], 4, 0, 0), Reject, RcodeFormErr, false},
		{"two questions", edit(plain, 4, 0, 2), Reject, RcodeFormErr, false},
		{"an answer", edit(plain, 6, 0, 1), Reject, RcodeFormErr, false},
		{"an authority record", edit(plain, 8, 0, 1), Reject, RcodeFormErr, false},
		{"65535 additional records", edit(plain, 10, 0xff, 0xff), Reject, RcodeFormErr, false},
		{"three additional records", edit(edns, 10, 0, 3), Reject, RcodeFormErr, false},
		{"label type 0x40", edit(plain, 12, 0x41), Reject, RcodeFormErr, false},
		{"label type 0x80", edit(plain, 12, 0x81), Reject, RcodeFormErr, false},
		{"pointer to itself", edit(plain, 12, 0xc0, 12), Reject, RcodeFormErr, false},
		{"pointer to the header", edit(plain, 12, 0xc0, 0), Reject, RcodeFormErr, false},
		{"name over 255", long, Reject, RcodeFormErr, false},
		{"trailing octet", append(bytes.Clone(plain), 0), Reject, RcodeFormErr, false},
		{"trailing octet behind OPT", append(bytes.Clone(edns), 0), Reject, RcodeFormErr, true},
		{"OPT owner not root", append(append(edit(plain, 10, 0, 1), 1, 'x'), edns[opt:]...), Reject, RcodeFormErr, false},
		{"two OPTs", append(edit(edns, 10, 0, 2), edns[opt:]...), Reject, RcodeFormErr, false},
		{"OPT RDLEN past the end", edit(edns, opt+9, 0, 1), Reject, RcodeFormErr, false},
		{"option past RDLEN", edit(ecs, opt+OPTLen+2, 0, 200), Reject, RcodeFormErr, false},
		{"EDNS version 1", edit(edns, opt+6, 1), Reject, RcodeBadVers, true},
		{"EDNS version 255", edit(edns, opt+6, 255), Reject, RcodeBadVers, true},
		{"another record in additional", query(t, "a.", dns.TypeA, func(m *dns.Msg) {
			m.Extra = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: "a.", Rrtype: 1, Class: 1}, A: net.IPv4(1, 2, 3, 4)}}
		}), Reject, RcodeFormErr, false},
		{"TSIG", tsig, Reject, RcodeNotAuth, false},
		{"ecs twice", query(t, "a.", dns.TypeA, withOPT(subnet(1, 24, "192.0.2.0"), subnet(1, 24, "192.0.2.0"))), Reject, RcodeFormErr, true},
		{"cookie of 7", query(t, "a.", dns.TypeA, withOPT(&dns.EDNS0_COOKIE{Code: 10, Cookie: "00112233445566"})), Reject, RcodeFormErr, true},
		{"cookie of 15", query(t, "a.", dns.TypeA, withOPT(&dns.EDNS0_COOKIE{Code: 10, Cookie: "001122334455667788990011223344"})), Reject, RcodeFormErr, true},
		{"cookie of 41", query(t, "a.", dns.TypeA, withOPT(&dns.EDNS0_LOCAL{Code: 10, Data: make([]byte, 41)})), Reject, RcodeFormErr, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var q Query
			got := q.Parse(tt.msg)
			if got != tt.want || got == Reject && q.Rcode != tt.rcode {
				t.Errorf("disposition %d rcode %d, want %d rcode %d", got, q.Rcode, tt.want, tt.rcode)
			}
			if q.EDNS.Present != tt.edns {
				t.Errorf("EDNS present %v, want %v", q.EDNS.Present, tt.edns)
			}
		})
	}
	for cut := 12; cut < len(ecs); cut++ {
		var q Query
		if d := q.Parse(ecs[:cut]); d != Reject || q.Rcode != RcodeFormErr {
			t.Errorf("cut at %d: disposition %d rcode %d, want FORMERR", cut, d, q.Rcode)
		}
	}
}

// The client subnet vectors: what must be refused, RFC 7871 sections 6 and 7.2.1.
func TestECSRefused(t *testing.T) {
	for name, payload := range map[string][]byte{
		"empty":                  {},
		"shorter than four":      {0, 1, 0},
		"v4 source 33":           {0, 1, 33, 0, 192, 0, 2, 1, 0},
		"v6 source 129":          append([]byte{0, 2, 129, 0}, make([]byte, 17)...),
		"too few octets":         {0, 1, 24, 0, 192, 0},
		"too many octets":        {0, 1, 24, 0, 192, 0, 2, 0},
		"family 0":               {0, 0, 24, 0, 192, 0, 2},
		"family 3":               {0, 3, 24, 0, 192, 0, 2},
		"family 16387":           {0x40, 0x03, 24, 0, 192, 0, 2},
		"bits behind the source": {0, 1, 23, 0, 192, 0, 3},
		"scope not 0":            {0, 1, 24, 24, 192, 0, 2},
		"octet behind /0":        {0, 1, 0, 0, 0},
	} {
		msg := query(t, "a.example.", dns.TypeA, withOPT(&dns.EDNS0_LOCAL{Code: dns.EDNS0SUBNET, Data: payload}))
		var q Query
		if d := q.Parse(msg); d != Reject || q.Rcode != RcodeFormErr || q.EDNS.ECS.Family != 0 || !q.EDNS.Present {
			t.Errorf("%s: disposition %d rcode %d ecs %+v", name, d, q.Rcode, q.EDNS.ECS)
		}
	}
}

func TestParseDoesNotAllocate(t *testing.T) {
	msg := query(t, "myregistry.example.io.", dns.TypeA, withOPT(subnet(1, 24, "192.0.2.0")))
	if n := testing.AllocsPerRun(100, func() {
		var q Query
		if q.Parse(msg) != Refer {
			t.Fatal("refused")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkParse(b *testing.B) {
	msg := query(b, "myregistry.example.io.", dns.TypeA, withOPT(subnet(1, 24, "192.0.2.0")))
	for b.Loop() {
		var q Query
		if q.Parse(msg) != Refer {
			b.Fatal("refused")
		}
	}
}
