package compile

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync/atomic"
	"time"

	"portolan.dev/config"
	"portolan.dev/geo"
	"portolan.dev/health"
	"portolan.dev/health/probe"
	"portolan.dev/resolver"
	"portolan.dev/resolver/decide"
	"portolan.dev/resolver/transfer"
	"portolan.dev/resolver/wire"
	"portolan.dev/resolver/zone"
)

// Options are what a compilation needs beside the configuration.
type Options struct {
	// Table is the location data to rank by.
	Table *geo.Table
	// Places are those of the Result before, nil for none: they are used again if
	// nothing that they were made from has changed.
	Places *Places
	// Previous is what is being served, nil at start: serials go on from it.
	Previous *resolver.Snapshot
	// Slots keeps counter slots over reloads.
	Slots *Slots
	// Numbering keeps the numbers of regions and registries over reloads; nil
	// numbers afresh.
	Numbering *Numbering
	// CountryCells rank the countries of which Table knows no place.
	CountryCells []geo.Cell
	// Seed keys the hash of names; random per process.
	Seed uint64
	// Now is the time of the compilation.
	Now time.Time
	// Identity stands in where the configuration has none; usually the host name.
	Identity string
	// ReadFile reads the files that the configuration names (os.ReadFile), and
	// ReadSecret those that others may not read; nil for ReadFile.
	ReadFile, ReadSecret func(name string) ([]byte, error)
	// Files keeps what probes need of files. Required where a probe names one, or speaks
	// TLS.
	Files Files
	// Names looks up the host names that are probed, and outlives this compilation; nil
	// for nothing to be remembered.
	Names *probe.Names
}

// Files gives what a file holds that probes need: functions, because it may be read again
// at any time. The errors of its methods are those of the first look. They are called by
// one goroutine, and what they return by any number.
type Files interface {
	// Roots are authorities to trust, those of a bundle, or of the system for "".
	Roots(path string) (func() *x509.CertPool, error)
	// Login is a user and password.
	Login(path string) (func() probe.Login, error)
	// Certificate is one to show, with its private key.
	Certificate(certificate, key string) (func() *tls.Certificate, error)
}

// Result is a compiled configuration.
type Result struct {
	Snapshot *resolver.Snapshot
	// Endpoints is what health must watch, each once.
	Endpoints []health.Endpoint
	// Anchors are the addresses by which the prober knows its own trouble.
	Anchors []health.Anchor
	// Targets is what must be resolved in the background.
	Targets []Target
	// Transfers is what secondaries may have; nil for nothing.
	Transfers *transfer.Set
	// Index gives the number of a registry by its key.
	Index map[string]int
	// Places are where clients are, for the next compilation.
	Places *Places
	// Routed, by registry, is what the configuration says of global endpoint
	// routing.
	Routed []decide.Mask

	watches watches
	several []several // by Living of a replica, less 1
	// byNumber is 1 + the number in the snapshot of a registry by its stable number; 0
	// for one that is gone.
	byNumber []uint32
}

// Registry returns the number in the snapshot of the registry with a stable number;
// false if it is not configured.
func (r *Result) Registry(number uint32) (int, bool) {
	if int(number) >= len(r.byNumber) || r.byNumber[number] == 0 {
		return 0, false
	}
	return int(r.byNumber[number]) - 1, true
}

// Target is a host name whose addresses stand in for a replica's.
type Target struct {
	Member
	Host       string // fully qualified
	TTL        uint32 // of the records to serve, seconds
	IPv4, IPv6 bool   // the families to serve
	Resolved   int    // index in Snapshot.Resolved
}

// Compile builds a snapshot from a configuration that config.Load has accepted.
// All faults are returned, joined.
func Compile(c *config.Config, o Options) (*Result, error) {
	if o.ReadSecret == nil {
		o.ReadSecret = o.ReadFile
	}
	if o.Numbering == nil {
		o.Numbering = NewNumbering()
	}
	b, err := newBuilder(c, o)
	if err != nil {
		return nil, err
	}
	if b.zones() {
		b.reserve()
		b.registries()
		b.records()
		b.transfers()
	}
	b.probes()
	if len(b.errs) > 0 {
		return nil, errors.Join(b.errs...)
	}
	if err := b.finish(); err != nil {
		return nil, err
	}
	return b.result, nil
}

// builder carries the compilation through its steps. Each step adds to the
// snapshot and to errs, and none stops at its first fault.
type builder struct {
	c        *config.Config
	o        Options
	s        *resolver.Snapshot
	result   *Result
	names    *zone.Builder
	zoneIDs  map[string]int           // by fully qualified name
	apexIDs  map[string]int           // the same, by folded name
	regions  map[string]uint8         // number by name as configured
	static   []map[string]*staticName // by zone number, by folded name
	order    [][]string               // by zone number: names of static in order of definition
	cuts     [][]*staticName          // by zone number: what delegates other zones of the configuration
	contents []*content               // by zone number
	errs     []error
	scratch  scratch
}

func newBuilder(c *config.Config, o Options) (*builder, error) {
	b := &builder{
		c: c, o: o, names: zone.NewBuilder(o.Seed),
		zoneIDs: make(map[string]int), apexIDs: make(map[string]int), regions: make(map[string]uint8),
		result: &Result{watches: watches{number: make(map[string]uint32)}, Index: make(map[string]int, len(c.Registries))},
	}
	regions, err := b.region()
	if err != nil {
		return nil, err
	}
	sites, err := b.sites()
	if err != nil {
		return nil, err
	}
	places := &Places{table: o.Table, regions: regions, sites: sites, defaultRegion: -1, countryCells: o.CountryCells}
	if name := c.Geo.DefaultRegion; name != "" {
		places.defaultRegion = int(b.regions[name])
	}
	if b.result.Places, err = places.compile(o.Places); err != nil {
		return nil, fmt.Errorf("geo: %w", err)
	}
	b.s = &resolver.Snapshot{
		Generation: 1,
		Places:     b.result.Places.index, Units: b.result.Places.units, Regions: regions,
		UDPSize: c.Server.UDPSize, ECS: c.Server.ECS,
		Identity: c.Server.Identity, Version: c.Server.Version,
		Allow: c.Diagnostics.Allow,
	}
	for _, site := range sites {
		b.s.Sites = append(b.s.Sites, site.Name)
	}
	names := make([]string, len(regions))
	for i := range regions {
		names[i] = regions[i].Name
	}
	b.s.Stable, b.s.Local = b.o.Numbering.assign(names)
	b.result.Snapshot = b.s
	if b.s.Identity == "" {
		b.s.Identity = o.Identity
	}
	if len(b.s.Identity) > 255 {
		return nil, fmt.Errorf("server.identity: %d octets long: use at most 255", len(b.s.Identity))
	}
	if b.s.Identity != "" {
		b.s.NSID = wire.AppendOption(nil, wire.OptionNSID, []byte(b.s.Identity))
	}
	if o.Previous != nil {
		b.s.Generation = o.Previous.Generation + 1
	}
	return b, nil
}

// region numbers the regions in configured order and gives them coordinates.
func (b *builder) region() ([]geo.Region, error) {
	regions := make([]geo.Region, len(b.c.Regions))
	var errs []error
	for i, r := range b.c.Regions {
		b.regions[r.Name] = uint8(i)
		known, err := geo.WellKnown(r.Name)
		if err != nil && r.Latitude == nil {
			errs = append(errs, fmt.Errorf("%s: regions.%s: %w", r.Pos, r.Name, err))
		}
		known.Name, known.Label, known.Bias = r.Name, config.Label(r.Name), r.Bias
		if r.Latitude != nil && r.Longitude != nil {
			known.Point = geo.Point{Latitude: *r.Latitude, Longitude: *r.Longitude}
		}
		if r.Country != "" {
			known.Country = r.Country
		}
		regions[i] = known
	}
	return regions, errors.Join(errs...)
}

// What the configuration warns of is what package geo makes of it.
var (
	_ = [1]struct{}{}[config.UnitBits4-geo.UnitBits4]
	_ = [1]struct{}{}[config.UnitBits6-geo.UnitBits6]
)

// sites turns `networks:` into sites of the locality index.
func (b *builder) sites() ([]geo.Site, error) {
	sites := make([]geo.Site, 0, len(b.c.Geo.Networks))
	for _, n := range b.c.Geo.Networks {
		region, ok := b.regions[n.Region]
		if !ok {
			return nil, fmt.Errorf("%s: geo.networks.%s: region %s is not known", n.Pos, n.Name, n.Region)
		}
		sites = append(sites, geo.Site{Name: n.Name, Prefixes: n.Prefixes, Region: int(region), Plain: n.Plain})
	}
	return sites, nil
}

// fault records an error at a place of the configuration.
func (b *builder) fault(pos config.Pos, path string, err error) {
	b.errs = append(b.errs, fmt.Errorf("%s: %s: %w", pos, path, err))
}

// readFile reads a file that the configuration names.
func (b *builder) readFile(name string) ([]byte, error) {
	data, err := b.o.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: paths are relative to the file that names them", err)
	}
	return data, err
}

// finish fixes what depends on everything else: the name table, live state and
// serials.
func (b *builder) finish() error {
	s := b.s
	var err error
	if s.Names, err = b.names.Table(); err != nil {
		return err
	}
	s.Bodies = slices.Clone(s.Bodies) // without the spare room that growing left behind it
	s.Live = make([]resolver.Availability, len(s.Registries))
	for i := range s.Registries {
		m := b.masks(i)
		s.Live[i].Set(m)
		b.result.Routed = append(b.result.Routed, m.Routed)
	}
	for i := range s.Registries {
		n := int(s.Registries[i].Number)
		if n >= len(b.result.byNumber) {
			b.result.byNumber = append(b.result.byNumber, make([]uint32, n+1-len(b.result.byNumber))...)
		}
		b.result.byNumber[n] = uint32(i) + 1
	}
	s.Resolved = make([]atomic.Pointer[resolver.Addresses], len(b.result.Targets))
	s.Living = make([]atomic.Pointer[resolver.Addresses], len(b.result.several))
	s.Serials = make([]atomic.Uint32, len(s.Names.Zones()))
	for i, z := range s.Names.Zones() {
		last := previousSerial(b.o.Previous, z.Apex)
		s.Serials[i].Store(max(resolver.NextSerial(last, b.o.Now), b.contents[i].serial))
	}
	return nil
}

// previousSerial returns the serial that a zone was last served with, or 0.
func previousSerial(s *resolver.Snapshot, apex []byte) uint32 {
	if s == nil {
		return 0
	}
	for i, z := range s.Names.Zones() {
		if string(z.Apex) == string(apex) {
			return s.Serials[i].Load()
		}
	}
	return 0
}
