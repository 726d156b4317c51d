package app

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/cmd/internal/notify"
	"portolan.dev/cmd/internal/secretfile"
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
func (f *keptFiles) receivers(c *config.Config) ([]*secretfile.Kept[*notify.Target], error) {
	var out []*secretfile.Kept[*notify.Target]
	var errs []error
	for i := range c.Notify {
		t, err := f.receiver(&c.Notify[i])
		if err != nil {
			errs = append(errs, fmt.Errorf("%v: notify: %w", c.Notify[i].Pos, err))
			continue
		}
		out = append(out, t)
	}
	return out, errors.Join(errs...)
}

// receiver keeps a target, which depends on its secret and on whom it trusts.
func (f *keptFiles) receiver(n *config.Notify) (*secretfile.Kept[*notify.Target], error) {
	s := notify.Settings{URL: n.URL, Place: n.Pos.String()}
	for _, kind := range n.Events {
		s.Kinds = append(s.Kinds, ledger.Kind(kind))
	}
	if n.Secret != "" {
		s.Secrets = []string{string(n.Secret)}
	}
	roots := f.system.Source()
	if n.CAFile != "" {
		roots = secretfile.PEM(n.CAFile)
	}
	sources := []secretfile.Source{roots}
	if n.SecretFile != "" {
		sources = append(sources, secretfile.Secret(n.SecretFile))
	}
	name := strings.Join(slices.DeleteFunc([]string{fileKey("ca_file", n.CAFile), fileKey("secret_file", n.SecretFile)}, func(s string) bool { return s == "" }), " and ")
	k, err := secretfile.Keep(name, func(texts [][]byte) (*notify.Target, error) {
		s := s
		s.RootsVersion = sha256.Sum256(texts[0])
		var err error
		if s.Roots = f.system.Get(); n.CAFile != "" {
			if s.Roots, err = authorities(n.CAFile, texts[0]); err != nil {
				return nil, err
			}
		}
		if n.SecretFile != "" {
			if s.Secrets, err = secretLines(n.SecretFile, texts[1]); err != nil {
				return nil, err
			}
		}
		t, err := notify.NewTarget(s)
		if err != nil && n.SecretFile != "" {
			err = fmt.Errorf("%s: %w", n.SecretFile, err)
		}
		return t, err
	}, sources...)
	if err != nil {
		if name != "" {
			err = fmt.Errorf("%s: %w", name, err)
		}
		return nil, err
	}
	f.all = append(f.all, k)
	return k, nil
}

// fileKey is the name of a key whose value is a path, if it has one.
func fileKey(name, path string) string {
	if path == "" {
		return ""
	}
	return name
}

// targets returns the receivers as their files are now.
func (w *World) targets() []*notify.Target {
	out := make([]*notify.Target, 0, len(w.receivers))
	for _, k := range w.receivers {
		out = append(out, k.Get())
	}
	return out
}

// secretLines gives one secret for each line that is not empty.
func secretLines(path string, text []byte) ([]string, error) {
	secrets := strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' || r == '\r' })
	if len(secrets) == 0 {
		return nil, fmt.Errorf("%s is empty: write the secret on a line, or leave the key out for no signature", path)
	}
	return secrets, nil
}

// receiversByURL gives what tells one set of receivers from another.
func receiversByURL(w *World) map[string]string {
	out := make(map[string]string, len(w.receivers))
	for _, t := range w.targets() {
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
