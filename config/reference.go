package config

import "slices"

// Key is one key that a configuration may have.
type Key struct {
	Path string // registries.<key>.replicas.<region>.addresses; <...> is the reader's choice
	Type string // in words: "duration", "list of addresses"
	// Default is what holds when the key is not given: YAML, or words when
	// it depends on something; "" for a mapping and for a required key.
	Default  string
	Required bool
	Only     []string // the probe types that know the key; nil for all
}

// Reference gives every key the decoder knows, in the order of the sections. The
// documentation is checked against it, in both directions.
func Reference() []Key {
	return slices.Concat(
		keys("", topFields()),
		keys("server.", serverFields()),
		keys("server.tcp.", tcpFields()),
		keys("server.tls.", tlsFields()),
		keys("server.cookies.", cookiesFields()),
		keys("server.rate_limit.", rateLimitFields()),
		keys("admin.", adminFields()),
		keys("admin.tcp.", adminTCPFields()),
		keys("state.", stateFields()),
		keys("geo.", geoFields()),
		keys("geo.networks.<name>.", networkFields()),
		keys("diagnostics.", diagnosticsFields()),
		keys("health.", healthFields()),
		keys("zones.<zone>.", zoneFields()),
		keys("zones.<zone>.transfer.", transferFields()),
		keys("regions.<region>.", regionFields()),
		keys("probes.<probe>.", probeFields()),
		keys("registries.<key>.", registryFields()),
		keys("registries.<key>.sticky.", stickyFields()),
		keys("registries.<key>.replicas.<region>.", replicaFields()),
		keys("registries.<key>.replicas.<region>.data.", dataFields()),
		keys("notify[].", notifyFields()),
	)
}

func keys[T any](prefix string, fields []field[T]) []Key {
	out := make([]Key, len(fields))
	for i, f := range fields {
		def := f.def
		if def == "" {
			def = f.note
		}
		out[i] = Key{Path: prefix + f.name, Type: f.typ, Default: def, Required: f.required, Only: f.only}
	}
	return out
}

// Summary counts what a configuration holds.
type Summary struct {
	Files, Zones, Regions, Networks, Probes, Registries, Replicas int
	// Names are the names of registries: global, and regional and data where
	// they are enabled. Diagnostic and static names are not counted.
	Names int
}

// Summary counts what the configuration holds.
func (c *Config) Summary() Summary {
	s := Summary{
		Files: len(c.Files), Zones: len(c.Zones), Regions: len(c.Regions), Networks: len(c.Geo.Networks),
		Probes: len(c.Probes), Registries: len(c.Registries),
	}
	for i := range c.Registries {
		r := &c.Registries[i]
		s.Replicas += len(r.Replicas)
		s.Names++
		if r.RegionalEndpoints {
			s.Names += len(r.Replicas)
		}
		if r.DataEndpoints {
			s.Names += len(r.Replicas)
		}
	}
	return s
}
