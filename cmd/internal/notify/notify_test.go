package notify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"portolan.dev/config/ledger"
)

// reasons lists what the bodies say why, by the text before a space.
func reasons(got []request) []string {
	var out []string
	for _, req := range got {
		_, rest, _ := strings.Cut(req.body, `"why":"`)
		why, _, _ := strings.Cut(rest, `"`)
		why, _, _ = strings.Cut(why, " ")
		out = append(out, why)
	}
	return out
}

// A queue has a bound, its oldest give way, and other receivers get everything at
// once meanwhile.
func TestOverflow(t *testing.T) {
	const otherURL = "http://other.example.com/hidden-token"
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, map[string]http.HandlerFunc{"hooks.example.com:80": hang, "other.example.com:80": status(200)})
		r.Start([]*Target{target(t, Settings{}), target(t, Settings{URL: otherURL})})
		hook, other := r.hosts["hooks.example.com:80"], r.hosts["other.example.com:80"]
		const events, size = 300, 64 << 10
		text := strings.Repeat("x", size)
		begin := time.Now()
		for i := range events {
			r.happens(t, fmt.Sprintf("%d %s", i, text))
		}
		if time.Since(begin) != 0 || len(other.requests()) != events {
			t.Errorf("another receiver got %d after %v", len(other.requests()), time.Since(begin))
		}
		s := r.Stats()
		if s.Queued > maxQueued/size+1 || s.Queued < maxQueued/size-2 || s.Queued+int(s.Deliveries[Dropped]) != events {
			t.Errorf("%+v", s)
		}
		hook.becomes(status(200))
		time.Sleep(time.Minute)
		got := reasons(hook.requests())
		// The first was in hand, and is tried again; then come the newest.
		var want []string
		for i := events - s.Queued + 1; i < events; i++ {
			want = append(want, strconv.Itoa(i))
		}
		if !slices.Equal(got, append([]string{"0", "0"}, want...)) {
			t.Errorf("got %v", got)
		}
		if r.logged("is full") != 1 || r.logged(fmt.Sprintf("lost=%d", s.Deliveries[Dropped])) != 1 {
			t.Errorf("logged: %s", &r.text)
		}
	})
}

// One event that is larger than the bound is still delivered.
func TestLargeEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := one(t, status(200))
		r.happens(t, strings.Repeat("x", maxQueued))
		r.wantStats(t, 0, map[Outcome]uint64{Delivered: 1})
	})
}

func TestKinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, map[string]http.HandlerFunc{"hooks.example.com:80": status(200), "all.example.com:80": status(200)})
		r.Start([]*Target{
			target(t, Settings{Kinds: []ledger.Kind{ledger.Drain, ledger.Undrain}}),
			target(t, Settings{URL: "http://all.example.com"}),
		})
		for _, k := range []ledger.Kind{ledger.Down, ledger.Drain, ledger.Up, ledger.Undrain, "promote"} {
			r.events.append(ledger.Event{Kind: k, Why: string(k)})
		}
		synctest.Wait()
		if got := reasons(r.hosts["hooks.example.com:80"].requests()); !slices.Equal(got, []string{"drain", "undrain"}) {
			t.Errorf("%v", got)
		}
		if got := reasons(r.hosts["all.example.com:80"].requests()); !slices.Equal(got, []string{"down", "drain", "up", "undrain", "promote"}) {
			t.Errorf("%v", got)
		}
	})
}

// A start begins with the next event, and not before Start.
func TestStartsWithTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, map[string]http.HandlerFunc{"hooks.example.com:80": status(200)})
		r.o.From = 3
		r.Set([]*Target{target(t, Settings{})})
		r.happens(t, "1", "2", "3")
		if n := len(r.hosts["hooks.example.com:80"].requests()); n != 0 {
			t.Errorf("%d requests before Start", n)
		}
		r.Start([]*Target{target(t, Settings{})})
		r.happens(t, "4")
		if got := reasons(r.hosts["hooks.example.com:80"].requests()); !slices.Equal(got, []string{"3", "4"}) {
			t.Errorf("%v", got)
		}
	})
}

// When the log cannot go on, it is followed again from where it can.
func TestLogComesBack(t *testing.T) {
	for _, tt := range []struct {
		what    string
		deleted int
		want    []string
	}{
		{"nothing is lost", 1, []string{"1", "2", "3"}},
		{"some were deleted", 2, []string{"1", "3"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			r, hook := one(t, status(200))
			r.happens(t, "1")
			r.events.fail(errors.New("disk in trouble"), 0)
			r.happens(t, "2", "3")
			time.Sleep(11 * time.Second)
			if r.logged("cannot be followed") == 0 || len(hook.requests()) != 1 {
				t.Errorf("%s: logged: %s", tt.what, &r.text)
			}
			r.events.fail(nil, tt.deleted)
			time.Sleep(rewatch)
			synctest.Wait()
			if got := reasons(hook.requests()); !slices.Equal(got, tt.want) {
				t.Errorf("%s: %v, want %v", tt.what, got, tt.want)
			}
			if r.logged("lost=1") != tt.deleted-1 {
				t.Errorf("%s: logged: %s", tt.what, &r.text)
			}
		})
	}
}

// A closed ledger is the end.
func TestLogCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := one(t, status(200))
		synctest.Wait()
		r.events.fail(ledger.ErrClosed, 0)
		time.Sleep(time.Hour)
		if len(r.events.watched) != 1 || r.logged("level=") != 0 {
			t.Errorf("watched %v, logged %s", r.events.watched, &r.text)
		}
	})
}

// A reload keeps what waits, and tries again at once where settings have changed.
func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, hook := one(t, status(http.StatusUnauthorized))
		r.happens(t, "1", "2")
		time.Sleep(20 * time.Minute) // pauses are minutes by now
		hook.becomes(status(200))
		before := len(hook.requests())
		r.Set([]*Target{target(t, Settings{})})
		synctest.Wait()
		if n := len(hook.requests()) - before; n != 0 {
			t.Errorf("%d requests after a reload of the same", n)
		}
		const fresh = "hidden-secret-of-two"
		r.Set([]*Target{target(t, Settings{Secrets: []string{fresh}, Kinds: []ledger.Kind{ledger.Up}})})
		synctest.Wait()
		got := hook.requests()[before:]
		if !slices.Equal(reasons(got), []string{"1", "2"}) {
			t.Fatalf("after a change: %v", reasons(got))
		}
		for _, req := range got {
			if err := verify(req.header, req.body, fresh, wall()); err != nil {
				t.Error(err)
			}
		}
		r.happens(t, "3")
		if n := len(hook.requests()) - before; n != 2 {
			t.Error("an event is posted that is no longer wanted")
		}
	})
}

// What waits for a receiver that is removed is given up, and its attempt ends.
func TestRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, hook := one(t, hang)
		r.happens(t, "1", "2")
		r.Set(nil)
		synctest.Wait()
		r.wantStats(t, 0, map[Outcome]uint64{Abandoned: 2})
		if r.logged("lost=2") != 1 {
			t.Errorf("logged: %s", &r.text)
		}
		r.happens(t, "3")
		hook.becomes(status(200))
		r.Set([]*Target{target(t, Settings{})})
		r.happens(t, "4")
		if got := reasons(hook.requests()); !slices.Equal(got, []string{"1", "4"}) {
			t.Errorf("%v", got)
		}
	})
}

// Stop lets receivers that work have what waits, and waits for no other beyond its
// bound.
func TestStop(t *testing.T) {
	slow := func(_ http.ResponseWriter, _ *http.Request) { time.Sleep(100 * time.Millisecond) }
	for _, tt := range []struct {
		what   string
		answer http.HandlerFunc
		took   time.Duration
		want   map[Outcome]uint64
	}{
		{"slow", slow, 300 * time.Millisecond, map[Outcome]uint64{Delivered: 3}},
		{"failing", status(500), 0, map[Outcome]uint64{Retried: 1, Abandoned: 3}},
		{"hanging", hang, time.Second, map[Outcome]uint64{Abandoned: 3}},
	} {
		synctest.Test(t, func(t *testing.T) {
			r, _ := one(t, tt.answer)
			r.happens(t, "1", "2", "3")
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			begin := time.Now()
			r.Stop(ctx)
			if took := time.Since(begin); took != tt.took {
				t.Errorf("%s: Stop took %v, want %v", tt.what, took, tt.took)
			}
			r.wantStats(t, 0, tt.want)
			r.Stop(ctx)
			r.Set([]*Target{target(t, Settings{})})
			r.happens(t, "4")
			r.wantStats(t, 0, tt.want)
		})
	}
}

// What is appended right before Stop is delivered all the same.
func TestStopCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, hook := one(t, status(200))
		r.happens(t, "1")
		r.events.append(ledger.Event{Why: "2"}, ledger.Event{Why: "3"}, ledger.Event{Why: "4"})
		r.Stop(t.Context())
		if got := reasons(hook.requests()); !slices.Equal(got, []string{"1", "2", "3", "4"}) {
			t.Errorf("%v", got)
		}
	})
}

// Reloads, events, scrapes and a stop at the same time.
func TestConcurrency(t *testing.T) {
	answers := 0
	flaky := func(w http.ResponseWriter, _ *http.Request) {
		if answers++; answers%3 == 0 {
			w.WriteHeader(http.StatusBadGateway)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		r, hook := one(t, flaky)
		go func() {
			for i := range 200 {
				r.Set([]*Target{target(t, Settings{Secrets: []string{secret + strconv.Itoa(i%2)}})})
				_ = r.Stats()
				time.Sleep(10 * time.Millisecond)
			}
		}()
		var want []string
		for i := range 500 {
			r.events.append(ledger.Event{Kind: ledger.Down, Why: strconv.Itoa(i)})
			want = append(want, strconv.Itoa(i))
			time.Sleep(5 * time.Millisecond)
		}
		time.Sleep(time.Hour)
		if got := slices.Compact(reasons(hook.requests())); !slices.Equal(got, want) {
			t.Errorf("order, gaps or repeats: %v", got)
		}
	})
}
