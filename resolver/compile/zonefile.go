package compile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"portolan.dev/config"
	"portolan.dev/resolver/wire"
	"portolan.dev/resolver/zone"
)

// zoneFile reads the optional master file of a zone. Without `nameservers` in the
// configuration it is all there is of the zone.
func (b *builder) zoneFile(id int, z *config.Zone, a *zoneApex) error {
	if z.Records == "" {
		return nil
	}
	data, err := b.readFile(z.Records)
	if err != nil {
		return fmt.Errorf("records: %w", err)
	}
	records, err := zone.Parse(bytes.NewReader(data), zone.File{
		Name: z.Records, Origin: z.Name, TTL: seconds(z.TTL), Whole: len(z.Nameservers) == 0,
		Addressed: func(name []byte) bool { return b.static[b.owner(name)][string(name)] != nil },
	})
	errs := []error{err}
	delegates := make(map[int]bool)
	for i := range records {
		if child, ok := b.apexIDs[string(records[i].Name)]; ok && records[i].Set(wire.TypeNS) != nil {
			delegates[child] = true
		}
	}
	for i := range records {
		if err := b.fileRecord(id, z, &records[i], delegates); err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", z.Records, records[i].Line, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("records: %w", err)
	}
	if len(z.Nameservers) == 0 {
		b.wholeApex(id, a)
	}
	return nil
}

// fileRecord gathers the RRsets of one name of a zone file. delegates says to which of
// the zones of the configuration the file has NS records.
func (b *builder) fileRecord(id int, z *config.Zone, r *zone.Record, delegates map[int]bool) error {
	if owner := b.owner(r.Name); owner != id {
		return b.delegated(id, owner, r, delegates[owner])
	}
	for _, set := range r.Sets {
		if !b.addStatic(id, r.Name, set, z.Records, r.Line) {
			return fmt.Errorf("%s has address records from `nameservers` already: remove them from the file", wire.AppendName(nil, r.Name))
		}
	}
	return nil
}

// delegated takes the NS and address records by which a zone delegates another one
// that is served here as well. That one answers for its names itself; secondaries
// need the delegation.
func (b *builder) delegated(id, child int, r *zone.Record, delegates bool) error {
	for _, set := range r.Sets {
		switch {
		case delegates && (set.Type == wire.TypeNS || set.Type == wire.TypeA || set.Type == wire.TypeAAAA):
		case set.Type == wire.TypeDS:
			return fmt.Errorf("%s: zone %s is served here and is not signed: remove the DS record", wire.AppendName(nil, r.Name), trimDot(b.c.Zones[child].Name))
		default:
			return fmt.Errorf("%s lies in zone %s, which is configured too: move it to the records of that zone",
				wire.AppendName(nil, r.Name), trimDot(b.c.Zones[child].Name))
		}
	}
	b.cuts[id] = append(b.cuts[id], &staticName{name: r.Name, sets: r.Sets})
	return nil
}

// wholeApex takes SOA and NS of a zone from its file, which has them: it was checked.
func (b *builder) wholeApex(id int, a *zoneApex) {
	at := b.static[id][string(a.name)]
	soa, ns := at.set(wire.TypeSOA), at.set(wire.TypeNS)
	rdata := soa.Data[0]
	mname := wire.NameLen(rdata)
	rname := mname + wire.NameLen(rdata[mname:])
	at4 := func(i int) uint32 { return binary.BigEndian.Uint32(rdata[rname+4*i:]) }
	a.serial = at4(0)
	a.soa = zone.SOA{
		MName: fold(rdata[:mname]), RName: fold(rdata[mname:rname]),
		Refresh: at4(1), Retry: at4(2), Expire: at4(3), Minimum: at4(4), TTL: soa.TTL,
	}
	a.ns = *ns
	a.ns.Additional = b.content(id, a.name).additional(ns)
	rest := make([]zone.Set, 0, len(at.sets))
	for i := range at.sets {
		if t := at.sets[i].Type; t != wire.TypeSOA && t != wire.TypeNS {
			rest = append(rest, at.sets[i])
		}
	}
	at.sets = rest
}

// fold returns a copy of a name in lower case.
func fold(name []byte) []byte {
	out := make([]byte, len(name))
	wire.Fold(out, name)
	return out
}
