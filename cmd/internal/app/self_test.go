package app_test

import (
	"strings"
	"testing"
)

// TestAnchors serves with anchors, and takes others with a reload.
func TestAnchors(t *testing.T) {
	t.Parallel()
	replica := newStandIn(t)
	text := head + `
zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}}
health: {anchors: ["` + replica.addr() + `", "127.0.0.1:1"]}
probes: {up: {type: http, interval: 100ms, fall: 1}}
registries:
  r: {replicas: {westus: {addresses: [192.0.2.1], probe: up, probe_target: "` + replica.addr() + `"}}}
`
	s := start(t, text)
	eventually(t, "both anchors have answered, one with a refusal", func() bool {
		p := s.Status().Prober
		return len(p.Anchors) == 2 && p.Anchors[0].Answered && p.Anchors[1].Answered && strings.Contains(p.Anchors[1].Last, "refused")
	})
	if p := s.Status().Prober; p.Impaired || p.LocalShare != 0 || p.Since != nil {
		t.Errorf("%+v", p)
	}
	s.write(t, strings.Replace(text, `, "127.0.0.1:1"]`, "]", 1))
	s.reload(t)
	eventually(t, "one anchor is left", func() bool {
		p := s.Status().Prober
		return len(p.Anchors) == 1 && p.Anchors[0].Address == replica.addr()
	})
}
