package config

import (
	"fmt"
	"net/netip"
	"slices"
)

// maxAnchors bounds the anchors: they are asked as often as the replica that is probed
// most often, and each time one waits for its verdict.
const maxAnchors = 8

func healthFields() []field[Health] {
	return []field[Health]{
		{name: "anchors", typ: "list of address:port", note: "none", set: into((*cursor).anchors, func(h *Health) *[]netip.AddrPort { return &h.Anchors })},
	}
}

// anchors gives a list of addresses and ports, none twice. Names are refused: an anchor
// must be reachable without a resolver.
func (c *cursor) anchors() ([]netip.AddrPort, bool) {
	if n := len(c.node.Content); n > maxAnchors {
		c.fail(fmt.Sprintf("%d anchors are more than are asked", n), fmt.Sprintf("use at most %d, in different networks", maxAnchors))
		return nil, false
	}
	var out []netip.AddrPort
	good := c.items(func(c *cursor) {
		s, ok := c.text()
		if !ok {
			return
		}
		a, err := netip.ParseAddrPort(s)
		msg, hint := "", ""
		if err == nil {
			msg, hint = badAddress(a.Addr())
		}
		switch {
		case err != nil || a.Port() == 0:
			c.fail(show(s)+" is no address and port", `write it like "192.0.2.1:443" or "[2001:db8::1]:443"; a name would need a resolver that works`)
		case msg != "":
			c.fail(show(s)+" "+msg, hint)
		case slices.Contains(out, a):
			c.fail(a.String()+" stands twice in the list", "remove one")
		default:
			out = append(out, a)
		}
	})
	return out, good
}
