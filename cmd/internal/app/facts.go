package app

import (
	"encoding/binary"
	"hash/fnv"
	"net/netip"
	"sync"
	"time"

	"portolan.dev/config"
	"portolan.dev/resolver"
	"portolan.dev/resolver/compile"
)

// facts is what is kept of the configuration of a registry beside what is compiled
// of it: its replicas, as they stood in the file, would take more memory than all
// answers together.
type facts struct {
	// settings tells whether a reload has changed anything of the registry but its
	// replicas and its place in the files.
	settings       uint64
	own            uint8 // characters of the global name before the zone and its dot; 0 at an apex
	regional, data bool  // has these names
	wantsHolds     bool  // the configuration allows holds
	manualFailback bool
}

// said is what the configuration of a world says, as far as it is kept.
type said struct {
	registries []facts  // by registry
	replicas   []uint32 // digests, by replica number of the snapshot
}

func newSaid(c *config.Config, compiled *compile.Result, beside func(func())) said {
	s := compiled.Snapshot
	numbers := make(map[string]uint8, len(s.Regions))
	for i := range s.Regions {
		numbers[s.Regions[i].Name] = uint8(i)
	}
	out := said{make([]facts, len(c.Registries)), make([]uint32, len(s.Replicas))}
	// On two processors at once: a reload of many registries waits for it.
	var halves sync.WaitGroup
	middle := len(c.Registries) / 2
	halves.Go(func() { beside(func() { out.note(c.Registries, 0, middle, s, numbers) }) })
	out.note(c.Registries, middle, len(c.Registries), s, numbers)
	halves.Wait()
	return out
}

// note fills in what registries from first on and before end say.
func (out *said) note(registries []config.Registry, first, end int, s *resolver.Snapshot, numbers map[string]uint8) {
	var d digester
	for i := first; i < end; i++ {
		r := &registries[i]
		out.registries[i] = facts{
			settings: d.settings(r), regional: r.RegionalEndpoints, data: r.DataEndpoints,
			wantsHolds: r.Sticky.Hold > 0, manualFailback: r.Failback == config.FailbackManual,
		}
		if r.Name != config.Apex {
			out.registries[i].own = uint8(len(r.Name))
		}
		for j := range r.Replicas {
			p := &r.Replicas[j]
			out.replicas[s.ReplicaNumber(i, numbers[p.Region])] = uint32(d.replica(p))
		}
	}
}

// replicaName is the name below geo or data of a registry with the given global
// name, without the trailing dot.
func (f *facts) replicaName(global, label, kind string) string {
	if f.own == 0 {
		return label + "." + kind + "." + trimDot(global)
	}
	return global[:f.own] + "." + label + "." + kind + trimDot(global[f.own:])
}

// digester writes values so that no two lists of them look alike.
type digester struct{ buf []byte }

func (d *digester) settings(r *config.Registry) uint64 {
	d.buf = d.buf[:0]
	for _, s := range [...]string{r.Name, r.Zone, r.Home, r.Answer, r.Families, r.AllDown, r.Failback} {
		d.text(s)
	}
	d.flags(r.RegionalEndpoints, r.DataEndpoints, r.Sticky.HoldWritten)
	for _, t := range [...]time.Duration{r.RegionalTTL, r.Sticky.TTL, r.Sticky.Idle, r.Sticky.Hold, r.RecoveryHold} {
		d.number(int(t))
	}
	d.number(r.Sticky.Renewals)
	return d.sum()
}

func (d *digester) replica(p *config.Replica) uint64 {
	d.buf = d.buf[:0]
	d.text(p.Region)
	d.text(p.Probe)
	d.text(p.ProbeTarget)
	d.flags(p.GlobalEndpointRouting, p.Data != nil)
	d.endpoint(p.Addresses, p.Target)
	if p.Data != nil {
		d.endpoint(p.Data.Addresses, p.Data.Target)
	}
	return d.sum()
}

func (d *digester) sum() uint64 {
	h := fnv.New64a()
	_, _ = h.Write(d.buf) // never fails
	return h.Sum64()
}

func (d *digester) endpoint(addrs []netip.Addr, target string) {
	d.text(target)
	d.number(len(addrs))
	for _, a := range addrs {
		b := a.As16()
		d.buf = append(d.buf, b[:]...)
	}
}

func (d *digester) text(s string) {
	d.number(len(s))
	d.buf = append(d.buf, s...)
}

func (d *digester) number(n int) { d.buf = binary.AppendVarint(d.buf, int64(n)) }

func (d *digester) flags(flags ...bool) {
	for _, f := range flags {
		n := 0
		if f {
			n = 1
		}
		d.number(n)
	}
}
