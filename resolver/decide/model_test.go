package decide

import (
	"flag"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

var (
	modelSeeds = flag.Int("model.seeds", 60, "worlds to check; with -count, later rounds take later seeds")
	modelSeed  = flag.Uint64("model.seed", 0, "check the world of this seed only")
)

// The invariants, each checked on every answer against the journal of the unit
// that gets it. a is the answer of the first server.
//
// Where the pseudo-code of the design and the package differ on purpose, the
// invariant says the weaker thing: see unit.vague.
var invariants = []struct {
	name, says string
	check      func(m *model, u *unit, a *answer) string
}{
	{"I1", "the same key and the same events give the same answer on every server", nil}, // in ask
	{"I2", "no voluntary event moves an active unit before its hold is over", checkActiveStays},
	{"I3", "nobody is given a dead replica, or goes back to one by a hold", checkDead},
	{"I4", "nobody is given a replica but base and the one it had", checkFormer},
	{"I5", "holds end: after all periods or the overtime, at the deadline, and by the moment a drain promises", checkEnds},
	{"I6", "A and AAAA, and an explanation, get the same replica at one instant", nil}, // in ask
	{"I7", "a unit that was forgotten gets base", nil},                                 // in ask
}

func checkActiveStays(m *model, u *unit, a *answer) string {
	if !u.known || u.died || u.loose || u.cut || u.idle || a.region == u.region || m.deadlines[u.region] != 0 {
		return ""
	}
	silence := m.now - u.seen
	from, quiet, vague := u.heldFrom, max(u.heldLast, silence), u.inexact
	if from == 0 {
		if u.lastAway == 0 || u.lastAway-u.seen > m.policy.Idle || u.swapped && silence > m.policy.Idle {
			return ""
		}
		from, quiet, vague = u.firstAway, silence, u.vague()
	}
	until := from + m.policy.Hold
	if quiet <= m.policy.Idle { // active throughout: all periods
		until = from + m.policy.Hold*uint32(m.policy.Renewals)
	}
	if vague {
		until -= m.policy.Idle
	}
	if m.now >= until {
		return ""
	}
	return fmt.Sprintf("unit %d, seen %d s ago, moved from %d to %d, %d s after the event and %d s before it may",
		u.id, silence, u.region, a.region, m.now-from, until-m.now)
}

func checkDead(m *model, u *unit, a *answer) string {
	switch {
	case !m.masks.Up.Has(a.region) && m.masks.Routed&m.masks.Up != 0:
		return fmt.Sprintf("unit %d is given %d, which is down while another is up", u.id, a.region)
	case u.known && u.died && a.region != a.base:
		return fmt.Sprintf("unit %d is given %d by a hold, which died since the unit was seen", u.id, a.region)
	case !m.setup.configured.Has(a.region):
		return fmt.Sprintf("unit %d is given %d, which is removed", u.id, a.region)
	}
	return ""
}

func checkFormer(_ *model, u *unit, a *answer) string {
	if a.region == a.base || u.known && a.region == u.region {
		return ""
	}
	return fmt.Sprintf("unit %d is given %d; base is %d and it had %d (known %v)", u.id, a.region, a.base, u.region, u.known)
}

func checkEnds(m *model, u *unit, a *answer) string {
	if a.region == a.base {
		return ""
	}
	bound := m.policy.Hold * uint32(m.policy.Renewals)
	overtime := 2 * bound // no model's policy has more renewals than an entry can count
	if at := m.unrouted[a.region]; !m.masks.Routed.Has(a.region) && m.now >= at+bound {
		return fmt.Sprintf("unit %d is given %d, out of routing for %d s", u.id, a.region, m.now-at)
	}
	if d := m.deadlines[a.region]; d != 0 && m.now >= d {
		return fmt.Sprintf("unit %d is given %d, %d s past its deadline", u.id, a.region, m.now-d)
	}
	from, vague := u.heldFrom, u.inexact
	if from == 0 {
		from, vague = max(u.firstAway, u.seen), u.vague()
	}
	if vague { // the package may have taken a later event for the first
		bound, overtime = bound+m.policy.Idle, overtime+m.policy.Idle
	}
	silence := m.now - u.seen
	if m.now >= from+overtime || m.now >= from+bound && silence > m.policy.Idle {
		return fmt.Sprintf("unit %d, seen %d s ago, is held on %d for %d s", u.id, silence, a.region, m.now-from)
	}
	return ""
}

// ask asks every server for a unit and checks the answers.
func (m *model) ask(u *unit) (region uint8, ok bool) {
	m.counts.answers++
	a := m.nodes[0].answer(m, u)
	if base, outcome := m.base(u); outcome != a.outcome || outcome <= AllDown && base != a.base {
		m.violated("I1", "base is %d, %v, but %d, %v from the package", base, outcome, a.base, a.outcome)
	}
	if again := m.nodes[1].answer(m, u); again != a {
		m.violated("I1", "unit %d: %+v here and %+v there", u.id, a, again)
	}
	forgetful := m.nodes[2].answer(m, u)
	if a.outcome > AllDown {
		return 0, false
	}
	if forgetful.region != forgetful.base && m.nodes[2].fresh[u.id] {
		m.violated("I7", "unit %d was forgotten and is given %d, base %d", u.id, forgetful.region, forgetful.base)
	}
	delete(m.nodes[2].fresh, u.id)
	for _, inv := range invariants {
		if inv.check != nil && m.failed[inv.name] == "" {
			if wrong := inv.check(m, u, &a); wrong != "" {
				m.violated(inv.name, "%s", wrong)
			}
		}
	}
	m.count(u, &a)
	m.given(u, &a)
	e := &m.drains[a.region]
	e.lastAnswer = m.now
	if e.safe && m.masks.Routed&m.masks.Up != 0 && !m.masks.Routed.Has(a.region) {
		m.violated("I5", "unit %d is given %d, which was safe to switch off", u.id, a.region)
	}
	if aaaa := m.nodes[0].answer(m, u); aaaa.region != a.region { // the other type, at once
		m.violated("I6", "unit %d: A is %d, AAAA %d", u.id, a.region, aaaa.region)
	}
	m.nodes[1].answer(m, u) // as on the first, to the second as well
	return a.region, true
}

func (m *model) count(u *unit, a *answer) {
	if a.region == a.base {
		return
	}
	m.counts.held++
	if u.changes > historySize {
		m.counts.forgotten++
	}
	if u.heldFrom != 0 && m.now >= u.heldFrom+m.policy.Hold {
		m.counts.renewed++
	}
}

// run lets a world go on for some simulated seconds.
func (m *model) run(span uint32) {
	end := m.now + span
	event := m.now + 600
	for m.now < end {
		next := event
		for _, c := range m.clients {
			next = min(next, c.next)
		}
		for r := range m.health {
			if due := m.health[r].dueUp; due != 0 {
				next = min(next, due)
			}
		}
		m.now = max(m.now, next)
		m.recover()
		// Events before and after queries of the same second.
		if before := m.rng.IntN(2) == 0; before && m.now >= event {
			event = m.event()
		}
		for _, c := range m.clients {
			if m.now >= c.next {
				m.request(c)
			}
		}
		if m.now >= event {
			event = m.event()
		}
		m.watchDrains()
	}
}

// event lets something happen and says when the next thing does.
func (m *model) event() uint32 {
	r := uint8(m.rng.IntN(modelReplicas))
	switch pick(m.rng, 5, 6, 3, 2, 1, 5, 3, 2, 3, 2, 1, 2, 2) {
	case 0:
		m.fail(r)
	case 1:
		m.mend(r)
	case 2, 3, 4:
		m.drain(r, pick(m.rng, 3, 2, 1))
	case 5:
		m.undrain(r)
	case 6:
		m.routing ^= 1 << r
		m.publish()
	case 7:
		m.swap()
	case 8:
		m.burst(r)
	case 9:
		m.nodes[1].restart(m, 0)
	case 10:
		m.nodes[2].restart(m, 1)
	case 11:
		m.nodes[2].restart(m, 0.3)
	case 12: // the operator takes back everything
		m.routing = 1<<modelReplicas - 1
		for r := range uint8(modelReplicas) {
			m.undrain(r)
			m.mend(r)
		}
	}
	return m.now + uint32(m.rng.ExpFloat64()*float64([]int{3, 60, 400, 1500}[m.rng.IntN(4)]))
}

// burst is more changes at once than the history remembers, or nearly so.
func (m *model) burst(r uint8) {
	for range 4 + m.rng.IntN(12) {
		m.routing ^= 1 << r
		m.publish()
		m.now += uint32(m.rng.IntN(3))
	}
}

// modelRounds counts how often a test has run in this process, so that each round of
// -count checks worlds of its own.
var modelRounds sync.Map

// seeds returns the seeds of the worlds to check now, n unless told otherwise, and
// prints them.
func seeds(t *testing.T, n int) []uint64 {
	t.Helper()
	if *modelSeed != 0 {
		return []uint64{*modelSeed}
	}
	if testing.Short() {
		n = max(n/6, 1)
	}
	round, _ := modelRounds.LoadOrStore(t.Name(), new(atomic.Uint64))
	first := round.(*atomic.Uint64).Add(1) * 100_000
	all := make([]uint64, n)
	for i := range all {
		all[i] = first + uint64(i)
	}
	t.Logf("seeds %d to %d", first, all[n-1])
	return all
}

func TestInvariants(t *testing.T) {
	var sum counts
	failed := make(map[string]string)
	for _, seed := range seeds(t, *modelSeeds) {
		m := newModel(seed)
		m.run(86_400)
		for name, wrong := range m.failed {
			if failed[name] == "" {
				failed[name] = wrong
			}
		}
		sum.add(m.counts)
	}
	t.Logf("%+v", sum)
	for _, inv := range invariants {
		t.Run(inv.name, func(t *testing.T) {
			if wrong := failed[inv.name]; wrong != "" {
				t.Errorf("%s\n%s\nagain: go test -run TestInvariants ./resolver/decide -model.seed=N", inv.says, wrong)
			}
		})
	}
	if *modelSeed == 0 {
		sum.check(t)
	}
}

func (c *counts) add(o counts) {
	c.answers += o.answers
	c.held += o.held
	c.deaths += o.deaths
	c.swaps += o.swaps
	c.restarts += o.restarts
	c.renewed += o.renewed
	c.forgotten += o.forgotten
	c.safe += o.safe
}

// check fails for runs in which nothing happened that an invariant is about.
func (c *counts) check(t *testing.T) {
	t.Helper()
	if c.held < c.answers/100 || c.deaths == 0 || c.swaps == 0 || c.restarts == 0 || c.renewed == 0 || c.forgotten == 0 || c.safe == 0 {
		t.Errorf("the worlds were too quiet to show anything: %+v", *c)
	}
}
