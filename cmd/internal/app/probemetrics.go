package app

import (
	"github.com/prometheus/client_golang/prometheus"

	"portolan.dev/health"
)

// probeMetrics are those of probes and of the prober.
type probeMetrics struct {
	probeTime                     *prometheus.HistogramVec
	probeResults                  *prometheus.CounterVec
	probeLocal                    prometheus.Counter
	impaired, anchors, unobserved *prometheus.Desc
}

func newProbeMetrics(desc func(name, help string, labels ...string) *prometheus.Desc) probeMetrics {
	return probeMetrics{
		probeTime: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "portolan_probe_duration_seconds", Help: "Time from the start of a probe to its verdict.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"verdict"}),
		probeResults: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "portolan_probe_results_total", Help: "Results of probes by verdict.",
		}, []string{"verdict"}),
		probeLocal: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "portolan_probe_local_errors_total", Help: "Probes that failed on this machine and say nothing of their targets.",
		}),
		impaired:   desc("prober_impaired", "1 while the prober is in trouble itself, and takes no replica down for silence."),
		anchors:    desc("prober_anchors", "Anchors of the prober, by whether they answered when they were last asked.", "answered"),
		unobserved: desc("replicas_unobserved", "Replicas that cannot be probed from here, and stay as they were."),
	}
}

// probed counts one result; the monitor calls it from many goroutines.
func (m *metrics) probed(_ *health.Check, r health.Result) {
	if r.Fault == health.Local && r.Verdict != health.Pass {
		m.probeLocal.Inc()
	}
	verdict := r.Verdict.String()
	m.probeResults.WithLabelValues(verdict).Inc()
	m.probeTime.WithLabelValues(verdict).Observe(r.Took.Seconds())
}

// collectProber reports the self-check.
func (m *metrics) collectProber(ch chan<- prometheus.Metric, w *World) {
	s := m.a.monitor.SelfCheck()
	answered := 0
	for i := range s.Anchors {
		if s.Anchors[i].Answered {
			answered++
		}
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(m.impaired, bit(s.Impaired))
	gauge(m.unobserved, float64(m.a.unobserved(w)))
	gauge(m.anchors, float64(answered), "yes")
	gauge(m.anchors, float64(len(s.Anchors)-answered), "no")
}
