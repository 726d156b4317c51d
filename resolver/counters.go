package resolver

import (
	"net/netip"
	"sync/atomic"
)

// rcodes is how many response codes are counted one by one; higher ones share
// the last place.
const rcodes = 24

// counters are what one worker counts: monotonic, written by its receiving
// goroutines only, read when a collector asks.
type counters struct {
	responses [2][rcodes]atomic.Uint64 // by address family (0: IPv4) and response code
	dropped   atomic.Uint64
	truncated atomic.Uint64
	// limited counts responses over the rate limit: all, of them those sent with TC,
	// and those that a dry run has spared.
	limited, slipped, spared atomic.Uint64
	allDown                  atomic.Uint64
	// answers, by replica slot, grows by chunks when a snapshot brings new slots: nothing is
	// copied, so that nothing that is counted meanwhile is lost. It is there from the
	// start.
	answers atomic.Pointer[[]*answerChunk]

	_ [64]byte // the next worker's counters begin on another cache line
}

// of returns the counter of responses with that code to that address.
func (c *counters) of(from netip.Addr, rcode uint16) *atomic.Uint64 {
	family := 0
	if !from.Is4() && !from.Is4In6() {
		family = 1
	}
	return &c.responses[family][min(rcode, rcodes-1)]
}

// answered counts an answer with the replica of slot, and remembers when. The
// clock is in seconds, so the second write is rare.
func (c *counters) answered(slot uint32, now int64) {
	chunks := *c.answers.Load()
	at := int(slot / chunkSlots)
	if at >= len(chunks) {
		return
	}
	r := &chunks[at][slot%chunkSlots]
	r.count.Add(1)
	if r.last.Load() != now {
		r.last.Store(now)
	}
}

// warm reads what answered will write.
func (c *counters) warm(slot uint32) {
	chunks := *c.answers.Load()
	if at := int(slot / chunkSlots); at < len(chunks) {
		chunks[at][slot%chunkSlots].last.Load()
	}
}

// chunkSlots is how many slots are added at a time: 4 KiB for each worker.
const chunkSlots = 256

type answerChunk [chunkSlots]answerCount

// answerCount is what one worker knows of one replica.
type answerCount struct {
	count atomic.Uint64
	last  atomic.Int64 // Unix seconds of the last answer
}

// Totals are the counters of all workers of one kind, added up.
type Totals struct {
	// Responses is by transport, address family (0: IPv4) and response code; codes
	// from 23 on share the last place.
	Responses [Transports][2][rcodes]uint64
	// Dropped, by transport, counts messages that got no response: runts and
	// responses.
	Dropped [Transports]uint64
	// Limited counts datagrams over the rate limit; of them Slipped counts those sent
	// with TC, and Spared those sent as they were in a dry run.
	Limited, Slipped, Spared uint64
	// Truncated counts responses with TC set.
	Truncated uint64
	// AllDown counts answers with a replica although none was up.
	AllDown uint64
	// Answers, by replica slot, counts global answers with that replica.
	Answers []uint64
	// LastAnswer, by replica slot, is when the last of them was given, in Unix
	// seconds; 0 for never.
	LastAnswer []int64
}

// Reserve makes room to count the answers of slots below n. It must be called
// before a snapshot with such slots is swapped in. Nothing that is counted meanwhile
// is lost: drains go by the last answer.
func (r *Resolver) Reserve(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.slots = max(r.slots, n)
	for _, w := range r.workers {
		w.counters.grow(n)
	}
}

func (c *counters) grow(n int) {
	var chunks []*answerChunk
	if old := c.answers.Load(); old != nil {
		chunks = *old
	}
	have := len(chunks)
	grown := append(make([]*answerChunk, 0, max(have, n/chunkSlots+1)), chunks...)
	for len(grown) < n/chunkSlots+1 {
		grown = append(grown, new(answerChunk))
	}
	if len(grown) > have {
		c.answers.Store(&grown)
	}
}

// Totals adds up the counters of all workers.
func (r *Resolver) Totals() Totals {
	r.mu.Lock()
	defer r.mu.Unlock()
	var t Totals
	for _, w := range r.workers {
		w.counters.addTo(&t, w.transport)
	}
	return t
}

func (c *counters) addTo(t *Totals, transport Transport) {
	for f := range c.responses {
		for code := range c.responses[f] {
			t.Responses[transport][f][code] += c.responses[f][code].Load()
		}
	}
	t.Dropped[transport] += c.dropped.Load()
	t.Truncated += c.truncated.Load()
	t.Limited += c.limited.Load()
	t.Slipped += c.slipped.Load()
	t.Spared += c.spared.Load()
	t.AllDown += c.allDown.Load()
	chunks := *c.answers.Load()
	if slots := len(chunks) * chunkSlots; len(t.Answers) < slots {
		t.Answers = append(t.Answers, make([]uint64, slots-len(t.Answers))...)
		t.LastAnswer = append(t.LastAnswer, make([]int64, slots-len(t.LastAnswer))...)
	}
	for i, chunk := range chunks {
		for j := range chunk {
			slot := i*chunkSlots + j
			t.Answers[slot] += chunk[j].count.Load()
			t.LastAnswer[slot] = max(t.LastAnswer[slot], chunk[j].last.Load())
		}
	}
}
