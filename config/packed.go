package config

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// packer writes registries down in little memory, or reads them again. Both go through
// the same list of fields, so that neither can forget what the other knows. Lines
// count from where the text of the registries begins; a word that comes again is a
// number.
type packer struct {
	file string // of the positions read
	line int    // lines of the file before the text
	read bool
	buf  []byte // written so far
	rest string // to be read
	// Words by number, and for writing the other way round.
	words   []string
	numbers map[string]uint64
	// Read in one piece each: what the registries of a text point to.
	replicas  []Replica
	addresses []netip.Addr
}

// pack writes registries down whose text begins behind a number of lines.
func pack(registries []Registry, line int) string {
	p := packer{line: line, numbers: make(map[string]uint64)}
	replicas, addresses := 0, 0
	for i := range registries {
		replicas += len(registries[i].Replicas)
		for j := range registries[i].Replicas {
			r := &registries[i].Replicas[j]
			addresses += len(r.Addresses)
			if r.Data != nil {
				addresses += len(r.Data.Addresses)
			}
		}
	}
	for _, n := range []int{len(registries), replicas, addresses} {
		p.count(&n)
	}
	for i := range registries {
		p.registry(&registries[i])
	}
	return string(p.buf)
}

// unpack reads what [pack] has written, for a text that stands in a file behind a
// number of lines. The result shares memory with packed.
func unpack(packed, file string, line int) []Registry {
	p := packer{file: file, line: line, read: true, rest: packed}
	var registries, replicas, addresses int
	p.count(&registries)
	p.count(&replicas)
	p.count(&addresses)
	out := make([]Registry, registries)
	p.replicas, p.addresses = make([]Replica, replicas), make([]netip.Addr, addresses)
	for i := range out {
		p.registry(&out[i])
	}
	return out
}

func (p *packer) registry(r *Registry) {
	for _, s := range [...]*string{&r.Key, &r.Name, &r.Zone, &r.Home, &r.Answer, &r.Families, &r.AllDown, &r.Failback} {
		p.text(s)
	}
	p.flags(&r.RegionalEndpoints, &r.DataEndpoints, &r.Sticky.HoldWritten)
	for _, d := range [...]*time.Duration{&r.RegionalTTL, &r.Sticky.TTL, &r.Sticky.Idle, &r.Sticky.Hold, &r.RecoveryHold} {
		p.duration(d)
	}
	p.count(&r.Sticky.Renewals)
	p.pos(&r.Pos)
	n := len(r.Replicas)
	p.count(&n)
	if p.read {
		r.Replicas, p.replicas = p.replicas[:n:n], p.replicas[n:]
	}
	for i := range r.Replicas {
		p.replica(&r.Replicas[i])
	}
}

func (p *packer) replica(r *Replica) {
	hasData := r.Data != nil
	p.flags(&r.GlobalEndpointRouting, &hasData)
	p.text(&r.Region)
	p.text(&r.Probe)
	p.text(&r.ProbeTarget)
	p.endpoint(&r.Addresses, &r.Target)
	p.pos(&r.Pos)
	if !hasData {
		return
	}
	if p.read {
		r.Data = new(DataEndpoint)
	}
	p.endpoint(&r.Data.Addresses, &r.Data.Target)
}

func (p *packer) endpoint(addrs *[]netip.Addr, target *string) {
	p.text(target)
	n := len(*addrs)
	p.count(&n)
	if p.read && n > 0 {
		*addrs, p.addresses = p.addresses[:n:n], p.addresses[n:]
	}
	for i := range *addrs {
		p.address(&(*addrs)[i])
	}
}

func (p *packer) pos(at *Pos) {
	line := at.Line - p.line
	p.count(&line)
	p.count(&at.Column)
	if p.read {
		*at = Pos{File: p.file, Line: p.line + line, Column: at.Column}
	}
}

// text goes through a string.
func (p *packer) text(s *string) {
	if !p.read {
		n, known := p.numbers[*s]
		if known {
			p.buf = binary.AppendUvarint(p.buf, n)
			return
		}
		p.numbers[*s] = uint64(len(p.numbers) + 1)
		p.buf = binary.AppendUvarint(append(p.buf, 0), uint64(len(*s)))
		p.buf = append(p.buf, *s...)
		return
	}
	n := p.uvarint()
	if n == 0 {
		size := p.uvarint()
		p.words = append(p.words, p.rest[:size])
		p.rest, n = p.rest[size:], uint64(len(p.words))
	}
	*s = p.words[n-1]
}

func (p *packer) count(n *int) {
	if p.read {
		*n = int(p.uvarint())
		return
	}
	p.buf = binary.AppendUvarint(p.buf, uint64(*n))
}

func (p *packer) duration(d *time.Duration) {
	if p.read { // 64 bits wide, whatever an int is
		*d = time.Duration(p.uvarint())
		return
	}
	p.buf = binary.AppendUvarint(p.buf, uint64(*d))
}

// flags goes through up to eight of them.
func (p *packer) flags(flags ...*bool) {
	if p.read {
		bits := p.rest[0]
		p.rest = p.rest[1:]
		for i, f := range flags {
			*f = bits>>i&1 != 0
		}
		return
	}
	bits := byte(0)
	for i, f := range flags {
		if *f {
			bits |= 1 << i
		}
	}
	p.buf = append(p.buf, bits)
}

// address goes through an address: a family, and its octets.
func (p *packer) address(a *netip.Addr) {
	if !p.read {
		octets := a.AsSlice()
		p.buf = append(append(p.buf, byte(len(octets))), octets...)
		return
	}
	size := int(p.rest[0])
	octets := p.rest[1 : 1+size]
	p.rest = p.rest[1+size:]
	if size == 4 {
		*a = netip.AddrFrom4([4]byte{octets[0], octets[1], octets[2], octets[3]})
		return
	}
	var all [16]byte
	copy(all[:], octets)
	*a = netip.AddrFrom16(all)
}

// uvarint reads a number as [binary.AppendUvarint] writes it.
func (p *packer) uvarint() (n uint64) {
	for i := 0; ; i++ {
		b := p.rest[i]
		n |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			p.rest = p.rest[i+1:]
			return n
		}
	}
}
