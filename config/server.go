package config

import (
	"net/netip"
	"time"
)

func serverFields() []field[Server] {
	return []field[Server]{
		{name: "listen", typ: "list of address:port", def: `["0.0.0.0:53", "[::]:53"]`, set: decodeListen},
		{name: "identity", typ: "text", note: "the host name", set: into((*cursor).shortText, func(s *Server) *string { return &s.Identity })},
		{name: "version", typ: "text", note: "none: the question is refused", set: into((*cursor).shortText, func(s *Server) *string { return &s.Version })},
		{name: "workers", typ: "number", def: "0", set: into(between(0, 1024), func(s *Server) *int { return &s.Workers })},
		{name: "udp_size", typ: "number of bytes", def: "1232", set: into(between(512, 4096), func(s *Server) *int { return &s.UDPSize })},
		{name: "ecs", typ: "true or false", def: "true", set: into((*cursor).boolean, func(s *Server) *bool { return &s.ECS })},
		{name: "tcp", typ: "mapping", open: true, set: func(c *cursor, s *Server) { c.d.sections.tcp.add(c, &s.TCP) }},
	}
}

func tcpFields() []field[TCP] {
	const most = 1 << 20
	return []field[TCP]{
		{name: "connections", typ: "number", def: "1000", set: into(between(1, most), func(t *TCP) *int { return &t.Connections })},
		{name: "per_prefix", typ: "number", def: "100", set: into(between(0, most), func(t *TCP) *int { return &t.PerPrefix })},
		{name: "idle", typ: "duration", def: "10s", set: into(lasting(100*time.Millisecond, time.Hour), func(t *TCP) *time.Duration { return &t.Idle })},
		{name: "message", typ: "duration", def: "2s", set: into(lasting(10*time.Millisecond, time.Minute), func(t *TCP) *time.Duration { return &t.Message })},
		{name: "pipeline", typ: "number", def: "10000", set: into(between(1, 1<<30), func(t *TCP) *int { return &t.Pipeline })},
	}
}

func adminFields() []field[Admin] {
	return []field[Admin]{
		{name: "socket", typ: "path", def: "/run/portolan/admin.sock", set: into((*cursor).fileOrNone, func(a *Admin) *string { return &a.Socket })},
		{name: "metrics", typ: "host:port", note: "none", set: into((*cursor).hostPortOrNone, func(a *Admin) *string { return &a.Metrics })},
	}
}

func stateFields() []field[State] {
	return []field[State]{
		{name: "dir", typ: "path", def: "/var/lib/portolan", set: into((*cursor).file, func(s *State) *string { return &s.Dir })},
		{name: "grace", typ: "duration", def: "15s", set: into(lasting(0, 5*time.Minute), func(s *State) *time.Duration { return &s.Grace })},
	}
}

func diagnosticsFields() []field[Diagnostics] {
	return []field[Diagnostics]{
		{name: "allow", typ: "list of networks", def: `["127.0.0.0/8", "::1/128"]`, set: into(
			func(c *cursor) ([]netip.Prefix, bool) { return c.prefixes(map[netip.Prefix]*place{}) },
			func(d *Diagnostics) *[]netip.Prefix { return &d.Allow })},
	}
}

func decodeListen(c *cursor, s *Server) {
	seen := map[netip.AddrPort]bool{}
	var out []netip.AddrPort
	good := c.items(func(c *cursor) {
		for _, ap := range c.listenAddress() {
			if seen[ap] && ap.Port() != 0 {
				c.fail(ap.String()+" stands twice in the list", "remove one")
				continue
			}
			seen[ap] = true
			out = append(out, ap)
		}
	})
	switch {
	case !good:
	case len(c.node.Content) == 0:
		c.fail("is empty", "give at least one address, or leave the key out for port 53 of all addresses")
	default:
		s.Listen = out
	}
}

// shortText gives a text that fits a TXT string and an EDNS option, "" included.
func (c *cursor) shortText() (string, bool) {
	s, ok := c.textOrEmpty()
	if !ok {
		return "", false
	}
	if len(s) > 255 {
		c.fail("is longer than the 255 bytes of a TXT string", "shorten it")
		return "", false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			c.fail(show(s)+" is not printable ASCII", "")
			return "", false
		}
	}
	return s, true
}

// fileOrNone is file, and "" for none.
func (c *cursor) fileOrNone() (string, bool) {
	if s, ok := c.textOrEmpty(); !ok || s == "" {
		return "", ok
	}
	return c.file()
}

// hostPortOrNone is hostPort, and "" for none.
func (c *cursor) hostPortOrNone() (string, bool) {
	if s, ok := c.textOrEmpty(); !ok || s == "" {
		return "", ok
	}
	return c.hostPort(true)
}
