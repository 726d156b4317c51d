package config

import "slices"

// batch is what is read from one part of the registries of a file: the registries
// themselves, or, where there is anything to say of them, the tree to read it from.
type batch struct {
	parsed

	decoded    bool
	registries []Registry
}

// batch reads a part by itself, so that parts can be read side by side: from what is
// known of its text, or by a decoder that sees nothing of the other parts. at is the
// place of the key above the registries.
func (d *decoder) batch(p part, at *place) batch {
	if k, ok := d.cache.get(p.sum); ok && !d.careful {
		d.cache.put(p.sum, k)
		return batch{decoded: true, registries: unpack(k.packed, at.source.name, p.line)}
	}
	tree := p.parse(&d.nodes)
	if d.careful || tree.problem != nil {
		return batch{parsed: tree}
	}
	alone := d.alone()
	decodeEntries(&cursor{place: at, d: alone, node: tree.root}, alone.cfg)
	if len(alone.errs.kept) > 0 || len(alone.warnings.kept) > 0 {
		return batch{parsed: tree}
	}
	d.nodes.give(tree.blocks)
	registries := alone.cfg.Registries
	if d.cache != nil {
		d.cache.put(p.sum, kept{pack(registries, p.line), p.marks})
	}
	return batch{decoded: true, registries: registries}
}

// alone is a decoder for a part of what d decodes.
func (d *decoder) alone() *decoder {
	return &decoder{
		opts: d.opts, sections: d.sections, cfg: new(Config),
		registries: make(map[string]*place), regionsInUse: make(map[string]bool),
	}
}

// add adds the registries of a batch, as if they had been decoded one by one. The
// places it leaves for what is checked later are not theirs: should anything be wrong,
// all is read once more, carefully.
func (d *decoder) add(registries []Registry, at *place) {
	d.hurried = true
	for i := range registries {
		r := &registries[i]
		if d.registries[r.Key] != nil {
			d.errs.add(at, "duplicate key", r.Key)
		}
		d.registries[r.Key] = at
		d.registryPlaces = append(d.registryPlaces, registryPlaces{at, at, at})
		for j := range r.Replicas {
			d.addReplica(&r.Replicas[j], at)
		}
	}
	d.cfg.Registries = append(d.cfg.Registries, registries...)
}

// addReplica notes what a replica refers to.
func (d *decoder) addReplica(r *Replica, at *place) {
	if !d.regionsInUse[r.Region] {
		d.useRegion(r.Region, &place{up: at, source: at.source, key: r.Region, line: int32(r.Pos.Line), column: int32(r.Pos.Column)})
	}
	if last := len(d.probeRefs) - 1; r.Probe != "" && d.probes[r.Probe] == nil && (last < 0 || d.probeRefs[last].name != r.Probe) {
		d.probeRefs = append(d.probeRefs, reference{r.Probe, at})
	}
	if r.Target != "" {
		d.targetRefs = append(d.targetRefs, reference{r.Target, at})
	}
	if r.Data != nil && r.Data.Target != "" {
		d.targetRefs = append(d.targetRefs, reference{r.Data.Target, at})
	}
}

// grow makes room for the registries of parts.
func (d *decoder) grow(parts []part) {
	n := 0
	for i := range parts {
		n += parts[i].entries
	}
	d.cfg.Registries = slices.Grow(d.cfg.Registries, n)
	d.registryPlaces = slices.Grow(d.registryPlaces, n)
}
