package app_test

import (
	"context"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"portolan.dev/cmd/internal/app"
)

var (
	now     = time.Now
	discard = slog.New(slog.DiscardHandler)
)

// settled is the number of goroutines when idle connections are gone.
func settled() int {
	http.DefaultClient.CloseIdleConnections()
	return runtime.NumGoroutine()
}

// probedText is two replicas, each with a stand-in to probe. However slow the machine
// is, one that is well must not be taken for dead.
func probedText(west, europe *standIn) string {
	return head + `
zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}}
probes: {p: {type: registry, tls: false, interval: 500ms, timeout: 500ms, fall: 3, rise: 1}}
registries:
  a: {recovery_hold: 0s, sticky: off, replicas: {westus: {addresses: [192.0.2.10], probe: p, probe_target: "` + west.addr() +
		`"}, westeurope: {addresses: [192.0.2.40], probe: p, probe_target: "` + europe.addr() + `"}}}
`
}

// The masks follow health, the serial rises with each change of them, and a reload
// forgets nothing.
func TestHealth(t *testing.T) {
	west, europe := newStandIn(t), newStandIn(t)
	s := start(t, probedText(west, europe))
	served := func() string { return strings.Join(s.addresses(t, "a.example.io.", seattle), " ") }
	if got := served(); got != "192.0.2.10" {
		t.Fatalf("at first %s", got)
	}
	first := s.serial(t, "example.io.")
	west.broken.Store(true)
	eventually(t, "the dead replica is left", func() bool { return served() == "192.0.2.40" })
	second := s.serial(t, "example.io.")
	if second <= first {
		t.Errorf("serial %d after %d: a change of health is a change of what is served", second, first)
	}

	// Many reloads with as many questions meanwhile: not one answer leads back.
	ctx, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	asking.Go(func() {
		for ctx.Err() == nil {
			if got := served(); got != "192.0.2.40" {
				t.Errorf("during a reload: %s", got)
				return
			}
		}
	})
	last := second
	for i := range 5 {
		s.write(t, probedText(west, europe)+strings.Repeat("  ", 1)+"b"+string(rune('0'+i))+": {replicas: {westus: {addresses: [192.0.2.99]}}}\n")
		s.reload(t)
		serial := s.serial(t, "example.io.")
		if serial <= last {
			t.Errorf("serial %d after %d", serial, last)
		}
		last = serial
	}
	cancel()
	asking.Wait()
	if st := s.Status(); st.Registries[0].Replicas[0].State != "down" || st.Registries[0].Replicas[0].Up {
		t.Errorf("after reloads: %+v", st.Registries[0].Replicas)
	}
	asked := west.asked.Load()
	eventually(t, "probing goes on after a reload", func() bool { return west.asked.Load() > asked })

	west.broken.Store(false)
	eventually(t, "the replica is used again", func() bool { return served() == "192.0.2.10" })
	if serial := s.serial(t, "example.io."); serial <= last {
		t.Errorf("serial %d after %d", serial, last)
	}
}

// An explanation may hold a snapshot that has been replaced, whose numbers mean
// something else by now.
func TestExplainOfThePast(t *testing.T) {
	west, europe := newStandIn(t), newStandIn(t)
	west.broken.Store(true)
	text := probedText(west, europe)
	s := start(t, text+"  z: {replicas: {westus: {addresses: [192.0.2.99]}, eastus: {addresses: [192.0.2.98]}}}\n")
	eventually(t, "the broken replica is down", func() bool { return !s.Status().Registries[0].Replicas[0].Up })
	past := s.World().Compiled.Snapshot
	// "first" takes the number of "a", and "z" is gone.
	s.write(t, strings.Replace(text, "registries:\n", "registries:\n  first: {replicas: {eastus: {addresses: [192.0.2.97]}}}\n", 1))
	s.reload(t)
	for i := range past.Registries {
		for region := range past.Regions {
			if !past.Registries[i].Configured.Has(uint8(region)) {
				continue
			}
			what := past.Registries[i].Key + "/" + past.Regions[region].Label
			want := map[string]string{"a/westus": "down since", "z/westus": "no longer configured", "z/eastus": "no longer configured"}[what]
			if got := past.Excluded(i, uint8(region)); !strings.HasPrefix(got, want) || want == "" && got != "" {
				t.Errorf("%s: %q, want %q", what, got, want)
			}
		}
	}
}

// All replicas down: answered as if all were up.
func TestAllDown(t *testing.T) {
	west, europe := newStandIn(t), newStandIn(t)
	west.broken.Store(true)
	europe.broken.Store(true)
	s := start(t, probedText(west, europe))
	eventually(t, "both are down", func() bool {
		r := s.Status().Registries[0].Replicas
		return !r[0].Up && !r[1].Up
	})
	if got := s.addresses(t, "a.example.io.", amsterdam); !slices.Equal(got, []string{"192.0.2.40"}) {
		t.Errorf("%v", got)
	}
}

// Stop ends every goroutine, whatever ran, and closes what New opened; it may be
// called twice, and before Start.
func TestStop(t *testing.T) {
	west, europe := newStandIn(t), newStandIn(t)
	before := settled()
	for _, run := range []bool{false, true, true} {
		s := newServer(t, probedText(west, europe)+"  own: {answer: address, replicas: {westus: {target: lb.test}}}\n",
			app.Options{Resolvers: []string{"127.0.0.1:1"}})
		if run {
			s.Start()
			_ = s.addresses(t, "a.example.io.", seattle)
			s.reload(t)
		}
		s.stop(t)
		s.stop(t)
		west.CloseClientConnections()
		europe.CloseClientConnections()
		eventually(t, "all goroutines have ended", func() bool { return settled() <= before })
		if err := s.tryReload(t.Context()); err == nil {
			t.Error("a stopped server has reloaded")
		}
		if n := settled(); n > before {
			t.Errorf("%d goroutines after a reload of a stopped server, were %d", n, before)
		}
		m := new(dns.Msg)
		m.SetQuestion("a.example.io.", dns.TypeA)
		if _, _, err := new(dns.Client).Exchange(m, s.Addrs()[0].String()); err == nil {
			t.Error("a stopped server answers")
		}
	}
}

// Run ends with its context.
func TestRun(t *testing.T) {
	s := newServer(t, probedText(newStandIn(t), newStandIn(t)), app.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	_ = s.addresses(t, "a.example.io.", seattle)
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("Run goes on")
	}
}

// Reloads good and bad, queries, explanations, scrapes and changes of health at
// the same time: every answer names one replica, whole.
func TestEverythingAtOnce(t *testing.T) {
	west, europe := newStandIn(t), newStandIn(t)
	good := probedText(west, europe)
	s := start(t, good)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const rounds = 9
	var all sync.WaitGroup
	each := func(f func(i int)) {
		all.Go(func() {
			for i := 0; ctx.Err() == nil && !t.Failed(); i++ {
				f(i)
			}
		})
	}
	for range 2 {
		each(func(int) {
			m := s.ask(t, "a.example.io.", dns.TypeA, seattle)
			if a := texts(m); m.Rcode != dns.RcodeSuccess || len(a) != 1 || a[0] != "192.0.2.10" && a[0] != "192.0.2.40" {
				t.Errorf("%v", m)
			}
		})
	}
	each(func(i int) {
		text, bad := good, i%3 == 2
		if i%3 == 1 {
			text += "  b: {replicas: {eastus: {addresses: [192.0.2.99]}}}\n"
		}
		if bad {
			text += "  c: nonsense\n"
		}
		s.write(t, text)
		if err := s.tryReload(ctx); (err != nil) != bad {
			t.Errorf("reload %d: %v", i, err)
		}
		if i+1 == rounds {
			cancel()
		}
	})
	each(func(i int) {
		west.broken.Store(i%2 == 0)
		europe.broken.Store(i%4 == 1)
		asked := west.asked.Load()
		for ctx.Err() == nil && west.asked.Load() < asked+2 {
			time.Sleep(5 * time.Millisecond)
		}
	})
	each(func(int) {
		resp, err := http.Get("http://" + s.MetricsAddr() + "/metrics")
		if err != nil {
			t.Error(err)
			return
		}
		_ = resp.Body.Close()
		_ = s.Status()
	})
	all.Wait()
	if n := len(s.logs.records(t, "reloaded")); n != rounds*2/3 {
		t.Errorf("%d reloads, want %d", n, rounds*2/3)
	}
}

func texts(m *dns.Msg) []string {
	var out []string
	for _, rr := range m.Answer {
		if a, ok := rr.(*dns.A); ok {
			out = append(out, a.A.String())
		}
	}
	return out
}
