package resolver

import (
	"net/netip"
	"sync/atomic"
	"time"

	"portolan.dev/geo"
	"portolan.dev/resolver/decide"
	"portolan.dev/resolver/rrl"
	"portolan.dev/resolver/wire"
	"portolan.dev/resolver/zone"
)

// Snapshot is one compiled state of the world. resolver/compile fills it; after
// [Resolver.Swap] only Live, Serials, Resolved and Living change, by atomics.
type Snapshot struct {
	// Generation counts the snapshots of this process, from 1.
	Generation uint64
	Names      *zone.Table
	Places     *geo.Index
	Regions    []geo.Region
	// Sites names the configured networks, by the number geo knows them by.
	Sites      []string
	Registries []Registry
	// Replicas of registry r stand together from Registries[r].First on, in
	// order of region number, one for each bit of Configured.
	Replicas []Replica
	// Bodies holds the packed records that Replicas point into.
	Bodies []byte

	// Live, by registry, is what the operator and health say now.
	Live []Availability
	// Serials, by zone number, is the SOA serial served now.
	Serials []atomic.Uint32
	// Resolved holds the addresses of replicas that are known by a target host
	// name where addresses must be answered; nil until first resolved.
	Resolved []atomic.Pointer[Addresses]
	// Living holds what is left of the addresses of replicas of which some are dead and
	// others live; nil for a replica all of whose addresses are answered.
	Living []atomic.Pointer[Addresses]

	// Holds is the activity table, shared by all snapshots of a process; nil when
	// no registry holds clients.
	Holds *decide.Holds
	// UnitSeed keys the hash of client units in Holds.
	UnitSeed uint64
	// Units tells client units apart; it is of the same sites as Places.
	Units *geo.Units
	// earlier are the partitions that counted before; nil for none. See SetEarlier.
	earlier atomic.Pointer[[]Earlier]
	// Moves receives what [Snapshot.tell] reports; nil for nobody. It is buffered,
	// and reports are lost while it is full.
	Moves chan<- Move
	// Swaps are the moments of the last snapshot swaps, ascending, in Unix seconds.
	Swaps []uint32
	// Stable gives the stable number of a region, Local the region number of a
	// stable one, 255 for a region that is not there.
	Stable, Local [decide.MaxRegions]uint8

	// Wall tells what the wall clock says; nil where it is the clock of answers.
	Wall *Wall
	// Cookies key the server cookies; nil for those of the process.
	Cookies *wire.CookieKeys
	// Limits bounds the responses a second to one address over UDP; nil for no limit.
	Limits *rrl.Limiter
	// Transfers answers what needs more than one message, or a signature; nil
	// refuses both.
	Transfers Transfers

	// UDPSize bounds UDP responses, 512 to 4096 octets (RFC 9715).
	UDPSize int
	// ECS says whether client subnets are honored and echoed (RFC 7871).
	ECS bool
	// Identity answers NSID and id.server, at most 255 octets; empty: neither.
	Identity string
	// Version answers version.bind; empty refuses.
	Version string
	// NSID is the packed option of Identity, or empty.
	NSID []byte
	// Allow holds the networks that get the full form of _explain.
	Allow []netip.Prefix
	// Excluded says why a replica is not up or not routed and since when, for
	// _explain. May be nil. It must be safe for concurrent use.
	Excluded func(registry int, region uint8) string
}

// Transfers gives zones to secondaries, off the path of a query. It must be safe for
// concurrent use. now is in Unix seconds by the wall clock, which signatures are
// checked by.
type Transfers interface {
	// Serve answers msg if it asks for a zone that the asker may have, with one call
	// of send for each message, and reports whether it did.
	Serve(msg []byte, from netip.AddrPort, now int64, send func([]byte) error) (taken bool)
	// Answer appends the response to msg, which has a TSIG record, to dst: what
	// answer returns for the message without it, with room octets to spare, signed, or
	// why not. Nothing appended: it cannot be answered.
	Answer(dst, msg []byte, now int64, answer func(msg []byte, room int) []byte) []byte
}

// Registry is one registry as the path of a query sees it.
type Registry struct {
	Configured decide.Mask
	First      uint32 // first of its replicas in Snapshot.Replicas
	Zone       uint32
	TTL        uint32 // of a decision, seconds
	AllDown    decide.AllDownPolicy
	// Policy says how long clients are held; Hold is 0 where they are not.
	Policy decide.Policy
	// Number is the registry's stable number, at most decide.MaxRegistry.
	Number uint32
	// Key is the registry's key in the configuration, Name its global name.
	Key, Name string
}

// Replica is the packed global answer that names one replica: an alias part (the
// CNAME chain to its regional name, or empty), and behind it the addresses of
// one family. The three parts stand in Bodies one after the other.
type Replica struct {
	Body       uint32
	Alias      uint16 // octets
	IPv4, IPv6 uint16 // octets
	// AliasCount, IPv4Count and IPv6Count are the records in each part.
	AliasCount, IPv4Count, IPv6Count uint8
	// Resolved is 1 + the index in Snapshot.Resolved of what stands in for the
	// address parts; 0 for a replica with addresses of its own.
	Resolved uint32
	// Living is 1 + the index in Snapshot.Living of what stands in for the address parts
	// while some of the addresses are dead; 0 for a replica that is answered whole.
	Living uint32
	// Slot is where answers with this replica are counted; it stays the same
	// over reloads.
	Slot uint32
}

// Addresses are packed address records that stand in for those of a replica: of a resolved
// target, owned by the question's name, or what is left of the replica's own. Immutable.
type Addresses struct {
	IPv4, IPv6           []byte
	IPv4Count, IPv6Count uint8
	// From lists what was resolved, At says when, and Until how long its TTL holds:
	// the zero time for what an earlier process resolved. Past it the last good
	// addresses are kept.
	From      []netip.Addr
	At, Until time.Time
	// LeftOut lists the addresses that are not among them because they are dead.
	LeftOut []netip.Addr
}

// staleAfter is how long past Until addresses are not called stale yet: resolving
// them anew takes its time, with several resolvers of which some are dead.
const staleAfter = 15 * time.Second

// Stale reports whether the addresses should have been resolved anew by now and
// were not.
func (a *Addresses) Stale(now time.Time) bool { return now.After(a.Until.Add(staleAfter)) }

// Availability is what is known of the replicas of one registry now: masks, which a
// query reads once each, and what they were lately, which only the rare
// query of a client whose replica is no longer the nearest reads.
type Availability struct {
	routed, up, resort atomic.Uint64
	// Deadlines are the ends of holds that the operator has set; nil for none. They
	// stand beside the masks: a verdict that concerns many registries reads both.
	Deadlines atomic.Pointer[decide.Deadlines]
	// History is written with the masks and carried over reloads.
	History decide.History

	missing atomic.Uint64
}

// Missing returns the replicas of an outage of all that are still to come back: see
// [decide.Outage.Missing].
func (a *Availability) Missing() decide.Mask { return decide.Mask(a.missing.Load()) }

// SetMissing publishes what [Availability.Missing] returns. What is added is to be there
// before the masks say that it is down, and what is taken away after they say that it is up.
func (a *Availability) SetMissing(m decide.Mask) { a.missing.Store(uint64(m)) }

// Masks returns the masks as of now.
func (a *Availability) Masks() decide.Masks {
	return decide.Masks{Routed: decide.Mask(a.routed.Load()), Up: decide.Mask(a.up.Load()), Resort: decide.Mask(a.resort.Load())}
}

// Set publishes masks without remembering it as a change: the state that a
// snapshot begins with. Calls must not run at the same time as one another.
func (a *Availability) Set(m decide.Masks) {
	if a.routed.Load() != uint64(m.Routed) { // most changes are of health, and a store costs more
		a.routed.Store(uint64(m.Routed))
	}
	if a.resort.Load() != uint64(m.Resort) {
		a.resort.Store(uint64(m.Resort)) // before Up: it counts where none is up
	}
	a.up.Store(uint64(m.Up))
}

// Change publishes masks as a change that takes effect at the given moment, which is
// a reason to hold clients unless free is true, and reports whether it is one. The history is written first: a query that reads
// the new masks finds the change there. The zone's serial is for the caller to
// raise. Calls must not run at the same time as one another.
func (a *Availability) Change(m decide.Masks, at time.Time, free bool) (changed bool) {
	was := a.Masks()
	if was == m {
		return false
	}
	a.History.Note(decide.Change{At: uint32(at.Unix()), Masks: m, Free: free}, was.Up&^m.Up != 0)
	a.Set(m)
	return true
}

// SetUp publishes the health of one replica as a change and reports whether it is
// one.
func (s *Snapshot) SetUp(registry int, region uint8, up bool, at time.Time) (changed bool) {
	a := &s.Live[registry]
	m := a.Masks()
	m.Up = m.Up.With(region, up)
	return a.Change(m, at, false)
}

// RaiseSerial raises the serial of a zone, to the Unix time where that is
// higher, so that it never falls over a restart unless the clock does.
func (s *Snapshot) RaiseSerial(zoneNumber int, now time.Time) {
	serial := &s.Serials[zoneNumber]
	serial.Store(NextSerial(serial.Load(), now))
}

// NextSerial returns a serial above last: the Unix time where that is higher.
func NextSerial(last uint32, now time.Time) uint32 {
	return max(last+1, uint32(now.Unix()))
}

// ReplicaNumber returns the index in Replicas of a registry's replica, which must
// be configured.
func (s *Snapshot) ReplicaNumber(registry int, region uint8) int {
	r := &s.Registries[registry]
	return int(r.First) + r.Configured.Position(region)
}

// replica returns the replica of registry r in region.
func (s *Snapshot) replica(r *Registry, region uint8) *Replica {
	return &s.Replicas[int(r.First)+r.Configured.Position(region)]
}
