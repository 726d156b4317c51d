package app

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// countedBy is a process with some metrics of every sort.
func countedBy(queries, passes float64, durations ...float64) *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	q := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "portolan_queries_total", Help: "x"}, []string{"rcode", "transport"})
	a := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "portolan_answers_total", Help: "x"}, []string{"region", "registry"})
	p := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "portolan_probe_results_total", Help: "x"}, []string{"verdict"})
	d := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "portolan_probe_duration_seconds", Help: "x", Buckets: []float64{1, 2}})
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "portolan_names", Help: "x"})
	o := prometheus.NewCounter(prometheus.CounterOpts{Name: "process_seconds_total", Help: "x"})
	m.registry.MustRegister(q, a, p, d, g, o)
	q.WithLabelValues("NOERROR", "udp").Add(queries)
	q.WithLabelValues("NOERROR", "tcp").Add(0)
	p.WithLabelValues("fail").Add(0)
	if passes > 0 {
		p.WithLabelValues("pass").Add(passes)
		a.WithLabelValues("westus", "gone").Add(1)
	}
	a.WithLabelValues("westus", "here").Add(queries)
	for _, v := range durations {
		d.Observe(v)
	}
	g.Set(queries)
	o.Add(queries)
	return m
}

func values(t *testing.T, m *metrics) map[string]float64 {
	t.Helper()
	families, err := m.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]float64)
	for _, f := range families {
		for _, s := range f.GetMetric() {
			words := []string{f.GetName()}
			for _, l := range s.GetLabel() {
				words = append(words, l.GetValue())
			}
			name := strings.Join(words, " ")
			switch f.GetType() {
			case dto.MetricType_COUNTER:
				out[name] = s.GetCounter().GetValue()
			case dto.MetricType_GAUGE:
				out[name] = s.GetGauge().GetValue()
			default:
				h := s.GetHistogram()
				out[name+" count"], out[name+" sum"] = float64(h.GetSampleCount()), h.GetSampleSum()
				for _, b := range h.GetBucket() {
					out[name+" buckets"] += float64(b.GetCumulativeCount())
				}
			}
		}
	}
	return out
}

// Counters go on over any number of processes; what is about one process, gauges and
// registries that are gone do not.
func TestCountsCarryOn(t *testing.T) {
	first, second, third := countedBy(10, 4, 0.5, 1.5), countedBy(3, 0, 0.5), countedBy(100, 0)
	pass := func(from, to *metrics) {
		t.Helper()
		b, err := from.counts()
		if err != nil {
			t.Fatal(err)
		}
		if err := to.inherit(b); err != nil {
			t.Fatal(err)
		}
	}
	pass(first, second)
	pass(first, second) // what is told again counts once
	pass(second, third)
	want := map[string]float64{
		"portolan_queries_total NOERROR udp": 113, "portolan_queries_total NOERROR tcp": 0,
		"portolan_probe_results_total fail": 0, "portolan_probe_results_total pass": 4,
		"portolan_answers_total westus here": 113, "portolan_names": 100, "process_seconds_total": 100,
		"portolan_probe_duration_seconds count": 3, "portolan_probe_duration_seconds sum": 2.5, "portolan_probe_duration_seconds buckets": 5,
	}
	got := values(t, third)
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if v, ok := want[name]; !ok || v != got[name] {
			t.Errorf("%s: %v, want %v (wanted: %v)", name, got[name], v, ok)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d series, want %d", len(got), len(want))
	}
	if err := third.inherit([]byte("\x7fno counts")); err == nil {
		t.Error("foreign octets are counts")
	}
	if again := values(t, third); again["portolan_queries_total NOERROR udp"] != 113 {
		t.Error("foreign octets have taken the counts away")
	}
}
