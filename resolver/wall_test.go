package resolver_test

import (
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"portolan.dev/resolver"
	"portolan.dev/resolver/wire"
)

// The clock on the wall is set, to either side, and by more than anybody tolerates. What
// others check and people read follows at once.
func TestWhatOthersCheckIsByTheWallClock(t *testing.T) {
	for _, ahead := range []time.Duration{-time.Hour, -10 * time.Minute, 10 * time.Minute, time.Hour} {
		s := newSigningServer(t, "hmac-sha256")
		s.s.Wall = new(resolver.Wall)
		s.s.Wall.Set(ahead + 400*time.Millisecond)
		now := clock.Unix()
		wall := now + int64(ahead/time.Second)

		t.Run("cookie "+ahead.String(), func(t *testing.T) {
			const from = "192.0.2.77"
			given := s.cookieFor(from, now)
			reference := newServer(t, contoso) // with the same secret, and the right time
			if got := reference.cookieFor(from, wall); got != given {
				t.Errorf("%s, want %s as of a server whose clock is right", given, got)
			}
			s.s.Wall.Set(ahead)
			s.s.Cookies = &wire.CookieKeys{Active: wire.CookieSecret{1, 2, 3}, Enforce: true}
			got := s.answer(resolver.UDP, with("example.io.", dns.TypeSOA, cookie(given)), from, now)
			if c, ok := option[*dns.EDNS0_COOKIE](got); !ok || c.Cookie != given || got.Rcode != dns.RcodeSuccess {
				t.Errorf("a cookie is not good any more when it was given: %v", got)
			}
		})
		t.Run("signature "+ahead.String(), func(t *testing.T) {
			for _, name := range []string{"big.example.io.", "example.io."} {
				q := new(dns.Msg).SetQuestion(name, dns.TypeSOA)
				q.SetTsig("client.test.", dns.HmacSHA256, 300, wall)
				msg, _, err := dns.TsigGenerate(q, signingSecret, "", false)
				if err != nil {
					t.Fatal(err)
				}
				out := s.stream.Answer(nil, msg, loopback, now)
				var m dns.Msg
				if err := m.Unpack(out); err != nil {
					t.Fatal(err)
				}
				if sig := m.IsTsig(); m.Rcode != dns.RcodeSuccess || sig == nil || sig.TimeSigned != uint64(wall) {
					t.Errorf("%s: %v", name, &m)
				}
			}
		})
	}
}

// A hold and the age of addresses are shown as the wall clock has them, and last as
// long as they would have.
func TestExplanationsAreByTheWallClock(t *testing.T) {
	const ahead = 10 * time.Minute
	s := newServer(t, strings.Replace(contoso, "westus: {addresses: [192.0.2.110]}", "westus: {target: lb.example.net}", 1))
	s.s.Wall = new(resolver.Wall)
	s.s.Wall.Set(ahead)
	resolved := clock.Add(-time.Hour)
	s.s.Resolved[0].Store(&resolver.Addresses{At: resolved, Until: resolved.Add(time.Minute)})
	registry, _ := s.s.FindRegistry("atapex")
	ask := func(name string, qtype uint16, at time.Time) string { return s.answersAt(t, name, qtype, at) }
	ask("own.example.", dns.TypeA, clock)
	drained := s.s.Live[registry].Masks()
	drained.Routed = drained.Routed.With(s.region("westus"), false)
	s.s.Live[registry].Change(drained, clock.Add(10*time.Second), false)
	ask("own.example.", dns.TypeA, clock.Add(20*time.Second))
	got := ask("_explain.own.example.", dns.TypeTXT, clock.Add(20*time.Second))
	for _, want := range []string{
		"hold until " + clock.Add(ahead+10*time.Second+15*time.Minute).UTC().Format(time.RFC3339) + " instead of westeurope",
		"resolved at " + resolved.Add(ahead).UTC().Format(time.RFC3339),
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
