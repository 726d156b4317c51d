package server

import (
	"encoding/binary"
	"io"
	"net/netip"
)

// The PROXY protocol, version 2: a load balancer puts a header before what it passes
// on, which says where that came from. It is read only from the networks of
// [Options.ProxyFrom], and there has to be one: an address that can be claimed by
// leaving a header out, or by anybody, would be no address to go by.

const (
	proxySignature = "\r\n\r\n\x00\r\nQUIT\n"
	proxyFixed     = 16
	// maxProxy bounds a header. Addresses take 36 octets; the rest is for additional
	// fields, which are not read.
	maxProxy = 1024
)

// parseProxy reads the header at the beginning of b and returns the address of the
// client and the length of the header. The address is not valid when the balancer
// speaks for itself (a check of health), or does not know: the peer's counts then.
func parseProxy(b []byte) (from netip.AddrPort, n int, ok bool) {
	if len(b) < proxyFixed || string(b[:12]) != proxySignature || b[12]>>4 != 2 {
		return from, 0, false
	}
	size := int(binary.BigEndian.Uint16(b[14:]))
	n = proxyFixed + size
	if n > maxProxy || n > len(b) {
		return from, 0, false
	}
	body := b[proxyFixed:n]
	switch command := b[12] & 0xf; {
	case command == 0: // LOCAL: what follows says nothing
		return from, n, true
	case command != 1:
		return from, 0, false
	}
	switch b[13] >> 4 { // whatever the transport: a balancer may take UDP and pass on TCP
	case 0:
		return from, n, true
	case 1: // source and destination, ports
		if size < 12 {
			return from, 0, false
		}
		from = netip.AddrPortFrom(netip.AddrFrom4([4]byte(body)), binary.BigEndian.Uint16(body[8:]))
	case 2:
		if size < 36 {
			return from, 0, false
		}
		from = netip.AddrPortFrom(netip.AddrFrom16([16]byte(body)).Unmap(), binary.BigEndian.Uint16(body[32:]))
	default: // no address that a DNS client could have
		return from, 0, false
	}
	if a := from.Addr(); a.IsUnspecified() || a.IsMulticast() {
		return netip.AddrPort{}, 0, false
	}
	return from, n, true
}

// readProxy reads the header from a stream, and nothing behind it.
func readProxy(r io.Reader) (from netip.AddrPort, ok bool) {
	var b [maxProxy]byte
	if _, err := io.ReadFull(r, b[:proxyFixed]); err != nil {
		return from, false
	}
	size := int(binary.BigEndian.Uint16(b[14:]))
	if string(b[:12]) != proxySignature || proxyFixed+size > maxProxy {
		return from, false
	}
	if _, err := io.ReadFull(r, b[proxyFixed:proxyFixed+size]); err != nil {
		return from, false
	}
	from, _, ok = parseProxy(b[:proxyFixed+size])
	return from, ok
}

// proxies are the networks that headers are read from.
type proxies []netip.Prefix

func (p proxies) has(a netip.Addr) bool {
	for _, network := range p {
		if network.Contains(a) {
			return true
		}
	}
	return false
}

// unwrap returns the query in a datagram and where it comes from; ok is false for one
// that is not to be answered: port 0, to which nothing can be sent, or a balancer
// without a good header.
func (s *Server) unwrap(msg []byte, peer netip.AddrPort) (query []byte, from netip.AddrPort, ok bool) {
	if peer.Port() == 0 {
		s.stats.BadSource.Add(1)
		return nil, peer, false
	}
	if len(s.o.ProxyFrom) == 0 || !proxies(s.o.ProxyFrom).has(peer.Addr()) {
		return msg, peer, true
	}
	from, n, ok := parseProxy(msg)
	if !ok {
		s.stats.BadProxy.Add(1)
		return nil, peer, false
	}
	if !from.IsValid() {
		from = peer
	}
	return msg[n:], from, true
}
