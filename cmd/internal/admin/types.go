package admin

import "time"

// Explanation says what a client gets and why. Its JSON form is stable.
type Explanation struct {
	Registry string `json:"registry"`
	Name     string `json:"name"`
	// Answer is the region of the chosen replica, "" for none; Outcome one of
	// nearest, all-down, none-up, none-routed.
	Answer  string `json:"answer"`
	Outcome string `json:"outcome"`
	TTL     uint32 `json:"ttl"`
	Scope   uint8  `json:"scope"`
	// Asker is the address the query comes from, Subnet its client subnet, and
	// Client what counted of the two, cut to the unit of a client.
	Asker      string      `json:"asker"`
	Subnet     string      `json:"subnet,omitempty"`
	Client     string      `json:"client"`
	BySubnet   bool        `json:"by_subnet"`
	Place      Place       `json:"place"`
	Candidates []Candidate `json:"candidates"`
	Node       string      `json:"node"`
	Generation uint64      `json:"generation"`
	Serial     uint32      `json:"serial"`
	// Lines is the same in the words of the _explain record.
	Lines []string `json:"lines"`
	// Addresses are those that the answer leads to, LeftOut those of the replica that are
	// left out because they are dead. Both are empty where a host name is answered.
	Addresses []string `json:"addresses,omitempty"`
	LeftOut   []string `json:"left_out,omitempty"`
	// HeldUntil is when the hold ends unless renewed, HeldFrom the region that
	// would answer without it.
	HeldUntil *time.Time `json:"held_until,omitempty"`
	HeldFrom  string     `json:"held_from,omitempty"`
	// History is what this client was given in the last hour where that changed,
	// oldest first.
	History []Given `json:"history,omitempty"`
}

// Given is one change of what a client was given.
type Given struct {
	At     time.Time `json:"at"`
	From   string    `json:"from,omitempty"`
	To     string    `json:"to"`
	Reason string    `json:"reason"`
}

// Place is where a client is.
type Place struct {
	Cell      uint16  `json:"cell"`
	Country   string  `json:"country,omitempty"`
	Kind      string  `json:"kind"`
	Latitude  float64 `json:"latitude"`
	Longitude float64 `json:"longitude"`
	Block     string  `json:"block,omitempty"`
	Site      string  `json:"site,omitempty"`
	RankedBy  string  `json:"ranked_by"`
}

// Candidate is one replica in the order of a client's rank.
type Candidate struct {
	Region string `json:"region"`
	// Kilometres is absent where it is not known where the client is.
	Kilometres *float64 `json:"km,omitempty"`
	Bias       float64  `json:"bias,omitempty"`
	Routed     bool     `json:"routed"`
	Up         bool     `json:"up"`
	Excluded   string   `json:"excluded,omitempty"`
	// Note says what else is to be known of it, as that its addresses are stale.
	Note string `json:"note,omitempty"`
}

// Status is the state of a server. Its JSON form is stable.
type Status struct {
	Node       string    `json:"node"`
	Version    string    `json:"version"`
	Generation uint64    `json:"generation"`
	Started    time.Time `json:"started"`
	GeoSource  string    `json:"geo_source"`
	GeoBuilt   time.Time `json:"geo_built"`
	// Ledger is the last sequence number, LedgerError why it cannot be written.
	Ledger      uint64 `json:"ledger"`
	LedgerError string `json:"ledger_error,omitempty"`
	// Sandbox says how far the process is confined.
	Sandbox string `json:"sandbox"`
	// Prober tells whether the machine's own network lets probes out.
	Prober ProberStatus `json:"prober"`
	// Units is how many client units are remembered.
	Units int `json:"units"`
	// UnitsAtRisk is present where a kill of the process loses some of them.
	UnitsAtRisk *UnitsAtRisk     `json:"units_at_risk,omitempty"`
	Registries  []RegistryStatus `json:"registries"`
}

// UnitsAtRisk says which client units are forgotten when the process is killed: those
// first answered shortly before. With another configuration they may move.
type UnitsAtRisk struct {
	// Reason is why the table of units is not in shared memory.
	Reason string `json:"reason"`
	// Seconds is the time between two saves of the table.
	Seconds float64 `json:"seconds"`
}

// ProberStatus is whether the prober can see replicas at all.
type ProberStatus struct {
	// Impaired says that replicas which are merely silent are not taken down for now.
	Impaired bool `json:"impaired"`
	// Since is when that began, or ended; absent if it never was so.
	Since *time.Time `json:"since,omitempty"`
	// Reason is why; absent unless impaired.
	Reason string `json:"reason,omitempty"`
	// LocalShare is the part of the probes that lately failed on this machine, 0 to 1.
	LocalShare float64        `json:"local_share"`
	Anchors    []AnchorStatus `json:"anchors"`
}

// AnchorStatus is one address by which the prober knows its own trouble.
type AnchorStatus struct {
	Address  string    `json:"address"`
	Answered bool      `json:"answered"`
	Last     string    `json:"last,omitempty"`
	At       time.Time `json:"at"`
}

// RegistryStatus is one registry and its replicas.
type RegistryStatus struct {
	Registry string `json:"registry"`
	Name     string `json:"name"`
	// Holds says whether clients are held, NoHolds why not.
	Holds    bool            `json:"holds"`
	NoHolds  string          `json:"no_holds,omitempty"`
	Replicas []ReplicaStatus `json:"replicas"`
}

// ReplicaStatus is one replica as health and routing see it.
type ReplicaStatus struct {
	// Registry is set where the replica is not listed under its registry.
	Registry string `json:"registry,omitempty"`
	Region   string `json:"region"`
	Routed   bool   `json:"routed"`
	// Up says that it counts as up, LastResort that it is answered because no replica
	// does that may be. After an outage of all replicas one may be up whose State is
	// recovering: it has come back together with the others.
	Up         bool `json:"up"`
	LastResort bool `json:"last_resort,omitempty"`
	// State is unknown, up, down, recovering, or unprobed.
	State      string     `json:"state"`
	Since      *time.Time `json:"since,omitempty"`
	EligibleAt *time.Time `json:"eligible_at,omitempty"`
	// UnseenSince is when the last probe that says something of the replica ended, if
	// trouble of the prober's machine has kept it from seeing anything since.
	UnseenSince *time.Time `json:"unseen_since,omitempty"`
	Last        string     `json:"last,omitempty"`
	Flaps       int        `json:"flaps,omitempty"`
	// RoutingBy says who set the routing; "" when the configuration did.
	RoutingBy string `json:"routing_by,omitempty"`
	// Pending is a routing switch that has been decided and not taken effect.
	Pending *PendingRouting `json:"pending_routing,omitempty"`
	Drain   *DrainStatus    `json:"drain,omitempty"`
	// OldAddressesUntil is when caches let go of addresses that the replica had before
	// they were changed; nil if they have none.
	OldAddressesUntil *time.Time `json:"old_addresses_until,omitempty"`
	// CertificateEnds is when the certificate ends that probes have seen, and
	// CertificateEndsSoon that it should have been renewed.
	CertificateEnds     *time.Time `json:"certificate_ends,omitempty"`
	CertificateEndsSoon bool       `json:"certificate_ends_soon,omitempty"`
	// Addresses are those of a replica with several, each of which is probed by itself.
	Addresses []AddressStatus `json:"addresses,omitempty"`
	// Target is the host name that the replica's addresses come from; nil where none
	// are resolved.
	Target *TargetStatus `json:"target,omitempty"`
	// Held is how many client units are held on the replica.
	Held int `json:"held"`
	// Share1m and Share10m are its parts of the registry's answers, 0 to 1.
	Share1m  float64 `json:"share_1m"`
	Share10m float64 `json:"share_10m"`
}

// AddressStatus is one address of a replica as health sees it.
type AddressStatus struct {
	// Address is the address and port that are dialed.
	Address string `json:"address"`
	// State is unknown, up or down.
	State string     `json:"state"`
	Since *time.Time `json:"since,omitempty"`
	Last  string     `json:"last,omitempty"`
	// LeftOut says that the global name does not answer it: it is dead, or has not worked
	// for long enough since, and another one of its family is answered.
	LeftOut bool `json:"left_out"`
}

// TargetStatus is what a target host name resolved to.
type TargetStatus struct {
	Host string `json:"host"`
	// Addresses are those served, none before it has resolved once.
	Addresses []string `json:"addresses"`
	// ResolvedAt is when a resolver last gave them, which may be before the start.
	ResolvedAt *time.Time `json:"resolved_at,omitempty"`
	// Stale is true when they should have been resolved anew since and were not.
	Stale bool `json:"stale"`
}

// PendingRouting is a routing switch that waits for its time.
type PendingRouting struct {
	// Routed is the value from then on.
	Routed      bool      `json:"routed"`
	EffectiveAt time.Time `json:"effective_at"`
	By          string    `json:"by,omitempty"`
	Reason      string    `json:"reason,omitempty"`
}

// Failure is the body of every response that is no success.
type Failure struct {
	Error string `json:"error"`
}
