package ledger

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkAppend appends one event at a time from so many goroutines. What it
// measures is mostly the disk: a transaction is two syncs.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			f := mustOpen(b, tempPath(b), Options{Now: time.Now})
			e := Event{Kind: Down, Endpoint: "192.0.2.10:443", Why: "3 of 3 failed: connection refused"}
			var wg sync.WaitGroup
			var begun atomic.Int64
			b.ReportAllocs()
			for range writers {
				wg.Go(func() {
					for begun.Add(1) <= int64(b.N) {
						if _, err := f.Append(context.Background(), 0, e); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
		})
	}
}

// BenchmarkAppendMany is one call with the verdicts of a whole fleet.
func BenchmarkAppendMany(b *testing.B) {
	f := mustOpen(b, tempPath(b), Options{Now: time.Now})
	events := make([]Event, 10_000)
	for i := range events {
		events[i] = Event{Kind: Down, Endpoint: fmt.Sprintf("192.0.2.%d:443", i), Why: "3 of 3 failed: connection refused"}
	}
	for b.Loop() {
		if _, err := f.Append(context.Background(), 0, events...); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen opens a log of the default size.
func BenchmarkOpen(b *testing.B) {
	path := tempPath(b)
	f := mustOpen(b, path, Options{Now: time.Now})
	r := rand.New(rand.NewPCG(1, 2))
	batch := make([]Event, 1000)
	for range DefaultMaxEvents / len(batch) {
		for i := range batch {
			batch[i] = randomEvent(r, time.Now())
			batch[i].Why = strings.Repeat("because ", 10)
		}
		mustAppend(b, f, batch...)
	}
	mustClose(b, f)
	for b.Loop() {
		f, err := Open(path, Options{Now: time.Now})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		s, err := f.Stats()
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(s.Size), "file-bytes")
		mustClose(b, f)
		b.StartTimer()
	}
}

// BenchmarkPutHolds saves a table of 4 MiB.
func BenchmarkPutHolds(b *testing.B) {
	f := mustOpen(b, tempPath(b), Options{Now: time.Now})
	table := make([]byte, 4<<20)
	b.SetBytes(int64(len(table)))
	for b.Loop() {
		if err := f.PutHolds(context.Background(), table); err != nil {
			b.Fatal(err)
		}
	}
}
