package resolver_test

import (
	"encoding/hex"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"portolan.dev/resolver"
	"portolan.dev/resolver/rrl"
	"portolan.dev/resolver/wire"
)

// answer sends m from an address over a transport and unpacks the response; nil
// for none.
func (s *server) answer(t resolver.Transport, m *dns.Msg, from string, at int64) *dns.Msg {
	s.t.Helper()
	msg, err := m.Pack()
	if err != nil {
		s.t.Fatal(err)
	}
	out := s.resolver.Worker(t).Answer(nil, msg, netip.AddrPortFrom(netip.MustParseAddr(from), 4242), at)
	if len(out) == 0 {
		return nil
	}
	r := new(dns.Msg)
	if err := r.Unpack(out); err != nil {
		s.t.Fatalf("%v: %x", err, out)
	}
	return r
}

// with returns a question that has options.
func with(name string, qtype uint16, options ...dns.EDNS0) *dns.Msg {
	m := question(name, qtype, "")
	m.SetEdns0(1232, false)
	m.IsEdns0().Option = options
	return m
}

func option[O dns.EDNS0](m *dns.Msg) (o O, ok bool) {
	if m == nil || m.IsEdns0() == nil {
		return o, false
	}
	for _, each := range m.IsEdns0().Option {
		if o, ok = each.(O); ok {
			return o, true
		}
	}
	return o, false
}

func cookie(text string) dns.EDNS0 { return &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: text} }

// cookieFor fetches a whole cookie for an address.
func (s *server) cookieFor(from string, at int64) string {
	s.t.Helper()
	c, ok := option[*dns.EDNS0_COOKIE](s.answer(resolver.UDP, with("example.io.", dns.TypeSOA, cookie("0102030405060708")), from, at))
	if !ok || len(c.Cookie) != 48 {
		s.t.Fatalf("no cookie: %v", c)
	}
	return c.Cookie
}

func TestCookiesAreRenewed(t *testing.T) {
	s := newServer(t, contoso)
	const from, at = "192.0.2.77", int64(1_800_000_000)
	given := s.cookieFor(from, at)
	for _, tt := range []struct {
		name, from string
		after      int64
		same       bool
	}{
		{"at once", from, 0, true},
		{"after half an hour", from, 1800, true},
		{"after 31 minutes", from, 1860, false},
		{"after 61 minutes", from, 3660, false},
		{"from another address", "192.0.2.78", 0, false},
	} {
		got := s.answer(resolver.UDP, with("example.io.", dns.TypeSOA, cookie(given)), tt.from, at+tt.after)
		c, ok := option[*dns.EDNS0_COOKIE](got)
		if !ok || got.Rcode != dns.RcodeSuccess || len(got.Answer) != 1 || (c.Cookie == given) != tt.same || c.Cookie[:16] != given[:16] {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// Two servers with the same file take each other's cookies, through a roll-over in
// the three steps of RFC 9018 section 5.
func TestCookieRollOver(t *testing.T) {
	const from, at = "2001:db8::77", int64(1_800_000_000)
	before, after := wire.CookieSecret{1}, wire.CookieSecret{2}
	steps := []*wire.CookieKeys{
		{Active: before},
		{Active: before, Accept: []wire.CookieSecret{after}},
		{Active: after, Accept: []wire.CookieSecret{before}},
		{Active: after},
	}
	a, b := newServer(t, contoso), newServer(t, contoso)
	for i, step := range steps[:len(steps)-1] {
		// a is one step ahead of b.
		a.s.Cookies, b.s.Cookies = steps[i+1], step
		a.s.Cookies.Enforce, b.s.Cookies.Enforce = true, true
		for _, pair := range [][2]*server{{a, b}, {b, a}} {
			given := pair[0].cookieFor(from, at)
			if got := pair[1].answer(resolver.UDP, with("example.io.", dns.TypeSOA, cookie(given)), from, at); got.Rcode != dns.RcodeSuccess {
				if i != 2 || pair[0] != b { // the last step waits until the old ones have expired
					t.Errorf("step %d: %v", i, got)
				}
			}
		}
	}
}

func TestCookieEnforced(t *testing.T) {
	s := newServer(t, contoso)
	const from, at = "192.0.2.77", int64(1_800_000_000)
	s.s.Cookies = &wire.CookieKeys{Active: wire.CookieSecret{7}, Enforce: true}
	bad := hex.EncodeToString(make([]byte, 24))
	for _, tt := range []struct {
		name      string
		transport resolver.Transport
		options   []dns.EDNS0
		rcode     int
	}{
		{"no cookie", resolver.UDP, nil, dns.RcodeSuccess},
		{"the client's half", resolver.UDP, []dns.EDNS0{cookie("0102030405060708")}, dns.RcodeBadCookie},
		{"a bad one", resolver.UDP, []dns.EDNS0{cookie(bad)}, dns.RcodeBadCookie},
		{"a bad one over TCP", resolver.TCP, []dns.EDNS0{cookie(bad)}, dns.RcodeSuccess},
	} {
		got := s.answer(tt.transport, with("example.io.", dns.TypeSOA, tt.options...), from, at)
		rcode := got.Rcode
		if rcode != tt.rcode {
			t.Errorf("%s: rcode %d, want %d", tt.name, rcode, tt.rcode)
		}
		c, ok := option[*dns.EDNS0_COOKIE](got)
		if ok != (tt.options != nil) {
			t.Fatalf("%s: cookie %v", tt.name, c)
		}
		if !ok {
			continue
		}
		if got.Rcode == dns.RcodeBadCookie && (got.Authoritative || len(got.Answer) > 0) {
			t.Errorf("%s: BADCOOKIE with an answer: %v", tt.name, got)
		}
		if got := s.answer(resolver.UDP, with("example.io.", dns.TypeSOA, cookie(c.Cookie)), from, at); got.Rcode != dns.RcodeSuccess {
			t.Errorf("%s: the new cookie is not good: %v", tt.name, got)
		}
	}
}

func TestStreamOptions(t *testing.T) {
	s := newServer(t, contoso)
	s.resolver.SetKeepalive(12300 * time.Millisecond)
	for _, tt := range []struct {
		transport          resolver.Transport
		keepalive, padding bool
	}{{resolver.UDP, false, false}, {resolver.TCP, true, false}, {resolver.TLS, true, true}} {
		for _, name := range []string{"myregistry.example.io.", "nothing.example.io.", "example.org.", "big.example.io."} {
			m := with(name, dns.TypeTXT, &dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE, Timeout: 0}, &dns.EDNS0_PADDING{Padding: make([]byte, 20)})
			got := s.answer(tt.transport, m, "192.0.2.1", 0)
			k, ok := option[*dns.EDNS0_TCP_KEEPALIVE](got)
			if ok != tt.keepalive || ok && k.Timeout != 123 {
				t.Errorf("%d %s: keepalive %v", tt.transport, name, k)
			}
			got.Compress = true
			msg, err := got.Pack()
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := option[*dns.EDNS0_PADDING](got); ok != tt.padding || ok && len(msg)%468 != 0 {
				t.Errorf("%d %s: padding %v, %d octets", tt.transport, name, ok, len(msg))
			}
			if got := s.answer(tt.transport, with(name, dns.TypeTXT), "192.0.2.1", 0); len(got.IsEdns0().Option) > 1 {
				t.Errorf("%d %s: options nobody asked for: %v", tt.transport, name, got.IsEdns0())
			}
		}
	}
}

func TestZoneVersion(t *testing.T) {
	s := newServer(t, contoso)
	for name, want := range map[string]string{
		"example.io.": "0200", "myregistry.example.io.": "0200", "nothing.example.io.": "0200", "own.example.": "0200", "example.org.": "",
	} {
		got := s.answer(resolver.UDP, with(name, dns.TypeSOA, &dns.EDNS0_LOCAL{Code: 19, Data: []byte{1, 2, 3}}), "192.0.2.1", 0)
		var data string
		for _, o := range got.IsEdns0().Option {
			switch v := o.(type) {
			case *dns.EDNS0_LOCAL:
				data = hex.EncodeToString(v.Data)
			case *dns.EDNS0_ZONEVERSION:
				data = hex.EncodeToString([]byte{v.LabelCount, v.Type}) + hex.EncodeToString([]byte(v.Version))
			}
		}
		if want != "" {
			want += hex.EncodeToString([]byte{0x6b, 0x49, 0xd2, 0x00}) // the serial, which is the clock
		}
		if data != want {
			t.Errorf("%s: ZONEVERSION %s, want %s", name, data, want)
		}
	}
}

func limits(p rrl.Policy) *rrl.Limiter { return rrl.New(p, rrl.NewTable(1<<16, 1)) }

func TestResponseRateLimit(t *testing.T) {
	const at = int64(1_800_000_000)
	policy := rrl.Policy{Rates: [3]uint32{10, 10, 10}, Burst: 10, Slip: 2}
	for _, tt := range []struct {
		name, question string
		rcode          int
		slips          bool
	}{
		{"answers", "myregistry.example.io.", dns.RcodeSuccess, true},
		{"NODATA", "geo.example.io.", dns.RcodeSuccess, true},
		{"NXDOMAIN", "nothing.example.io.", dns.RcodeNameError, true},
		{"errors", "example.org.", dns.RcodeRefused, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t, contoso)
			s.s.Limits = limits(policy)
			var whole, slipped, none int
			msg, err := with(tt.question, dns.TypeA, cookie("0102030405060708")).Pack()
			if err != nil {
				t.Fatal(err)
			}
			for range 110 {
				out := s.udp.Answer([]byte("before"), msg, netip.MustParseAddrPort("192.0.2.1:4242"), at)[len("before"):]
				if len(out) == 0 {
					none++
					continue
				}
				var m dns.Msg
				if err := m.Unpack(out); err != nil || m.Rcode != tt.rcode {
					t.Fatalf("%v %v", err, m)
				}
				if !m.Truncated {
					whole++
					continue
				}
				slipped++
				if c, ok := option[*dns.EDNS0_COOKIE](&m); len(m.Answer)+len(m.Ns) > 0 || !ok || len(c.Cookie) != 48 {
					t.Fatalf("a slip with more than a cookie: %v", m)
				}
			}
			want := [3]int{10, 0, 100}
			if tt.slips {
				want = [3]int{10, 50, 50}
			}
			if got := [3]int{whole, slipped, none}; got != want {
				t.Errorf("answers, slips and drops: %v, want %v", got, want)
			}
			if totals := s.resolver.Totals(); totals.Limited != 100 || totals.Slipped != uint64(want[1]) || totals.Truncated != 0 {
				t.Errorf("counted %+v", totals)
			}
		})
	}
}

// Who has shown to be at its address, by a cookie or a stream, is not limited; nor
// is anybody in a dry run.
func TestResponseRateLimitSpares(t *testing.T) {
	const from, at = "192.0.2.1", int64(1_800_000_000)
	policy := rrl.Policy{Rates: [3]uint32{10, 10, 10}, Burst: 10, Slip: 1}
	s := newServer(t, contoso)
	given := s.cookieFor(from, at)
	s.s.Limits = limits(policy)
	dry := policy
	dry.DryRun = true
	for i := range 100 {
		plain, known := with("example.io.", dns.TypeSOA), with("example.io.", dns.TypeSOA, cookie(given))
		if m := s.answer(resolver.UDP, known, from, at); m == nil || m.Truncated {
			t.Fatalf("query %d with a cookie: %v", i, m)
		}
		if m := s.answer(resolver.TCP, plain, from, at); m == nil || m.Truncated {
			t.Fatalf("query %d over TCP: %v", i, m)
		}
	}
	s.s.Limits = limits(dry)
	for range 100 {
		if m := s.answer(resolver.UDP, with("example.io.", dns.TypeSOA), from, at); m == nil || m.Truncated {
			t.Fatalf("in a dry run: %v", m)
		}
	}
	if n := s.resolver.Totals().Limited; n != 90 {
		t.Errorf("%d counted in a dry run, want 90", n)
	}
}
