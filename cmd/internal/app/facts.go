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
	"portolan.dev/resolver/decide"
)

// facts is what is kept of the configuration of a registry beside what is compiled
// of it: its replicas, as they stood in the file, would take more memory than all
// answers together.
type facts struct {
	// settings tells whether a reload has changed anything of the registry but its
	// replicas and its place in the files.
	settings       uint64
	regionalTTL    uint32 // of the regional and data names, in seconds; 0 without such names
	own            uint8  // characters of the global name before the zone and its dot; 0 at an apex
	regional, data bool   // has these names
	wantsHolds     bool   // the configuration allows holds
	manualFailback bool
}

// said is what the configuration of a world says, as far as it is kept.
type said struct {
	registries []facts  // by registry
	replicas   []uint32 // digests, by replica number of the snapshot
	// addresses holds what the names of replicas lead to, in two parts.
	addresses [2]addresses
}

// addresses are digests of the addresses and host names of a run of replicas: enough to
// see whether one of them is gone.
type addresses struct {
	first   int      // replica number of the first
	ends    []uint32 // in digests, by replica from first on
	digests []uint32
}

// addressesOf returns the digests of what the names of a replica lead to, by its number.
func (out *said) addressesOf(replica int) []uint32 {
	part := &out.addresses[0]
	if replica >= out.addresses[1].first {
		part = &out.addresses[1]
	}
	at, begin := replica-part.first, uint32(0)
	if at > 0 {
		begin = part.ends[at-1]
	}
	return part.digests[begin:part.ends[at]]
}

func newSaid(c *config.Config, compiled *compile.Result, beside func(func())) said {
	s := compiled.Snapshot
	numbers := make(map[string]uint8, len(s.Regions))
	for i := range s.Regions {
		numbers[s.Regions[i].Name] = uint8(i)
	}
	out := said{registries: make([]facts, len(c.Registries)), replicas: make([]uint32, len(s.Replicas))}
	// On two processors at once: a reload of many registries waits for it.
	var halves sync.WaitGroup
	middle := len(c.Registries) / 2
	halves.Go(func() { beside(func() { out.addresses[0] = out.note(c.Registries, 0, middle, s, numbers) }) })
	out.addresses[1] = out.note(c.Registries, middle, len(c.Registries), s, numbers)
	halves.Wait()
	return out
}

// note fills in what registries from first on and before end say, and returns the
// addresses of their replicas.
func (out *said) note(registries []config.Registry, first, end int, s *resolver.Snapshot, numbers map[string]uint8) (a addresses) {
	var d digester
	a = newAddresses(registries[first:end])
	if a.first = len(s.Replicas); first < end {
		a.first = int(s.Registries[first].First)
	}
	for i := first; i < end; i++ {
		r := &registries[i]
		out.registries[i] = facts{
			settings: d.settings(r), regional: r.RegionalEndpoints, data: r.DataEndpoints,
			wantsHolds: r.Sticky.Hold > 0, manualFailback: r.Failback == config.FailbackManual,
		}
		if r.RegionalEndpoints || r.DataEndpoints {
			out.registries[i].regionalTTL = uint32(r.RegionalTTL / time.Second)
		}
		if r.Name != config.Apex {
			out.registries[i].own = uint8(len(r.Name))
		}
		var ordered [decide.MaxRegions]*config.Replica // as the snapshot has them
		for j := range r.Replicas {
			p := &r.Replicas[j]
			number := s.ReplicaNumber(i, numbers[p.Region])
			out.replicas[number] = uint32(d.replica(p))
			ordered[number-int(s.Registries[i].First)] = p
		}
		for _, p := range ordered[:len(r.Replicas)] {
			a.digests = d.leadsTo(a.digests, p, r.DataEndpoints)
			a.ends = append(a.ends, uint32(len(a.digests)))
		}
	}
	return a
}

// newAddresses makes room for those of registries.
func newAddresses(registries []config.Registry) addresses {
	replicas, digests := 0, 0
	each := func(addrs []netip.Addr, target string) {
		if digests += len(addrs); target != "" {
			digests++
		}
	}
	for i := range registries {
		r := &registries[i]
		replicas += len(r.Replicas)
		for j := range r.Replicas {
			p := &r.Replicas[j]
			each(p.Addresses, p.Target)
			if r.DataEndpoints && p.Data != nil {
				each(p.Data.Addresses, p.Data.Target)
			}
		}
	}
	return addresses{ends: make([]uint32, 0, replicas), digests: make([]uint32, 0, digests)}
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

// leadsTo appends a digest of each address or host name that the names of a replica lead
// to; the data name has its own.
func (d *digester) leadsTo(dst []uint32, p *config.Replica, data bool) []uint32 {
	dst = d.each(dst, "", p.Addresses, p.Target)
	if data && p.Data != nil {
		dst = d.each(dst, "data", p.Data.Addresses, p.Data.Target)
	}
	return dst
}

func (d *digester) each(dst []uint32, name string, addrs []netip.Addr, target string) []uint32 {
	one := func(addrs []netip.Addr, target string) {
		d.buf = d.buf[:0]
		d.text(name)
		d.endpoint(addrs, target)
		dst = append(dst, uint32(d.sum()))
	}
	for i := range addrs {
		one(addrs[i:i+1], "")
	}
	if target != "" {
		one(nil, target)
	}
	return dst
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
