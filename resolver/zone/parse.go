package zone

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/miekg/dns"

	"portolan.dev/resolver/wire"
)

// Record is one owner name of a zone file and its RRsets.
type Record struct {
	Name []byte // folded, wire form
	Sets []Set
	Line int // at which the last of its records ends
}

// Set returns the RRset of a type, nil without one.
func (r *Record) Set(typ uint16) *Set {
	for i := range r.Sets {
		if r.Sets[i].Type == typ {
			return &r.Sets[i]
		}
	}
	return nil
}

// File is what is to be known of a zone file to read it.
type File struct {
	Name   string // in errors
	Origin string // name of the zone, fully qualified
	TTL    uint32 // seconds, where neither $TTL nor the record has one
	// Whole says that SOA and NS records of the zone stand in the file; otherwise
	// they come from the configuration and are refused.
	Whole bool
	// Addressed reports whether a name server in the zone, by its folded name, has
	// addresses that do not stand in the file; nil for none.
	Addressed func(name []byte) bool
}

// Parse reads the records of an RFC 1035 master file, which may use relative names.
// ($GENERATE, which RFC 1035 does not know, is the parser's: a record made by it
// without a TTL of its own gets 3600.)
//
// It refuses names out of the zone, data beside a CNAME (RFC 1034 section 3.6.2),
// more than one CNAME or DNAME of a name, data below a DNAME (RFC 6672 section 2.4)
// or, but for addresses, at and below a delegation, name servers in the zone without
// addresses, unequal TTLs in an RRset (RFC 2181 section 5.2), and what this server
// does not serve: wildcard delegations and DNAMEs, DNSSEC records other than DS, and
// the types that stand for a question. A record that is there twice counts once (RFC
// 2181 section 5). All faults are reported, joined, each with file and line: that at
// which the record ends.
func Parse(r io.Reader, f File) ([]Record, error) {
	lines := &lineReader{r: bufio.NewReader(r)}
	zp := dns.NewZoneParser(lines, f.Origin, f.Name)
	zp.SetDefaultTTL(f.TTL)
	p := fileParser{File: f, origin: dns.CanonicalName(f.Origin), at: make(map[string]int), seen: make(map[string]struct{})}
	var err error
	if p.apex, err = wire.ParseName(p.origin); err != nil {
		return nil, err
	}
	for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
		p.line = lines.ended
		p.add(rr)
	}
	if err = zp.Err(); err != nil {
		p.errs = append(p.errs, fmt.Errorf("%w: mend the line; nothing behind it was read", err))
	}
	p.check(err == nil)
	return p.records, errors.Join(p.errs...)
}

// lineReader counts the lines that its reader, which takes octet by octet and
// none ahead, has read to their end. A record ends with its line, so that the
// count is the number of the line when the parser hands the record out; the
// parser itself tells the line only of what it cannot read.
type lineReader struct {
	r     *bufio.Reader
	ended int
	open  bool // something stands behind the last end of a line
}

// ReadByte implements [io.ByteReader].
func (l *lineReader) ReadByte() (byte, error) {
	c, err := l.r.ReadByte()
	switch {
	case err != nil && l.open:
		l.ended, l.open = l.ended+1, false
	case err == nil && c == '\n':
		l.ended, l.open = l.ended+1, false
	case err == nil:
		l.open = true
	}
	return c, err
}

// Read implements [io.Reader] for the signature of the parser, which prefers
// ReadByte.
func (l *lineReader) Read(dst []byte) (int, error) {
	if len(dst) == 0 {
		return 0, nil
	}
	c, err := l.ReadByte()
	if err != nil {
		return 0, err
	}
	dst[0] = c
	return 1, nil
}

// fileParser gathers the records of one file by owner name, in file order.
type fileParser struct {
	File

	origin  string // presentation form, lower case
	apex    []byte // the same, in wire form
	line    int    // of the record at hand
	records []Record
	at      map[string]int      // folded name → index in records
	seen    map[string]struct{} // number in records, type and RDATA
	errs    []error
}

func (p *fileParser) fault(rr dns.RR, format string, args ...any) {
	h := rr.Header()
	p.errs = append(p.errs, fmt.Errorf("%s:%d: %s %s: %s", p.Name, p.line, h.Name, dns.Type(h.Rrtype), fmt.Sprintf(format, args...)))
}

// add files one record under its owner.
func (p *fileParser) add(rr dns.RR) {
	h := rr.Header()
	if reason := p.refusal(h); reason != "" {
		p.fault(rr, "%s", reason)
		return
	}
	name, err := wire.ParseName(h.Name)
	if err != nil {
		p.fault(rr, "%v", err)
		return
	}
	data, err := rdata(rr)
	if err != nil {
		p.fault(rr, "%v", err)
		return
	}
	i, ok := p.at[string(name)]
	if !ok {
		i = len(p.records)
		p.at[string(name)] = i
		p.records = append(p.records, Record{Name: name})
	}
	p.records[i].Line = p.line
	key := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint32(nil, uint32(i)), h.Rrtype)
	key = append(key, data...)
	_, twice := p.seen[string(key)]
	p.seen[string(key)] = struct{}{}
	sets := &p.records[i].Sets
	for j := range *sets {
		s := &(*sets)[j]
		if s.Type != h.Rrtype {
			continue
		}
		if s.TTL != h.Ttl {
			p.fault(rr, "TTL %d, but %d in an earlier record of this RRset: make them equal", h.Ttl, s.TTL)
		}
		if !twice {
			s.Data = append(s.Data, data)
		}
		return
	}
	*sets = append(*sets, Set{Type: h.Rrtype, TTL: h.Ttl, Data: [][]byte{data}})
}

// refusal says why a record may not stand in the file, or "".
func (p *fileParser) refusal(h *dns.RR_Header) string {
	owner := dns.CanonicalName(h.Name)
	switch {
	case h.Class != dns.ClassINET:
		return "the class is not IN"
	case !dns.IsSubDomain(p.origin, owner):
		return "the name is not in zone " + p.origin
	case h.Ttl > 1<<31-1:
		return "the TTL passes 2147483647 seconds (RFC 2181 section 8)"
	}
	if reason := p.refusedAt(h.Rrtype, owner == p.origin, strings.HasPrefix(owner, "*.")); reason != "" {
		return reason
	}
	switch h.Rrtype {
	case dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3, dns.TypeNSEC3PARAM, dns.TypeDNSKEY:
		return "records of this type are not served: remove the line"
	case dns.TypeNone, dns.TypeOPT:
		return "the type is no type of records: remove the line"
	}
	if h.Rrtype >= 128 && h.Rrtype <= 255 { // RFC 6895 section 3.1
		return "the type stands for a question and is no type of records: remove the line"
	}
	return ""
}

// refusedAt says why a type may not stand at the apex, elsewhere, or at a wildcard.
func (p *fileParser) refusedAt(typ uint16, apex, wildcard bool) string {
	switch {
	case typ == dns.TypeSOA && !apex:
		return "a zone has one SOA record, at its apex: remove the line"
	case typ == dns.TypeSOA && !p.Whole:
		return "the SOA record is made from the configuration: remove the line, or `nameservers` from the configuration"
	case typ == dns.TypeNS && apex && !p.Whole:
		return "the NS records of the zone are made from `nameservers`: remove the line, or that key from the configuration"
	case typ == dns.TypeDS && apex:
		return "the DS record of a zone stands in the zone above it: move it there (RFC 4035 section 2.4)"
	case typ == dns.TypeNS && wildcard:
		return "a wildcard cannot delegate: list the names (RFC 4592 section 4.2)"
	case typ == dns.TypeDNAME && wildcard:
		return "a wildcard cannot be a DNAME: list the names (RFC 4592 section 4.4)"
	}
	return ""
}

// rdata returns the uncompressed RDATA of rr.
func rdata(rr dns.RR) ([]byte, error) {
	data, err := packRDATA(rr)
	if err != nil {
		return nil, err
	}
	// The parser takes a line that ends behind the type for an update of RFC 2136,
	// and gives a record as it is before anything is read into it.
	if fresh, ok := dns.TypeToRR[rr.Header().Rrtype]; ok && rr.Header().Rrtype != dns.TypeAPL {
		blank := fresh()
		*blank.Header() = *rr.Header()
		if empty, err := packRDATA(blank); err == nil && bytes.Equal(data, empty) {
			return nil, errors.New("no data stands behind the type: add it, or remove the line")
		}
	}
	return data, nil
}

func packRDATA(rr dns.RR) ([]byte, error) {
	buf := make([]byte, dns.Len(rr)+1)
	n, err := dns.PackRR(rr, buf, 0, nil, false)
	if err != nil {
		return nil, err
	}
	_, off, err := dns.UnpackDomainName(buf, 0)
	if err != nil {
		return nil, err
	}
	return buf[off+10 : n], nil
}
