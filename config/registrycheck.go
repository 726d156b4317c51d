package config

import (
	"fmt"
	"net/netip"
	"slices"
)

// checkRegistry looks at what the keys of one registry say together. Names and
// references wait until every file is read.
func checkRegistry(c *cursor, r *Registry, g given[Registry]) {
	if len(r.Replicas) == 0 {
		return
	}
	if n := len(r.Replicas); n > MaxRegions {
		c.d.errs.add(g.where("replicas"), fmt.Sprintf("%d replicas", n), fmt.Sprintf("a registry has at most %d", MaxRegions))
		return
	}
	regions := make([]string, len(r.Replicas))
	for i := range r.Replicas {
		regions[i] = r.Replicas[i].Region
	}
	switch {
	case !g.has("home"):
		r.Home = regions[0]
	case r.Home != "" && !slices.Contains(regions, r.Home):
		c.d.errs.add(g.where("home"), "home "+show(r.Home)+" is no replica of the registry", suggest(r.Home, regions))
	}
	c.d.checkLabels(r)
	c.d.checkAddresses(r)
	c.d.checkFamilies(r, g)
	c.d.warnReplicas(r, g)
	if r.DataEndpoints {
		r.fillData()
	}
}

// checkLabels refuses two replicas that would have one regional name.
func (d *decoder) checkLabels(r *Registry) {
	for i := range r.Replicas {
		label := Label(r.Replicas[i].Region)
		for j := range i {
			if Label(r.Replicas[j].Region) == label {
				d.errs.add(d.replicaPlaces[i].at, "its regional name has the label "+label+", which "+r.Replicas[j].Region+" has too",
					"keep one of the two regions in this registry")
				break
			}
		}
	}
}

// checkAddresses refuses an address that two replicas have: clients drained from
// one would be sent to the same place again.
func (d *decoder) checkAddresses(r *Registry) {
	for i := range r.Replicas {
		for _, addr := range r.Replicas[i].Addresses {
			for j := range i {
				if slices.Contains(r.Replicas[j].Addresses, addr) {
					d.errs.add(d.replicaPlaces[i].addresses, addr.String()+" is an address of replica "+r.Replicas[j].Region+" too",
						"give each replica its own, or leave one replica out")
				}
			}
		}
	}
}

// familySet is a set of address families.
type familySet uint8

const (
	hasIPv4 familySet = 1 << iota
	hasIPv6
)

func (f familySet) String() string {
	switch f {
	case hasIPv4:
		return "IPv4"
	case hasIPv6:
		return "IPv6"
	case hasIPv4 | hasIPv6:
		return "IPv4 and IPv6"
	}
	return "no"
}

func family(addr netip.Addr) familySet {
	if addr.Is4() {
		return hasIPv4
	}
	return hasIPv6
}

func familiesOf(addrs []netip.Addr) familySet {
	var f familySet
	for _, addr := range addrs {
		f |= family(addr)
	}
	return f
}

// servedFamilies is what the key families asks for; 0 asks for nothing.
func servedFamilies(word string) familySet {
	switch word {
	case FamiliesIPv4:
		return hasIPv4
	case FamiliesIPv6:
		return hasIPv6
	case FamiliesDual:
		return hasIPv4 | hasIPv6
	}
	return 0
}

// checkFamilies sees that all replicas serve the same families: resolvers share
// the answer that there is no AAAA between clients, so that one client's replica
// would decide for another's. Replicas with a target are left out: the answer
// about its addresses stands at the name of the target. What the key families
// excludes is removed.
func (d *decoder) checkFamilies(r *Registry, g given[Registry]) {
	want := servedFamilies(r.Families)
	if want == 0 {
		d.checkSameFamilies(r)
		return
	}
	for i := range r.Replicas {
		p := &r.Replicas[i]
		at := d.replicaPlaces[i]
		if have := familiesOf(p.Addresses); len(p.Addresses) > 0 && have&want != want {
			d.errs.add(at.addresses, fmt.Sprintf("families: %s, and the replica has %s addresses only", r.Families, have),
				fmt.Sprintf("give it %s, or change families at %s", want, g.where("families").pos()))
			continue
		}
		p.Addresses = only(p.Addresses, want)
		if p.Data == nil || len(p.Data.Addresses) == 0 {
			continue
		}
		if p.Data.Addresses = only(p.Data.Addresses, want); len(p.Data.Addresses) == 0 {
			d.errs.add(at.at.child("data"), "families: "+r.Families+" leaves the data endpoint without an address", "give it one")
		}
	}
}

// only gives the addresses of the wanted families.
func only(addrs []netip.Addr, want familySet) []netip.Addr {
	return slices.DeleteFunc(addrs, func(addr netip.Addr) bool { return family(addr)&want == 0 })
}

func (d *decoder) checkSameFamilies(r *Registry) {
	first := -1
	for i := range r.Replicas {
		have := familiesOf(r.Replicas[i].Addresses)
		if have == 0 {
			continue
		}
		if first < 0 {
			first = i
			continue
		}
		other := familiesOf(r.Replicas[first].Addresses)
		if have == other {
			continue
		}
		hint := "give both replicas the same families"
		switch have & other {
		case hasIPv4:
			hint = "add the missing IPv6 address, or set families: ipv4 on the registry to serve only what all have"
		case hasIPv6:
			hint = "add the missing IPv4 address, or set families: ipv6 on the registry to serve only what all have"
		}
		d.errs.add(d.replicaPlaces[i].addresses, fmt.Sprintf("the replica has %s addresses, and %s has %s", have, r.Replicas[first].Region, other), hint)
	}
}

// warnReplicas says what is allowed but seldom meant.
func (d *decoder) warnReplicas(r *Registry, g given[Registry]) {
	routed, probed, targets := 0, 0, 0
	for i := range r.Replicas {
		p := &r.Replicas[i]
		if p.GlobalEndpointRouting {
			routed++
		}
		if p.Probe != "" {
			probed++
		}
		if p.Target != "" {
			targets++
		}
	}
	if routed == 0 {
		d.warnings.add(g.where("replicas"), "no replica takes part in global_endpoint_routing: the global name answers no address", "set it to true on one replica")
	}
	for i := range r.Replicas {
		if probed > 0 && r.Replicas[i].Probe == "" {
			d.warnings.add(d.replicaPlaces[i].at, "the replica has no probe while others have: it always counts as up", "give it a probe")
		}
	}
	flattened := r.Answer == AnswerAddress || r.Name == Apex
	if flattened && targets > 0 && targets < len(r.Replicas) && r.Families == FamiliesAll {
		d.warnings.add(g.where("replicas"), "the global name answers the addresses of targets, whose families are not known here",
			"set families to what every replica has")
	}
}

// fillData gives each replica without a data endpoint its own addresses or target.
func (r *Registry) fillData() {
	for i := range r.Replicas {
		if p := &r.Replicas[i]; p.Data == nil {
			p.Data = &DataEndpoint{Addresses: p.Addresses, Target: p.Target}
		}
	}
}
