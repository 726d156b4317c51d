//go:build linux

package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"portolan.dev/geo/geotest"
)

// crashConfig has two replicas that health never takes out, and two that flap.
const crashConfig = `
server: {listen: ["%[1]s"], identity: e2e, workers: 1}
admin: {socket: $DIR/admin.sock}
state: {dir: $DIR, grace: 200ms}
geo: {database: $DIR/city.mmdb}
zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}}
probes: {flapping: {type: registry, tls: false, interval: 100ms, fall: 2, rise: 1}}
registries:
  myregistry:
    regional_endpoints: enabled
    recovery_hold: 0s
    replicas:
      westus: {addresses: [192.0.2.10]}
      westeurope: {addresses: [192.0.2.40]}
      eastus: {addresses: [192.0.2.20], probe: flapping, probe_target: "%[2]s"}
      japaneast: {addresses: [192.0.2.50], probe: flapping, probe_target: "%[3]s"}
`

// crashOrders are the regions that orders are for. One stays in, and never dies: clients
// that are given a last resort while all others are out are led away from it when that is
// over, and this test is about what a kill does.
var crashOrders = []string{"westus", "eastus", "japaneast"}

// crashClients is how many clients are remembered; beyond, the oldest are forgotten.
const crashClients = 160

// crashes is what is known of a server that is killed again and again.
type crashes struct {
	t      *testing.T
	rng    *rand.Rand
	server *server
	admin  *operator
	flaps  [2]atomic.Bool // the stand-in answers 503

	// Written by operate, which does not run while they are read.
	ops     int
	acked   []*order
	pending *order // sent, and the answer never came
	refused []*order
	drained map[string]bool
	routing map[string]*bool // as the operator set it

	events  map[string]crashEvent // by reason
	lastSeq uint64
	deaths  map[string]time.Time // of regions, the last
	births  map[string]time.Time // when they were up again, the last
	clients []*crashClient
	count   int
	moves   int         // with a death
	moved   []crashMove // in this round
	strays  []string
}

// crashMove is a client that was led elsewhere, as it was before.
type crashMove struct {
	crashClient

	to string
	at time.Time
}

// order is what an operator asked for. Its reason tells it from all others.
type order struct {
	path, region, reason string
	on                   *bool // of a routing switch
	// stored says that it changes something, and so has to be in the ledger.
	stored bool
	sent   time.Time
}

type crashEvent struct {
	Seq          uint64
	Kind, Region string
	Reason       string
	DecidedAt    time.Time `json:"decided_at"`
	Routing      *bool     `json:"global_endpoint_routing"`
}

// crashClient is one that asks now and then.
type crashClient struct {
	prefix, region string
	since, asked   time.Time // when it was first and last given the region
}

// TestCrashes kills a server at random moments while operators drain, undrain and
// switch and replicas flap. What was acknowledged is known and in force after every
// restart, what was refused is not, and clients keep their replica unless it
// died. 40 rounds, with PORTOLAN_LONG 500.
func TestCrashes(t *testing.T) {
	t.Parallel()
	if info, err := os.Stat("/dev/shm"); err != nil || !info.IsDir() {
		missing(t, "there is no shared memory: %v", err)
	}
	rounds := 40
	if long() {
		rounds = 500
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	c := &crashes{
		t: t, rng: rand.New(rand.NewPCG(seed, 0)), drained: make(map[string]bool), routing: make(map[string]*bool),
		events: make(map[string]crashEvent), deaths: make(map[string]time.Time), births: make(map[string]time.Time),
	}
	var targets [2]string
	for i := range c.flaps {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if c.flaps[i].Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}))
		t.Cleanup(s.Close)
		targets[i] = strings.TrimPrefix(s.URL, "http://")
	}
	c.server = serve(t, nil, fmt.Sprintf(crashConfig, freePort(t), targets[0], targets[1]),
		file{"city.mmdb", locationData(t, crashPlaces...)})
	c.admin = c.server.operator(t)
	for round := range rounds {
		c.round()
		if len(c.strays) > 0 || t.Failed() {
			t.Fatalf("round %d: %s", round, strings.Join(c.strays, "\n"))
		}
	}
	all := c.readEvents(1)
	for _, o := range c.acked {
		if o.stored && !slices.ContainsFunc(all, func(e crashEvent) bool { return e.Reason == o.reason }) {
			t.Errorf("in the end %s is lost", o.reason)
		}
	}
	t.Logf("%d kills; %d orders acknowledged, %d refused, %d events in the ledger; %d clients: %d moves by a death, none otherwise",
		rounds, len(c.acked), len(c.refused), len(all), c.count, c.moves)
}

var crashPlaces = []geotest.Place{
	inSeattle, inAmsterdam,
	{Prefix: "130.0.0.0/8", City: "New York", Country: "US", Latitude: 40.7, Longitude: -74.0},
	{Prefix: "133.0.0.0/8", City: "Tokyo", Country: "JP", Latitude: 35.7, Longitude: 139.7},
}

// round lets everybody work for a while, kills the server, starts it again and looks
// at what it knows.
func (c *crashes) round() {
	c.t.Helper()
	end := time.Now().Add(time.Duration(20+c.rng.IntN(500)) * time.Millisecond)
	seed := c.rng.Uint64()
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.operate(rand.New(rand.NewPCG(seed, 1)))
	}()
	for time.Now().Before(end) {
		if c.rng.IntN(4) == 0 {
			c.newcomer()
		}
		if c.rng.IntN(8) == 0 {
			flap := &c.flaps[c.rng.IntN(len(c.flaps))]
			flap.Store(!flap.Load())
		}
		c.ask()
	}
	c.server.kill()
	<-done
	c.server.again(c.t)
	c.ask()
	c.compare()
}

// operate gives orders until the server is gone.
func (c *crashes) operate(rng *rand.Rand) {
	for c.pending == nil {
		c.ops++
		o := &order{path: "/v1/drain", region: crashOrders[rng.IntN(len(crashOrders))], reason: fmt.Sprintf("order %d", c.ops), stored: true}
		body := fields{"registry": "myregistry", "region": o.region, "reason": o.reason}
		switch rng.IntN(5) {
		case 0, 1:
			o.path, o.stored = "/v1/undrain", c.drained[o.region]
		case 2:
			on := rng.IntN(3) > 0
			o.path, o.on = "/v1/routing", &on
			body["global_endpoint_routing"] = on
			was := c.routing[o.region]
			o.stored = was == nil || *was != on
		}
		o.sent = time.Now()
		code, text := c.admin.post(o.path, body)
		switch code {
		case http.StatusOK:
			c.acked = append(c.acked, o)
			c.apply(o)
		case http.StatusConflict:
			c.refused = append(c.refused, o)
		case 0:
			c.pending = o
		default:
			c.t.Errorf("%s %v: %d %s", o.path, body, code, text)
			c.pending = o
		}
	}
}

// apply makes an order the state that has to be in force.
func (c *crashes) apply(o *order) {
	if o.path == "/v1/routing" {
		c.routing[o.region] = o.on
		return
	}
	c.drained[o.region] = o.path == "/v1/drain"
}

// newcomer makes a client that has not asked yet.
func (c *crashes) newcomer() {
	c.count++
	p := crashPlaces[c.count%len(crashPlaces)].Prefix
	first, _, _ := strings.Cut(p, ".")
	c.clients = append(c.clients, &crashClient{prefix: fmt.Sprintf("%s.%d.%d.0/24", first, c.count>>8&255, c.count&255)})
	c.clients = c.clients[max(0, len(c.clients)-crashClients):]
}

// ask asks for every client. One that is led elsewhere than before is remembered
// until the ledger says whether its replica has died: a dead one is left before that
// is written.
func (c *crashes) ask() {
	c.t.Helper()
	for _, cl := range c.clients {
		at := time.Now()
		m := c.server.client().ask(c.t, question(pushName, "A", subnet(cl.prefix)))
		got := region(m)
		if got == "" {
			c.t.Fatalf("%s: %v", cl.prefix, m)
		}
		if cl.region != "" && got != cl.region {
			c.moved = append(c.moved, crashMove{*cl, got, at})
		}
		if got != cl.region {
			cl.region, cl.since = got, time.Now()
		}
		cl.asked = at
	}
}

// died says whether the replica of a client was dead at some moment since the client
// was first given it: had the client asked then, it would have another one, and a
// dead one it has only where all are. The clock of answers has whole seconds, and
// a death within the same one counts.
func (c *crashes) died(cl *crashClient) bool {
	c.t.Helper()
	for _, e := range c.readEvents(c.lastSeq + 1) {
		c.lastSeq = e.Seq
		switch e.Kind {
		case "down":
			c.deaths[e.Region] = e.DecidedAt
		case "up":
			c.births[e.Region] = e.DecidedAt
		}
		if e.Reason != "" && strings.HasPrefix(e.Reason, "order ") {
			c.events[e.Reason] = e
		}
	}
	at, ok := c.deaths[cl.region]
	dead := c.births[cl.region].Before(at)
	since := cl.since.Truncate(time.Second)
	return ok && (dead || !at.Before(since) || !c.births[cl.region].Before(since))
}

func (c *crashes) readEvents(from uint64) (all []crashEvent) {
	c.t.Helper()
	for {
		var page []crashEvent
		c.admin.get(fmt.Sprintf("/v1/events?limit=100000&from=%d", from), &page)
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
		from = page[len(page)-1].Seq + 1
	}
}

// compare looks whether the server knows what it has acknowledged, and nothing that
// it has refused.
func (c *crashes) compare() {
	c.t.Helper()
	c.died(&crashClient{}) // reads what is new
	for i := range c.moved {
		m := &c.moved[i]
		if c.died(&m.crashClient) {
			c.moves++
			continue
		}
		c.strays = append(c.strays, fmt.Sprintf("%s moved from %s (given from %s to %s) to %s at %s",
			m.prefix, m.region, m.since.Format(time.StampMilli), m.asked.Format(time.StampMilli), m.to, m.at.Format(time.StampMilli)))
	}
	c.moved = nil
	if o := c.pending; o != nil {
		if _, stored := c.events[o.reason]; stored {
			c.apply(o)
		}
		c.pending = nil
	}
	for _, o := range c.acked {
		e, stored := c.events[o.reason]
		if stored != o.stored {
			c.t.Errorf("%s, acknowledged: %s of %s: in the ledger: %v, want %v", o.reason, o.path, o.region, stored, o.stored)
		}
		if stored && (e.Region != o.region || "/v1/"+e.Kind != o.path) {
			c.t.Errorf("%s of %s, acknowledged: %+v", o.path, o.region, e)
		}
	}
	for _, o := range c.refused {
		if e, stored := c.events[o.reason]; stored {
			c.t.Errorf("%s, refused: %+v", o.reason, e)
		}
	}
	var wrong string
	defer func() {
		if wrong != "" {
			c.t.Logf("in force: %s", wrong)
		}
	}()
	eventually(c.t, patience, "what was acknowledged is in force", func() bool {
		wrong = c.notInForce()
		return wrong == ""
	})
}

// notInForce says what the status, or a decision, has otherwise than the orders; ""
// for nothing.
func (c *crashes) notInForce() string {
	c.t.Helper()
	var decision struct {
		Candidates []struct {
			Region string
			Routed bool
		}
	}
	c.admin.get("/v1/explain?registry=myregistry&client=128.0.255.0/24", &decision)
	for _, r := range c.server.status(c.t).Registries[0].Replicas {
		drained := r.Drain != nil && r.Drain.Drained
		routed := c.routing[r.Region] == nil || *c.routing[r.Region]
		if drained != c.drained[r.Region] || r.Routed != routed {
			return fmt.Sprintf("%s: drained %v, want %v; routed %v, want %v", r.Region, drained, c.drained[r.Region], r.Routed, routed)
		}
		for _, candidate := range decision.Candidates {
			if candidate.Region == r.Region && candidate.Routed != (routed && !drained) {
				return fmt.Sprintf("%s: the decision has routed %v, want %v", r.Region, candidate.Routed, routed && !drained)
			}
		}
	}
	return ""
}
