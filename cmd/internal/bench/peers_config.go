//go:build linux

package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// server is one server of the comparison.
type server struct {
	name string
	// what it does for an answer, as the table says.
	does string
	// geo says that it chooses by place, which is checked first.
	geo bool
	// command writes what it needs into dir and returns how to start it at addr.
	command func(s *site, dir string, addr netip.AddrPort) ([]string, error)

	addr    netip.AddrPort
	process *process
}

// site is the registry that every server serves: one address for each region, and
// something that listens there.
type site struct {
	rig       *rig
	world     *world
	database  string // the location data
	probePort int
}

// address is the replica's address in region i.
func address(i int) string { return fmt.Sprintf("127.1.0.%d", i+1) }

// each writes a line for each region: its name, then its address.
func (s *site) each(format, separator string) string {
	lines := make([]string, len(s.world.regions))
	for i := range s.world.regions {
		lines[i] = fmt.Sprintf(format, s.world.regions[i].Label, address(i))
	}
	return strings.Join(lines, separator)
}

// servers are the servers of the comparison, in the order of the table.
func servers() []*server {
	self, err := os.Executable()
	if err != nil {
		self = "/proc/self/exe"
	}
	own := func(verb string) func(*site, string, netip.AddrPort) ([]string, error) {
		return func(_ *site, _ string, addr netip.AddrPort) ([]string, error) {
			return []string{self, verb, addr.String()}, nil
		}
	}
	return []*server{
		{name: "Portolan", does: "place, health, holds; A", geo: true, command: portolanServer("disabled")},
		{name: "Portolan, regional endpoints", does: "the same; CNAME and A", geo: true, command: portolanServer("enabled")},
		{name: "reflector", does: "nothing: the limit of UDP sockets", command: own("reflector")},
		{name: "gdnsd", does: "place, health; A", geo: true, command: gdnsd},
		{name: "Knot, mod-geoip", does: "place; A", geo: true, command: knot},
		{name: "NSD", does: "static; A", command: nsd},
		{name: "miekg/dns handler", does: "static, ECS repeated; A", command: own("handler")},
		{name: "PowerDNS, geoip", does: "place; A", geo: true, command: powerdns},
	}
}

// packages are the Debian packages of the servers, and a program or file of each.
func packages() map[string]string {
	return map[string]string{
		"gdnsd": "gdnsd", "knot": "knotd", "nsd": "nsd", "pdns-server": "pdns_server",
		"knot-module-geoip":  "/usr/lib/*/knot/modules*/geoip.so",
		"pdns-backend-geoip": "/usr/lib/*/pdns/libgeoipbackend.so",
	}
}

func portolanServer(endpoints string) func(*site, string, netip.AddrPort) ([]string, error) {
	return func(s *site, dir string, addr netip.AddrPort) ([]string, error) {
		path, err := s.rig.write(dir+"/portolan.yaml", fmt.Sprintf(`
server: {listen: [%q], workers: 1, identity: bench}
admin: {socket: admin.sock}
state: {dir: state, memory: %q}
geo: {database: %s, default_region: westus}
zones: {example.io: {nameservers: {ns1: [127.0.0.1]}}}
probes: {alive: {type: tcp, port: %d, interval: 5s}}
registries:
  myregistry:
    regional_endpoints: %s
    replicas:
      %s
`, addr, s.rig.shared, s.database, s.probePort, endpoints, s.each("%s: {addresses: [%s], probe: alive}", "\n      ")))
		return []string{s.rig.portolan, "serve", "-c", path}, err
	}
}

// gdnsd: its plugin geoip measures distances itself, and probes like Portolan.
func gdnsd(s *site, dir string, addr netip.AddrPort) ([]string, error) {
	coords, names := make([]string, 0, len(s.world.regions)), make([]string, 0, len(s.world.regions))
	for _, region := range s.world.regions {
		coords = append(coords, fmt.Sprintf("%s => [ %g, %g ]", region.Label, region.Latitude, region.Longitude))
		names = append(names, region.Label)
	}
	path, err := s.rig.write(dir+"/config", fmt.Sprintf(`
options => {
  listen => { %s => { udp_threads => 1, tcp_threads => 1 } }
  run_dir => %[2]s/run
  state_dir => %[2]s/state
  edns_client_subnet => true
}
service_types => { alive => { plugin => tcp_connect, port => %[3]d, interval => 5, timeout => 2 } }
plugins => { geoip => {
  maps => { world => {
    geoip2_db => %[4]s
    datacenters => [ %[5]s ]
    auto_dc_coords => { %[6]s }
    auto_dc_limit => %[7]d
  } }
  resources => { registry => { map => world, service_types => alive, dcmap => { %[8]s } } }
} }
`, addr, filepath.Join(s.rig.dir, dir), s.probePort, s.database, strings.Join(names, ", "), strings.Join(coords, ", "),
		len(names), s.each("%s => %s", ", ")))
	if err != nil {
		return nil, err
	}
	for _, sub := range []string{"run", "state", "geoip"} {
		if _, err := s.rig.write(dir+"/"+sub+"/.keep", ""); err != nil {
			return nil, err
		}
	}
	_, err = s.rig.write(dir+"/zones/example.io", apex+"myregistry 60 DYNA geoip!registry\n")
	return []string{"gdnsd", "-c", filepath.Dir(path), "start"}, err
}

// apex is the head of the zone file of the other servers.
const apex = "@ 3600 SOA ns1 hostmaster 1 7200 1800 1209600 60\n" + "@ 3600 NS ns1\n" + "ns1 3600 A 127.0.0.1\n"

// knot: its module maps a text of the database to an answer: the name of the city,
// which is the nearest region.
func knot(s *site, dir string, addr netip.AddrPort) ([]string, error) {
	at := filepath.Join(s.rig.dir, dir)
	path, err := s.rig.write(dir+"/knot.conf", fmt.Sprintf(`
server:
    rundir: %[1]s
    listen: %[2]s@%[3]d
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
    edns-client-subnet: on
log:
  - target: stderr
    any: warning
database:
    storage: %[1]s
mod-geoip:
  - id: world
    config-file: %[1]s/geo.conf
    ttl: 60
    mode: geodb
    geodb-file: %[4]s
    geodb-key: city/names/en
zone:
  - domain: example.io
    storage: %[1]s
    file: example.io.zone
    module: mod-geoip/world
`, at, addr.Addr(), addr.Port(), s.database))
	if err != nil {
		return nil, err
	}
	if _, err := s.rig.write(dir+"/geo.conf", name+":\n"+s.each("  - geo: %q\n    A: %s", "\n")+"\n"); err != nil {
		return nil, err
	}
	_, err = s.rig.write(dir+"/example.io.zone", "$ORIGIN example.io.\n"+apex+"myregistry 60 A "+address(0)+"\n")
	return []string{"knotd", "-c", path}, err
}

// nsd chooses nothing; response rate limiting would drop the load.
func nsd(s *site, dir string, addr netip.AddrPort) ([]string, error) {
	at := filepath.Join(s.rig.dir, dir)
	path, err := s.rig.write(dir+"/nsd.conf", fmt.Sprintf(`
server:
    server-count: 1
    ip-address: %[2]s@%[3]d
    username: ""
    chroot: ""
    zonesdir: %[1]q
    database: ""
    pidfile: "%[1]s/nsd.pid"
    xfrdfile: "%[1]s/xfrd.state"
    zonelistfile: "%[1]s/zone.list"
    xfrdir: %[1]q
    rrl-ratelimit: 0
    rrl-whitelist-ratelimit: 0
remote-control:
    control-enable: no
zone:
    name: example.io
    zonefile: example.io.zone
`, at, addr.Addr(), addr.Port()))
	if err != nil {
		return nil, err
	}
	_, err = s.rig.write(dir+"/example.io.zone", "$ORIGIN example.io.\n"+apex+"myregistry 60 A "+address(0)+"\n")
	return []string{"nsd", "-d", "-c", path}, err
}

// powerdns: its backend geoip puts the name of the city, which is the nearest
// region, into the name that it answers for.
func powerdns(s *site, dir string, addr netip.AddrPort) ([]string, error) {
	at := filepath.Join(s.rig.dir, dir)
	path, err := s.rig.write(dir+"/pdns.conf", fmt.Sprintf(`
launch=geoip
geoip-zones-file=%[1]s/zones.yaml
geoip-database-files=mmdb:%[2]s
edns-subnet-processing=yes
local-address=%[3]s
local-port=%[4]d
receiver-threads=1
distributor-threads=1
socket-dir=%[1]s
security-poll-suffix=
daemon=no
guardian=no
loglevel=4
`, at, s.database, addr.Addr(), addr.Port()))
	if err != nil {
		return nil, err
	}
	_, err = s.rig.write(dir+"/zones.yaml", `domains:
- domain: example.io
  ttl: 60
  records:
    example.io:
      - soa: ns1.example.io hostmaster.example.io 1 7200 1800 1209600 60
      - ns: {content: ns1.example.io, ttl: 3600}
`+s.each("    %s.geo.example.io:\n      - a: %s", "\n")+`
  services:
    `+name+`: ['%ci.geo.example.io']
`)
	return []string{"pdns_server", "--config-dir=" + filepath.Dir(path)}, err
}
