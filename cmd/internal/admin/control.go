package admin

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// API is what the admin server asks the running server. Methods are called from
// many goroutines; those that change something return once it is durable. Their
// errors wrap [ErrNotFound], [ErrRefused] or [ErrInvalid] where the request is at
// fault.
//
//nolint:interfacebloat // the one list of what an operator can do; the server and tests want it whole
type API interface {
	// Explain decides for one client. subnet is the client subnet, or the zero
	// Prefix.
	Explain(registry string, asker netip.Addr, subnet netip.Prefix) (Explanation, error)
	// Status describes the server.
	Status() Status
	// Endpoints lists the names of one registry.
	Endpoints(registry string) (Endpoints, error)

	// Drain takes replicas out of the global answers of new clients. Draining what
	// is drained already changes nothing but reason, deadline and end.
	Drain(ctx context.Context, r DrainRequest) ([]DrainStatus, error)
	// Undrain puts them back. Undraining what is not drained changes nothing.
	Undrain(ctx context.Context, s Selector, by, reason string) ([]DrainStatus, error)
	// Drains tells how far drains have come; those of all replicas that the
	// selector matches and that are drained.
	Drains(ctx context.Context, s Selector) ([]DrainStatus, error)
	// SetRouting sets global endpoint routing of one replica until it is set again:
	// no reload of the configuration undoes it. on nil goes back to what the
	// configuration says.
	SetRouting(ctx context.Context, r RoutingRequest) (ReplicaStatus, error)
	// Failback lets a recovered replica back where the registry's failback is
	// manual.
	Failback(ctx context.Context, s Selector, by, reason string) ([]ReplicaStatus, error)

	// Events returns the ledger's events that match, oldest first.
	Events(ctx context.Context, q EventQuery) ([]Event, error)
	// Follow sends events as they come, from seq on, until ctx ends.
	Follow(ctx context.Context, from uint64) (<-chan Event, error)

	// Reload loads configuration and location data again; in a dry run it only says
	// what would change.
	Reload(ctx context.Context, r ReloadRequest) (ReloadReport, error)

	// Upgrade starts the program on disk anew and gives it the place of this process.
	// When it returns without an error the other one serves; on error nothing has
	// changed.
	Upgrade(ctx context.Context, r UpgradeRequest) (UpgradeReport, error)
}

var (
	// ErrNotFound reports a name that is not served: HTTP 404.
	ErrNotFound = errors.New("not found")
	// ErrInvalid reports a request that makes no sense: HTTP 400.
	ErrInvalid = errors.New("invalid request")
	// ErrRefused reports what would take the last eligible replica of a registry,
	// or clashes with another change: HTTP 409.
	ErrRefused = errors.New("refused")
)

// Selector picks replicas: by region label and by registry key, both globs
// (path.Match) and "" for all.
type Selector struct {
	Registry string `json:"registry,omitempty"`
	Region   string `json:"region,omitempty"`
}

// DrainRequest asks for a drain.
type DrainRequest struct {
	Selector

	// Deadline bounds the holds from now on, For ends the drain by itself after this time.
	// 0 leaves what an earlier drain of the replica has said, or nothing; [None] takes
	// that back.
	Deadline Duration `json:"deadline,omitempty"`
	For      Duration `json:"for,omitempty"`
	// Now treats the replica as down: holds end at once.
	Now bool `json:"now,omitempty"`
	// Force allows to take the last eligible replica of a registry.
	Force  bool   `json:"force,omitempty"`
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// Duration is a time.Duration that JSON writes like "10m0s", or "none" for [None].
type Duration time.Duration

// None says that there shall be none, where a Duration of 0 says nothing.
const None Duration = -1

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String returns what MarshalText does.
func (d Duration) String() string {
	if d == None {
		return "none"
	}
	return time.Duration(d).String()
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	if string(text) == "none" {
		*d = None
		return nil
	}
	v, err := time.ParseDuration(string(text))
	if err == nil && v < 0 {
		err = errors.New("a duration below zero")
	}
	*d = Duration(v)
	return err
}

// DrainStatus is how far a drain has come.
type DrainStatus struct {
	Registry string `json:"registry"`
	Region   string `json:"region"`
	// Absent is set for a replica that is not configured now: it would come back
	// drained.
	Absent bool `json:"absent,omitempty"`
	// LastResort is set while the replica is answered although it is drained: no other
	// replica of its registry works. It is not safe then.
	LastResort bool `json:"last_resort,omitempty"`
	// Drained is false after an undrain.
	Drained bool `json:"drained"`
	// UndrainAt is when an undrain takes effect that has been decided; until then the
	// replica is drained.
	UndrainAt *time.Time `json:"undrain_at,omitempty"`
	// EffectiveAt is when new clients stop; zero after an undrain, as is Bound.
	EffectiveAt time.Time  `json:"effective_at,omitzero"`
	Deadline    *time.Time `json:"deadline,omitempty"`
	Until       *time.Time `json:"until,omitempty"`
	By          string     `json:"by,omitempty"`
	Reason      string     `json:"reason,omitempty"`
	// Held is how many client units are held on the replica now.
	Held int `json:"held"`
	// LastAnswer is when the replica was last given to a client; nil for never
	// since the server started.
	LastAnswer *time.Time `json:"last_answer,omitempty"`
	// TTL is that of the answers, in seconds.
	TTL uint32 `json:"ttl"`
	// SafeAt is when no cache that honors the TTL holds the replica any more: the last
	// answer plus the longest TTL that a cache may still go by, three seconds for clocks
	// and the way, and not before OldAddressesUntil. It is set once new clients have
	// stopped and nobody is held.
	SafeAt *time.Time `json:"safe_at,omitempty"`
	// OldAddressesUntil is when caches let go of addresses that the replica had before
	// they were changed; nil if they have none.
	OldAddressesUntil *time.Time `json:"old_addresses_until,omitempty"`
	// Bound is the moment by which that is so in any case; zero for a last resort.
	Bound time.Time `json:"bound,omitzero"`
	// Safe is true once SafeAt has passed.
	Safe bool `json:"safe"`
	// NoneEligible is set while the registry has no eligible replica.
	NoneEligible bool `json:"none_eligible,omitempty"`
}

// RoutingRequest switches global endpoint routing of one replica.
type RoutingRequest struct {
	Registry string `json:"registry"`
	Region   string `json:"region"`
	// On is the new value; nil goes back to the configuration.
	On     *bool  `json:"global_endpoint_routing"`
	Force  bool   `json:"force,omitempty"`
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// Endpoints are the names of a registry, in the shape that the reference product
// prints.
type Endpoints struct {
	LoginServer       string     `json:"loginServer"`
	DataEndpoints     []Endpoint `json:"dataEndpoints"`
	RegionalEndpoints []Endpoint `json:"regionalEndpoints"`
}

// Endpoint is one name of a replica.
type Endpoint struct {
	Region   string `json:"region"`
	Endpoint string `json:"endpoint"`
}

// EventQuery picks events of the ledger.
type EventQuery struct {
	Selector

	From  uint64     `json:"from,omitempty"` // sequence number
	Since *time.Time `json:"since,omitempty"`
	Kind  string     `json:"kind,omitempty"`
	Limit int        `json:"limit,omitempty"` // the newest so many; 0 for 1000
}

// Event is one entry of the ledger.
type Event struct {
	Seq         uint64     `json:"seq"`
	Kind        string     `json:"kind"`
	Registry    string     `json:"registry,omitempty"`
	Region      string     `json:"region,omitempty"`
	SharedBy    int        `json:"shared_by,omitempty"`
	DecidedAt   time.Time  `json:"decided_at"`
	EffectiveAt time.Time  `json:"effective_at"`
	By          string     `json:"by,omitempty"`
	Reason      string     `json:"reason,omitempty"`
	Routing     *bool      `json:"global_endpoint_routing,omitempty"`
	Deadline    *time.Time `json:"deadline,omitempty"`
	Until       *time.Time `json:"until,omitempty"`
	Now         bool       `json:"now,omitempty"`
	Detail      string     `json:"detail,omitempty"`
}

// ReloadReport says what a reload changed or would change.
type ReloadReport struct {
	DryRun  bool     `json:"dry_run"`
	Changes []string `json:"changes"`
	// MovedCells is the share of located addresses whose nearest replica differs
	// for at least one registry, MovedQueries that of recent queries; 0 to 1.
	MovedCells   float64 `json:"moved_cells"`
	MovedQueries float64 `json:"moved_queries"`
	// Registries are those that differ, by key; at most a hundred of them are listed.
	Registries        []RegistryChange `json:"registries,omitempty"`
	RegistriesLeftOff int              `json:"registries_left_off,omitempty"`
	// Readdressed are the replicas that lose addresses or are removed, those that
	// clients use first; at most a hundred of them are listed.
	Readdressed        []Readdressed `json:"readdressed,omitempty"`
	ReaddressedLeftOff int           `json:"readdressed_left_off,omitempty"`
	// Refused is why the reload would be refused unless forced; "" if it would not.
	// Only a dry run has it.
	Refused    string   `json:"refused,omitempty"`
	Restart    []string `json:"needs_restart"`
	Generation uint64   `json:"generation"`
	Millis     int64    `json:"took_ms"`
}

// Readdressed is a replica whose names stop leading to an address or host name that they
// led to.
type Readdressed struct {
	Registry string `json:"registry"`
	Region   string `json:"region"`
	// Removed is set for a replica that the configuration has no more.
	Removed bool `json:"removed,omitempty"`
	// Clients is how many client units are active on it. Where clients are not held they
	// are not known: there LastAnswer is when it was last given to one.
	Clients    int        `json:"active_clients"`
	LastAnswer *time.Time `json:"last_answer,omitempty"`
	// InUse says that clients would lose the addresses in the middle of a push.
	InUse bool `json:"in_use"`
	// OldAddressesUntil is when caches that honor the TTL let go of the old addresses.
	OldAddressesUntil time.Time `json:"old_addresses_until"`
}

// UpgradeReport says who serves after an upgrade.
type UpgradeReport struct {
	// From and To are the versions before and now.
	From string `json:"from"`
	To   string `json:"to"`
	// PID is the process that serves now.
	PID    int   `json:"pid"`
	Millis int64 `json:"took_ms"`
	// Frozen is for how long of that nothing could be decided.
	Frozen int64 `json:"frozen_ms"`
}

// RegistryChange says how one registry differs after a reload.
type RegistryChange struct {
	Registry string `json:"registry"`
	// Change is added, removed or changed.
	Change string `json:"change"`
	// RenamedFrom is the key that the registry had before; "" if it has it still.
	RenamedFrom string `json:"renamed_from,omitempty"`
	// Settings says that something differs beside the replicas.
	Settings bool `json:"settings,omitempty"`
	// Added, Removed and Changed are the regions of the replicas of a changed one.
	Added   []string `json:"replicas_added,omitempty"`
	Removed []string `json:"replicas_removed,omitempty"`
	Changed []string `json:"replicas_changed,omitempty"`
	// MovedCells is the share of located addresses whose nearest replica differs, 0 to
	// 1, as long as all are well.
	MovedCells float64 `json:"moved_cells,omitempty"`
}
