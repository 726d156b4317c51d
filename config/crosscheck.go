package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// finish checks what needs every file: names against one another, and references
// against what they name.
func (d *decoder) finish(main *source) {
	if len(d.zones) == 0 && len(d.errs.kept) == 0 {
		at := &place{up: &place{source: main}, source: main, key: "zones", line: 1, column: 1}
		d.errs.add(at, "there is no zone to serve", "give one: zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}}")
	}
	d.checkServer()
	d.checkAdmin()
	owners := d.nameserverNames()
	zones := newSpeller(d.zoneNames())
	nested := d.zonesAbove()
	for i := range d.cfg.Registries {
		r, at := &d.cfg.Registries[i], d.registryPlaces[i]
		if d.findZone(r, at, zones) {
			d.checkName(r, at, owners)
			d.checkNested(r, at, nested)
		}
	}
	d.warnTransfers()
	d.checkTargets(owners)
	d.checkProbes()
	d.checkPorts()
	d.warnAnchors()
	d.checkRegions()
}

// findZone fills in the only zone there is, or sees that the given one exists.
func (d *decoder) findZone(r *Registry, at registryPlaces, zones *speller) bool {
	switch {
	case r.Zone == invalid || r.Name == "" || len(d.zones) == 0:
		return false
	case r.Zone == "" && len(d.zones) == 1 && len(d.cfg.Zones) == 1:
		r.Zone = d.cfg.Zones[0].Name
	case r.Zone == "":
		d.errs.add(at.zone, "is missing", "name one of the zones: "+list(zones.known))
		return false
	case d.zones[r.Zone] == nil:
		d.errs.add(at.zone, "zone "+show(bare(r.Zone))+" is not configured", zones.suggest(bare(r.Zone)))
		return false
	}
	return true
}

// zoneNames are the zones as people write them.
func (d *decoder) zoneNames() []string {
	names := make([]string, len(d.cfg.Zones))
	for i := range d.cfg.Zones {
		names[i] = bare(d.cfg.Zones[i].Name)
	}
	return names
}

// list writes some of the names.
func list(names []string) string {
	const some = 10
	if len(names) > some {
		return strings.Join(names[:some], ", ") + ", ..."
	}
	return strings.Join(names, ", ")
}

// owner is who has a name already.
type owner struct {
	what string
	at   Pos
}

// nameserverNames starts the map of who owns which name.
func (d *decoder) nameserverNames() map[string]owner {
	owners := make(map[string]owner, len(d.cfg.Registries))
	for i := range d.cfg.Zones {
		for _, ns := range d.cfg.Zones[i].Nameservers {
			owners[ns.Name] = owner{"the name server", ns.Pos}
		}
	}
	return owners
}

// checkName sees that the names of a registry fit and that its global name is its
// own. Regional and data names of two registries in one zone cannot be equal
// while their global names differ, since no registry name ends in geo or data.
func (d *decoder) checkName(r *Registry, at registryPlaces, owners map[string]owner) {
	const explain = "_explain."
	global := r.GlobalName()
	longest := explain + global
	label := "" // the longest
	for i := range r.Replicas {
		if l := Label(r.Replicas[i].Region); len(l) > len(label) {
			label = l
		}
	}
	if name := r.RegionalName(label); r.RegionalEndpoints && len(name) > len(longest) {
		longest = name
	}
	if name := r.DataName(label); r.DataEndpoints && len(name) > len(longest) {
		longest = name
	}
	if n := len(longest) - 1; n > maxName {
		d.errs.add(at.name, fmt.Sprintf("makes the name %s of %d characters, and %d are allowed", show(longest), n, maxName), "shorten it")
	}
	if o, taken := owners[global]; taken {
		d.errs.add(at.name, "the name "+bare(global)+" is that of "+o.what+" at "+o.at.String(), "choose another name or zone")
		return
	}
	owners[global] = owner{"the registry", at.name.pos()}
}

// zonesAbove says of each zone whether another one lies below it.
func (d *decoder) zonesAbove() map[string]bool {
	nested := map[string]bool{}
	for i := range d.cfg.Zones {
		_, parent, _ := strings.Cut(d.cfg.Zones[i].Name, ".")
		if above := d.closestZone(parent); above != "" {
			nested[above] = true
		}
	}
	return nested
}

// closestZone is the configured zone a fully qualified name belongs to; "" for none.
func (d *decoder) closestZone(name string) string {
	for name != "" {
		if d.zones[name] != nil {
			return name
		}
		_, name, _ = strings.Cut(name, ".")
	}
	return ""
}

// checkNested refuses names that lie in a zone below the registry's own: queries
// for them are answered from that zone.
func (d *decoder) checkNested(r *Registry, at registryPlaces, nested map[string]bool) {
	if !nested[r.Zone] {
		return
	}
	names := []string{r.GlobalName()}
	for i := range r.Replicas {
		label := Label(r.Replicas[i].Region)
		if r.RegionalEndpoints {
			names = append(names, r.RegionalName(label))
		}
		if r.DataEndpoints {
			names = append(names, r.DataName(label))
		}
	}
	for _, name := range names {
		if zone := d.closestZone(name); zone != r.Zone {
			d.errs.add(at.name, "its name "+bare(name)+" lies in the zone "+bare(zone)+", which is configured too",
				"move the registry into that zone, or rename one of them")
			return
		}
	}
}

// checkTargets refuses targets that are names of a registry: the answer would
// lead back here, in the worst case to itself.
func (d *decoder) checkTargets(owners map[string]owner) {
	for _, t := range d.targetRefs {
		const hint = "name the host behind it, or give its addresses"
		if o, taken := owners[t.name]; taken && o.what == "the registry" {
			d.errs.add(t.at, "the target is the global name of the registry at "+o.at.String(), hint)
		} else if zone := d.closestZone(t.name); zone != "" && keptLabel(t.name, zone) != "" {
			d.errs.add(t.at, "the target is a regional or data name of zone "+bare(zone), hint)
		}
	}
}

func (d *decoder) checkProbes() {
	names := make([]string, 0, len(d.cfg.Probes))
	for i := range d.cfg.Probes {
		names = append(names, d.cfg.Probes[i].Name)
	}
	probes := newSpeller(names)
	for _, ref := range d.probeRefs {
		if d.probes[ref.name] == nil {
			hint := probes.suggest(ref.name)
			if len(names) == 0 {
				hint = "define it: probes: {" + clip(ref.name) + ": {type: registry}}"
			}
			d.errs.add(ref.at, "probe "+show(ref.name)+" is not defined", hint)
		}
	}
}

// checkPorts sees that a probe without a port is told everywhere what to dial.
func (d *decoder) checkPorts() {
	portless := make(map[string]bool)
	for i := range d.cfg.Probes {
		if p := &d.cfg.Probes[i]; p.Type == ProbeTCP && p.Port == 0 {
			portless[p.Name] = true
		}
	}
	if len(portless) == 0 {
		return
	}
	for i := range d.cfg.Registries {
		for j := range d.cfg.Registries[i].Replicas {
			r := &d.cfg.Registries[i].Replicas[j]
			if portless[r.Probe] && r.ProbeTarget == "" {
				d.errs.add(d.probes[r.Probe], "a probe of type tcp without a port: the replica at "+r.Pos.String()+" says no probe_target",
					"add port: 443, or give each replica that has this probe a probe_target")
				delete(portless, r.Probe) // once is enough
			}
		}
	}
}

// warnAnchors warns of anchors that are replicas: the prober could not tell the death of
// such a replica from trouble of its own.
func (d *decoder) warnAnchors() {
	if len(d.cfg.Health.Anchors) == 0 {
		return
	}
	replicas := make(map[netip.Addr]*Replica)
	for i := range d.cfg.Registries {
		for j := range d.cfg.Registries[i].Replicas {
			p := &d.cfg.Registries[i].Replicas[j]
			for _, a := range p.Addresses {
				replicas[a] = p
			}
		}
	}
	for _, a := range d.cfg.Health.Anchors {
		if p := replicas[a.Addr()]; p != nil {
			d.warnings.add(d.sections.health.first[d.sections.health.index["anchors"]],
				a.String()+" is an address of the replica at "+p.Pos.String()+": its death would look like trouble of this machine",
				"name a host that is no replica, in another network")
		}
	}
}

// checkRegions sees that every region has coordinates, and leaves in the Config
// those in use: the declared ones in file order, then the others in order of use.
func (d *decoder) checkRegions() {
	var implied []Region
	located := d.locatedRegions()
	for i, ref := range d.regionRefs {
		if i == MaxRegions {
			d.errs.add(ref.at, fmt.Sprintf("more than %d regions are in use", MaxRegions), "serve the registries of further regions from another server")
		}
		if d.regions[ref.name] == nil {
			implied = append(implied, Region{Name: ref.name, Pos: ref.at.pos()})
			d.checkKnown(ref.name, ref.at, located)
		}
	}
	for i := range d.cfg.Regions {
		if r := &d.cfg.Regions[i]; r.Latitude == nil && r.Longitude == nil {
			d.checkKnown(r.Name, d.regions[r.Name], located)
		}
	}
	d.cfg.Regions = slices.DeleteFunc(d.cfg.Regions, func(r Region) bool { return !d.regionsInUse[r.Name] })
	d.cfg.Regions = append(d.cfg.Regions, implied...)
}

// locatedRegions are the declared regions that have coordinates of their own, as
// hints for those that have none: a bounded number, since there may be many.
func (d *decoder) locatedRegions() []string {
	var names []string
	for i := range d.cfg.Regions {
		if r := &d.cfg.Regions[i]; r.Latitude != nil && len(names) < MaxRegions {
			names = append(names, r.Name)
		}
	}
	return names
}

func (d *decoder) checkKnown(region string, at *place, located []string) {
	if d.opts.KnownRegion == nil {
		return
	}
	err := d.opts.KnownRegion(region)
	if err == nil {
		return
	}
	hint := "mend the spelling, or give it coordinates: regions: {" + clip(region) + ": {latitude: 47.4, longitude: 8.5}}"
	if best := nearest(region, located); best != "" {
		hint = "did you mean " + best + "?"
	}
	d.errs.add(at, err.Error(), hint)
}
