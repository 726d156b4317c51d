package main

import (
	"container/heap"
	"math"
	"math/rand/v2"
)

// kind is what a name server can know of a host.
type kind uint8

const (
	oneResolver kind = iota
	clientSubnet
	oneSite
	unrelated
	kindCount
)

func (k kind) String() string {
	return [...]string{"one resolver", "client subnet", "one site", "unrelated"}[k]
}

// host is a container host that pushes now and then.
type host struct {
	kind      kind
	rank      []uint8
	resolvers []resolver
}

// resolver is one resolver of a host, as far as it serves that host.
type resolver struct {
	unit  uint32
	cache [2]answer // A, AAAA
}

// answer is what one query was answered by each algorithm; a resolver keeps it for
// the TTL.
type answer struct {
	given, expires moment
	replica        [algorithmCount]uint8
	spent          [algorithmCount]bool
}

const ttl = 60 * second

// newHosts makes as many hosts of each kind as push that often.
func newHosts(rng *rand.Rand, o options) []host {
	perKind := max(o.pushes/(o.rate*o.days*int(kindCount)), 1)
	hosts := make([]host, 0, perKind*int(kindCount))
	unit := uint32(0)
	for k := range kindCount {
		for range perKind {
			h := host{kind: k, rank: make([]uint8, 0, replicas)}
			for _, r := range rng.Perm(replicas) {
				h.rank = append(h.rank, uint8(r))
			}
			for i := range resolverCount(rng, k) {
				if i == 0 || k == unrelated {
					unit++
				}
				h.resolvers = append(h.resolvers, resolver{unit: unit})
			}
			hosts = append(hosts, h)
		}
	}
	return hosts
}

func resolverCount(rng *rand.Rand, k kind) int {
	switch percent := rng.IntN(100); {
	case k == oneResolver, k == unrelated && percent < 50:
		return 1
	case k == unrelated && percent < 80, k != unrelated && percent < 60:
		return 2
	}
	return 4
}

// push is one push under way.
type push struct {
	host *host
	end  moment
	next moment // its next request
	last moment // its last request
	// By algorithm: the replica used last, and how the push broke.
	replica [algorithmCount]uint8
	spent   [algorithmCount]bool // by the answer used last
	broken  [algorithmCount]breakage
	begun   bool
	given   moment // when the answer used last was
}

type breakage uint8

const (
	whole breakage = iota
	voluntary
	split        // voluntary, between the A and the AAAA of one request
	spent        // voluntary, because a hold has lasted as long as holds may
	entering     // while all replicas went down
	leaving      // while they were, or came back
	blipEntering // the same, and nothing was the matter with them
	blipLeaving
	death
	breakageCount
)

const longestPush = hour

// newPush begins a push.
func newPush(rng *rand.Rand, h *host, now moment) *push {
	length := moment(float64(minute) * math.Exp(1.5*rng.NormFloat64()))
	return &push{host: h, next: now, end: now + min(max(length, second), longestPush)}
}

// again sets the next request and reports whether there is one. The last is at the
// very end: the manifest.
func (p *push) again(rng *rand.Rand) bool {
	if p.next >= p.end {
		return false
	}
	p.last = p.next
	p.next = min(p.next+4*second+moment(rng.Int64N(int64(8*second))), p.end)
	return true
}

// agenda is the pushes under way, the one with the next request first.
type agenda []*push

var _ heap.Interface = (*agenda)(nil)

// Len is for package heap, as are the others.
func (a *agenda) Len() int           { return len(*a) }
func (a *agenda) Less(i, j int) bool { return (*a)[i].next < (*a)[j].next }
func (a *agenda) Swap(i, j int)      { (*a)[i], (*a)[j] = (*a)[j], (*a)[i] }

// Push adds a push, which x must be.
func (a *agenda) Push(x any) {
	if p, ok := x.(*push); ok {
		*a = append(*a, p)
	}
}

// Pop takes the last push off.
func (a *agenda) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}
