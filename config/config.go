package config

import (
	"net/netip"
	"time"
)

// Config is one configuration: the main file and all it includes. Slices keep
// the order of the files, since ties between regions go by configured order.
type Config struct {
	Server      Server
	Admin       Admin
	State       State
	Geo         Geo
	Diagnostics Diagnostics
	Health      Health
	Zones       []Zone
	// Regions holds every region that a replica, a network or the default
	// region names, at most [MaxRegions]: first the declared ones in file
	// order, then those that only a reference names, in order of reference.
	// A region that is declared but not in use is left out.
	Regions    []Region
	Probes     []Probe
	Registries []Registry
	Notify     []Notify
	// Files lists every file read, in the order read, the main file first.
	// Paths are as given or found, relative to the working directory unless
	// the main file was given by an absolute path.
	Files []string
	// Named lists every path that a key gives, include patterns among them, in no
	// order.
	Named []string
	// Warnings holds what is allowed but seldom meant, sorted by position.
	Warnings Errors
}

// MaxRegions bounds the regions in use: availability is a mask of 64 bits.
const MaxRegions = 64

// Server is how queries are received.
type Server struct {
	// Listen has the addresses for UDP and TCP, never empty. Port 0 lets the
	// system choose, for tests.
	Listen []netip.AddrPort
	// Identity answers NSID (RFC 5001) and CHAOS id.server (RFC 4892). ""
	// means the host name, which the application fills in.
	Identity string
	// Version answers CHAOS version.bind; "" refuses the question.
	Version string
	// Workers is the number of UDP sockets; 0 means one per core.
	Workers int
	// UDPSize is the largest UDP response in bytes, 512 to 4096 (RFC 9715).
	UDPSize int
	// ECS says whether EDNS Client Subnet (RFC 7871) is honored. When false
	// the option is ignored and not echoed.
	ECS bool
	// Sandbox says whether a server confines itself to the files it needs.
	Sandbox bool
	// ProxyFrom has the networks whose connections and datagrams begin with a PROXY
	// protocol header.
	ProxyFrom []netip.Prefix
	TCP       TCP
	TLS       TLS
	Cookies   Cookies
	RateLimit RateLimit
}

// TLS is DNS over TLS (RFC 7858).
type TLS struct {
	// Listen has the addresses; empty for none, and then the paths are empty too.
	Listen           []netip.AddrPort
	Certificate, Key string // paths of PEM files
}

// Cookies are the server cookies of RFC 7873 and RFC 9018.
type Cookies struct {
	Secrets string // path of the secrets; "" for a random one of the process
	Enforce bool   // BADCOOKIE over UDP for cookies that are not good
}

// RateLimit bounds the responses a second to one address over UDP.
type RateLimit struct {
	Enabled bool
	// Answers, Negatives and Errors are responses a second; 0 is no limit.
	Answers, Negatives, Errors int
	Burst                      int // after a pause; at least each of the three
	Slip                       int // every n-th limited response has TC instead of being dropped; 0: none
	Exempt                     []netip.Prefix
	DryRun                     bool
}

// TCP bounds what TCP clients may hold (RFC 7766 section 6, RFC 9210 section 4).
type TCP struct {
	Connections int           // open at once in total
	PerPrefix   int           // open at once per client /24 or /48; 0: no limit but Connections
	Idle        time.Duration // between queries
	Message     time.Duration // from the first byte of a message to its last
	Handshake   time.Duration // of TLS
	Pipeline    int           // queries served on one connection before it is closed
	Transfers   int           // zone transfers under way at once
}

// Admin is where operators and collectors connect.
type Admin struct {
	Socket  string // path of the unix socket; "" for none
	Metrics string // host:port of the metrics listener; "" for none
	TCP     AdminTCP
}

// AdminTCP is the admin API for other machines: with TLS and a token, never without.
type AdminTCP struct {
	Listen           string // host:port; "" for none, and then the paths are empty too
	Certificate, Key string // paths of PEM files
	TokenFile        string // path of the tokens, one a line
}

// State is what outlives a restart.
type State struct {
	Dir string // folder of the durable ledger
	// Grace is how long after an operator's change was decided it takes effect, so
	// that all name servers that share a ledger know of it by then.
	Grace time.Duration
	// Memory is the folder in memory where the activity table outlives the process;
	// "" for none.
	Memory string
}

// Geo is how an address becomes a region.
type Geo struct {
	// Database is empty for the embedded table, else one or two paths of
	// location databases in MaxMind DB format.
	Database []string
	// DefaultRegion ranks clients that cannot be located; "" means the
	// configured order of the regions.
	DefaultRegion string
	Networks      []Network
}

// Network is an entry of geo.networks: prefixes that an operator places in a
// region.
type Network struct {
	Name     string         // the key; the prefix itself in the short form
	Prefixes []netip.Prefix // masked, unmapped, at least one, none in another entry
	Region   string
	// Plain is true for the short form, which places one prefix. The long form is a
	// site: all its prefixes are one client, and move together.
	Plain bool
	Pos   Pos
}

// Health is how the prober tells its own trouble from that of replicas.
type Health struct {
	// Anchors are asked over TCP; while none answers, silence of replicas does not count.
	Anchors []netip.AddrPort
}

// UnitBits4 and UnitBits6 are the lengths of the prefixes that are one client where no
// site is configured: those of package geo.
const (
	UnitBits4 = 24
	UnitBits6 = 48
)

// Diagnostics is who may see why.
type Diagnostics struct {
	// Allow has the networks that get the full answer of _explain.
	Allow []netip.Prefix
}

// Zone is a zone this server is authoritative for.
type Zone struct {
	Name        string // lower case, fully qualified
	Nameservers []Nameserver
	Contact     string // SOA RNAME as a domain name, lower case, fully qualified
	Records     string // path of an RFC 1035 master file; "" for none
	TTL         time.Duration
	NegativeTTL time.Duration // SOA MINIMUM (RFC 2308 section 4)
	Transfer    Transfer
	Pos         Pos
}

// Nameserver is one NS record of a zone.
type Nameserver struct {
	Name string // lower case, fully qualified
	// Addresses is never empty for a name inside the zone. For a name outside
	// it may be empty, and is not served when it is given.
	Addresses []netip.Addr
	Pos       Pos
}

// Region is a place that replicas are in and that clients are ranked against.
type Region struct {
	Name string // as written: "westus" or "aws/us-east-1"
	// Latitude and Longitude are degrees, WGS 84; both nil for a region whose
	// well-known coordinates apply.
	Latitude, Longitude *float64
	Country             string  // ISO 3166-1 alpha-2, upper case; "" when not given
	Bias                float64 // kilometers added to every distance to this region
	Pos                 Pos
}
