package app

import (
	"context"
	"sync"
	"time"
)

const (
	sampleEvery = 10 * time.Second
	sampleCount = 60 // ten minutes
)

// shares keeps what was answered lately, by replica slot: a sample of the counters
// every ten seconds. Beyond [maxReplicaSeries] slots it keeps none: the memory would
// be better spent.
type shares struct {
	mu      sync.Mutex
	samples [][]uint64 // oldest first, at most sampleCount + 1
}

// run samples until ctx ends. slots says how many there are.
func (s *shares) run(ctx context.Context, slots func() int, read func() []uint64) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		if slots() <= maxReplicaSeries {
			s.add(read())
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *shares) add(counts []uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.samples = append(s.samples, counts)
	if len(s.samples) > sampleCount+1 {
		s.samples = s.samples[1:]
	}
}

// recent is what was answered in the last one and ten minutes, by slot.
type recent struct{ one, ten []uint64 }

// latest returns what was answered lately; both parts may be shorter than the
// slots.
func (s *shares) latest() recent {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.samples) < 2 {
		return recent{}
	}
	last := s.samples[len(s.samples)-1]
	return recent{
		one: minus(last, s.samples[max(0, len(s.samples)-1-int(time.Minute/sampleEvery))]),
		ten: minus(last, s.samples[0]),
	}
}

func minus(a, b []uint64) []uint64 {
	d := make([]uint64, len(a))
	for i := range a {
		d[i] = a[i]
		if i < len(b) {
			d[i] -= b[i]
		}
	}
	return d
}

// share returns the part that slot has of n slots from first on.
func share(counts []uint64, first, n, slot uint32) float64 {
	var sum, own uint64
	for i := first; i < first+n && int(i) < len(counts); i++ {
		sum += counts[i]
		if i == slot {
			own = counts[i]
		}
	}
	if sum == 0 {
		return 0
	}
	return float64(own) / float64(sum)
}
