package resolver

import (
	"encoding/binary"
	"net/netip"

	"portolan.dev/geo"
	"portolan.dev/resolver/decide"
	"portolan.dev/resolver/wire"
	"portolan.dev/resolver/zone"
)

// BatchSize is how many queries a [Batch] holds.
const BatchSize = 64

// Batch answers queries that were received together, in steps: each step is made
// for all of them before the next. What a busy server looks up for a query (its
// name, its client's place, its client's unit) lies in megabytes of tables and is
// in no cache near the core. One query after the other waits for memory five or
// six times; the same step of 64 queries waits hardly longer than that of one,
// because the processor reads ahead while nothing depends on what it reads.
//
// The answers are those of [Worker.Answer]. A Batch belongs to one goroutine:
// Read all queries, Look, then Answer each.
type Batch struct {
	w       *Worker
	s       *Snapshot
	n       int
	pending [BatchSize]pending

	// The look-ups of one step side by side; by query, or only of global names.
	hashes [BatchSize]uint64
	met    [BatchSize]uint32
	global [BatchSize]uint8
	aims   [BatchSize]geo.Aim
	keys   [BatchSize]decide.Key
}

// pending is a query between its parsing and its answer.
type pending struct {
	reply
	from        netip.AddrPort
	disposition wire.Disposition
}

// Batch returns an empty batch for the queries of one receiving goroutine.
func (w *Worker) Batch() *Batch { return &Batch{w: w} }

// Reset makes room for the next queries.
func (b *Batch) Reset() {
	b.n = 0
	b.s = b.w.resolver.current.Load()
}

// Read adds the query msg, received from the address from. At most [BatchSize] fit.
// msg must stay as it is until the query is answered.
func (b *Batch) Read(msg []byte, from netip.AddrPort) {
	p := &b.pending[b.n]
	p.from = from
	p.outcome = outcome{}
	p.known = known{}
	if p.s != b.s {
		p.s = b.s
	}
	p.disposition = p.q.Parse(msg)
	b.n++
}

// Answer does for query i, counted from 0, what [Worker.Answer] does.
func (b *Batch) Answer(dst []byte, i int, now int64) []byte {
	p := &b.pending[i]
	return b.w.answer(&p.reply, p.disposition, dst, p.from, now)
}

// fewQueries is how many queries must have come together for the steps to be
// worth their while.
const fewQueries = 4

// Look looks up what the answers will need.
func (b *Batch) Look() {
	if b.n < fewQueries {
		return
	}
	b.lookNames()
	globals := b.aim()
	many := len(b.s.Registries) > fewRegistries
	if many {
		b.warmRegistries(globals)
	}
	b.s.Places.Warm(b.aims[:globals])
	b.locate(globals)
	if many {
		b.warmReplicas(globals)
	}
	if b.s.Holds != nil {
		b.s.Holds.Warm(b.keys[:globals])
	}
}

// lookNames finds the names. Those of rejected queries are found for nothing, which
// no branch would do faster.
func (b *Batch) lookNames() {
	names := b.s.Names
	for i := range b.pending[:b.n] {
		b.hashes[i] = names.Hash(&b.pending[i].q)
	}
	names.Warm(b.hashes[:b.n], b.met[:b.n])
	for i := range b.pending[:b.n] {
		p := &b.pending[i]
		if p.disposition == wire.Refer {
			p.node, p.zone, p.found = names.FindHash(&p.q, b.hashes[i])
			p.looked = true
		}
	}
}

// aim collects the queries for global names and returns how many there are.
func (b *Batch) aim() (globals int) {
	for i := range b.pending[:b.n] {
		p := &b.pending[i]
		if p.node == nil || p.found != zone.Hit || p.node.Kind != zone.Global {
			continue
		}
		b.global[globals] = uint8(i)
		b.aims[globals] = p.aim()
		globals++
	}
	return globals
}

// aim guesses what address counts for a query: right but for the rare subnets that
// cannot be placed or carry another address, for which it is only slower.
func (p *pending) aim() geo.Aim {
	switch e := &p.q.EDNS.ECS; {
	case p.s.ECS && e.Family == wire.FamilyIPv4:
		return geo.Aim{Hi: uint64(binary.BigEndian.Uint32(e.Addr[:])) << 32}
	case p.s.ECS && e.Family == wire.FamilyIPv6:
		return geo.Aim{Hi: binary.BigEndian.Uint64(e.Addr[:]), IPv6: true}
	}
	if a := p.from.Addr(); a.Is4() {
		b := a.As4()
		return geo.Aim{Hi: uint64(binary.BigEndian.Uint32(b[:])) << 32}
	}
	a := p.from.Addr().As16()
	return geo.Aim{Hi: binary.BigEndian.Uint64(a[:]), IPv6: true}
}

// locate places the clients of the first globals queries and makes the keys of
// their units.
func (b *Batch) locate(globals int) {
	for i, at := range b.global[:globals] {
		p := &b.pending[at]
		b.s.locate(&p.client, &p.q.EDNS.ECS, p.from.Addr())
		p.located = true
		r := &b.s.Registries[p.node.Ref]
		b.keys[i] = 0
		if r.Policy.Hold != 0 {
			b.keys[i] = b.s.unitKey(r, &p.client)
		}
	}
}

// fewRegistries is the number up to which registries stay in the caches near a core.
const fewRegistries = 1 << 10

// warmRegistries reads what stands of registries in the snapshot. That something is
// kept of it is for the compiler, which would leave the reading out.
func (b *Batch) warmRegistries(globals int) {
	for i, at := range b.global[:globals] {
		ref := b.pending[at].node.Ref
		r := &b.s.Registries[ref]
		b.met[i] = r.First ^ r.Number ^ uint32(b.s.Live[ref].routed.Load())
	}
}

// warmReplicas reads what will be written of the replicas that will be chosen, but
// for the few clients that are held.
func (b *Batch) warmReplicas(globals int) {
	for i, at := range b.global[:globals] {
		p := &b.pending[at]
		r := &b.s.Registries[p.node.Ref]
		b.met[i] = r.First
		if region, outcome := decide.Choose(b.s.Places.Rank(p.client.class), b.s.Live[p.node.Ref].Masks(), r.AllDown); outcome <= decide.AllDown {
			b.met[i] += uint32(r.Configured.Position(region))
		}
	}
	for i, at := range b.met[:globals] {
		b.met[i] = b.s.Replicas[at].Slot
		b.hashes[i] = uint64(b.s.Replicas[at].Body)
	}
	for i, at := range b.hashes[:globals] {
		b.hashes[i] = uint64(b.s.Bodies[at])
		b.w.counters.warm(b.met[i])
	}
}
