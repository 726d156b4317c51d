package resolver_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func TestTruncation(t *testing.T) {
	s := newServer(t, contoso)
	for _, tt := range []struct {
		size uint16 // 0: no EDNS
		tc   bool
	}{{0, true}, {100, true}, {512, true}, {1232, false}, {4096, false}, {65535, false}} {
		m := question("big.example.io.", dns.TypeTXT, "")
		if tt.size > 0 {
			m.SetEdns0(tt.size, false)
		}
		msg, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		out := s.raw(msg)
		var got dns.Msg
		if err := got.Unpack(out); err != nil {
			t.Fatal(err)
		}
		if got.Truncated != tt.tc || tt.tc && (len(got.Answer)+len(got.Ns) > 0 || (got.IsEdns0() != nil) != (tt.size > 0)) {
			t.Errorf("size %d: %v", tt.size, &got)
		}
		if limit := max(int(min(tt.size, 1232)), 512); len(out) > limit {
			t.Errorf("size %d: %d octets", tt.size, len(out))
		}
		if !tt.tc && len(got.Answer) != 6 {
			t.Errorf("size %d: %d records", tt.size, len(got.Answer))
		}
	}
	if got := s.ask(question("big.example.io.", dns.TypeTXT, ""), true); got.Truncated || len(got.Answer) != 6 {
		t.Errorf("over a stream: %v", got)
	}
}

func TestEDNS(t *testing.T) {
	s := newServer(t, contoso)
	m := question("myregistry.example.io.", dns.TypeA, seattle)
	m.IsEdns0().SetDo()
	m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_NSID{Code: dns.EDNS0NSID, Nsid: "cafe"},
		&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "2464c4abcf10c957"}, &dns.EDNS0_LOCAL{Code: 65001, Data: []byte("x")})
	got := s.ask(m, false).IsEdns0()
	if got == nil || !got.Do() || got.UDPSize() != 1232 || got.Version() != 0 || len(got.Option) != 3 {
		t.Fatalf("%v", got)
	}
	for _, o := range got.Option {
		switch o := o.(type) {
		case *dns.EDNS0_NSID:
			if o.Nsid != "6e73312e74657374" { // ns1.test
				t.Errorf("NSID %s", o.Nsid)
			}
		case *dns.EDNS0_COOKIE:
			if len(o.Cookie) != 48 || !strings.HasPrefix(o.Cookie, "2464c4abcf10c957") {
				t.Errorf("cookie %s", o.Cookie)
			}
		case *dns.EDNS0_SUBNET:
			if o.Family != 1 || o.SourceNetmask != 24 || !o.Address.Equal([]byte{128, 95, 0, 0}) {
				t.Errorf("subnet %v", o)
			}
		default:
			t.Errorf("option %v", o)
		}
	}
	if s.q("myregistry.example.io.", dns.TypeA, "").IsEdns0() != nil {
		t.Error("an OPT record that was not asked for")
	}
	m = question("myregistry.example.io.", dns.TypeA, seattle)
	m.IsEdns0().SetVersion(3)
	if r := s.ask(m, false); r.Rcode != dns.RcodeBadVers || r.IsEdns0().Version() != 0 || len(r.Answer) > 0 || len(r.IsEdns0().Option) > 0 {
		t.Errorf("version 3: %v", r)
	}
}

// QDCOUNT 0 is an error, unless a COOKIE makes it a request for a cookie.
func TestNoQuestion(t *testing.T) {
	s := newServer(t, contoso)
	m := new(dns.Msg)
	m.Id = 7
	if r := s.ask(m, false); r.Rcode != dns.RcodeFormatError {
		t.Errorf("without a cookie: %v", r)
	}
	m.SetEdns0(1232, false)
	m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "2464c4abcf10c957"}}
	r := s.ask(m, false)
	if r.Rcode != 0 || len(r.Question) != 0 || r.IsEdns0() == nil || len(r.IsEdns0().Option) != 1 || len(r.IsEdns0().Option[0].(*dns.EDNS0_COOKIE).Cookie) != 48 {
		t.Errorf("with a cookie: %v", r)
	}
}

func TestQuestionIsEchoedAsItCame(t *testing.T) {
	s := newServer(t, contoso)
	for _, name := range []string{"MyReGiStRy.ExAmPlE.iO.", "NOTHING.example.IO.", "Example.ORG."} {
		msg, err := question(name, dns.TypeA, seattle).Pack()
		if err != nil {
			t.Fatal(err)
		}
		out := s.raw(msg)
		if n := len(name) + 1 + 4; !bytes.Equal(out[12:12+n], msg[12:12+n]) {
			t.Errorf("%s: question %q", name, out[12:12+n])
		}
	}
	if got := s.q("MYREGISTRY.example.io.", dns.TypeA, seattle); len(got.Answer) != 2 {
		t.Errorf("upper case: %v", got)
	}
}

func TestFlags(t *testing.T) {
	s := newServer(t, contoso)
	msg, err := question("myregistry.example.io.", dns.TypeA, "").Pack()
	if err != nil {
		t.Fatal(err)
	}
	for bits := range uint16(1 << 7) { // RD, RA, Z, AD, CD and the two beside them
		in := bytes.Clone(msg)
		flags := bits&1<<8 | bits>>1<<4&0xf0
		binary.BigEndian.PutUint16(in[2:], flags)
		got := binary.BigEndian.Uint16(s.raw(in)[2:])
		if want := 0x8400 | flags&0x0110; got != want {
			t.Errorf("flags %#04x answered with %#04x, want %#04x", flags, got, want)
		}
	}
}

// A response that comes back as a query is not answered, so no loop of two servers, or
// of one with itself, can begin.
func TestResponsesAreNotAnswered(t *testing.T) {
	s := newServer(t, contoso)
	for _, class := range classes {
		msg, err := class.query().Pack()
		if err != nil {
			t.Fatal(err)
		}
		if out := s.raw(s.raw(msg)); out != nil {
			t.Errorf("%s: the response is answered with %x", class.name, out)
		}
	}
}

func TestTypesClassesAndOpcodes(t *testing.T) {
	s := newServer(t, contoso)
	for _, tt := range []struct {
		name          string
		qtype, qclass uint16
		rcode, ede    int
	}{
		{"myregistry.example.io.", 0, 1, dns.RcodeFormatError, -1},
		{"myregistry.example.io.", dns.TypeOPT, 1, dns.RcodeFormatError, -1},
		{"myregistry.example.io.", 128, 1, dns.RcodeFormatError, 30},
		{"myregistry.example.io.", dns.TypeTKEY, 1, dns.RcodeNotImplemented, 21},
		{"myregistry.example.io.", dns.TypeTSIG, 1, dns.RcodeNotImplemented, 21},
		{"myregistry.example.io.", dns.TypeMAILA, 1, dns.RcodeNotImplemented, 21},
		{"myregistry.example.io.", dns.TypeMAILB, 1, dns.RcodeNotImplemented, 21},
		{"example.io.", dns.TypeAXFR, 1, dns.RcodeRefused, 21},
		{"example.io.", dns.TypeIXFR, 1, dns.RcodeRefused, 21},
		{"example.io.", dns.TypeRRSIG, 1, dns.RcodeSuccess, -1},
		{"example.org.", dns.TypeA, 1, dns.RcodeRefused, 20},
		{"myregistry.example.io.", dns.TypeA, dns.ClassHESIOD, dns.RcodeRefused, 21},
		{"myregistry.example.io.", dns.TypeA, dns.ClassNONE, dns.RcodeRefused, 21},
		{"myregistry.example.io.", dns.TypeA, dns.ClassANY, dns.RcodeRefused, 21},
		{"id.server.", dns.TypeTXT, dns.ClassCHAOS, dns.RcodeSuccess, -1},
		{"hostname.bind.", dns.TypeTXT, dns.ClassCHAOS, dns.RcodeSuccess, -1},
		{"version.bind.", dns.TypeTXT, dns.ClassCHAOS, dns.RcodeSuccess, -1},
		{"authors.bind.", dns.TypeTXT, dns.ClassCHAOS, dns.RcodeRefused, -1},
		{"id.server.", dns.TypeA, dns.ClassCHAOS, dns.RcodeRefused, -1},
	} {
		m := question(tt.name, tt.qtype, "")
		m.Question[0].Qclass = tt.qclass
		m.SetEdns0(1232, false)
		got := s.ask(m, false)
		if got.Rcode != tt.rcode || edeOf(got) != tt.ede || len(got.Question) != 1 {
			t.Errorf("%s %d %d: rcode %d EDE %d, want %d, %d", tt.name, tt.qtype, tt.qclass, got.Rcode, edeOf(got), tt.rcode, tt.ede)
		}
	}
	msg, err := question("myregistry.example.io.", dns.TypeA, "").Pack()
	if err != nil {
		t.Fatal(err)
	}
	for opcode := byte(1); opcode < 16; opcode++ {
		in := bytes.Clone(msg)
		in[2] = opcode << 3
		out := s.raw(in)
		if len(out) != len(msg) || out[2] != 0x80|opcode<<3 || out[3]&0xf != dns.RcodeNotImplemented {
			t.Errorf("opcode %d: %x", opcode, out)
		}
	}
}

// Every type at every kind of name gets a response that another implementation
// can read, and no type that is data is refused (RFC 3597, RFC 8906).
func TestEveryType(t *testing.T) {
	s := newServer(t, contoso)
	for _, name := range []string{
		"myregistry.example.io.", "own.example.", "deep.plain.example.io.", "myregistry.eastus.geo.example.io.", "cloud.westus.geo.example.io.",
		"myregistry.westeurope.data.example.io.", "geo.example.io.", "nothing.example.io.", "www.example.io.", "mail2.example.io.",
		"cloud.example.io.", "_explain.myregistry.example.io.", "_whoami.example.io.", "example.io.", "example.org.",
	} {
		msg, err := question(name, dns.TypeA, seattle).Pack()
		if err != nil {
			t.Fatal(err)
		}
		at := 12 + len(name) + 1
		answer := func(qtype int) []byte {
			binary.BigEndian.PutUint16(msg[at:], uint16(qtype))
			return s.raw(msg)
		}
		alike := answer(65534)
		for qtype := range allTypes() {
			out := answer(qtype)
			if qtype > 256 { // none of which any name has records of
				if binary.BigEndian.PutUint16(out[at:], 65534); !bytes.Equal(out, alike) {
					t.Fatalf("%s %d: %x, but type 65534: %x", name, qtype, out, alike)
				}
				continue
			}
			if err := new(dns.Msg).Unpack(out); err != nil {
				t.Fatalf("%s %d: %v", name, qtype, err)
			}
		}
		if rcode := int(alike[3] & 0xf); name != "example.org." && rcode != dns.RcodeSuccess && rcode != dns.RcodeNameError {
			t.Errorf("%s: rcode %d for a type that means nothing", name, rcode)
		}
	}
}

// What is sent is what miekg/dns would pack for the same records.
func TestBytesMatchMiekg(t *testing.T) {
	s := newServer(t, contoso)
	for _, name := range []string{
		"myregistry.example.io.", "own.example.", "myregistry.eastus.geo.example.io.", "geo.example.io.", "nothing.example.io.",
		"cloud.example.io.", "_explain.myregistry.example.io.", "_whoami.example.io.", "example.io.", "mail2.example.io.", "a.b.c.example.io.",
	} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypeSOA, dns.TypeNS, dns.TypeMX, dns.TypeCAA, dns.TypeANY} {
			for _, subnet := range []string{"", seattle, amsterdam} {
				msg, err := question(name, qtype, subnet).Pack()
				if err != nil {
					t.Fatal(err)
				}
				out := s.raw(msg)
				var m dns.Msg
				if err := m.Unpack(out); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				m.Compress = true
				again, err := m.Pack()
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(out, again) {
					t.Errorf("%s %s %s:\n ours %x\nmiekg %x", name, dns.TypeToString[qtype], subnet, out, again)
				}
			}
		}
	}
}

func TestExplain(t *testing.T) {
	s := newServer(t, contoso)
	s.set("myregistry", but("eastus"), but("canadacentral"))
	s.s.Excluded = func(_ int, region uint8) string {
		if s.s.Regions[region].Label == "eastus" {
			return "down since noon: 503"
		}
		return ""
	}
	got := s.q("_explain.myregistry.example.io.", dns.TypeTXT, atlanta)
	var lines []string
	for _, rr := range got.Answer {
		if rr.Header().Ttl != 0 {
			t.Errorf("TTL %d", rr.Header().Ttl)
		}
		lines = append(lines, strings.Join(rr.(*dns.TXT).Txt, ""))
	}
	text := strings.Join(lines, "\n")
	for _, want := range []string{
		"answer westus (nearest) ttl 60 scope /",
		"client 130.207.0.0/24 by the client subnet 130.207.0.0/24, asked by 127.0.0.1",
		"place US near ",
		"rank 1 eastus ", "excluded: down since noon: 503",
		"rank 2 canadacentral ", "excluded: global endpoint routing is off",
		"rank 3 westus ",
		"node ns1.test generation 1 serial 1800000000",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	answered := s.q("myregistry.example.io.", dns.TypeA, atlanta)
	if answered.Answer[0].(*dns.CNAME).Target != "myregistry.westus.geo.example.io." || scopeOf(answered) != scopeOf(got) {
		t.Errorf("explained %s with scope %d, but answered %v with scope %d", lines[0], scopeOf(got), answered.Answer[0], scopeOf(answered))
	}
}

// Strangers get what gives away no other replica, and where the rest is.
func TestExplainShortForm(t *testing.T) {
	s := newServer(t, strings.Replace(contoso, "allow: [127.0.0.0/8]", "allow: [192.0.2.0/24]", 1))
	got := s.q("_explain.myregistry.example.io.", dns.TypeTXT, atlanta)
	if len(got.Answer) != 2 {
		t.Fatalf("%v", got)
	}
	if rest := got.Answer[1].(*dns.TXT).Txt[0]; !strings.HasPrefix(rest, "shortened: ") || !strings.HasSuffix(rest, "portolan explain myregistry.example.io --client 130.207.0.0/24") {
		t.Errorf("%s", rest)
	}
	text := got.Answer[0].(*dns.TXT).Txt[0]
	if !strings.HasPrefix(text, "replica=eastus reason=nearest client=subnet scope=/") || strings.Contains(text, "westus ") {
		t.Errorf("%s", text)
	}
}

// Nor are strangers told the names and prefixes of networks.
func TestWhoamiShortForm(t *testing.T) {
	s := newServer(t, strings.NewReplacer(
		"allow: [127.0.0.0/8]", "allow: [192.0.2.0/24]",
		"  networks:\n", "  networks:\n    secret-lab: {prefixes: [145.18.0.0/23, 127.0.0.0/8], region: eastus}\n").Replace(contoso))
	var got []string
	for _, rr := range s.q("_whoami.example.io.", dns.TypeTXT, amsterdam).Answer {
		got = append(got, rr.(*dns.TXT).Txt...)
	}
	want := []string{`resolver 127.0.0.1`, `subnet 145.18.0.0/24`, `shortened: not in diagnostics.allow; on the name server, all of it: portolan geo lookup 127.0.0.1 -c FILE`, `node ns1.test`}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestWhoami(t *testing.T) {
	s := newServer(t, contoso)
	got := s.q("_whoami.example.io.", dns.TypeTXT, amsterdam)
	text := strings.Join(texts(got.Answer), "\n")
	for _, want := range []string{`"resolver 127.0.0.1"`, `"subnet 145.18.0.0/24"`, `"place NL near `, `"node ns1.test"`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}

func TestCounters(t *testing.T) {
	s := newServer(t, contoso)
	s.q("myregistry.example.io.", dns.TypeA, atlanta)
	s.q("nothing.example.io.", dns.TypeA, atlanta)
	s.ask(question("myregistry.example.io.", dns.TypeA, atlanta), true)
	if out := s.raw([]byte{1, 2, 3}); out != nil {
		t.Errorf("a runt is answered with %x", out)
	}
	got := s.resolver.Totals()
	if got.Responses[0][0][0] != 1 || got.Responses[0][0][3] != 1 || got.Responses[1][0][0] != 1 || got.Dropped[0] != 1 {
		t.Errorf("%+v", got)
	}
	var answered uint64
	for _, n := range got.Answers {
		answered += n
	}
	if answered != 2 {
		t.Errorf("%d global answers are counted, want 2", answered)
	}
}
