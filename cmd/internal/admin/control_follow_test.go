package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A follower gets what was, then what comes, filtered, each once.
func TestControlFollow(t *testing.T) {
	api := &controlAPI{coming: make(chan Event)}
	for seq := uint64(1); seq <= 4; seq++ {
		api.past = append(api.past, Event{Seq: seq, Kind: "drain", Region: fmt.Sprint("r", seq%2), DecidedAt: controlTime})
	}
	api.late = []Event{{Seq: 5, Kind: "drain", Region: "r1", DecidedAt: controlTime}}
	// Below the pause of this test is what would end an ordinary exchange.
	const exchange = 500 * time.Millisecond // in which a slow machine begins
	_, path := controlServer(t, api, func(s *Server) { s.read, s.write = exchange, exchange })
	got := make(chan uint64)
	ended := make(chan error)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		ended <- NewClient(path).Follow(ctx, EventQuery{Selector: Selector{Region: "r1"}}, func(e Event) error {
			got <- e.Seq
			return nil
		})
	}()
	want := func(seq uint64) {
		t.Helper()
		select {
		case g := <-got:
			if g != seq {
				t.Fatalf("event %d, want %d", g, seq)
			}
		case err := <-ended:
			t.Fatalf("ended before event %d: %v", seq, err)
		case <-time.After(patience):
			t.Fatalf("no event %d", seq)
		}
	}
	want(1)
	want(3)
	select {
	case err := <-ended:
		t.Fatalf("the time for an ordinary exchange has ended the stream: %v", err)
	case <-time.After(2 * exchange):
	}
	api.coming <- Event{Seq: 5, Region: "r1", DecidedAt: controlTime}
	want(5)
	api.coming <- Event{Seq: 6, Region: "r0", DecidedAt: controlTime}
	api.coming <- Event{Seq: 7, Region: "r1", DecidedAt: controlTime}
	want(7)
	if from := api.followed(); from != 5 {
		t.Errorf("followed from %d, want 5", from)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

func TestControlFollowEnds(t *testing.T) {
	ended := func(t *testing.T, path string) <-chan error {
		t.Helper()
		out := make(chan error, 1)
		go func() { out <- NewClient(path).Follow(t.Context(), EventQuery{}, func(Event) error { return nil }) }()
		return out
	}
	t.Run("with the server", func(t *testing.T) {
		s, path := controlServer(t, &controlAPI{coming: make(chan Event)}, nil)
		out := ended(t, path)
		controlEventually(t, "a follower", func() bool { return len(s.followers) == 1 })
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
		if err := <-out; err == nil || !strings.Contains(err.Error(), "has ended the stream") {
			t.Errorf("%v", err)
		}
	})
	t.Run("with the source", func(t *testing.T) {
		api := &controlAPI{coming: make(chan Event)}
		s, path := controlServer(t, api, nil)
		out := ended(t, path)
		close(api.coming)
		if err := <-out; err == nil || !strings.Contains(err.Error(), "has ended the stream") {
			t.Errorf("%v", err)
		}
		controlEventually(t, "no follower", func() bool { return len(s.followers) == 0 })
	})
	t.Run("when too many", func(t *testing.T) {
		s, path := controlServer(t, &controlAPI{coming: make(chan Event)}, nil)
		for range maxFollowers {
			s.followers <- struct{}{}
		}
		err := <-ended(t, path)
		if st, ok := errors.AsType[*StatusError](err); !ok || st.Code != http.StatusServiceUnavailable {
			t.Errorf("%v", err)
		}
		for range maxFollowers {
			<-s.followers
		}
	})
	t.Run("when nobody reads", func(t *testing.T) {
		api := &controlAPI{coming: make(chan Event)}
		s, path := controlServer(t, api, func(s *Server) { s.stuck = 50 * time.Millisecond })
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprint(c, "GET /v1/events?follow=1 HTTP/1.1\r\nHost: portolan\r\n\r\n")
		big := Event{Seq: 1, Detail: strings.Repeat("x", 64<<10)}
		controlEventually(t, "the follower to be dropped", func() bool {
			select {
			case api.coming <- big:
				return false
			default:
				return len(s.followers) == 0 && api.followed() == 1
			}
		})
	})
}

// A client that goes away does not end a reload half way.
func TestControlChangeOutlivesItsClient(t *testing.T) {
	api := &controlAPI{enter: make(chan struct{}), leave: make(chan struct{})}
	_, path := controlServer(t, api, nil)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- second(NewClient(path).Reload(ctx, ReloadRequest{})) }()
	select {
	case <-api.enter:
	case err := <-ended:
		t.Fatalf("the reload did not begin: %v", err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the client: %v", err)
	}
	close(api.leave)
	controlEventually(t, "the reload to end", func() bool { return api.asked() == "reload false cancelable false" })
}

// A connection that never asks does not hold up the end of a server.
func TestControlStopWithFreshConnection(t *testing.T) {
	s, path := controlServer(t, &controlAPI{}, nil)
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	controlEventually(t, "the connection", func() bool {
		s.fresh.mu.Lock()
		defer s.fresh.mu.Unlock()
		return len(s.fresh.conns) == 1
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
}
