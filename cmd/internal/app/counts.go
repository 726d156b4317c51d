package app

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// before are the counts of the processes before this one, to which its own are
// added: a counter that falls back to zero says that the server has started anew, and after
// an upgrade it has not.
type before struct {
	mu       sync.Mutex
	families map[string]*dto.MetricFamily
}

// Gather implements prometheus.Gatherer.
func (m *metrics) Gather() ([]*dto.MetricFamily, error) {
	families, err := m.registry.Gather()
	m.before.mu.Lock()
	defer m.before.mu.Unlock()
	for _, f := range families {
		if was := m.before.families[f.GetName()]; was != nil {
			addFamily(f, was)
		}
	}
	return families, err
}

// counts returns what has been counted, for the next process.
func (m *metrics) counts() ([]byte, error) {
	families, err := m.Gather()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	e := expfmt.NewEncoder(&b, expfmt.NewFormat(expfmt.TypeProtoDelim))
	for _, f := range families {
		counts := f.GetType() == dto.MetricType_COUNTER || f.GetType() == dto.MetricType_HISTOGRAM
		// Those of the process and the runtime are about one process.
		if !counts || !strings.HasPrefix(f.GetName(), "portolan_") {
			continue
		}
		if err := e.Encode(f); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// inherit takes the counts of the process before, all of them until now.
func (m *metrics) inherit(counts []byte) error {
	families := make(map[string]*dto.MetricFamily)
	for d := expfmt.NewDecoder(bytes.NewReader(counts), expfmt.NewFormat(expfmt.TypeProtoDelim)); ; {
		var f dto.MetricFamily
		err := d.Decode(&f)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		families[f.GetName()] = &f
	}
	m.before.mu.Lock()
	defer m.before.mu.Unlock()
	m.before.families = families
	return nil
}

// addFamily adds the counts of was to those of f. What was counted of a registry that is
// not served any more stays away, as it does after a reload.
func addFamily(f, was *dto.MetricFamily) {
	own := make(map[string]*dto.Metric, len(f.GetMetric()))
	for _, m := range f.GetMetric() {
		own[labelsOf(m)] = m
	}
	for _, w := range was.GetMetric() {
		if m := own[labelsOf(w)]; m != nil {
			addMetric(m, w)
		} else if !slices.ContainsFunc(w.GetLabel(), func(l *dto.LabelPair) bool { return l.GetName() == "registry" }) {
			f.Metric = append(f.Metric, w)
		}
	}
}

func addMetric(m, was *dto.Metric) {
	if c := m.GetCounter(); c != nil {
		c.Value = new(c.GetValue() + was.GetCounter().GetValue())
	}
	h, w := m.GetHistogram(), was.GetHistogram()
	if h == nil || w == nil {
		return
	}
	h.SampleCount = new(h.GetSampleCount() + w.GetSampleCount())
	h.SampleSum = new(h.GetSampleSum() + w.GetSampleSum())
	for _, b := range h.GetBucket() {
		for _, v := range w.GetBucket() {
			if b.GetUpperBound() == v.GetUpperBound() {
				b.CumulativeCount = new(b.GetCumulativeCount() + v.GetCumulativeCount())
			}
		}
	}
}

// labelsOf tells metrics of a family apart. Labels are sorted by name.
func labelsOf(m *dto.Metric) string {
	var b strings.Builder
	for _, l := range m.GetLabel() {
		b.WriteString(l.GetName() + "\x00" + l.GetValue() + "\x00")
	}
	return b.String()
}
