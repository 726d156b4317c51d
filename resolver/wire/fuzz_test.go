package wire

import (
	"net"
	"testing"

	"github.com/miekg/dns"
)

// FuzzParse holds Parse against miekg/dns: whatever is referred to a zone must
// be a message that the other parser reads in the same way.
func FuzzParse(f *testing.F) {
	f.Add(query(f, "myregistry.example.io.", dns.TypeA, nil))
	f.Add(query(f, "MyRegistry.eastus.geo.example.io.", dns.TypeAAAA, withOPT(subnet(1, 24, "192.0.2.0"))))
	f.Add(query(f, ".", dns.TypeNS, withOPT(&dns.EDNS0_NSID{Code: dns.EDNS0NSID}, &dns.EDNS0_COOKIE{Code: 10, Cookie: "2464c4abcf10c957"})))
	f.Add(query(f, "a.", dns.TypeIXFR, func(m *dns.Msg) { m.SetTsig("key.", dns.HmacSHA256, 300, 0) }))
	f.Fuzz(func(t *testing.T, msg []byte) {
		var q Query
		switch d := q.Parse(msg); d {
		case Drop:
			if len(msg) >= HeaderLen && msg[2]&0x80 == 0 {
				t.Fatal("a query was dropped")
			}
		case Refer:
			if q.Type != TypeIXFR {
				agree(t, &q, msg)
			}
		case Reject:
			if q.Rcode == RcodeNoError {
				t.Fatal("rejected without a response code")
			}
		case CookieOnly:
			if q.EDNS.CookieLen == 0 {
				t.Fatal("no cookie")
			}
		}
	})
}

// agree compares q with what miekg/dns makes of the same octets.
func agree(t *testing.T, q *Query, msg []byte) {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(msg); err != nil {
		if msg[10] == 0 && msg[11] == 0 {
			t.Fatalf("referred, but miekg/dns says %v", err)
		}
		return // it reads RDATA and options that are none of our business: SIG(0), unknown options
	}
	if m.Id != q.ID || len(m.Question) != 1 || m.Question[0].Qtype != q.Type || m.Question[0].Qclass != q.Class {
		t.Fatalf("question %v, parsed %d %d %d", m.Question, q.ID, q.Type, q.Class)
	}
	name, err := ParseName(m.Question[0].Name)
	if err != nil || string(name) != string(q.Name()) {
		t.Fatalf("name %q is %x, parsed %x, %v", m.Question[0].Name, name, q.Name(), err)
	}
	opt := m.IsEdns0()
	if (opt != nil) != q.EDNS.Present {
		t.Fatalf("OPT %v, parsed %v", opt, q.EDNS)
	}
	if opt == nil {
		return
	}
	if opt.Do() != q.EDNS.DO || max(opt.UDPSize(), 512) != q.EDNS.Size {
		t.Fatalf("OPT %v, parsed %+v", opt, q.EDNS)
	}
	for _, o := range opt.Option {
		s, ok := o.(*dns.EDNS0_SUBNET)
		if !ok {
			continue
		}
		ours := net.IP(q.EDNS.ECS.Addr[:4])
		if s.Family == 2 {
			ours = net.IP(q.EDNS.ECS.Addr[:])
		}
		if s.Family != q.EDNS.ECS.Family || s.SourceNetmask != q.EDNS.ECS.Source || q.EDNS.ECS.Source > 0 && !s.Address.Equal(ours) {
			t.Fatalf("ECS %v, parsed %+v", s, q.EDNS.ECS)
		}
	}
}

// FuzzEDNS gives the option parser RDATA directly, so that the fuzzer spends no
// effort on framing.
func FuzzEDNS(f *testing.F) {
	f.Add([]byte{0, 8, 0, 7, 0, 1, 24, 0, 192, 0, 2})
	f.Add([]byte{0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 3, 0, 0})
	f.Add([]byte{0, 8, 0, 11, 0, 2, 56, 0, 0x20, 1, 0xd, 0xb8, 0, 0, 0})
	f.Fuzz(func(t *testing.T, rdata []byte) {
		var e EDNS
		if e.parse([]byte{4, 208, 0, 0, 0, 0}, rdata) != RcodeNoError {
			if e.ECS.Family != 0 {
				t.Fatal("a refused subnet is kept")
			}
			return
		}
		if e.ECS.Family == 0 {
			return
		}
		var back ECS
		if opt := AppendECS(nil, &e.ECS, 0); !back.parse(opt[4:]) || back != e.ECS {
			t.Fatalf("%+v does not survive its own echo", e.ECS)
		}
	})
}
