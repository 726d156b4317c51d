//go:build !race

package resolver_test

import (
	"testing"

	"github.com/miekg/dns"

	"portolan.dev/resolver"
	"portolan.dev/resolver/rrl"
)

// No class of answer allocates, except the ones made to explain.
func TestAnswersDoNotAllocate(t *testing.T) {
	s := newServer(t, contoso)
	batch := s.udp.Batch()
	for _, tt := range classes {
		t.Run(tt.name, func(t *testing.T) {
			msg, err := tt.query().Pack()
			if err != nil {
				t.Fatal(err)
			}
			dst := make([]byte, 0, 4096)
			if n := testing.AllocsPerRun(200, func() {
				if len(s.udp.Answer(dst, msg, loopback, 0)) == 0 {
					t.Fatal("no response")
				}
			}); n != 0 {
				t.Errorf("%v allocations", n)
			}
			if n := testing.AllocsPerRun(200, func() {
				batch.Reset()
				for range 8 {
					batch.Read(msg, loopback)
				}
				batch.Look()
				for i := range 8 {
					batch.Answer(dst, i, 0)
				}
			}); n != 0 {
				t.Errorf("%v allocations in a batch", n)
			}
		})
	}
}

// Nor does a response over the rate limit, or one with every option there is.
func TestLimitedAndPaddedDoNotAllocate(t *testing.T) {
	s := newServer(t, contoso)
	msg, err := with("myregistry.example.io.", dns.TypeA, cookie("0102030405060708"), &dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE},
		&dns.EDNS0_PADDING{}, &dns.EDNS0_LOCAL{Code: 19}, &dns.EDNS0_NSID{Code: dns.EDNS0NSID}).Pack()
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]byte, 0, 4096)
	tls := s.resolver.Worker(resolver.TLS)
	s.s.Limits = limits(rrl.Policy{Rates: [3]uint32{1, 1, 1}, Burst: 1, Slip: 2})
	if n := testing.AllocsPerRun(200, func() {
		s.udp.Answer(dst, msg, loopback, 0)
		tls.Answer(dst, msg, loopback, 0)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestZoneContentDoesNotAllocate(t *testing.T) {
	s := contentServer(t)
	dst := make([]byte, 0, 4096)
	for _, tt := range contentCases {
		msg, err := question(tt.name, tt.qtype, seattle).Pack()
		if err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(50, func() { s.udp.Answer(dst, msg, loopback, 0) }); n != 0 {
			t.Errorf("%s %s: %v allocations", tt.name, dns.Type(tt.qtype), n)
		}
	}
}

func TestRefusedMessagesDoNotAllocate(t *testing.T) {
	s := newServer(t, contoso)
	dst := make([]byte, 0, 4096)
	msg, err := question("myregistry.example.io.", dns.TypeA, seattle).Pack()
	if err != nil {
		t.Fatal(err)
	}
	for cut := range msg {
		if n := testing.AllocsPerRun(20, func() { s.udp.Answer(dst, msg[:cut], loopback, 0) }); n != 0 {
			t.Errorf("cut at %d: %v allocations", cut, n)
		}
	}
}
