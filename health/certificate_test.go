package health

import (
	"testing"
	"time"
)

func TestEndsSoon(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Unix(1_800_000_000, 0)
	for _, tc := range []struct {
		life, left time.Duration
		want       bool
	}{
		{90 * day, 30 * day, false},
		{90 * day, 14 * day, false},
		{90 * day, 14*day - time.Second, true},
		{90 * day, -time.Hour, true},
		{6 * day, 2 * day, false},
		{6 * day, 35 * time.Hour, true},
		{20 * day, 6 * day, false},
	} {
		c := Certificate{NotBefore: now.Add(tc.left - tc.life), NotAfter: now.Add(tc.left)}
		if got := c.EndsSoon(now); got != tc.want {
			t.Errorf("life %v, left %v: %v", tc.life, tc.left, got)
		}
	}
	if (Certificate{}).EndsSoon(now) {
		t.Error("none ends soon")
	}
}

// The certificate that an endpoint shows is the one that ends first of those that its
// checks have seen, also where the last probe has seen none.
func TestCertificateOfAnEndpoint(t *testing.T) {
	at := func(h int) Certificate {
		return Certificate{NotBefore: time.Unix(0, 0), NotAfter: time.Unix(int64(h)*3600, 0)}
	}
	now := time.Unix(1, 0)
	one, t1 := checkState{}, thresholds{1, 1}
	one = one.step(Result{Verdict: Pass, Certificate: at(5)}, now, t1)
	one = one.step(Result{Verdict: Fail, Detail: "refused"}, now, t1)
	two := checkState{}.step(Result{Verdict: Pass, Certificate: at(3)}, now, t1)
	none := checkState{}.step(Result{Verdict: Pass}, now, t1)
	e := &endpoint{checks: []*check{{state: none, spec: &Check{}}, {state: one, spec: &Check{}}, {state: two, spec: &Check{}}}}
	if got := e.certificate(); got != at(3) {
		t.Errorf("%v", got)
	}
	e.checks = e.checks[:2]
	if got := e.certificate(); got != at(5) {
		t.Errorf("%v", got)
	}
	m := NewMonitor(Options{Now: time.Now})
	m.endpoints = map[string]*endpoint{"a": e, "b": {checks: e.checks[:1]}}
	if got := m.Certificates(); len(got) != 1 || got["a"] != at(5) {
		t.Errorf("%v", got)
	}
}
