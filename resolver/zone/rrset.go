package zone

import (
	"fmt"
	"math"

	"portolan.dev/resolver/wire"
)

// Set is one RRset to define: RDATA in uncompressed wire form, TTL in seconds.
type Set struct {
	Type uint16
	TTL  uint32
	Data [][]byte
	// Chain holds the records that follow in the answer section: the RRset that
	// a CNAME leads to, inside the same zone.
	Chain []wire.RR
	// Additional holds address records worth sending along (RFC 1034 section
	// 4.3.2 step 6). They are left out when they do not fit; for in-zone name
	// servers that leaves a resolver one more question.
	Additional []wire.RR
}

// pack appends the packed form of s, owned by name, to the table.
func (b *Builder) pack(name []byte, s *Set) error {
	p := &b.packer
	p.Reset(name)
	for _, data := range s.Data {
		if err := p.Add(wire.RR{Owner: name, Type: s.Type, Class: wire.ClassIN, TTL: s.TTL, Data: data}); err != nil {
			return err
		}
	}
	for _, rr := range s.Chain {
		if err := p.Add(rr); err != nil {
			return err
		}
	}
	core := len(p.Bytes())
	for _, rr := range s.Additional {
		if err := p.Add(rr); err != nil {
			return err
		}
	}
	t := &b.t
	if len(t.bodies)+len(p.Bytes()) > math.MaxUint32 {
		return fmt.Errorf("%s: more than 4 GiB of answers: split the zones over several servers", wire.AppendName(nil, name))
	}
	t.sets = append(t.sets, RRset{
		body: uint32(len(t.bodies)), size: uint16(len(p.Bytes())), core: uint16(core),
		answer: uint16(len(s.Data) + len(s.Chain)), extra: uint16(len(s.Additional)),
		serialAt: uint16(p.SerialAt), Type: s.Type,
	})
	t.bodies = append(t.bodies, p.Bytes()...)
	return nil
}
