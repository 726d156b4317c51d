package compile

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"

	"portolan.dev/config"
	"portolan.dev/health"
	"portolan.dev/health/probe"
)

// probeSet is what the probes of a configuration share: settings
// worked out once, and probers made once, however many replicas use them.
type probeSet struct {
	b        *builder
	settings map[string]*setting      // by the name of the probe
	probers  map[string]health.Prober // by spec key
	same     map[string]uint32        // 1 + the index of an endpoint, by what it is made of
	scratch  []byte
}

// setting is one probe of the configuration: all of its spec that does not depend
// on the replica.
type setting struct {
	probe       *config.Probe
	number      int
	spec        probe.Spec
	fingerprint probe.Fingerprint
	err         error // of the files it names
	// sendsHost and sendsName say whether the global name of a registry is part of
	// what is sent, in the Host header and for SNI. Where it is not, registries that
	// share a target share its probe.
	sendsHost, sendsName bool
}

// probes lists what health has to watch: one endpoint for each distinct set of
// checks and recovery hold, with the replicas that it decides for.
func (b *builder) probes() {
	set := &probeSet{
		b: b, settings: make(map[string]*setting), probers: make(map[string]health.Prober), same: make(map[string]uint32),
	}
	for i := range b.c.Probes {
		set.settings[b.c.Probes[i].Name] = set.setting(i, &b.c.Probes[i])
	}
	watched := make([]uint32, len(b.s.Replicas))
	for i := range b.c.Registries {
		r := &b.c.Registries[i]
		for j := range r.Replicas {
			replica := &r.Replicas[j]
			if replica.Probe == "" {
				continue
			}
			endpoint, err := set.replica(r, replica)
			switch {
			case err != nil:
				b.fault(replica.Pos, "registries."+r.Key+".replicas."+replica.Region, err)
			case len(b.errs) == 0:
				watched[b.s.ReplicaNumber(i, b.regions[replica.Region])] = endpoint
			}
		}
	}
	if len(b.errs) == 0 {
		b.result.watch(watched)
	}
	b.anchors()
}

// anchors makes what the prober knows its own trouble by.
func (b *builder) anchors() {
	for _, a := range b.c.Health.Anchors {
		prober, err := probe.New(probe.Spec{Type: probe.TCP, Address: a.String()})
		if err != nil {
			b.errs = append(b.errs, fmt.Errorf("health.anchors: %w", err))
			continue
		}
		b.result.Anchors = append(b.result.Anchors, health.Anchor{Name: a.String(), Prober: prober})
	}
}

// replica returns 1 + the index of the endpoint of one replica: a new one, or the
// one that watches the same.
func (p *probeSet) replica(r *config.Registry, replica *config.Replica) (uint32, error) {
	s, ok := p.settings[replica.Probe]
	if !ok {
		return 0, fmt.Errorf("probe %s is not defined: add it to `probes`", replica.Probe)
	}
	if s.err != nil {
		return 0, fmt.Errorf("probe %s: %w", s.probe.Name, s.err)
	}
	// Fleets have far more replicas than targets: what is known is told apart from
	// what is new without working out keys.
	p.scratch = s.appendIdentity(p.scratch[:0], r, replica)
	if endpoint := p.same[string(p.scratch)]; endpoint != 0 {
		return endpoint, nil
	}
	e, err := p.endpoint(s, r, replica)
	if err != nil {
		return 0, fmt.Errorf("probe %s: %w", s.probe.Name, err)
	}
	endpoint := p.b.result.endpoint(e)
	p.same[string(p.scratch)] = endpoint
	return endpoint, nil
}

// appendIdentity appends what the endpoint of a replica depends on. Two that are equal
// have one endpoint; two that differ may have one all the same.
func (s *setting) appendIdentity(dst []byte, r *config.Registry, replica *config.Replica) []byte {
	dst = strconv.AppendInt(dst, int64(s.number), 10)
	dst = strconv.AppendInt(append(dst, ' '), int64(r.RecoveryHold), 10)
	dst = append(append(dst, ' '), r.Failback...)
	if s.sendsHost || s.sendsName {
		dst = append(append(append(append(dst, ' '), r.Name...), '.'), r.Zone...)
	}
	dst = append(append(dst, ' '), replica.ProbeTarget...)
	if replica.ProbeTarget != "" {
		return dst
	}
	dst = append(append(dst, ' '), replica.Target...)
	for _, a := range replica.Addresses {
		b := a.As16()
		dst = append(append(dst, ' '), b[:]...)
	}
	return dst
}

// endpoint makes the endpoint of a replica.
func (p *probeSet) endpoint(s *setting, r *config.Registry, replica *config.Replica) (health.Endpoint, error) {
	e := health.Endpoint{RecoveryHold: r.RecoveryHold}
	for _, address := range probeAddresses(s.probe, replica) {
		check, err := p.check(s, r, address)
		if err != nil {
			return e, err
		}
		e.Checks = append(e.Checks, check)
		e.Key += check.Key + " " + check.Interval.String() + " " + check.Timeout.String() + " " + strconv.Itoa(check.Fall) + "/" + strconv.Itoa(check.Rise) + "; "
	}
	e.Key += "hold " + r.RecoveryHold.String()
	if r.Failback == config.FailbackManual {
		e.Key += ", failback manual"
	}
	return e, nil
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
func (p *probeSet) check(s *setting, r *config.Registry, address string) (health.Check, error) {
	spec := s.spec
	spec.Address = address
	if s.sendsHost {
		spec.Host = trimDot(r.GlobalName())
	}
	if s.sendsName {
		spec.ServerName = trimDot(r.GlobalName())
	}
	key := s.fingerprint.Key(&spec)
	prober, ok := p.probers[key]
	if !ok {
		var err error
		if prober, err = probe.New(spec); err != nil {
			return health.Check{}, err
		}
		p.probers[key] = prober
	}
	c := s.probe
	return health.Check{
		Key: key, Name: c.Name + " " + address, Address: address, Prober: prober,
		Interval: c.Interval, Timeout: c.Timeout, Fall: c.Fall, Rise: c.Rise,
	}, nil
}

// setting works out what all replicas with a probe have in common.
func (p *probeSet) setting(number int, c *config.Probe) *setting {
	s := &setting{probe: c, number: number, spec: probe.Spec{
		Type:   probe.Type(c.Type),
		TLS:    c.TLS != nil && *c.TLS,
		Verify: c.Verify != nil && *c.Verify,
		Host:   c.Host, ServerName: c.ServerName, Method: c.Method, Path: c.Path,
		Body: c.Body, Command: c.Command, Manifest: c.Manifest, Blob: c.Blob, Write: c.Write, Names: p.b.o.Names,
		CAFile: c.CAFile, Credentials: c.Credentials, TokenService: c.TokenService, Sources: c.Source,
	}}
	// What a protocol does not send is left out: else registries that share a
	// target would be told apart by it, and the target probed for each of them.
	switch s.spec.Type {
	case probe.TCP, probe.TLS:
		s.spec.Host = ""
	default:
		s.sendsHost = c.Host == ""
	}
	if s.encrypted() || s.spec.Type == probe.Exec {
		s.sendsName = c.ServerName == ""
	}
	if c.ClientCertificate != "" {
		s.spec.CertificateFile = c.ClientCertificate + " " + c.ClientKey
	}
	for _, h := range c.Headers {
		s.spec.Headers = append(s.spec.Headers, [2]string{h.Name, h.Value})
	}
	for _, st := range c.Status {
		s.spec.Status = append(s.spec.Status, probe.StatusRange{Low: st.First, High: st.Last})
	}
	for _, m := range c.JSON {
		s.spec.JSON = append(s.spec.JSON, probe.JSONMatch{Path: m.Path, Equals: m.Equals})
	}
	s.err = p.files(s, c)
	s.fingerprint = s.spec.Fingerprint()
	return s
}

// files takes what a probe needs of files, and compiles its pattern.
func (p *probeSet) files(s *setting, c *config.Probe) (err error) {
	if c.BodyRegexp != "" {
		if s.spec.BodyRegexp, err = regexp.Compile(c.BodyRegexp); err != nil {
			return fmt.Errorf("body_regexp: %w", err)
		}
	}
	if s.encrypted() && p.b.o.Files != nil {
		if s.spec.Roots, err = p.b.o.Files.Roots(c.CAFile); err != nil {
			return err
		}
	}
	if c.ClientCertificate != "" {
		if s.spec.Certificate, err = p.b.o.Files.Certificate(c.ClientCertificate, c.ClientKey); err != nil {
			return err
		}
	}
	if c.Credentials != "" {
		if s.spec.Login, err = p.b.o.Files.Login(c.Credentials); err != nil {
			return err
		}
	}
	return nil
}

// encrypted says whether the probe speaks TLS.
func (s *setting) encrypted() bool {
	return s.spec.TLS || s.spec.Type == probe.HTTPS || s.spec.Type == probe.TLS
}
