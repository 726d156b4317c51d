package config

import (
	"net/netip"
	"strings"
	"time"
)

// How a global name answers.
const (
	// AnswerAuto is a CNAME to the regional name where there is one, else
	// addresses, or a CNAME to the target of the replica.
	AnswerAuto = "auto"
	// AnswerAddress is always addresses.
	AnswerAddress = "address"
)

// The address families a registry serves.
const (
	FamiliesAll  = ""     // what the replicas have, the same for all of them
	FamiliesIPv4 = "ipv4" // IPv4 only, whatever else the replicas have
	FamiliesIPv6 = "ipv6" // IPv6 only, whatever else the replicas have
	FamiliesDual = "dual" // both, and every replica must have both
)

// What a global name answers when no replica is up.
const (
	AllDownNearest = "nearest" // as if all were up
	AllDownNoData  = "nodata"
)

// How a recovered replica comes back.
const (
	FailbackAuto   = "auto"   // when its recovery hold is over
	FailbackManual = "manual" // when an operator says so as well
)

// Apex is the [Registry.Name] of a registry at the apex of its zone.
const Apex = "@"

// Registry is one geo-replicated registry: the names it has and the replicas
// behind them.
type Registry struct {
	Key  string // in the file
	Name string // labels below the zone, lower case, no trailing dot; or [Apex]
	Zone string // lower case, fully qualified; one of [Config.Zones]
	Home string // region of the replica that is its home
	// RegionalEndpoints and DataEndpoints say whether the regional and the data
	// names exist, for all replicas alike. They never touch the global name;
	// see [Replica.GlobalEndpointRouting] for that.
	RegionalEndpoints, DataEndpoints bool
	Answer                           string        // [AnswerAuto] or [AnswerAddress]
	Families                         string        // [FamiliesAll], [FamiliesIPv4], [FamiliesIPv6] or [FamiliesDual]
	RegionalTTL                      time.Duration // of the regional and data names
	Sticky                           Sticky
	RecoveryHold                     time.Duration // unbroken success before a replica is used again
	AllDown                          string        // [AllDownNearest] or [AllDownNoData]
	Failback                         string        // [FailbackAuto] or [FailbackManual]
	Replicas                         []Replica     // at least one, in file order
	Pos                              Pos
}

// Sticky is what keeps a client on its replica while the configuration moves.
type Sticky struct {
	TTL      time.Duration // of the global answer
	Idle     time.Duration // seen within this time before a change: active
	Hold     time.Duration // an active client keeps its replica this long; 0: holds are off
	Renewals int           // how many periods of Hold a hold has at most, while the client stays active
	// HoldWritten says that the file asks for holds, so that they are on even where
	// the default would be off.
	HoldWritten bool
}

// Replica is one copy of a registry. It has either Addresses or a Target.
type Replica struct {
	Region    string
	Addresses []netip.Addr // unmapped, without zone, none twice; without the families that [Registry.Families] excludes
	Target    string       // host name, lower case, fully qualified
	// Probe is the name of its probe; "" for a replica that is never probed and
	// always up.
	Probe string
	// ProbeTarget is host:port to probe instead of the addresses; "" for these.
	ProbeTarget string
	// GlobalEndpointRouting false takes the replica out of the global answer
	// and nothing else; see [Registry.RegionalEndpoints].
	GlobalEndpointRouting bool
	// Data is where blobs are served; never nil while the registry has data
	// endpoints enabled: the addresses or target of the replica unless written.
	Data *DataEndpoint
	Pos  Pos
}

// DataEndpoint is where the data name of a replica leads: addresses or a target.
type DataEndpoint struct {
	Addresses []netip.Addr
	Target    string // host name, lower case, fully qualified
}

// GlobalName is the name clients use, fully qualified: the registry's name below
// its zone, or the zone itself.
func (r *Registry) GlobalName() string {
	if r.Name == Apex {
		return r.Zone
	}
	return r.Name + "." + r.Zone
}

// RegionalName is the fully qualified name that always leads to the replica with
// the given label (see [Label]): name.label.geo.zone, or label.geo.zone at an apex.
func (r *Registry) RegionalName(label string) string { return r.replicaName(label, "geo") }

// DataName is the fully qualified name of the blob endpoint of the replica with
// the given label (see [Label]): name.label.data.zone, or label.data.zone at an apex.
func (r *Registry) DataName(label string) string { return r.replicaName(label, "data") }

func (r *Registry) replicaName(label, kind string) string {
	if r.Name == Apex {
		return label + "." + kind + "." + r.Zone
	}
	return r.Name + "." + label + "." + kind + "." + r.Zone
}

// Label is the DNS label of a region: its name without the provider before the
// slash, in lower case. "aws/us-east-1" is "us-east-1".
func Label(region string) string {
	return strings.ToLower(region[strings.LastIndexByte(region, '/')+1:])
}
