package availability

import (
	"context"
	"log/slog"
	"slices"

	"portolan.dev/health"
	"portolan.dev/resolver/compile"
)

// Parted takes in which addresses of replicas are dead: [health.Options.OnParts]. Like a
// replica, one that is dead is left at once.
func (v *Availability) Parted(parts []health.Parts) {
	v.mu.Lock()
	defer v.mu.Unlock()
	zones := make(map[uint32]bool)
	for _, p := range parts {
		members := v.current.Compiled.Members(p.Endpoint)
		if len(members) == 0 {
			continue // gone with the last reload
		}
		before := v.parts[p.Endpoint]
		next := part{Parts: p, living: v.livingOf(members, p, before)}
		if p.Out == 0 {
			delete(v.parts, p.Endpoint)
		} else {
			v.parts[p.Endpoint] = next
		}
		if v.setLiving(members, next.living, zones) {
			v.logParts(before, next, members)
		}
	}
	v.raise(zones)
}

// part is what is known of an endpoint some of whose checks are out.
type part struct {
	health.Parts

	living compile.AddressSet // answered
}

// livingOf returns which addresses of an endpoint are answered, by family: those that are
// not out, else those that work, else those that were answered before. So a family never
// goes: a client that can use the other one finds that out by itself. v.mu is held.
func (v *Availability) livingOf(members []compile.Member, p health.Parts, before part) (living compile.AddressSet) {
	i := slices.IndexFunc(members, func(m compile.Member) bool {
		f := v.current.Compiled.Families(m)
		return f[0]|f[1] != 0
	})
	if i < 0 {
		return 0
	}
	for _, family := range v.current.Compiled.Families(members[i]) {
		switch out, passing := compile.AddressSet(p.Out), compile.AddressSet(p.Passing); {
		case family&^out != 0:
			living |= family &^ out
		case family&passing != 0:
			living |= family & passing
		case family&before.living != 0:
			living |= family & before.living
		default:
			living |= family
		}
	}
	return living
}

// setLiving publishes which addresses of replicas are answered, and notes their zones if
// that is a change. v.mu is held.
func (v *Availability) setLiving(members []compile.Member, living compile.AddressSet, zones map[uint32]bool) (changed bool) {
	s := v.current.Compiled.Snapshot
	for _, m := range members {
		if v.current.Compiled.SetLiving(m, living) {
			changed = true
			zones[s.Registries[m.Registry].Zone] = true
		}
	}
	return changed
}

// carryParts publishes to a new configuration which addresses are dead. v.mu is held.
func (v *Availability) carryParts() {
	for key, p := range v.parts {
		members := v.current.Compiled.Members(key)
		if len(members) == 0 {
			delete(v.parts, key)
			continue
		}
		v.setLiving(members, p.living, make(map[uint32]bool)) // a new snapshot has new serials
	}
}

// logParts writes one line, however many registries share the replica.
func (v *Availability) logParts(before, next part, members []compile.Member) {
	subject, c := v.subject(members[0]), v.current.Compiled
	all := c.Families(members[0])
	level, msg := slog.LevelWarn, "addresses of a replica are dead and left out"
	if was, is := (all[0]|all[1])&^before.living, (all[0]|all[1])&^next.living; before.living != 0 && is&^was == 0 {
		level, msg = slog.LevelInfo, "addresses of a replica are back"
	}
	//nolint:sloglint // one of two fixed texts
	v.o.Log.Log(context.Background(), level, msg, "registry", subject.Registry, "region", subject.Region,
		"left_out", c.LeftOut(members[0]), "reason", next.Reason, "shared_by", len(members))
}
