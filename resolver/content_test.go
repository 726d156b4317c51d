package resolver_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"portolan.dev/config"
	"portolan.dev/resolver"
	"portolan.dev/resolver/compile"
	"portolan.dev/resolver/decide"
	"portolan.dev/resolver/wire"
)

// A zone that is its file, one that a registry shares with its file, and one below a
// delegation of the first.
const contentConfig = `
server: {listen: ["127.0.0.1:0"], identity: ns1.test}
geo: {default_region: westeurope}
zones:
  file.test: {records: file.test.zone}
  shared.test: {nameservers: {ns.file.test.: []}, records: shared.test.zone}
  dname.test: {nameservers: {ns.file.test.: []}, records: dname.test.zone}
registries:
  reg:
    zone: shared.test
    regional_endpoints: enabled
    replicas:
      westus: {addresses: [192.0.2.10]}
      westeurope: {addresses: [192.0.2.40, "2001:db8::40"]}
    families: ipv4
  bare:
    zone: shared.test
    replicas: {westus: {addresses: [192.0.2.11]}, westeurope: {addresses: [192.0.2.41]}}
`

//nolint:dupword // names at the ends and beginnings of lines
var contentFiles = map[string]string{
	"file.test.zone": `
$TTL 300
@ SOA ns host.test. 4000000000 7200 900 1209600 60
@ NS ns
@ NS ns.sub
@ MX 10 mail
ns A 192.0.2.53
mail A 192.0.2.25
* TXT any
deep.ent A 192.0.2.1
*.wild A 192.0.2.2
*.wild MX 5 *.wild
x.y.wild A 192.0.2.3
*.w CNAME mail
*.loop CNAME a.loop
c1 CNAME c2
c2 CNAME c3
c3 CNAME mail
l1 CNAME l2
l2 CNAME l1
self CNAME self
out CNAME other.test.
gone CNAME not.mail
empty CNAME ent
towild CNAME q.wild
tosub CNAME q.sub
todname CNAME p.q.d
atdname CNAME d
sub NS ns.sub
sub NS ns.other
sub NS out.test.
sub DS 1 8 2 0123
ns.sub A 192.0.2.54
ns.sub AAAA 2001:db8::54
other NS ns.other
ns.other A 192.0.2.55
d DNAME mail
d TXT at
e DNAME wild
f DNAME g
g DNAME f
h DNAME other.test.
big DNAME ` + strings.Repeat(strings.Repeat("x", 60)+".", 3) + `file.test.
x.*.star A 192.0.2.9
a\.b A 192.0.2.4
\000\255 A 192.0.2.5
t TYPE65280 \# 3 010203
srv SRV 0 0 443 mail
*.w2 CNAME @
*.p PTR mail
*.s CNAME q.sub
fd DNAME a.fd
kk DNAME a.l
l DNAME kk
r DNAME sub
` + hugeText(),
	"shared.test.zone": `
$TTL 300
www CNAME reg
www2 CNAME www
plain CNAME bare
regional CNAME reg.westus.geo
explain CNAME _explain.reg
whoami CNAME _whoami
*.any CNAME reg
d DNAME geo
`,
	"dname.test.zone": "@ 300 DNAME file.test.\n@ 300 TXT apex\n",
}

// hugeText is an RRset of nearly as many octets as a message can have.
func hugeText() string {
	var b strings.Builder
	for i := range 243 {
		fmt.Fprintf(&b, "huge TXT %03d%s\n", i, strings.Repeat("x", 250))
	}
	return b.String()
}

func contentServer(tb testing.TB) *server {
	tb.Helper()
	data, err := table()
	if err != nil {
		tb.Fatal(err)
	}
	c, err := config.Parse("test.yaml", []byte(contentConfig))
	if err != nil {
		tb.Fatal(err)
	}
	result, err := compile.Compile(c, compile.Options{
		Table: data, Slots: compile.NewSlots(), Seed: 42, Now: clock, Identity: "host",
		ReadFile: func(name string) ([]byte, error) {
			if text, ok := contentFiles[name]; ok {
				return []byte(text), nil
			}
			return nil, os.ErrNotExist
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	s := result.Snapshot
	s.Holds = decide.NewHolds(1000)
	r := resolver.New(s, wire.CookieSecret{1, 2, 3})
	r.Reserve(100)
	return &server{tb, r, s, r.Worker(resolver.UDP), r.Worker(resolver.TCP)}
}

// lines returns a section, spaced by blanks and without IN.
func lines(rrs []dns.RR) string {
	var out []string
	for _, rr := range rrs {
		if rr.Header().Rrtype == dns.TypeOPT {
			continue
		}
		out = append(out, strings.NewReplacer("\tIN\t", " ", "\t", " ", ".file.test.", "_").Replace(rr.String()))
	}
	return strings.Join(out, "; ")
}

const (
	soaFile   = "file.test. 60 SOA ns_ host.test. 4000000000 7200 900 1209600 60"
	soaShared = "shared.test. 60 SOA ns_ hostmaster.shared.test. 1800000000 7200 900 1209600 60"
	toSub     = "sub_ 300 NS ns.sub_; sub_ 300 NS ns.other_; sub_ 300 NS out.test."
	glue      = "ns.sub_ 300 A 192.0.2.54; ns.sub_ 300 AAAA 2001:db8::54; ns.other_ 300 A 192.0.2.55"
)

// contentCases are the ways in which a zone's own records answer.
var contentCases = []struct {
	name      string
	qtype     uint16
	rcode     int
	aa        bool
	answer    string
	authority string
	extra     string
}{
	{"file.test.", dns.TypeSOA, 0, true, strings.Replace(soaFile, " 60 SOA", " 300 SOA", 1), "", ""},
	{"file.test.", dns.TypeNS, 0, true, "file.test. 300 NS ns_; file.test. 300 NS ns.sub_", "", "ns_ 300 A 192.0.2.53; ns.sub_ 300 A 192.0.2.54; ns.sub_ 300 AAAA 2001:db8::54"},
	{"file.test.", dns.TypeMX, 0, true, "file.test. 300 MX 10 mail_", "", "mail_ 300 A 192.0.2.25"},
	{"srv.file.test.", dns.TypeSRV, 0, true, "srv_ 300 SRV 0 0 443 mail_", "", "mail_ 300 A 192.0.2.25"},
	{"t.file.test.", 65280, 0, true, `t_ 300 CLASS1 TYPE65280 \# 3 010203`, "", ""},
	{`a\.b.file.test.`, dns.TypeA, 0, true, `a\.b_ 300 A 192.0.2.4`, "", ""},
	{`\000\255.file.test.`, dns.TypeA, 0, true, `\000\255_ 300 A 192.0.2.5`, "", ""},
	// Wildcards, RFC 4592.
	{"any.thing.file.test.", dns.TypeTXT, 0, true, `any.thing_ 300 TXT "any"`, "", ""},
	{"any.thing.file.test.", dns.TypeA, 0, true, "", soaFile, ""},
	{"*.file.test.", dns.TypeTXT, 0, true, `*_ 300 TXT "any"`, "", ""},
	{"x.ent.file.test.", dns.TypeTXT, dns.RcodeNameError, true, "", soaFile, ""},
	{"ent.file.test.", dns.TypeTXT, 0, true, "", soaFile, ""},
	{"x.mail.file.test.", dns.TypeTXT, dns.RcodeNameError, true, "", soaFile, ""},
	{"Q.r.wild.file.test.", dns.TypeA, 0, true, "Q.r.wild_ 300 A 192.0.2.2", "", ""},
	{"q.wild.file.test.", dns.TypeMX, 0, true, "q.wild_ 300 MX 5 *.wild_", "", "*.wild_ 300 A 192.0.2.2"},
	{"y.wild.file.test.", dns.TypeA, 0, true, "", soaFile, ""},
	{"z.y.wild.file.test.", dns.TypeA, dns.RcodeNameError, true, "", soaFile, ""},
	{"q.star.file.test.", dns.TypeA, 0, true, "", soaFile, ""},
	{"q.*.star.file.test.", dns.TypeA, dns.RcodeNameError, true, "", soaFile, ""},
	{"q.*.wild.file.test.", dns.TypeA, dns.RcodeNameError, true, "", soaFile, ""},
	{"q.w.file.test.", dns.TypeA, 0, true, "q.w_ 300 CNAME mail_; mail_ 300 A 192.0.2.25", "", ""},
	{"q.w.file.test.", dns.TypeTXT, 0, true, "q.w_ 300 CNAME mail_", soaFile, ""},
	{"q.w.file.test.", dns.TypeCNAME, 0, true, "q.w_ 300 CNAME mail_", "", ""},
	{"q.loop.file.test.", dns.TypeA, 0, true, "q.loop_ 300 CNAME a.loop_; a.loop_ 300 CNAME a.loop_", "", ""},
	{"a.loop.file.test.", dns.TypeA, 0, true, "a.loop_ 300 CNAME a.loop_", "", ""},
	// CNAMEs.
	{"c1.file.test.", dns.TypeA, 0, true, "c1_ 300 CNAME c2_; c2_ 300 CNAME c3_; c3_ 300 CNAME mail_; mail_ 300 A 192.0.2.25", "", ""},
	{"c1.file.test.", dns.TypeTXT, 0, true, "c1_ 300 CNAME c2_; c2_ 300 CNAME c3_; c3_ 300 CNAME mail_", soaFile, ""},
	{"c1.file.test.", dns.TypeANY, 0, true, "c1_ 300 CNAME c2_", "", ""},
	{"l1.file.test.", dns.TypeA, 0, true, "l1_ 300 CNAME l2_; l2_ 300 CNAME l1_", "", ""},
	{"self.file.test.", dns.TypeA, 0, true, "self_ 300 CNAME self_", "", ""},
	{"out.file.test.", dns.TypeA, 0, true, "out_ 300 CNAME other.test.", "", ""},
	{"gone.file.test.", dns.TypeA, dns.RcodeNameError, true, "gone_ 300 CNAME not.mail_", soaFile, ""},
	{"empty.file.test.", dns.TypeA, 0, true, "empty_ 300 CNAME ent_", soaFile, ""},
	{"towild.file.test.", dns.TypeA, 0, true, "towild_ 300 CNAME q.wild_; q.wild_ 300 A 192.0.2.2", "", ""},
	{"tosub.file.test.", dns.TypeA, 0, true, "tosub_ 300 CNAME q.sub_", toSub, glue},
	{"todname.file.test.", dns.TypeA, dns.RcodeNameError, true, "todname_ 300 CNAME p.q.d_; d_ 300 DNAME mail_; p.q.d_ 300 CNAME p.q.mail_", soaFile, ""},
	{"atdname.file.test.", dns.TypeDNAME, 0, true, "atdname_ 300 CNAME d_; d_ 300 DNAME mail_", "", ""},
	{"q.atdname.file.test.", dns.TypeDNAME, dns.RcodeNameError, true, "", soaFile, ""},
	{"q.w2.file.test.", dns.TypeSOA, 0, true, "q.w2_ 300 CNAME file.test.; " + strings.Replace(soaFile, " 60 SOA", " 300 SOA", 1), "", ""},
	{"q.r.p.file.test.", dns.TypePTR, 0, true, "q.r.p_ 300 PTR mail_", "", ""},
	{"q.s.file.test.", dns.TypeA, 0, true, "q.s_ 300 CNAME q.sub_", toSub, glue},
	// Delegations.
	{"sub.file.test.", dns.TypeNS, 0, false, "", toSub, glue},
	{"sub.file.test.", dns.TypeANY, 0, false, "", toSub, glue},
	{"sub.file.test.", dns.TypeDS, 0, true, "sub_ 300 DS 1 8 2 0123", "", ""},
	{"other.file.test.", dns.TypeDS, 0, true, "", soaFile, ""},
	{"q.sub.file.test.", dns.TypeDS, 0, false, "", toSub, glue},
	{"ns.sub.file.test.", dns.TypeA, 0, false, "", toSub, glue},
	{"a.b.c.sub.file.test.", dns.TypeSOA, 0, false, "", toSub, glue},
	// DNAME, RFC 6672.
	{"d.file.test.", dns.TypeDNAME, 0, true, "d_ 300 DNAME mail_", "", ""},
	{"d.file.test.", dns.TypeTXT, 0, true, `d_ 300 TXT "at"`, "", ""},
	{"d.file.test.", dns.TypeA, 0, true, "", soaFile, ""},
	{"Q.d.file.test.", dns.TypeA, dns.RcodeNameError, true, "d_ 300 DNAME mail_; Q.d_ 300 CNAME Q.mail_", soaFile, ""},
	{"q.e.file.test.", dns.TypeA, 0, true, "e_ 300 DNAME wild_; q.e_ 300 CNAME q.wild_; q.wild_ 300 A 192.0.2.2", "", ""},
	{"x.y.e.file.test.", dns.TypeA, 0, true, "e_ 300 DNAME wild_; x.y.e_ 300 CNAME x.y.wild_; x.y.wild_ 300 A 192.0.2.3", "", ""},
	{"q.e.file.test.", dns.TypeCNAME, 0, true, "e_ 300 DNAME wild_; q.e_ 300 CNAME q.wild_", "", ""},
	{"q.f.file.test.", dns.TypeA, 0, true, "f_ 300 DNAME g_; q.f_ 300 CNAME q.g_; g_ 300 DNAME f_; q.g_ 300 CNAME q.f_", "", ""},
	{"q.h.file.test.", dns.TypeA, 0, true, "h_ 300 DNAME other.test.; q.h_ 300 CNAME q.other.test.", "", ""},
	{strings.Repeat("y", 62) + ".big.file.test.", dns.TypeA, dns.RcodeYXDomain, true, "big_ 300 DNAME " + strings.TrimSuffix(strings.Repeat(strings.Repeat("x", 60)+".", 3), ".") + "_", "", ""},
	{"q.dname.test.", dns.TypeA, 0, true, "dname.test. 300 DNAME file.test.; q.dname.test. 300 CNAME q_", "", ""},
	{"q.fd.file.test.", dns.TypeA, 0, true, "fd_ 300 DNAME a.fd_; q.fd_ 300 CNAME q.a.fd_", "", ""},
	{"q.r.file.test.", dns.TypeA, 0, true, "r_ 300 DNAME sub_; q.r_ 300 CNAME q.sub_", toSub, glue},
	{"dname.test.", dns.TypeTXT, 0, true, `dname.test. 300 TXT "apex"`, "", ""},
	// CNAMEs to the names of registries.
	{"www.shared.test.", dns.TypeA, 0, true, "www.shared.test. 300 CNAME reg.shared.test.; reg.shared.test. 60 CNAME reg.westeurope.geo.shared.test.; reg.westeurope.geo.shared.test. 300 A 192.0.2.40", "", ""},
	{"www2.shared.test.", dns.TypeA, 0, true, "www2.shared.test. 300 CNAME www.shared.test.; www.shared.test. 300 CNAME reg.shared.test.; reg.shared.test. 60 CNAME reg.westeurope.geo.shared.test.; reg.westeurope.geo.shared.test. 300 A 192.0.2.40", "", ""},
	{"plain.shared.test.", dns.TypeA, 0, true, "plain.shared.test. 300 CNAME bare.shared.test.; bare.shared.test. 60 A 192.0.2.41", "", ""},
	{"plain.shared.test.", dns.TypeAAAA, 0, true, "plain.shared.test. 300 CNAME bare.shared.test.", soaShared, ""},
	{"regional.shared.test.", dns.TypeA, 0, true, "regional.shared.test. 300 CNAME reg.westus.geo.shared.test.; reg.westus.geo.shared.test. 300 A 192.0.2.10", "", ""},
	{"explain.shared.test.", dns.TypeTXT, 0, true, "explain.shared.test. 300 CNAME _explain.reg.shared.test.", "", ""},
	{"whoami.shared.test.", dns.TypeTXT, 0, true, "whoami.shared.test. 300 CNAME _whoami.shared.test.", "", ""},
	{"q.any.shared.test.", dns.TypeA, 0, true, "q.any.shared.test. 300 CNAME reg.shared.test.; reg.shared.test. 60 CNAME reg.westeurope.geo.shared.test.; reg.westeurope.geo.shared.test. 300 A 192.0.2.40", "", ""},
	{"reg.westus.d.shared.test.", dns.TypeA, 0, true, "d.shared.test. 300 DNAME geo.shared.test.; reg.westus.d.shared.test. 300 CNAME reg.westus.geo.shared.test.; reg.westus.geo.shared.test. 300 A 192.0.2.10", "", ""},
}

func TestZoneContent(t *testing.T) {
	s := contentServer(t)
	for _, tt := range contentCases {
		t.Run(tt.name+dns.Type(tt.qtype).String(), func(t *testing.T) {
			for _, subnet := range []string{"", "192.0.2.0/24"} {
				got := s.ask(question(tt.name, tt.qtype, subnet), true)
				if got.Rcode != tt.rcode || got.Authoritative != tt.aa {
					t.Errorf("rcode %d, AA %t", got.Rcode, got.Authoritative)
				}
				want := []string{tt.answer, tt.authority, tt.extra}
				if d := cmp.Diff(want, []string{lines(got.Answer), lines(got.Ns), lines(got.Extra)}); d != "" {
					t.Error(d)
				}
			}
		})
	}
}

// The scope of an answer that leads to a global name is that of the decision; all
// that depends on no client has scope 0.
func TestScopeAlongChains(t *testing.T) {
	s := contentServer(t)
	for name, want := range map[string]int{
		"www.shared.test.": 24, "www2.shared.test.": 24, "q.any.shared.test.": 24, "plain.shared.test.": 24,
		"regional.shared.test.": 0, "reg.westus.d.shared.test.": 0, "gone.file.test.": 0, "c1.file.test.": 0,
	} {
		if got := scopeOf(s.q(name, dns.TypeA, seattle)); got != want {
			t.Errorf("%s: scope %d, want %d", name, got, want)
		}
	}
	if got := scopeOf(s.q("plain.shared.test.", dns.TypeAAAA, seattle)); got != 0 {
		t.Errorf("a negative answer has scope %d", got)
	}
}

// A referral whose glue does not fit is truncated (RFC 9471 section 3.1); addresses
// that only help are left out.
func TestReferralThatDoesNotFit(t *testing.T) {
	s := contentServer(t)
	name := strings.Repeat(strings.Repeat("z", 62)+".", 3) + "sub.file.test."
	whole := s.ask(question(name, dns.TypeA, ""), true)
	size := whole.Len()
	for udp := size - 60; udp < size+40; udp++ {
		m := question(name, dns.TypeA, "")
		m.SetEdns0(uint16(max(udp, 512)), false)
		if got := s.ask(m, false); !got.Truncated && len(got.Extra) < 3 {
			t.Errorf("%d octets: %v", udp, got.Extra)
		}
	}
}

// A loop of DNAMEs that makes ever longer names ends after as many links as one answer
// has, and each DNAME is in it once.
func TestLongLoop(t *testing.T) {
	got := contentServer(t).ask(question("q.kk.file.test.", dns.TypeA, ""), true)
	var cnames, dnames int
	for _, rr := range got.Answer {
		switch rr.Header().Rrtype {
		case dns.TypeCNAME:
			cnames++
		case dns.TypeDNAME:
			dnames++
		}
	}
	if got.Rcode != dns.RcodeSuccess || cnames != 16 || dnames != 2 || len(got.Ns) != 0 {
		t.Errorf("%d CNAMEs, %d DNAMEs: %v", cnames, dnames, got)
	}
}

// hasTypes are the types that some name of the zones has records of, or that are more
// than a number to a server.
func hasTypes(qtype int) bool { return qtype <= 256 || qtype == 65280 }

// allTypes is how many types are asked for: those that mean something and as many again
// in a short run, which is one of the race detector, and there is one goroutine.
func allTypes() int {
	if testing.Short() {
		return 1 << 9
	}
	return 1 << 16
}

// Every type at every kind of name answers as the rules say: a type that is there, a
// CNAME, a referral, or no data. Nothing is NOTIMP and nothing panics; and types that
// mean nothing here are answered alike, octet for octet.
func TestAllTypesAtZoneContent(t *testing.T) {
	s := contentServer(t)
	done := make(map[string]bool)
	for _, tt := range contentCases {
		if done[tt.name] {
			continue
		}
		done[tt.name] = true
		msg, err := question(tt.name, dns.TypeNone, "").Pack()
		if err != nil {
			t.Fatal(err)
		}
		typeAt := len(msg) - 4
		answer := func(qtype int) []byte {
			binary.BigEndian.PutUint16(msg[typeAt:], uint16(qtype))
			return s.udp.Answer(nil, msg, loopback, clock.Unix())
		}
		alike := answer(65534)
		for qtype := range allTypes() {
			out := answer(qtype)
			if !hasTypes(qtype) {
				if binary.BigEndian.PutUint16(out[typeAt:], 65534); !bytes.Equal(out, alike) {
					t.Fatalf("%s type %d: %x, but type 65534: %x", tt.name, qtype, out, alike)
				}
				continue
			}
			var m dns.Msg
			if err := m.Unpack(out); err != nil {
				t.Fatalf("%s type %d: %v", tt.name, qtype, err)
			}
			meta := qtype == 0 || qtype == int(dns.TypeOPT) || qtype >= 128 && qtype <= 254
			if !meta && m.Rcode != 0 && m.Rcode != dns.RcodeNameError && m.Rcode != dns.RcodeYXDomain {
				t.Fatalf("%s type %d: rcode %d", tt.name, qtype, m.Rcode)
			}
			if m.Rcode == 0 && m.Authoritative && !m.Truncated && len(m.Answer) == 0 && len(m.Ns) != 1 {
				t.Fatalf("%s type %d: %v", tt.name, qtype, m.Ns)
			}
		}
	}
	if len(done) < 50 {
		t.Errorf("only %d names were asked for", len(done))
	}
}
