package compile

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"portolan.dev/config"
	"portolan.dev/health"
	"portolan.dev/health/probe"
)

// probeSet is what the probes of a configuration share: files read once and
// probers made once, however many replicas use them.
type probeSet struct {
	b       *builder
	byName  map[string]*config.Probe
	pools   map[string]*x509.CertPool
	secrets map[string][2]string
	probers map[string]health.Prober // by spec key
	known   map[string]bool          // endpoints that are listed already
}

// probes lists what health has to watch: one endpoint for each distinct set of
// checks and recovery hold, with the replicas that it decides for.
func (b *builder) probes() {
	set := &probeSet{
		b: b, byName: make(map[string]*config.Probe), pools: make(map[string]*x509.CertPool),
		secrets: make(map[string][2]string), probers: make(map[string]health.Prober), known: make(map[string]bool),
	}
	for i := range b.c.Probes {
		set.byName[b.c.Probes[i].Name] = &b.c.Probes[i]
	}
	for i := range b.c.Registries {
		r := &b.c.Registries[i]
		for j := range r.Replicas {
			replica := &r.Replicas[j]
			if replica.Probe == "" {
				continue
			}
			if err := set.replica(i, r, replica); err != nil {
				b.fault(replica.Pos, "registries."+r.Key+".replicas."+replica.Region, err)
			}
		}
	}
}

// replica adds the endpoint of one replica, or joins the one that watches the
// same.
func (p *probeSet) replica(registry int, r *config.Registry, replica *config.Replica) error {
	spec, ok := p.byName[replica.Probe]
	if !ok {
		return fmt.Errorf("probe %s is not defined: add it to `probes`", replica.Probe)
	}
	e := health.Endpoint{RecoveryHold: r.RecoveryHold}
	for _, address := range probeAddresses(spec, replica) {
		check, err := p.check(spec, r, address)
		if err != nil {
			return fmt.Errorf("probe %s: %w", spec.Name, err)
		}
		e.Checks = append(e.Checks, check)
		e.Key += check.Key + " " + check.Interval.String() + " " + check.Timeout.String() + " " + strconv.Itoa(check.Fall) + "/" + strconv.Itoa(check.Rise) + "; "
	}
	e.Key += "hold " + r.RecoveryHold.String()
	if r.Failback == config.FailbackManual {
		e.Key += ", failback manual"
	}
	if !p.known[e.Key] {
		p.known[e.Key] = true
		p.b.result.Endpoints = append(p.b.result.Endpoints, e)
	}
	p.b.result.Members[e.Key] = append(p.b.result.Members[e.Key], Member{registry, p.b.regions[replica.Region]})
	return nil
}

// probeAddresses returns what to dial for a replica: what it says, else each of
// its addresses, else its target.
func probeAddresses(p *config.Probe, replica *config.Replica) []string {
	if replica.ProbeTarget != "" {
		return []string{replica.ProbeTarget}
	}
	port := strconv.Itoa(p.Port)
	if replica.Target != "" {
		return []string{net.JoinHostPort(trimDot(replica.Target), port)}
	}
	out := make([]string, 0, len(replica.Addresses))
	for _, a := range replica.Addresses {
		out = append(out, netip.AddrPortFrom(a, uint16(p.Port)).String())
	}
	return out
}

// check makes the check of one address, with the registry's own global name for
// SNI and Host unless the probe says otherwise.
func (p *probeSet) check(c *config.Probe, r *config.Registry, address string) (health.Check, error) {
	spec, err := p.spec(c, r, address)
	if err != nil {
		return health.Check{}, err
	}
	key := spec.Key()
	prober, ok := p.probers[key]
	if !ok {
		if prober, err = probe.New(spec); err != nil {
			return health.Check{}, err
		}
		p.probers[key] = prober
	}
	return health.Check{
		Key: key, Name: c.Name + " " + address, Prober: prober,
		Interval: c.Interval, Timeout: c.Timeout, Fall: c.Fall, Rise: c.Rise,
	}, nil
}

func (p *probeSet) spec(c *config.Probe, r *config.Registry, address string) (probe.Spec, error) {
	s := probe.Spec{
		Type: probe.Type(c.Type), Address: address,
		TLS:    c.TLS != nil && *c.TLS,
		Verify: c.Verify != nil && *c.Verify,
		Host:   c.Host, ServerName: c.ServerName, Method: c.Method, Path: c.Path,
		Body: c.Body, Command: c.Command, Manifest: c.Manifest, Blob: c.Blob, Write: c.Write,
	}
	// What a protocol does not send is left out: else registries that share a
	// target would be told apart by it, and the target probed for each of them.
	global := trimDot(r.GlobalName())
	switch s.Type {
	case probe.TCP, probe.TLS:
		s.Host = ""
	default:
		s.Host = cmp.Or(s.Host, global)
	}
	if s.TLS || s.Type == probe.HTTPS || s.Type == probe.TLS || s.Type == probe.Exec {
		s.ServerName = cmp.Or(s.ServerName, global)
	}
	for _, h := range c.Headers {
		s.Headers = append(s.Headers, [2]string{h.Name, h.Value})
	}
	for _, st := range c.Status {
		s.Status = append(s.Status, probe.StatusRange{Low: st.First, High: st.Last})
	}
	for _, m := range c.JSON {
		s.JSON = append(s.JSON, probe.JSONMatch{Path: m.Path, Equals: m.Equals})
	}
	var err error
	if c.BodyRegexp != "" {
		if s.BodyRegexp, err = regexp.Compile(c.BodyRegexp); err != nil {
			return s, fmt.Errorf("body_regexp: %w", err)
		}
	}
	if s.CA, err = p.pool(c.CAFile); err != nil {
		return s, err
	}
	secret, err := p.secret(c.Credentials)
	s.User, s.Password = secret[0], secret[1]
	return s, err
}

// pool reads a bundle of roots; nil for no file.
func (p *probeSet) pool(name string) (*x509.CertPool, error) {
	if name == "" {
		return nil, nil //nolint:nilnil // no bundle means the roots of the system
	}
	if pool, ok := p.pools[name]; ok {
		return pool, nil
	}
	data, err := p.b.readFile(name)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("ca_file: %s holds no certificate in PEM form: put those of the authorities there", name)
	}
	p.pools[name] = pool
	return pool, nil
}

// secret reads a file with one line, user:password.
func (p *probeSet) secret(name string) ([2]string, error) {
	if name == "" {
		return [2]string{}, nil
	}
	if s, ok := p.secrets[name]; ok {
		return s, nil
	}
	data, err := p.b.readFile(name)
	if err != nil {
		return [2]string{}, fmt.Errorf("credentials: %w", err)
	}
	line := string(bytes.TrimRight(data, "\r\n"))
	user, password, ok := strings.Cut(line, ":")
	if !ok || strings.ContainsAny(line, "\r\n") {
		return [2]string{}, fmt.Errorf("credentials: %s is not one line of the form user:password: write it so", name)
	}
	p.secrets[name] = [2]string{user, password}
	return p.secrets[name], nil
}
