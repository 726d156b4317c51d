package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// address gives one that a host can have, where a host name would go into target.
func (c *cursor) address() (netip.Addr, bool) {
	return c.hostAddress("a host name goes into target", "leave the port out; a probe has it")
}

// hostAddress gives an address that a host can have. The hints are for who gave a name, and
// who gave a port.
func (c *cursor) hostAddress(named, ported string) (netip.Addr, bool) {
	s, ok := c.text()
	if !ok {
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(s)
	if err != nil {
		hint := "write it like 192.0.2.10 or \"2001:db8::10\""
		if badName(s) == "" && !allDigits(s[strings.LastIndexByte(s, '.')+1:]) {
			hint = named
		} else if _, err := netip.ParseAddrPort(s); err == nil {
			hint = ported
		}
		c.fail(show(s)+" is no address", hint)
		return netip.Addr{}, false
	}
	msg, hint := badAddress(addr)
	if msg != "" {
		c.fail(show(s)+" "+msg, hint)
	}
	return addr, msg == ""
}

func badAddress(addr netip.Addr) (msg, hint string) {
	switch {
	case addr.Is4In6():
		return "is an IPv4 address in IPv6 form", "write " + addr.Unmap().String()
	case addr.Zone() != "":
		return "has a zone, which no client can use", "write " + addr.WithZone("").String()
	case addr.IsUnspecified(), addr.IsMulticast(), addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "is no address of a host", ""
	}
	return "", ""
}

// addresses gives a list of at least one address, none twice. It is nil when one
// of them is wrong.
func (c *cursor) addresses() ([]netip.Addr, bool) { return c.addressList((*cursor).address) }

// addressList is addresses, each of which is read by one.
func (c *cursor) addressList(one func(*cursor) (netip.Addr, bool)) ([]netip.Addr, bool) {
	if n := len(c.node.Content); n > maxAddresses {
		c.fail(fmt.Sprintf("%d addresses are more than an answer should carry", n), fmt.Sprintf("use at most %d", maxAddresses))
		return nil, false
	}
	out := make([]netip.Addr, 0, len(c.node.Content))
	good := c.items(func(c *cursor) {
		switch addr, ok := one(c); {
		case !ok:
		case slices.Contains(out, addr):
			c.fail(addr.String()+" stands twice in the list", "remove one")
		default:
			out = append(out, addr)
		}
	})
	if good && len(c.node.Content) == 0 {
		c.fail("is empty", "give at least one address")
	}
	return out, good && len(out) > 0 && len(out) == len(c.node.Content)
}

// maxAddresses bounds a list: that many AAAA records still fit the usual 1232
// bytes of a UDP answer behind the longest question and the longest CNAME.
const maxAddresses = 20

// prefix gives a network; an address alone is one host.
func (c *cursor) prefix() (netip.Prefix, bool) {
	s, ok := c.text()
	if !ok {
		return netip.Prefix{}, false
	}
	return c.checkedPrefix(s)
}

func (c *cursor) checkedPrefix(s string) (netip.Prefix, bool) {
	p, err := parsePrefix(s)
	switch {
	case err != nil:
		c.fail(show(s)+" is no network", "write it like 198.51.100.0/24 or \"2001:db8::/48\"")
	case p.Addr().Is4In6():
		c.fail(show(s)+" is an IPv4 network in IPv6 form", "write the IPv4 form")
	case p != p.Masked():
		c.fail(show(s)+" has bits set beyond its length", "write "+p.Masked().String()+", or a longer prefix")
	default:
		return p, true
	}
	return netip.Prefix{}, false
}

func parsePrefix(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		return netip.ParsePrefix(s)
	}
	addr, err := netip.ParseAddr(s)
	if err != nil || addr.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("no prefix: %w", err)
	}
	return netip.PrefixFrom(addr, addr.BitLen()), nil
}

// prefixes gives a list of networks, those left out that seen has already: they
// are errors that name both places.
func (c *cursor) prefixes(seen map[netip.Prefix]*place) ([]netip.Prefix, bool) {
	var out []netip.Prefix
	good := c.items(func(c *cursor) {
		if p, ok := c.prefix(); ok && c.newPrefix(p, seen) {
			out = append(out, p)
		}
	})
	return out, good
}

func (c *cursor) newPrefix(p netip.Prefix, seen map[netip.Prefix]*place) bool {
	if at := seen[p]; at != nil {
		c.fail(p.String()+" is given twice", "first given at "+at.pos().String())
		return false
	}
	seen[p] = c.place
	return true
}

// The ports of listen addresses without one.
const (
	portDNS = 53
	portTLS = 853 // RFC 7858 section 3.1
)

// listenAddress gives an address and port to listen on. A port alone, ":53", is
// all addresses of both families; an address alone has the given port.
func (c *cursor) listenAddress(usual uint16) []netip.AddrPort {
	s, ok := c.text()
	if !ok {
		return nil
	}
	if port, found := strings.CutPrefix(s, ":"); found {
		if n, err := strconv.ParseUint(port, 10, 16); err == nil {
			return []netip.AddrPort{
				netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(n)),
				netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(n)),
			}
		}
	}
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		var addr netip.Addr
		addr, err = netip.ParseAddr(s)
		ap = netip.AddrPortFrom(addr, usual)
	}
	switch {
	case err != nil:
		c.fail(show(s)+" is no address to listen on", "write it like 192.0.2.53:53, \"[2001:db8::53]:53\" or \":53\"")
		return nil
	case ap.Addr().Is4In6():
		c.fail(show(s)+" is an IPv4 address in IPv6 form", "write "+netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()).String())
		return nil
	case ap.Addr().IsMulticast():
		c.fail(show(s)+" is a multicast address", "use an address of this host")
		return nil
	}
	return []netip.AddrPort{ap}
}

// hostPort gives host:port, the host an address or a host name, lower case. With
// anyHost the host may be left out.
func (c *cursor) hostPort(anyHost bool) (string, bool) {
	s, ok := c.text()
	if !ok {
		return "", false
	}
	const example = "write it like 127.0.0.1:9353 or \"[::1]:9353\""
	host, port, found := cutLast(s, ':')
	n, err := strconv.ParseUint(port, 10, 16)
	if !found || err != nil || n == 0 && !anyHost {
		c.fail(show(s)+" is no host:port", example)
		return "", false
	}
	bare := strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	switch addr, err := netip.ParseAddr(bare); {
	case host == "" && anyHost:
		return s, true
	case err == nil && addr.Is6() == (bare != host):
		return netip.AddrPortFrom(addr, uint16(n)).String(), true
	case err == nil || bare != host || strings.Contains(host, ":") || host == "":
		c.fail(show(s)+" is no host:port", example)
		return "", false
	}
	name, ok := c.checkedName(host)
	return fmt.Sprintf("%s:%d", name, n), ok
}

func cutLast(s string, sep byte) (before, after string, found bool) {
	i := strings.LastIndexByte(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}
