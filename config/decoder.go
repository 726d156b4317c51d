package config

import (
	"net/netip"
	"path/filepath"
)

// decoder turns documents into one Config. It lives for one load.
//
//	file ─▶ yaml.Node ─▶ cursor ─▶ section.read ─▶ Config, references noted
//	                                 (every file) ─▶ references checked ─▶ Config or Errors
type decoder struct {
	errs, warnings report
	opts           Options
	cfg            *Config
	sections       sections
	aliased        int // values reached through aliases so far
	nodes          nodes
	// careful decoding goes through everything in order and knows the place of
	// everything. Else what is bulk is decoded side by side, or taken from the cache;
	// hurried says that some of it was.
	careful, hurried bool
	cache            *Cache
	part             int // size of the parts that registries are read in
	beside           func(func())

	// What has a name, by name, in all files: where it was given first.
	zones, regions, probes, registries, networks map[string]*place
	prefixes                                     map[netip.Prefix]*place
	receivers                                    map[string]*place // by URL
	transfers                                    map[string]*place // by zone

	// References are checked when every file is read: what they name may stand
	// in a later one. Of a region only the first is kept, and of a probe those that
	// stand before it: there are as many references as replicas.
	regionRefs, probeRefs, targetRefs []reference
	regionsInUse                      map[string]bool  // those in regionRefs
	registryPlaces                    []registryPlaces // parallel to cfg.Registries
	replicaPlaces                     []replicaPlaces  // parallel to the replicas of the registry being read
}

// reference is a name given at a place.
type reference struct {
	name string
	at   *place
}

// useRegion notes that a region is named at a place.
func (d *decoder) useRegion(name string, at *place) {
	if !d.regionsInUse[name] {
		d.regionsInUse[name] = true
		d.regionRefs = append(d.regionRefs, reference{name, at})
	}
}

// registryPlaces is where to say what is wrong with a registry as a whole.
type registryPlaces struct{ at, name, zone *place }

// replicaPlaces is the same for a replica.
type replicaPlaces struct{ at, addresses, probe *place }

// sections are the tables of keys, made ready.
type sections struct {
	top         united[Config]
	server      united[Server]
	tcp         united[TCP]
	tls         united[TLS]
	cookies     united[Cookies]
	rateLimit   united[RateLimit]
	admin       united[Admin]
	adminTCP    united[AdminTCP]
	state       united[State]
	geo         united[Geo]
	diagnostics united[Diagnostics]
	health      united[Health]
	network     *section[Network]
	zone        *section[Zone]
	transfer    *section[Transfer]
	region      *section[Region]
	probe       *section[Probe]
	registry    *section[Registry]
	sticky      *section[Sticky]
	replica     *section[Replica]
	data        *section[DataEndpoint]
	notify      *section[Notify]
}

func newDecoder(opts Options) *decoder {
	d := &decoder{
		errs:       report{what: "errors"},
		warnings:   report{what: "warnings"},
		opts:       opts,
		zones:      map[string]*place{},
		regions:    map[string]*place{},
		probes:     map[string]*place{},
		registries: map[string]*place{},
		networks:   map[string]*place{},

		regionsInUse: map[string]bool{},
		prefixes:     map[netip.Prefix]*place{},
		receivers:    map[string]*place{},
		transfers:    map[string]*place{},
	}
	s := &d.sections
	s.server, s.tcp = newUnited(d, serverFields()), newUnited(d, tcpFields())
	s.tls, s.cookies = newUnited(d, tlsFields()), newUnited(d, cookiesFields())
	s.rateLimit = newUnited(d, rateLimitFields())
	s.admin, s.state = newUnited(d, adminFields()), newUnited(d, stateFields())
	s.adminTCP = newUnited(d, adminTCPFields())
	s.geo, s.network = newUnited(d, geoFields()), newSection(d, networkFields())
	s.diagnostics, s.health = newUnited(d, diagnosticsFields()), newUnited(d, healthFields())
	s.zone, s.region = newSection(d, zoneFields()), newSection(d, regionFields())
	s.transfer = newSection(d, transferFields())
	s.probe = newSection(d, probeFields())
	s.registry, s.sticky = newSection(d, registryFields()), newSection(d, stickyFields())
	s.replica, s.data = newSection(d, replicaFields()), newSection(d, dataFields())
	s.notify = newSection(d, notifyFields())
	s.top = newUnited(d, topFields())
	s.registry.base.Sticky = s.sticky.base
	s.server.base.TCP, s.server.base.TLS = s.tcp.base, s.tls.base
	s.server.base.Cookies, s.server.base.RateLimit = s.cookies.base, s.rateLimit.base
	d.cfg = &Config{
		Server:      s.server.base,
		Admin:       s.admin.base,
		State:       s.state.base,
		Geo:         s.geo.base,
		Diagnostics: s.diagnostics.base,
		Health:      s.health.base,
	}
	return d
}

// topFields are the sections. include is read by the loader, which knows files,
// before the document comes here.
func topFields() []field[Config] {
	return []field[Config]{
		{name: "include", typ: "list of paths and globs", open: true, set: func(*cursor, *Config) {}},
		{name: "server", typ: "mapping", open: true, set: func(c *cursor, v *Config) { c.d.sections.server.add(c, &v.Server) }},
		{name: "admin", typ: "mapping", open: true, set: func(c *cursor, v *Config) { c.d.sections.admin.add(c, &v.Admin) }},
		{name: "state", typ: "mapping", open: true, set: func(c *cursor, v *Config) { c.d.sections.state.add(c, &v.State) }},
		{name: "geo", typ: "mapping", open: true, set: func(c *cursor, v *Config) { c.d.sections.geo.add(c, &v.Geo) }},
		{name: "diagnostics", typ: "mapping", open: true, set: func(c *cursor, v *Config) { c.d.sections.diagnostics.add(c, &v.Diagnostics) }},
		{name: "health", typ: "mapping", open: true, set: func(c *cursor, v *Config) { c.d.sections.health.add(c, &v.Health) }},
		{name: "zones", typ: "mapping of zone names", open: true, set: decodeZones},
		{name: "regions", typ: "mapping of region names", open: true, set: decodeRegions},
		{name: "probes", typ: "mapping of probe names", open: true, set: decodeProbes},
		{name: "registries", typ: "mapping of registry keys", open: true, set: decodeRegistries},
		{name: "notify", typ: "list of receivers", open: true, set: decodeNotify},
	}
}

// file gives a path, relative to the folder of the file it stands in.
func (c *cursor) file() (string, bool) {
	s, ok := c.text()
	if !ok {
		return "", false
	}
	path := c.source.relative(s)
	if c.d.cfg != nil { // not while defaults are read
		c.d.cfg.Named = append(c.d.cfg.Named, path)
	}
	return path, true
}

func (s *source) relative(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(s.dir, path)
}
