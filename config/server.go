package config

import (
	"fmt"
	"net/netip"
	"time"
)

func serverFields() []field[Server] {
	return []field[Server]{
		{name: "listen", typ: "list of address:port", def: `["0.0.0.0:53", "[::]:53"]`, set: func(c *cursor, s *Server) { decodeListen(c, &s.Listen, portDNS) }},
		{name: "identity", typ: "text", note: "the host name", set: into((*cursor).shortText, func(s *Server) *string { return &s.Identity })},
		{name: "version", typ: "text", note: "none: the question is refused", set: into((*cursor).shortText, func(s *Server) *string { return &s.Version })},
		{name: "workers", typ: "number", def: "0", set: into(between(0, 1024), func(s *Server) *int { return &s.Workers })},
		{name: "udp_size", typ: "number of bytes", def: "1232", set: into(between(512, 4096), func(s *Server) *int { return &s.UDPSize })},
		{name: "ecs", typ: "true or false", def: "true", set: into((*cursor).boolean, func(s *Server) *bool { return &s.ECS })},
		{name: "proxy_from", typ: "list of networks", note: "none", set: into(separatePrefixes, func(s *Server) *[]netip.Prefix { return &s.ProxyFrom })},
		{name: "sandbox", typ: "true or false", def: "true", set: into((*cursor).boolean, func(s *Server) *bool { return &s.Sandbox })},
		{name: "tcp", typ: "mapping", open: true, set: func(c *cursor, s *Server) { c.d.sections.tcp.add(c, &s.TCP) }},
		{name: "tls", typ: "mapping", open: true, set: func(c *cursor, s *Server) { c.d.sections.tls.add(c, &s.TLS) }},
		{name: "cookies", typ: "mapping", open: true, set: func(c *cursor, s *Server) { c.d.sections.cookies.add(c, &s.Cookies) }},
		{name: "rate_limit", typ: "mapping", open: true, set: func(c *cursor, s *Server) { c.d.sections.rateLimit.add(c, &s.RateLimit) }},
	}
}

func tlsFields() []field[TLS] {
	return []field[TLS]{
		{name: "listen", typ: "list of address:port", note: "none", set: func(c *cursor, t *TLS) { decodeListen(c, &t.Listen, portTLS) }},
		{name: "certificate", typ: "path", note: "none", set: into((*cursor).file, func(t *TLS) *string { return &t.Certificate })},
		{name: "key", typ: "path", note: "none", set: into((*cursor).file, func(t *TLS) *string { return &t.Key })},
	}
}

func cookiesFields() []field[Cookies] {
	return []field[Cookies]{
		{name: "secrets", typ: "path", note: "none: a random secret of the process", set: into((*cursor).file, func(k *Cookies) *string { return &k.Secrets })},
		{name: "enforce", typ: "true or false", def: "false", set: into((*cursor).boolean, func(k *Cookies) *bool { return &k.Enforce })},
	}
}

func rateLimitFields() []field[RateLimit] {
	const most = 1_000_000
	const private = `["127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "fe80::/10"]`
	return []field[RateLimit]{
		{name: "enabled", typ: "true or false", def: "true", set: into((*cursor).boolean, func(l *RateLimit) *bool { return &l.Enabled })},
		{name: "answers", typ: "number a second", def: "100", set: into(between(0, most), func(l *RateLimit) *int { return &l.Answers })},
		{name: "negatives", typ: "number a second", def: "100", set: into(between(0, most), func(l *RateLimit) *int { return &l.Negatives })},
		{name: "errors", typ: "number a second", def: "100", set: into(between(0, most), func(l *RateLimit) *int { return &l.Errors })},
		{name: "burst", typ: "number", def: "250", set: into(between(1, 10*most), func(l *RateLimit) *int { return &l.Burst })},
		{name: "slip", typ: "number", def: "2", set: into(between(0, 100), func(l *RateLimit) *int { return &l.Slip })},
		{name: "exempt", typ: "list of networks", def: private, set: into(separatePrefixes, func(l *RateLimit) *[]netip.Prefix { return &l.Exempt })},
		{name: "dry_run", typ: "true or false", def: "false", set: into((*cursor).boolean, func(l *RateLimit) *bool { return &l.DryRun })},
	}
}

// separatePrefixes gives a list of networks, none twice.
func separatePrefixes(c *cursor) ([]netip.Prefix, bool) {
	return c.prefixes(map[netip.Prefix]*place{})
}

// checkServer sees that what belongs together in the section is there together.
func (d *decoder) checkServer() {
	s := &d.cfg.Server
	tls := &d.sections.tls
	missing := func(key, hint string) {
		at := d.sections.server.first[d.sections.server.index["tls"]]
		d.errs.add(at.child(key), "is missing", hint)
	}
	switch {
	case tls.given("listen") && len(s.TLS.Listen) > 0:
		if !tls.given("certificate") {
			missing("certificate", "name a PEM file; any certificate will do, for clients of an authoritative server seldom check it")
		}
		if !tls.given("key") {
			missing("key", "name the PEM file of the certificate's key")
		}
	case tls.given("certificate") || tls.given("key"):
		missing("listen", `say where, for example [":853"]`)
	}
	l := &s.RateLimit
	if most := max(l.Answers, l.Negatives, l.Errors); l.Burst < most {
		at := d.sections.server.first[d.sections.server.index["rate_limit"]]
		d.errs.add(at.child("burst"), fmt.Sprintf("%d is less than the rate of %d a second", l.Burst, most), fmt.Sprintf("use at least %d; twice that is usual", most))
	}
}

func tcpFields() []field[TCP] {
	const most = 1 << 20
	return []field[TCP]{
		{name: "connections", typ: "number", def: "1000", set: into(between(1, most), func(t *TCP) *int { return &t.Connections })},
		{name: "per_prefix", typ: "number", def: "100", set: into(between(0, most), func(t *TCP) *int { return &t.PerPrefix })},
		{name: "idle", typ: "duration", def: "10s", set: into(lasting(100*time.Millisecond, time.Hour), func(t *TCP) *time.Duration { return &t.Idle })},
		{name: "message", typ: "duration", def: "2s", set: into(lasting(10*time.Millisecond, time.Minute), func(t *TCP) *time.Duration { return &t.Message })},
		{name: "handshake", typ: "duration", def: "3s", set: into(lasting(100*time.Millisecond, time.Minute), func(t *TCP) *time.Duration { return &t.Handshake })},
		{name: "pipeline", typ: "number", def: "10000", set: into(between(1, 1<<30), func(t *TCP) *int { return &t.Pipeline })},
		{name: "transfers", typ: "number", def: "10", set: into(between(1, most), func(t *TCP) *int { return &t.Transfers })},
	}
}

func adminFields() []field[Admin] {
	return []field[Admin]{
		{name: "socket", typ: "path", def: "/run/portolan/admin.sock", set: into((*cursor).fileOrNone, func(a *Admin) *string { return &a.Socket })},
		{name: "metrics", typ: "host:port", note: "none", set: into((*cursor).hostPortOrNone, func(a *Admin) *string { return &a.Metrics })},
		{name: "tcp", typ: "mapping", open: true, set: func(c *cursor, a *Admin) { c.d.sections.adminTCP.add(c, &a.TCP) }},
	}
}

func adminTCPFields() []field[AdminTCP] {
	return []field[AdminTCP]{
		{name: "listen", typ: "host:port", note: "none", set: into((*cursor).hostPortOrNone, func(t *AdminTCP) *string { return &t.Listen })},
		{name: "certificate", typ: "path", note: "none", set: into((*cursor).file, func(t *AdminTCP) *string { return &t.Certificate })},
		{name: "key", typ: "path", note: "none", set: into((*cursor).file, func(t *AdminTCP) *string { return &t.Key })},
		{name: "token_file", typ: "path", note: "none", set: into((*cursor).file, func(t *AdminTCP) *string { return &t.TokenFile })},
	}
}

// checkAdmin sees that a listener for other machines has all that makes it safe.
func (d *decoder) checkAdmin() {
	t, tcp := &d.cfg.Admin.TCP, &d.sections.adminTCP
	missing := func(key, hint string) {
		at := d.sections.admin.first[d.sections.admin.index["tcp"]]
		d.errs.add(at.child(key), "is missing", hint)
	}
	needs := []struct{ key, hint string }{
		{"certificate", "name a PEM file: the admin API is served with TLS only"},
		{"key", "name the PEM file of the certificate's key"},
		{"token_file", "name a file with a token of at least 32 characters, mode 0600: `openssl rand -hex 32` makes one"},
	}
	for _, need := range needs {
		switch {
		case t.Listen != "" && !tcp.given(need.key):
			missing(need.key, need.hint)
		case t.Listen == "" && tcp.given(need.key):
			missing("listen", `say where, for example ":9354"`)
			return
		}
	}
}

func stateFields() []field[State] {
	return []field[State]{
		{name: "dir", typ: "path", def: "/var/lib/portolan", set: into((*cursor).file, func(s *State) *string { return &s.Dir })},
		{name: "grace", typ: "duration", def: "15s", set: into(lasting(0, 5*time.Minute), func(s *State) *time.Duration { return &s.Grace })},
		{name: "memory", typ: "path", def: "/dev/shm", set: into((*cursor).fileOrNone, func(s *State) *string { return &s.Memory })},
	}
}

func diagnosticsFields() []field[Diagnostics] {
	return []field[Diagnostics]{
		{name: "allow", typ: "list of networks", def: `["127.0.0.0/8", "::1/128"]`, set: into(
			separatePrefixes,
			func(d *Diagnostics) *[]netip.Prefix { return &d.Allow })},
	}
}

func decodeListen(c *cursor, to *[]netip.AddrPort, port uint16) {
	seen := map[netip.AddrPort]bool{}
	var out []netip.AddrPort
	good := c.items(func(c *cursor) {
		for _, ap := range c.listenAddress(port) {
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
		c.fail("is empty", "give at least one address, or leave the key out")
	default:
		*to = out
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
