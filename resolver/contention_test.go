package resolver_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"portolan.dev/resolver"
	"portolan.dev/resolver/decide"
)

// BenchmarkContention answers on all cores with the activity table on, half of the
// queries for one client and half for clients at random, while masks change and the
// table is read as status does. It prints the waits for locks that the mutex and
// the block profile have seen below resolver: none may be there. The control puts a
// mutex around the same path, and has to see some.
//
// The spin locks of the table's buckets are in no profile: what they cost is the
// difference of the two, and of -cpu 1,2,...
func BenchmarkContention(b *testing.B) {
	b.Run("holds", func(b *testing.B) {
		if n := waits(b, nil); n != 0 {
			b.Errorf("%d waits for locks on the path of a query", n)
		}
	})
	b.Run("control", func(b *testing.B) {
		n := waits(b, new(sync.Mutex))
		if n == 0 && b.N > 1_000_000 && runtime.GOMAXPROCS(0) > 1 {
			b.Error("no wait for a lock that all take: the profile proves nothing")
		}
	})
}

// waits answers b.N queries, each under lock if there is one, and returns how often a
// worker has waited.
func waits(b *testing.B, lock *sync.Mutex) (n int64) {
	b.Helper()
	s := newServer(b, contoso)
	stop := make(chan struct{})
	var background sync.WaitGroup
	background.Go(func() { disturb(s, stop) })
	before := runtime.SetMutexProfileFraction(1)
	runtime.SetBlockProfileRate(1)
	defer runtime.SetMutexProfileFraction(before)
	defer runtime.SetBlockProfileRate(0)
	was, _ := profiled(b)
	answerInParallel(b, s, lock)
	total, stacks := profiled(b)
	n = total - was
	if n > 0 && lock == nil {
		b.Log(strings.Join(stacks, "\n"))
	}
	close(stop)
	background.Wait()
	b.ReportMetric(float64(n), "lock-waits")
	return n
}

// answerInParallel runs the benchmark: each goroutine has a worker of its own, as
// sockets do.
func answerInParallel(b *testing.B, s *server, lock *sync.Mutex) {
	b.Helper()
	var seed atomic.Uint64
	begin := time.Now()
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		msg, err := question("own.example.", dns.TypeA, seattle).Pack()
		if err != nil {
			b.Error(err)
			return
		}
		var w *resolver.Worker
		if lock != nil {
			lock.Lock()
		}
		w = s.resolver.Worker(resolver.UDP)
		if lock != nil {
			lock.Unlock()
		}
		rng := rand.New(rand.NewPCG(seed.Add(1), 7))
		dst := make([]byte, 0, 4096)
		now := clock.Unix()
		for i := 0; pb.Next(); i++ {
			if i%64 == 0 { // as a batch has one time
				now = clock.Unix() + int64(time.Since(begin)/time.Second)
			}
			subnet := msg[len(msg)-3:]
			subnet[0], subnet[1], subnet[2] = 128, 95, 0
			if i%2 == 1 {
				r := rng.Uint32()
				subnet[0], subnet[1], subnet[2] = byte(1+r%223), byte(r>>8), byte(r>>16)
			}
			if lock != nil {
				lock.Lock()
			}
			w.Answer(dst, msg, loopback, now)
			if lock != nil {
				lock.Unlock()
			}
		}
	})
	b.StopTimer()
}

// disturb changes a mask a thousand times a second, and reads the whole table now and
// then, until stop is closed.
func disturb(s *server, stop <-chan struct{}) {
	n, _ := s.s.FindRegistry("atapex")
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		m := s.s.Live[n].Masks()
		m.Routed ^= 1
		s.s.Live[n].Change(m, clock.Add(time.Duration(i)*time.Millisecond), false)
		if i%100 == 0 {
			s.s.Holds.Each(func(decide.Key, decide.Entry) {})
		}
	}
}

// profiled returns how many waits the profiles have with a function of resolver, or of
// answerInParallel, on the stack, since the process was started, and where.
func profiled(b *testing.B) (n int64, stacks []string) {
	b.Helper()
	for what, read := range map[string]func([]runtime.BlockProfileRecord) (int, bool){
		"mutex": runtime.MutexProfile, "block": runtime.BlockProfile,
	} {
		size, _ := read(nil)
		records := make([]runtime.BlockProfileRecord, 2*size+100)
		got, ok := read(records)
		if !ok {
			b.Fatalf("the %s profile does not fit", what)
		}
		for i := range records[:got] {
			if stack := stackOf(&records[i]); strings.Contains(stack, "answerInParallel.") || strings.Contains(stack, "resolver.(") {
				n += records[i].Count
				stacks = append(stacks, fmt.Sprintf("%s profile: %d times, %s", what, records[i].Count, stack))
			}
		}
	}
	return n, stacks
}

func stackOf(r *runtime.BlockProfileRecord) string {
	var names []string
	frames := runtime.CallersFrames(r.Stack())
	for {
		f, more := frames.Next()
		names = append(names, f.Function)
		if !more {
			return strings.Join(names, " < ")
		}
	}
}
