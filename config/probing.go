package config

import (
	"fmt"
	"net/http"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Groups of probe types, for field.only.
func typesHTTP() []string    { return []string{ProbeRegistry, ProbeHTTP, ProbeHTTPS} }
func typesPlain() []string   { return []string{ProbeHTTP, ProbeHTTPS} }
func typesTLS() []string     { return []string{ProbeRegistry, ProbeHTTPS, ProbeTLS} }
func typesPort() []string    { return []string{ProbeRegistry, ProbeHTTP, ProbeHTTPS, ProbeTCP, ProbeTLS} }
func onlyRegistry() []string { return []string{ProbeRegistry} }
func onlyExec() []string     { return []string{ProbeExec} }
func probeTypes() []string   { return append(typesPort(), ProbeExec) }

func probeFields() []field[Probe] {
	return append(probeScheduleFields(), append(probeTargetFields(), probeContentFields()...)...)
}

func probeScheduleFields() []field[Probe] {
	return []field[Probe]{
		{name: "type", typ: "one of registry, http, https, tcp, tls, exec", required: true, set: into(oneOf(probeTypes()...), func(p *Probe) *string { return &p.Type })},
		{name: "interval", typ: "duration", def: "5s", set: into(lasting(100*time.Millisecond, 24*time.Hour), func(p *Probe) *time.Duration { return &p.Interval })},
		{name: "timeout", typ: "duration", note: "2s, or the interval when that is shorter", set: into(lasting(10*time.Millisecond, 24*time.Hour), func(p *Probe) *time.Duration { return &p.Timeout })},
		{name: "fall", typ: "number", def: "3", set: into(between(1, 1000), func(p *Probe) *int { return &p.Fall })},
		{name: "rise", typ: "number", def: "3", set: into(between(1, 1000), func(p *Probe) *int { return &p.Rise })},
	}
}

func probeTargetFields() []field[Probe] {
	return []field[Probe]{
		{name: "port", typ: "number", note: "443 with TLS, 80 for http; tcp needs it, unless each replica has a probe_target", only: typesPort(), set: into(between(1, 65535), func(p *Probe) *int { return &p.Port })},
		{name: "host", typ: "host name", note: "the global name of the registry", only: typesHTTP(), set: into((*cursor).hostHeader, func(p *Probe) *string { return &p.Host })},
		{name: "server_name", typ: "host name", note: "the global name of the registry", only: typesTLS(), set: into((*cursor).hostname, func(p *Probe) *string { return &p.ServerName })},
		{name: "tls", typ: "true or false", note: "true", only: onlyRegistry(), set: into((*cursor).boolPointer, func(p *Probe) **bool { return &p.TLS })},
		{name: "verify", typ: "true or false", note: "true", only: typesTLS(), set: into((*cursor).boolPointer, func(p *Probe) **bool { return &p.Verify })},
		{name: "ca_file", typ: "path", note: "the roots of the system", only: typesTLS(), set: into((*cursor).file, func(p *Probe) *string { return &p.CAFile })},
		{name: "client_certificate", typ: "path", note: "none", only: typesTLS(), set: into((*cursor).file, func(p *Probe) *string { return &p.ClientCertificate })},
		{name: "client_key", typ: "path", note: "none", only: typesTLS(), set: into((*cursor).file, func(p *Probe) *string { return &p.ClientKey })},
		{name: "source", typ: "address, or a list of one of each family", note: "the system chooses", only: typesPort(), set: into((*cursor).sources, func(p *Probe) *[]netip.Addr { return &p.Source })},
		{name: "command", typ: "list of an absolute path and arguments", note: "exec needs it", only: onlyExec(), set: into((*cursor).command, func(p *Probe) *[]string { return &p.Command })},
	}
}

func probeContentFields() []field[Probe] {
	return []field[Probe]{
		{name: "path", typ: "text", note: "/v2/ for registry, / for http and https", only: typesHTTP(), set: into((*cursor).urlPath, func(p *Probe) *string { return &p.Path })},
		{name: "method", typ: "one of GET, HEAD", note: "GET", only: typesPlain(), set: into(oneOf(http.MethodGet, http.MethodHead), func(p *Probe) *string { return &p.Method })},
		{name: "headers", typ: "mapping of header names to text", note: "none", only: typesHTTP(), set: decodeHeaders},
		{name: "status", typ: "list of codes and ranges", note: `["200-299"]`, only: typesPlain(), set: decodeStatus},
		{name: "body", typ: "text", note: "no condition", only: typesPlain(), set: into((*cursor).text, func(p *Probe) *string { return &p.Body })},
		{name: "body_regexp", typ: "regular expression (RE2)", note: "no condition", only: typesPlain(), set: into((*cursor).pattern, func(p *Probe) *string { return &p.BodyRegexp })},
		{name: "json", typ: "mapping of paths to values", note: "no condition", only: typesPlain(), set: decodeJSON},
		{name: "manifest", typ: "repository@sha256:digest", note: "none", only: onlyRegistry(), set: into((*cursor).manifest, func(p *Probe) *string { return &p.Manifest })},
		{name: "blob", typ: "true or false", note: "false", only: onlyRegistry(), set: into((*cursor).boolean, func(p *Probe) *bool { return &p.Blob })},
		{name: "write", typ: "repository", note: "none", only: onlyRegistry(), set: into((*cursor).repository, func(p *Probe) *string { return &p.Write })},
		{name: "credentials", typ: "path", note: "none", only: typesHTTP(), set: into((*cursor).file, func(p *Probe) *string { return &p.Credentials })},
		{name: "token_service", typ: "URL", note: "none: tokens come from the probed host", only: onlyRegistry(), set: into(func(c *cursor) (string, bool) { return c.webURL("write it like https://auth.example.net/token") }, func(p *Probe) *string { return &p.TokenService })},
	}
}

func decodeProbes(c *cursor, v *Config) {
	c.entries(func(key *place, c *cursor) {
		var p Probe
		g := c.d.sections.probe.one(c, &p)
		p.Name, p.Pos = key.key, key.pos()
		if p.Type != "" {
			refuseForeignKeys(c, &p, g)
			p.fill()
			checkProbe(c, &p, g)
		}
		if unite(c, c.d.probes, p.Name, key) {
			v.Probes = append(v.Probes, p)
		}
	})
}

// refuseForeignKeys refuses what the type of the probe does not know.
func refuseForeignKeys(c *cursor, p *Probe, g given[Probe]) {
	var known []string
	for _, f := range g.s.fields {
		if f.only == nil || slices.Contains(f.only, p.Type) {
			known = append(known, f.name)
		}
	}
	for _, f := range g.s.fields {
		if g.has(f.name) && !slices.Contains(known, f.name) {
			c.d.errs.add(g.where(f.name), "a probe of type "+p.Type+" does not know this key",
				"it knows "+strings.Join(known, ", "))
		}
	}
}

// fill gives the defaults that depend on the type.
func (p *Probe) fill() {
	yes := true
	if p.Timeout == 0 {
		p.Timeout = min(2*time.Second, p.Interval)
	}
	if p.Type == ProbeRegistry && p.TLS == nil {
		p.TLS = &yes
	}
	if p.encrypted() && p.Verify == nil {
		p.Verify = &yes
	}
	switch {
	case p.Port != 0:
	case p.encrypted():
		p.Port = 443
	case p.Type == ProbeHTTP, p.Type == ProbeRegistry:
		p.Port = 80
	}
	switch {
	case p.Path != "":
	case p.Type == ProbeRegistry:
		p.Path = "/v2/"
	case slices.Contains(typesPlain(), p.Type):
		p.Path = "/"
	}
	if slices.Contains(typesPlain(), p.Type) {
		if p.Method == "" {
			p.Method = http.MethodGet
		}
		if len(p.Status) == 0 {
			p.Status = []StatusRange{{200, 299}}
		}
	}
}

func (p *Probe) encrypted() bool {
	return p.Type == ProbeHTTPS || p.Type == ProbeTLS || p.Type == ProbeRegistry && (p.TLS == nil || *p.TLS)
}

// checkProbe looks at what keys say together.
func checkProbe(c *cursor, p *Probe, g given[Probe]) {
	errs := &c.d.errs
	if p.Type == ProbeExec && !g.has("command") {
		errs.add(c.child("command"), "is missing", "a probe of type exec needs it: command: [/usr/local/bin/check]")
	}
	if p.Timeout > p.Interval {
		errs.add(g.where("timeout"), fmt.Sprintf("the timeout %s is longer than the interval %s", span(p.Timeout), span(p.Interval)), "lower it to "+span(p.Interval)+" or less")
	}
	if p.Blob && p.Manifest == "" && !g.has("manifest") {
		errs.add(g.where("blob"), "a blob is found by a manifest, and none is given", "add manifest: repository@sha256:...")
	}
	if p.Method == http.MethodHead && (g.has("body") || g.has("body_regexp") || g.has("json")) {
		errs.add(g.where("method"), "an answer to HEAD has no body to look at", "use GET")
	}
	checkProbeTLS(c, p, g)
	checkCredentials(c, p, g)
}

// checkProbeTLS looks at what belongs to TLS.
func checkProbeTLS(c *cursor, p *Probe, g given[Probe]) {
	errs := &c.d.errs
	if !p.encrypted() && p.Type == ProbeRegistry {
		for _, name := range []string{"verify", "ca_file", "server_name", "client_certificate", "client_key"} {
			if g.has(name) {
				errs.add(g.where(name), "has no effect without TLS", "remove it, or set tls: true")
			}
		}
	}
	for _, pair := range [][2]string{{"client_certificate", "client_key"}, {"client_key", "client_certificate"}} {
		if g.has(pair[0]) && !g.has(pair[1]) {
			errs.add(g.where(pair[0]), "is of no use without "+pair[1], "give both")
		}
	}
	if p.CAFile != "" && p.Verify != nil && !*p.Verify {
		c.d.warnings.add(g.where("ca_file"), "has no effect while verify is false", "remove one of them")
	}
}

// checkCredentials looks at what is sent to prove who asks.
func checkCredentials(c *cursor, p *Probe, g given[Probe]) {
	if p.Credentials == "" {
		return
	}
	for _, h := range p.Headers {
		if strings.EqualFold(h.Name, "Authorization") {
			c.d.errs.add(g.where("headers"), "Authorization is what credentials are sent in", "remove one of them")
		}
	}
	if !p.encrypted() {
		c.d.warnings.add(g.where("credentials"), "the password is sent in the clear", "probe over TLS")
	}
}

func (c *cursor) boolPointer() (*bool, bool) {
	b, ok := c.boolean()
	return &b, ok
}

// sources gives an address, or a list of them, none of which is of the family of another.
func (c *cursor) sources() ([]netip.Addr, bool) {
	own := func(c *cursor) (netip.Addr, bool) {
		return c.hostAddress("write an address of this machine, as 192.0.2.10", "leave the port out: the system chooses one")
	}
	if c.node.Kind == yaml.ScalarNode {
		addr, ok := own(c)
		return []netip.Addr{addr}, ok
	}
	addrs, ok := c.addressList(own)
	if ok && len(addrs) > 1 && familiesOf(addrs) != hasIPv4|hasIPv6 || len(addrs) > 2 {
		c.fail("has two addresses of one family", "give one of each: a probe is sent from one address")
		return nil, false
	}
	return addrs, ok
}

// hostHeader gives a host name, or host:port.
func (c *cursor) hostHeader() (string, bool) {
	if s, ok := c.text(); !ok || strings.Contains(s, ":") {
		if !ok {
			return "", false
		}
		return c.hostPort(false)
	}
	return c.hostname()
}

func (c *cursor) urlPath() (string, bool) {
	s, ok := c.text()
	if ok && (s[0] != '/' || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '#' })) {
		c.fail(show(s)+" is no path", "begin it with /, and write spaces and letters outside of ASCII as %20 and so on")
		return "", false
	}
	return s, ok
}

func (c *cursor) pattern() (string, bool) {
	s, ok := c.text()
	if !ok {
		return "", false
	}
	if len(s) > 4096 {
		c.fail("is longer than 4096 bytes", "shorten it")
		return "", false
	}
	if _, err := regexp.Compile(s); err != nil {
		c.fail(strings.TrimPrefix(err.Error(), "error parsing regexp: "), "see the RE2 syntax")
		return "", false
	}
	return s, true
}

// command gives the arguments of a program. A relative program would depend on
// where the server was started.
func (c *cursor) command() ([]string, bool) {
	var out []string
	good := c.items(func(c *cursor) {
		s, ok := c.textOrEmpty()
		switch {
		case !ok:
			return
		case c.index == 0 && !filepath.IsAbs(s):
			c.fail(show(s)+" is no absolute path", "write it like /usr/local/bin/check")
		case strings.ContainsRune(s, 0):
			c.fail("has a zero byte", "")
		}
		out = append(out, s)
	})
	if good && len(c.node.Content) == 0 {
		c.fail("is empty", "give a program and its arguments")
	}
	return out, good && len(out) > 0
}

// decodeHeaders reads header fields. The request itself sets some of them.
func decodeHeaders(c *cursor, p *Probe) {
	var out []Header
	seen := map[string]*place{}
	c.entries(func(key *place, c *cursor) {
		value, ok := c.text()
		lower := strings.ToLower(key.key)
		switch {
		case !unite(c, seen, lower, key), !ok:
		case strings.ContainsFunc(key.key, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r) }):
			c.d.errs.add(key, show(key.key)+" is no header name", "")
		case slices.Contains([]string{"host", "content-length", "transfer-encoding", "connection", "trailer", "upgrade"}, lower):
			c.d.errs.add(key, "the probe sets "+key.key+" itself", "use the key host for the host")
		case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
			c.fail("has a control character", "")
		default:
			out = append(out, Header{key.key, value})
		}
	})
	p.Headers = out
}

// decodeStatus reads codes, 200, and ranges, 200-299.
func decodeStatus(c *cursor, p *Probe) {
	var out []StatusRange
	good := c.items(func(c *cursor) {
		s, ok := c.scalar("a status code or range", "write 200 or 200-299", "!!int", "!!str")
		if !ok {
			return
		}
		first, last, found := strings.Cut(s, "-")
		if !found {
			last = first
		}
		low, err1 := strconv.Atoi(strings.TrimSpace(first))
		high, err2 := strconv.Atoi(strings.TrimSpace(last))
		if err1 != nil || err2 != nil || low < 100 || high > 599 || low > high {
			c.fail(show(s)+" is no status code or range", "write 200 or 200-299")
			return
		}
		out = append(out, StatusRange{low, high})
	})
	if good && len(c.node.Content) == 0 {
		c.fail("is empty", "give at least one code, or leave the key out")
	}
	p.Status = out
}

// decodeJSON reads conditions on a body, path: value.
func decodeJSON(c *cursor, p *Probe) {
	var out []JSONMatch
	seen := map[string]*place{}
	path := regexp.MustCompile(`^[^.\[\]]+(\[[0-9]{1,6}\])*(\.[^.\[\]]+(\[[0-9]{1,6}\])*)*$`)
	c.entries(func(key *place, c *cursor) {
		value, ok := c.literal()
		switch {
		case !unite(c, seen, key.key, key), !ok:
		case !path.MatchString(key.key):
			c.d.errs.add(key, show(key.key)+" is no path into JSON", "write it like status or components[0].status")
		default:
			out = append(out, JSONMatch{key.key, value})
		}
	})
	p.JSON = out
}

const (
	repositoryPattern = `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*`
	maxRepository     = 255 // characters, as registries bound it
)

// repository gives a repository name (OCI distribution, "pulling manifests").
func (c *cursor) repository() (string, bool) {
	s, ok := c.text()
	if ok && (len(s) > maxRepository || !regexp.MustCompile(`^`+repositoryPattern+`$`).MatchString(s)) {
		c.fail(show(s)+" is no repository", "write it like probes/canary, without tag")
		return "", false
	}
	return s, ok
}

func (c *cursor) manifest() (string, bool) {
	s, ok := c.text()
	if ok && !regexp.MustCompile(`^`+repositoryPattern+`@sha256:[0-9a-f]{64}$`).MatchString(s) {
		c.fail(show(s)+" is no manifest by digest", "write repository@sha256: and 64 hexadecimal digits, so that no tag can move it")
		return "", false
	}
	return s, ok
}
