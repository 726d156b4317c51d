package config

import (
	"fmt"
	"net/netip"
)

// Transfer is who may have a zone, and who is told of changes.
type Transfer struct {
	// Allow has the networks that may have the zone; empty for nobody.
	Allow []netip.Prefix
	// TSIG is the path of the key that they must sign with, as tsig-keygen writes it;
	// "" for none.
	TSIG string
	// Notify has the secondaries that are told when the serial has changed.
	Notify []netip.AddrPort
}

func transferFields() []field[Transfer] {
	return []field[Transfer]{
		{name: "allow", typ: "list of networks", required: true, set: into(separatePrefixes, func(t *Transfer) *[]netip.Prefix { return &t.Allow })},
		{name: "tsig", typ: "path", note: "none: not signed", set: into((*cursor).file, func(t *Transfer) *string { return &t.TSIG })},
		{name: "notify", typ: "list of address:port", note: "nobody", set: decodeSecondaries},
	}
}

// maxSecondaries bounds who is told of changes: each is asked for an answer.
const maxSecondaries = 32

func decodeTransfer(c *cursor, z *Zone) {
	g := c.d.sections.transfer.one(c, &z.Transfer)
	if z.Transfer.TSIG == "" && len(z.Transfer.Allow) > 0 {
		for _, p := range z.Transfer.Allow {
			if p.Bits() == 0 {
				c.d.warnings.add(g.where("allow"), "everybody may have the whole zone", "name the networks of the secondaries, or a key in tsig")
			}
		}
	}
	c.d.transfers[z.Name] = c.place
}

// decodeSecondaries reads addresses with or without a port.
func decodeSecondaries(c *cursor, t *Transfer) {
	seen := map[netip.AddrPort]bool{}
	c.items(func(c *cursor) {
		ap, ok := c.peer(portDNS)
		switch {
		case !ok:
		case seen[ap]:
			c.fail(ap.String()+" stands twice in the list", "remove one")
		case len(t.Notify) == maxSecondaries:
			c.fail(fmt.Sprintf("more than %d secondaries", maxSecondaries), "let one of them tell the others")
		default:
			seen[ap] = true
			t.Notify = append(t.Notify, ap)
		}
	})
}

// peer gives the address of another server, with the usual port unless it has one.
func (c *cursor) peer(usual uint16) (netip.AddrPort, bool) {
	s, ok := c.text()
	if !ok {
		return netip.AddrPort{}, false
	}
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		var addr netip.Addr
		addr, err = netip.ParseAddr(s)
		ap = netip.AddrPortFrom(addr, usual)
	}
	if err != nil || ap.Port() == 0 {
		c.fail(show(s)+" is no address", "write it like 192.0.2.53 or \"[2001:db8::53]:5353\"")
		return netip.AddrPort{}, false
	}
	if msg, hint := badAddress(ap.Addr()); msg != "" {
		c.fail(show(s)+" "+msg, hint)
		return netip.AddrPort{}, false
	}
	return ap, true
}

// warnTransfers says which secondaries would miss the names that matter.
func (d *decoder) warnTransfers() {
	said := map[string]bool{}
	for i := range d.cfg.Registries {
		zone := d.cfg.Registries[i].Zone
		if at := d.transfers[zone]; at != nil && !said[zone] {
			said[zone] = true
			d.warnings.add(at, "a secondary does not have the global names of the zone's registries", "keep it out of the zone's name servers")
		}
	}
}
