package app

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/cmd/internal/notify"
	"portolan.dev/cmd/internal/version"
	"portolan.dev/config"
	"portolan.dev/config/ledger"
)

// notifyPatience is how long a stop waits for receivers that work; run has more to
// do within [stopTimeout].
const notifyPatience = time.Second

// notification is the body of a request. Its JSON form is stable.
type notification struct {
	DeliveryID string `json:"delivery_id"`
	Node       string `json:"node"`
	admin.Event
}

// newNotifier makes what posts events that come after the given one: those of
// before were posted by the process that wrote them, or are lost to receivers.
func (a *App) newNotifier(last uint64) *notify.Notifier {
	return notify.New(notify.Options{
		Events: a.record.store, From: last + 1,
		Body: func(e ledger.Event, delivery string) any {
			return notification{DeliveryID: delivery, Node: a.world.Load().Compiled.Snapshot.Identity, Event: a.event(&e)}
		},
		Agent: "portolan/" + version.Version(), Log: a.log, Now: a.o.Now, Wall: a.clock.wall,
		Rand: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), //nolint:gosec // draws ids and spreads attempts
	})
}

// stopNotifier gives receivers that work what waits for them.
func (a *App) stopNotifier(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, notifyPatience)
	defer cancel()
	a.notifier.Stop(ctx)
}

// receivers makes the targets of a configuration, with the files they name. The
// error joins all that is wrong.
func receivers(c *config.Config) ([]*notify.Target, error) {
	var out []*notify.Target
	var errs []error
	for i := range c.Notify {
		t, err := receiver(&c.Notify[i])
		if err != nil {
			errs = append(errs, fmt.Errorf("%v: notify: %w", c.Notify[i].Pos, err))
			continue
		}
		out = append(out, t)
	}
	return out, errors.Join(errs...)
}

func receiver(n *config.Notify) (*notify.Target, error) {
	s := notify.Settings{URL: n.URL, Place: n.Pos.String()}
	for _, kind := range n.Events {
		s.Kinds = append(s.Kinds, ledger.Kind(kind))
	}
	var err error
	switch {
	case n.SecretFile != "":
		if s.Secrets, err = secretLines(n.SecretFile); err != nil {
			return nil, fmt.Errorf("secret_file: %w", err)
		}
	case n.Secret != "":
		s.Secrets = []string{string(n.Secret)}
	}
	if n.CAFile != "" {
		if s.Roots, err = os.ReadFile(n.CAFile); err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
	}
	t, err := notify.NewTarget(s)
	if err != nil && n.SecretFile+n.CAFile != "" {
		return nil, fmt.Errorf("with %s: %w", strings.TrimSpace(n.SecretFile+" "+n.CAFile), err)
	}
	return t, err
}

// secretLines reads one secret from each line that is not empty.
func secretLines(path string) ([]string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	secrets := strings.FieldsFunc(string(data), func(r rune) bool { return r == '\n' || r == '\r' })
	if len(secrets) == 0 {
		return nil, fmt.Errorf("%s is empty: write the secret on a line, or leave the key out for no signature", path)
	}
	return secrets, nil
}

// receiversByURL gives what tells one set of receivers from another.
func receiversByURL(w *World) map[string]string {
	out := make(map[string]string, len(w.receivers))
	for _, t := range w.receivers {
		out[t.URL()] = t.Digest()
	}
	return out
}

// collectNotify reports what became of notifications.
func (m *metrics) collectNotify(ch chan<- prometheus.Metric) {
	s := m.a.notifier.Stats()
	for i, n := range s.Deliveries {
		ch <- prometheus.MustNewConstMetric(m.notifyDeliveries, prometheus.CounterValue, float64(n), notify.Outcome(i).String())
	}
	ch <- prometheus.MustNewConstMetric(m.notifyQueue, prometheus.GaugeValue, float64(s.Queued))
}
