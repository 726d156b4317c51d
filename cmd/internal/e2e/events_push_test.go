//go:build linux

package e2e

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Of the layers of an image, stageUploads go in each stage and the rest, among them
// the image's configuration, at the end.
const (
	eventLayers    = 16
	eventLayerSize = 16 << 10
	stageUploads   = 3
	unbounded      = 1 << 20
)

const (
	// asksAgain has a host ask for a name while its name server is started again, which on a
	// busy machine may take its time.
	asksAgain = "timeout:2 attempts:10"
	// asksOnce has it ask once, and wait as long.
	asksOnce = "timeout:20 attempts:1"
	// asksTwice is what a host does that nobody has told anything: resolv.conf(5).
	asksTwice = "timeout:5 attempts:2"
)

// pushesPerEvent is how many pushes run at once through each event.
func pushesPerEvent() int {
	if long() {
		return 20
	}
	return 4
}

// eventRig is what the events of one variant share: the namespace, the replicas with
// their fronts, and hosts that push.
type eventRig struct {
	ns       *netns
	replicas []*registry
	stages   atomic.Pointer[stages]
	blind    atomic.Bool // probes see none of the replicas
	// seattle are hosts nearest to the first replica, amsterdam to the second. In the
	// direct variant each of them asks from an address of its own.
	seattle, amsterdam []*netns
	listen             []string
	cache              *process // between the hosts and the server; nil for none
	count              atomic.Uint32
}

// oneRig keeps the rigs apart where each has many pushes: on a machine that is too
// busy probes time out, and replicas die of it.
var oneRig sync.Mutex

var eventReplicas = []string{"127.0.0.11", "127.0.0.12", "127.0.0.13"}

// newEventRig makes the rig. With a cache the server has one client, and the hosts
// ask again only when the TTL of a second is over.
func newEventRig(t *testing.T, cache bool) *eventRig {
	t.Helper()
	need(t, "skopeo", "docker-registry", "nft")
	if long() {
		oneRig.Lock()
		t.Cleanup(oneRig.Unlock)
	}
	var addrs []string
	for i := range pushesPerEvent() {
		addrs = append(addrs, fmt.Sprintf("128.95.%d.1/32", i+1), fmt.Sprintf("145.18.%d.1/32", i+1))
	}
	r := &eventRig{ns: newNetns(t, "127.0.0.1", addrs...)}
	// A name server that is being started again is far away for its clients: they get
	// nothing, and ask once more.
	must(t, r.ns, "nft", "table inet e2e { chain out { type filter hook output priority 0; icmp type destination-unreachable drop; }; }")
	for _, a := range eventReplicas {
		replica := newRegistry(t, r.ns, net.JoinHostPort(a, "5001"))
		replica.mute = true // every blob that is not there yet is an error to it
		r.replicas = append(r.replicas, replica)
		newFront(t, r.ns, net.JoinHostPort(a, "5000"), net.JoinHostPort(a, "5001"), &r.stages, &r.blind)
	}
	if cache {
		need(t, "dnsmasq")
		r.listen = []string{`"128.95.1.1:53"`}
		r.cache = start(t, r.ns, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=", "--pid-file=",
			"--log-facility=-", "--log-queries", "--bind-interfaces", "--listen-address=127.0.0.53", "--server=128.95.1.1")
		r.cache.mute = true
		for range pushesPerEvent() {
			r.seattle = append(r.seattle, nil)
		}
		host := r.ns.alias(t, "cached", "127.0.0.53", asksAgain)
		for i := range r.seattle {
			r.seattle[i] = host
		}
		return r
	}
	for i := range pushesPerEvent() {
		for hosts, at := range map[*[]*netns]string{&r.seattle: addrs[2*i], &r.amsterdam: addrs[2*i+1]} {
			at = strings.TrimSuffix(at, "/32")
			r.listen = append(r.listen, `"`+at+`:53"`)
			*hosts = append(*hosts, r.ns.alias(t, at, at, asksAgain))
		}
	}
	return r
}

// eventConfig has the default holds, and a site in which two hosts are. Networks,
// regions and replicas are as they stand in the text.
type eventConfig struct {
	networks, regions, sticky string

	replicas []string // by the order of eventReplicas
}

func (r *eventRig) config(c eventConfig) string {
	var b strings.Builder
	fmt.Fprintf(&b, `
server: {listen: [%s], identity: e2e, workers: 1, rate_limit: {enabled: false}}
admin: {socket: $DIR/admin.sock, metrics: "127.0.0.1:0"}
state: {dir: $DIR, grace: 1s}
geo:
  database: $DIR/city.mmdb
  networks: {%s}
zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}}
regions: {%s}
probes: {registry: {type: registry, tls: false, port: 5000, interval: 1s, fall: 3, rise: 1}}
registries:
  myregistry:
    regional_endpoints: enabled
    recovery_hold: 1s
`, strings.Join(r.listen, ", "), cmp.Or(c.networks, "campus: {prefixes: [128.95.1.0/24, 128.95.2.0/24], region: westus}"), c.regions)
	switch {
	case c.sticky != "":
		fmt.Fprintf(&b, "    sticky: %s\n", c.sticky)
	case r.cache != nil:
		b.WriteString("    sticky: {ttl: 1s}\n")
	}
	b.WriteString("    replicas:\n")
	for i, region := range c.replicas {
		fmt.Fprintf(&b, "      %s: {addresses: [%s], probe: registry}\n", region, eventReplicas[i])
	}
	return b.String()
}

// eventRun is one event on a server of its own.
type eventRun struct {
	*eventRig
	t      *testing.T
	server *server
	admin  *operator
	pushes []*eventPush
	// control is set where nobody is held.
	control bool
}

// eventPush is one push that runs.
type eventPush struct {
	*process
	image      *image
	repository string
}

// event is something that must not break a push.
type event struct {
	name string
	// before makes the world in which the pushes begin; nil for all replicas up.
	before func(*eventRun)
	// during is the event, in stages.
	during func(*eventRun)
	// at is the replica on which the pushes have to lie.
	at int
}

var events = []event{
	{name: "drain", during: (*eventRun).drainAndUndrain},
	{name: "recovery", before: (*eventRun).firstIsDown, during: (*eventRun).recover, at: 1},
	{name: "routing", during: (*eventRun).routeOffAndOn},
	{name: "reload", during: (*eventRun).reloadAll},
	{name: "networks", during: (*eventRun).renetwork},
	{name: "restart", during: func(r *eventRun) { r.restart(func() { r.server.stop() }) }},
	{name: "kill", during: func(r *eventRun) { r.restart(r.server.kill) }},
	{name: "kill without shared memory", before: (*eventRun).unshare, during: (*eventRun).killUnshared},
	{name: "upgrade", during: (*eventRun).upgrade},
	{name: "another key", during: (*eventRun).rename},
	{name: "blip", during: (*eventRun).blip},
	{name: "blip of a hold", before: (*eventRun).firstIsDown, during: func(r *eventRun) { r.recover(); r.blip() }, at: 1},
}

// TestPushThroughEvents pushes while everything happens that is not the death of the
// replica pushed to. No push may fail, and each image has to lie whole on one
// replica. Four pushes run through each event, with PORTOLAN_LONG twenty.
func TestPushThroughEvents(t *testing.T) {
	t.Parallel()
	for name, cache := range map[string]bool{"direct": false, "dnsmasq": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rig := newEventRig(t, cache)
			for _, e := range events {
				t.Run(e.name, func(t *testing.T) {
					r := rig.run(t, "", e)
					if failed := r.failed(e.at); len(failed) > 0 {
						t.Errorf("%d of %d pushes are broken:\n%s", len(failed), len(r.pushes), strings.Join(failed, "\n"))
					}
					t.Logf("%d pushes", len(r.pushes))
				})
			}
			if !cache {
				t.Run("death", rig.death)
				t.Run("addresses", rig.readdress)
				t.Run("restart behind sockets", func(t *testing.T) {
					rig.behindSockets(t, asksOnce, func(s *server) { s.stop() })
				})
				t.Run("kill behind sockets", func(t *testing.T) {
					rig.behindSockets(t, asksTwice, func(s *server) { s.kill() })
				})
			}
			if !cache && long() {
				t.Run("flood", func(t *testing.T) {
					r := rig.run(t, "", event{during: (*eventRun).flood})
					if failed := r.failed(0); len(failed) > 0 {
						t.Errorf("%d of %d pushes are broken:\n%s", len(failed), len(r.pushes), strings.Join(failed, "\n"))
					}
				})
			}
		})
	}
}

// TestPushNeedsHolds is the control: without holds the same events break pushes.
func TestPushNeedsHolds(t *testing.T) {
	t.Parallel()
	for _, e := range events {
		if e.name != "drain" && e.name != "routing" {
			continue
		}
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			r := newEventRig(t, false).run(t, "off", e)
			failed := r.failed(e.at)
			t.Logf("%d of %d pushes are broken", len(failed), len(r.pushes))
			if len(failed) == 0 {
				t.Error("none is broken: TestPushThroughEvents proves nothing")
			}
		})
	}
}

// run starts a server, begins the pushes, lets the event happen and waits for the
// pushes to end.
func (r *eventRig) run(t *testing.T, sticky string, e event) *eventRun {
	t.Helper()
	run := r.serve(t, sticky)
	if e.before != nil {
		e.before(run)
	}
	run.begin(r.seattle)
	e.during(run)
	run.finish()
	return run
}

// serve starts a server with all replicas up.
func (r *eventRig) serve(t *testing.T, sticky string) *eventRun {
	t.Helper()
	for _, replica := range r.replicas {
		if replica.ended() {
			replica.start()
		}
		replica.t = t
		replica.await()
	}
	config := r.config(eventConfig{sticky: sticky, replicas: []string{"westus", "eastus"}})
	run := &eventRun{eventRig: r, t: t, control: sticky == "off", server: serve(t, r.ns, config, file{"city.mmdb", locationData(t, inSeattle, inAmsterdam)})}
	run.admin = run.server.operator(t)
	eventually(t, patience, "both replicas have been seen", func() bool {
		return run.server.scrape().sum("portolan_probe_results_total", `verdict="pass"`) >= 4
	})
	run.newcomers("westus")
	return run
}

// newcomers waits until clients in Seattle that have never asked are led to a region:
// then the event has taken effect.
func (r *eventRun) newcomers(want string) {
	r.t.Helper()
	var got string
	defer func() {
		if got != want {
			r.t.Logf("newcomers are led to %s", got)
		}
	}()
	eventually(r.t, patience, "newcomers are led to "+want, func() bool {
		n := r.count.Add(1)
		prefix := fmt.Sprintf("128.%d.%d.0/24", 96+n>>8&127, n&255)
		got = region(r.server.client().ask(r.t, question(pushName, "A", subnet(prefix))))
		return got == want
	})
}

// begin starts one push from each host, and returns when all of them have uploaded
// their first layers.
func (r *eventRun) begin(hosts []*netns) {
	r.t.Helper()
	r.stages.Store(newStages(stageUploads))
	r.pushes = nil
	if r.cache != nil {
		r.expire()
	}
	for _, host := range hosts {
		p := &eventPush{image: freshImage(r.t, eventLayers, eventLayerSize), repository: fmt.Sprintf("team/app-%d", r.count.Add(1))}
		p.process = start(r.t, host, "skopeo", "copy", "--insecure-policy", "--dest-tls-verify=false", "--quiet",
			"oci:"+p.image.dir, "docker://"+pushName+":5000/"+p.repository+":latest")
		p.mute = true
		r.pushes = append(r.pushes, p)
	}
	r.spent()
}

// stage lets the pushes go on a bit, now that something has happened.
func (r *eventRun) stage() {
	r.t.Helper()
	if r.cache != nil {
		r.expire()
	}
	r.stages.Load().allow(stageUploads)
	r.spent()
}

// spent waits until every push has used what it may, or has ended. Without holds a
// push may be stuck between two replicas: it is ended, and counts as broken.
func (r *eventRun) spent() {
	r.t.Helper()
	s := r.stages.Load()
	deadline := time.Now().Add(10 * time.Second)
	eventually(r.t, 2*patience, "the pushes have got on", func() bool {
		stuck := false
		for _, p := range r.pushes {
			if p.ended() || s.spent(p.repository) {
				continue
			}
			stuck = true
			if r.control && time.Now().After(deadline) {
				p.kill()
			}
		}
		return !stuck
	})
}

// expire waits until the cache has asked the server again.
func (r *eventRun) expire() {
	r.t.Helper()
	at := r.cache.log.len()
	c := client{r.ns, netip.MustParseAddrPort("127.0.0.53:53"), "udp"}
	eventually(r.t, patience, "the cache asks again", func() bool {
		q := question(pushName, "A")
		q.RecursionDesired = true
		c.ask(r.t, q)
		return r.cache.log.line(at, "forwarded "+pushName+" to") != ""
	})
}

// finish lets the pushes go on to their end.
func (r *eventRun) finish() {
	r.t.Helper()
	for _, p := range r.pushes {
		if p.ended() && p.cmd.ProcessState.ExitCode() == 0 {
			r.t.Errorf("%s ended before the event did: it proves nothing", p.repository)
		}
	}
	if r.cache != nil {
		r.expire()
	}
	r.stages.Load().allow(unbounded)
	for _, p := range r.pushes {
		p.wait(2 * patience)
	}
}

// failed says which pushes failed or do not lie whole on one replica and nowhere
// else.
func (r *eventRun) failed(at int) (broken []string) {
	r.t.Helper()
	have := make([][]string, len(r.replicas))
	for i, replica := range r.replicas {
		have[i] = replica.blobs()
	}
	for _, p := range r.pushes {
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			broken = append(broken, fmt.Sprintf("%s: exit code %d: %s", p.repository, code, strings.TrimSpace(p.log.String())))
			continue
		}
		for i, replica := range r.replicas {
			n := 0
			for _, blob := range p.image.blobs {
				if slices.Contains(have[i], blob) {
					n++
				}
			}
			manifest := slices.Contains(replica.manifests(p.repository), p.image.manifest)
			if i == at && (n < len(p.image.blobs) || !manifest) || i != at && (n > 0 || manifest) {
				broken = append(broken, fmt.Sprintf("%s: replica %s has %d of %d blobs, manifest %v", p.repository, replica.addr, n, len(p.image.blobs), manifest))
			}
		}
	}
	return broken
}

func (r *eventRun) drainAndUndrain() {
	r.admin.must("/v1/drain", fields{"registry": "myregistry", "region": "westus", "reason": "kernel update"})
	r.newcomers("eastus")
	r.stage()
	var drains []struct {
		Drained, Safe bool
		Held          int
	}
	r.admin.get("/v1/drains", &drains)
	if holds := r.server.status(r.t).Registries[0].Holds; len(drains) != 1 || !drains[0].Drained || drains[0].Safe || holds != (drains[0].Held > 0) {
		r.t.Errorf("the drain while pushes run: %+v", drains)
	}
	r.admin.must("/v1/undrain", fields{"registry": "myregistry", "region": "westus"})
	r.newcomers("westus")
	r.stage()
}

func (r *eventRun) routeOffAndOn() {
	for _, on := range []any{false, true} {
		r.admin.must("/v1/routing", fields{"registry": "myregistry", "region": "westus", "global_endpoint_routing": on})
		r.newcomers(map[any]string{false: "eastus", true: "westus"}[on])
		r.stage()
	}
}

func (r *eventRun) firstIsDown() {
	r.replicas[0].kill()
	r.newcomers("eastus")
}

func (r *eventRun) recover() {
	r.replicas[0].start()
	r.replicas[0].await()
	r.newcomers("westus")
	r.stage()
}

// rename gives the registry another key while a drain of it is in force: it is the same
// registry as long as its name is.
func (r *eventRun) rename() {
	r.admin.must("/v1/drain", fields{"registry": "myregistry", "region": "westus"})
	r.newcomers("eastus")
	r.stage()
	config := r.config(eventConfig{replicas: []string{"westus", "eastus"}})
	r.server.configure(r.t, strings.Replace(config, "  myregistry:\n", "  renamed:\n    name: myregistry\n", 1))
	r.admin.must("/v1/reload", fields{})
	r.newcomers("eastus")
	r.stage()
	r.admin.must("/v1/undrain", fields{"registry": "renamed", "region": "westus"})
	r.newcomers("westus")
	r.stage()
}

// blip lets probes fail for a while although every replica is well, as the loss of the
// server's own network does.
func (r *eventRun) blip() {
	up := func(want float64) {
		eventually(r.t, patience, "the probes have seen it", func() bool {
			m := r.server.scrape()
			return m.get(r.t, `portolan_replica_up{region="westus",registry="myregistry"}`) == want &&
				m.get(r.t, `portolan_replica_up{region="eastus",registry="myregistry"}`) == want
		})
		r.stage()
	}
	r.blind.Store(true)
	defer r.blind.Store(false)
	up(0)
	r.blind.Store(false)
	up(1)
	r.newcomers("westus")
}

// reloadAll adds a region that is nearer, moves the clients on the map, and changes
// what the regions cost.
func (r *eventRun) reloadAll() {
	c := eventConfig{replicas: []string{"westus", "eastus", "westus2"}}
	r.server.configure(r.t, r.config(c))
	r.admin.must("/v1/reload", fields{})
	r.newcomers("westus2")
	r.stage()
	r.server.write(r.t, file{"city.mmdb", locationData(r.t, inAtlanta, inAmsterdam)})
	if line := r.server.hup(); !strings.Contains(line, "location data:") {
		r.t.Errorf("new location data: %s", line)
	}
	r.newcomers("eastus")
	r.stage()
	c.regions = "eastus: {bias: 9000}, westus: {bias: 3000}"
	r.server.configure(r.t, r.config(c))
	r.admin.must("/v1/reload", fields{})
	r.newcomers("westus2")
	r.stage()
}

// renetwork adds a site that takes in the hosts that are in none, then changes the names
// and the extent of both, again and again: each time the hosts are placed elsewhere, and
// are other units, and each time the server takes it up in another way.
func (r *eventRun) renetwork() {
	c := eventConfig{replicas: []string{"westus", "eastus"}}
	for _, step := range []struct {
		networks string
		take     func()
	}{
		{
			"campus: {prefixes: [128.95.1.0/24, 128.95.2.0/24], region: eastus}, all: {prefixes: [128.0.0.0/8], region: eastus}",
			func() { r.admin.must("/v1/reload", fields{}) },
		},
		{"lab: {prefixes: [128.95.1.0/24], region: eastus}, fleet: {prefixes: [128.0.0.0/8, 145.0.0.0/8], region: eastus}", r.server.upgrade},
		{"128.0.0.0/8: eastus, rest: {prefixes: [145.0.0.0/8], region: eastus}", func() {
			r.server.kill()
			r.server.again(r.t)
		}},
	} {
		c.networks = step.networks
		r.server.configure(r.t, r.config(c))
		step.take()
		r.newcomers("eastus")
		r.stage()
	}
}

// restart ends the server and starts it again.
func (r *eventRun) restart(end func()) {
	r.replace(func() {
		end()
		r.server.again(r.t)
	})
}

// unshared is a configuration without shared memory.
func (r *eventRun) unshared() string {
	config := r.config(eventConfig{replicas: []string{"westus", "eastus"}})
	return strings.Replace(config, "state: {dir: $DIR", `state: {memory: "", dir: $DIR`, 1)
}

// unshare has the server keep who was answered in a memory of its own.
func (r *eventRun) unshare() {
	r.server.configure(r.t, r.unshared())
	r.server.stop()
	r.server.again(r.t)
	r.newcomers("westus")
}

// killUnshared kills such a server, and the next one has another configuration: all that
// it knows of the pushes is what was saved.
func (r *eventRun) killUnshared() {
	saved := filepath.Join(r.server.dir, "ledger.db.holds")
	for range 2 { // the first may have begun before the pushes were there
		begin := time.Now()
		r.newcomers("westus") // so that there is something to save
		eventually(r.t, patience, "who was answered is saved", func() bool {
			info, err := os.Stat(saved)
			return err == nil && info.ModTime().After(begin)
		})
	}
	without := strings.Replace(r.unshared(), "westus: {", "westus: {global_endpoint_routing: false, ", 1)
	r.server.configure(r.t, without)
	r.stages.Load().allow(stageUploads)
	r.server.kill()
	r.server.again(r.t)
	r.spent()
	r.newcomers("eastus")
	r.stage()
	r.server.configure(r.t, r.unshared())
	r.admin.must("/v1/reload", fields{})
	r.newcomers("westus")
	r.stage()
}

// behindSockets ends the server and starts it again while somebody else holds its
// sockets. What is asked meanwhile waits there for the next process, so hosts need to
// ask once only; but for a kill, which takes with it what the process has just read.
func (r *eventRig) behindSockets(t *testing.T, asks string, end func(*server)) {
	t.Helper()
	run := r.serve(t, "")
	run.server.stop()
	var sockets []*os.File
	var hosts []*netns
	for i, addr := range r.listen {
		files, _ := holdSocket(t, r.ns, strings.Trim(addr, `"`), false)
		sockets = append(sockets, files...)
		if i < len(r.seattle) {
			resolver := fmt.Sprintf("128.95.%d.1", i+1)
			hosts = append(hosts, r.ns.alias(t, fmt.Sprintf("%d-%s", r.count.Add(1), resolver), resolver, asks))
		}
	}
	run.server.againWith(t, sockets)
	run.newcomers("westus")
	run.begin(hosts)
	run.replace(func() {
		for range 2 {
			end(run.server)
			run.server.againWith(t, sockets)
		}
	})
	run.finish()
	if failed := run.failed(0); len(failed) > 0 {
		t.Errorf("%d of %d pushes are broken:\n%s", len(failed), len(run.pushes), strings.Join(failed, "\n"))
	}
}

// upgrade has two processes take the server's place, one after the other.
func (r *eventRun) upgrade() {
	r.replace(func() {
		r.server.upgrade()
		r.server.upgrade()
	})
}

// replace ends the process while a drain is in force and the pushes go on, and has
// another one in its place.
func (r *eventRun) replace(process func()) {
	r.admin.must("/v1/drain", fields{"registry": "myregistry", "region": "westus"})
	r.newcomers("eastus")
	r.stage()
	r.stages.Load().allow(stageUploads)
	process()
	r.spent()
	r.newcomers("eastus")
	r.stage()
	r.admin.must("/v1/undrain", fields{"registry": "myregistry", "region": "westus"})
	r.newcomers("westus")
	r.stage()
}

// readdress gives a replica another address, in the order that the refusal names: while
// pushes run to it that is refused, and once it is drained and they have ended it breaks
// none.
func (r *eventRig) readdress(t *testing.T) {
	run := r.serve(t, "{ttl: 1s, idle: 10s, hold: 10s}")
	run.begin(r.seattle)
	c := eventConfig{sticky: "{ttl: 1s, idle: 10s, hold: 10s}", replicas: []string{"westus", "eastus"}}
	moved := strings.Replace(run.config(c), "westus: {addresses: ["+eventReplicas[0], "westus: {addresses: ["+eventReplicas[2], 1)
	run.server.configure(t, moved)
	if code, text := run.admin.post("/v1/reload", fields{}); code != http.StatusConflict || !strings.Contains(text, "drain") {
		t.Errorf("while pushes run: %d %s", code, text)
	}
	run.stage()
	run.admin.must("/v1/drain", fields{"registry": "myregistry", "region": "westus"})
	run.newcomers("eastus")
	run.stage()
	run.finish()
	for _, text := range run.failed(0) {
		t.Errorf("before: %s", text)
	}
	eventually(t, patience, "nobody is held", func() bool {
		var drains []struct{ Held int }
		run.admin.get("/v1/drains", &drains)
		return len(drains) == 1 && drains[0].Held == 0
	})
	run.admin.must("/v1/reload", fields{})
	run.admin.must("/v1/undrain", fields{"registry": "myregistry", "region": "westus"})
	run.newcomers("westus")
	eventually(t, patience, "the new address is served", func() bool {
		return slices.Contains(addresses(run.server.client().ask(t, question(pushName, "A", subnet(seattle)))), eventReplicas[2])
	})
	run.begin(r.seattle)
	run.stage()
	run.finish()
	for _, text := range run.failed(2) {
		t.Errorf("after: %s", text)
	}
}

// death kills a replica: the pushes to it fail, others do not notice, and the next
// ones go elsewhere.
func (r *eventRig) death(t *testing.T) {
	run := r.serve(t, "")
	run.begin(slices.Concat(r.seattle, r.amsterdam))
	all := run.pushes
	r.replicas[0].kill()
	run.newcomers("eastus")
	r.stages.Load().allow(unbounded)
	for _, p := range all {
		p.wait(2 * patience)
	}
	run.pushes = all[:len(r.seattle)]
	if failed := run.failed(0); len(failed) < len(run.pushes) {
		t.Errorf("%d of %d pushes to the dead replica failed", len(failed), len(run.pushes))
	}
	run.pushes = all[len(r.seattle):]
	for _, text := range run.failed(1) {
		t.Errorf("elsewhere: %s", text)
	}
	run.begin(r.seattle)
	run.finish()
	for _, text := range run.failed(1) {
		t.Errorf("afterwards: %s", text)
	}
}
