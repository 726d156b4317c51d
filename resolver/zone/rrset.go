package zone

import (
	"fmt"
	"math"
	"slices"

	"portolan.dev/resolver/wire"
)

// Set is one answer to define: usually an RRset, with RDATA in uncompressed wire form
// and TTL in seconds.
type Set struct {
	// Type is the type asked for; 0 for all types that no other Set of the name is for.
	Type uint16
	TTL  uint32
	Data [][]byte
	// Chain holds the records that follow in the answer section. Without Data it
	// is all of it: the CNAMEs that lead to an RRset inside the same zone, the first
	// of them owned by the name.
	Chain []wire.RR
	// Authority holds the NS and DS records of a referral.
	Authority []wire.RR
	// Glue holds the address records without which a referral leads nowhere
	// (RFC 9471 section 2.1).
	Glue []wire.RR
	// Additional holds address records worth sending along (RFC 1034 section
	// 4.3.2 step 6). They are left out when they do not fit; for in-zone name
	// servers that leaves a resolver one more question.
	Additional []wire.RR
	// End is how the answer goes on.
	End Ending
}

// pack appends the packed form of s, owned by name, to the table.
func (b *Builder) pack(name []byte, s *Set) error {
	p := &b.packer
	p.Reset(name)
	for _, data := range s.Data {
		if err := p.Add(wire.RR{Type: s.Type, Class: wire.ClassIN, TTL: s.TTL, Data: data}); err != nil {
			return err
		}
	}
	if len(s.Data) == 0 && len(s.Chain) > 0 {
		s.Chain = slices.Clone(s.Chain) // it may be shared between the types of a name
		s.Chain[0].Owner = nil
	}
	mark, err := packChain(p, s)
	if err != nil {
		return err
	}
	for _, section := range [][]wire.RR{s.Authority, s.Glue} {
		if err := packAll(p, section); err != nil {
			return err
		}
	}
	core := len(p.Bytes())
	if err := packAll(p, s.Additional); err != nil {
		return err
	}
	if s.End != Chase {
		mark = p.SerialAt
	}
	t := &b.t
	if uint64(len(t.bodies)+len(p.Bytes())) > math.MaxUint32 {
		return fmt.Errorf("%s: more than 4 GiB of answers: split the zones over several servers", wire.AppendName(nil, name))
	}
	t.sets = append(t.sets, RRset{
		body: uint32(len(t.bodies)), size: uint16(len(p.Bytes())), core: uint16(core),
		answer: uint16(len(s.Data) + len(s.Chain)), authority: uint16(len(s.Authority)),
		glue: uint16(len(s.Glue)), extra: uint16(len(s.Additional)),
		mark: uint16(mark), Type: s.Type, End: s.End,
	})
	t.bodies = append(t.bodies, p.Bytes()...)
	return nil
}

// packChain packs the chain of s and returns where the last target is spelled out,
// if one is to be.
func packChain(p *wire.Packer, s *Set) (mark int, err error) {
	if s.End != Chase {
		return 0, packAll(p, s.Chain)
	}
	last := len(s.Chain) - 1
	if err := packAll(p, s.Chain[:last]); err != nil {
		return 0, err
	}
	return p.AddSpelled(s.Chain[last]), nil
}

func packAll(p *wire.Packer, rrs []wire.RR) error {
	for _, rr := range rrs {
		if err := p.Add(rr); err != nil {
			return err
		}
	}
	return nil
}
