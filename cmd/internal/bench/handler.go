//go:build linux

package main

import (
	"context"
	"net"

	"github.com/miekg/dns"
)

// serveHandler is a name server as one writes it first: a handler on the server of
// miekg/dns that answers one address and repeats the client subnet. It chooses
// nothing, so what it costs is the library, on which other Go name servers stand.
func serveHandler(ctx context.Context, addr string) error {
	s := &dns.Server{Addr: addr, Net: "udp", Handler: dns.HandlerFunc(handle)}
	go func() { // ends with ctx, as serving does
		<-ctx.Done()
		_ = s.Shutdown()
	}()
	return s.ListenAndServe()
}

func handle(w dns.ResponseWriter, q *dns.Msg) {
	a := new(dns.Msg)
	a.SetReply(q)
	a.Authoritative = true
	if len(q.Question) == 1 && q.Question[0].Qtype == dns.TypeA {
		a.Answer = []dns.RR{&dns.A{
			Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60},
			A:   net.IPv4(127, 1, 0, 1),
		}}
	}
	if opt := q.IsEdns0(); opt != nil {
		a.SetEdns0(1232, false)
		for _, option := range opt.Option {
			if subnet, ok := option.(*dns.EDNS0_SUBNET); ok {
				same := *subnet
				same.SourceScope = subnet.SourceNetmask
				a.IsEdns0().Option = []dns.EDNS0{&same}
			}
		}
	}
	_ = w.WriteMsg(a) // a lost answer is the client's to ask for again
}
