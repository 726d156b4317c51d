//go:build linux

package e2e

import (
	"slices"
	"testing"

	"github.com/miekg/dns"
)

// TestCachesTellTownsApart asks from hosts that know nothing of client subnets: the
// cache adds theirs. Each gets its own replica, the same for A and AAAA, however
// the questions of two towns take turns; and who brings a subnet of that town shares
// what its host has asked.
func TestCachesTellTownsApart(t *testing.T) {
	t.Parallel()
	for _, d := range []daemon{unbound, recursor} {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			c := serveCached(t, d, cachesConfig)
			for _, name := range []string{"open", "open-alias", "held", "held-alias"} {
				seen := make(map[string]bool)
				// Three rounds: the last ones see what the first has put into all caches
				// that a daemon has.
				for range 3 {
					for _, qtype := range []string{"A", "AAAA"} {
						for _, w := range []struct{ from, town, region string }{
							{seattleHost, "Seattle", "westus"},
							{amsterdamHost, "Amsterdam", "westeurope"},
							{seattle, "Seattle", "westus"},
							{amsterdam, "Amsterdam", "westeurope"},
						} {
							a := c.ask(t, name, qtype, w.from)
							if a.region != w.region {
								t.Errorf("%s %s from %s: %s, want %s", name, qtype, w.from, a.region, w.region)
							}
							if a.decisions > 0 && seen[qtype+w.town] {
								t.Errorf("%s %s from %s: upstream %q, although %s has asked", name, qtype, w.from, a.upstream, w.town)
							}
							seen[qtype+w.town] = true
						}
					}
				}
			}
		})
	}
}

// TestCachesShareWhatIsTheSameForAll asks for what does not depend on the client:
// regional names, and negative answers. The first client makes the cache ask, nobody
// after it does, wherever he is.
func TestCachesShareWhatIsTheSameForAll(t *testing.T) {
	t.Parallel()
	for _, d := range []daemon{unbound, recursor} {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			c := serveCached(t, d, cachesConfig)
			for i, w := range []struct {
				name, qtype string
				rcode       int
				region      string
			}{
				{"held-alias.westus.geo", "A", dns.RcodeSuccess, "westus"},
				{"held-alias.westus.geo", "AAAA", dns.RcodeSuccess, "westus"},
				{"open-alias.westeurope.geo", "A", dns.RcodeSuccess, "westeurope"},
				{"held-alias.westus.geo", "TXT", dns.RcodeSuccess, ""},
				// What browsers and some clients ask for beside A: a registry without an
				// alias says no, and says it to all.
				{"open", "HTTPS", dns.RcodeSuccess, ""},
				{"held", "HTTPS", dns.RcodeSuccess, ""},
				{"geo", "TXT", dns.RcodeSuccess, ""},
				{"eastus.geo", "AAAA", dns.RcodeSuccess, ""},
				{"nowhere", "A", dns.RcodeNameError, ""},
				{"held.westus.geo", "A", dns.RcodeNameError, ""},
			} {
				ask := func(from string) asks {
					a := c.ask(t, w.name, w.qtype, from)
					if a.answer.Rcode != w.rcode || a.region != w.region {
						t.Errorf("%s %s from %s: %v, want rcode %d and %q", w.name, w.qtype, from, a.answer, w.rcode, w.region)
					}
					return a
				}
				groups := [][]string{{seattle, amsterdam, newYork, seattleHost, amsterdamHost}, {"2607:f0d0:1000::/56", "2a00:1450:4000::/56"}}
				if !d.perFamily {
					groups = [][]string{slices.Concat(groups...)}
				}
				for _, clients := range groups {
					first := i % len(clients) // not always the same
					c.share(t, w.name+" "+w.qtype, slices.Concat(clients[first:], clients[:first]), ask)
				}
			}
		})
	}
}

// share lets the clients ask in turn, and wants queries upstream for the first one
// at most.
func (c *cached) share(t *testing.T, what string, clients []string, ask func(from string) asks) {
	t.Helper()
	if first := ask(clients[0]); first.wire == 0 {
		t.Errorf("%s from %s, which nobody has asked: nothing upstream", what, clients[0])
	}
	c.agree(t, what)
	for _, from := range clients[1:] {
		a := ask(from)
		if len(a.upstream) > 0 {
			t.Errorf("%s from %s: upstream %q, although %s has asked", what, from, a.upstream, clients[0])
		}
	}
	c.agree(t, what)
}
