package wire

import (
	"bytes"
	"testing"

	"github.com/miekg/dns"
)

// records parses zone-file lines with miekg/dns.
func records(t *testing.T, lines []string) []dns.RR {
	t.Helper()
	var out []dns.RR
	for _, l := range lines {
		rr, err := dns.NewRR(l)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, rr)
	}
	return out
}

// The packer must give the bytes that miekg/dns gives for the same message.
func TestPackMatchesMiekg(t *testing.T) {
	for _, tt := range []struct {
		qname  string
		answer []string
	}{
		{"myregistry.example.io.", []string{"myregistry.example.io. 60 IN A 192.0.2.10"}},
		{"myregistry.example.io.", []string{
			"myregistry.example.io. 60 IN CNAME myregistry.eastus.geo.example.io.",
			"myregistry.eastus.geo.example.io. 300 IN A 192.0.2.20",
			"myregistry.eastus.geo.example.io. 300 IN A 192.0.2.21",
		}},
		{"example.io.", []string{
			"example.io. 3600 IN SOA ns1.example.io. hostmaster.example.io. 1 2 3 4 5",
			"example.io. 3600 IN NS ns1.example.io.",
			"example.io. 3600 IN NS ns2.example.net.",
			"example.io. 3600 IN MX 10 mx.example.io.",
			"ns1.example.io. 3600 IN AAAA 2001:db8::53",
		}},
		{"www.example.io.", []string{"www.example.io. 5 IN CNAME other.example.org.", "other.example.org. 5 IN CNAME www.example.org."}},
		{"t.example.io.", []string{`t.example.io. 5 IN TXT "a" "b c"`, `t.example.io. 5 IN CAA 0 issue "ca.example"`, "t.example.io. 5 IN SRV 1 2 3 host.example.io."}},
		{".", []string{". 5 IN NS a.example."}},
	} {
		m := new(dns.Msg)
		m.SetQuestion(tt.qname, dns.TypeA)
		m.Compress = true
		m.Answer = records(t, tt.answer)
		want, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		qname, err := ParseName(tt.qname)
		if err != nil {
			t.Fatal(err)
		}
		p := NewPacker(qname)
		for _, rr := range m.Answer {
			if err := p.Add(fromMiekg(t, rr)); err != nil {
				t.Fatal(err)
			}
		}
		if head := HeaderLen + len(qname) + 4; !bytes.Equal(p.Bytes(), want[head:]) {
			t.Errorf("%s:\n got %x\nwant %x", tt.qname, p.Bytes(), want[head:])
		}
	}
}

func fromMiekg(t *testing.T, rr dns.RR) RR {
	t.Helper()
	buf := make([]byte, 65536)
	n, err := dns.PackRR(rr, buf, 0, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	owner := skipName(buf[:n], 0)
	h := rr.Header()
	return RR{Owner: buf[:owner], Type: h.Rrtype, Class: h.Class, TTL: h.Ttl, Data: buf[owner+10 : n]}
}

func TestPackRefusesBrokenRData(t *testing.T) {
	name, err := ParseName("a.example.")
	if err != nil {
		t.Fatal(err)
	}
	for _, rr := range []RR{
		{Owner: name, Type: TypeNS, Data: []byte{5, 'x'}},
		{Owner: name, Type: TypeMX, Data: []byte{1}},
		{Owner: name, Type: TypeSOA, Data: append(bytes.Clone(name), name...)},
		{Owner: name, Type: TypeTXT, Data: make([]byte, 70000)},
	} {
		if err := NewPacker(name).Add(rr); err == nil {
			t.Errorf("type %d with RDATA of %d octets is packed", rr.Type, len(rr.Data))
		}
	}
}
