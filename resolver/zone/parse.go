package zone

import (
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
}

// Parse reads the records of an RFC 1035 master file for the zone origin, which
// may use relative names. file names it in errors, defaultTTL in seconds applies
// where neither $TTL nor the record has one.
//
// SOA and NS records at the apex come from the configuration and are refused
// here, like names out of the zone, data beside a CNAME (RFC 1034 section
// 3.6.2), unequal TTLs in an RRset (RFC 2181 section 5.2), and what this server
// does not serve: wildcards, delegations, DNAME and DNSSEC records. All faults
// are reported, joined, each with file and line as far as the parser knows it.
func Parse(r io.Reader, file, origin string, defaultTTL uint32) ([]Record, error) {
	zp := dns.NewZoneParser(r, origin, file)
	zp.SetDefaultTTL(defaultTTL)
	p := fileParser{file: file, origin: dns.CanonicalName(origin), at: make(map[string]int)}
	for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
		p.add(rr)
	}
	if err := zp.Err(); err != nil {
		p.errs = append(p.errs, fmt.Errorf("%w: mend the line; nothing behind it was read", err))
	}
	p.check()
	return p.records, errors.Join(p.errs...)
}

// fileParser gathers the records of one file by owner name, in file order.
type fileParser struct {
	file, origin string
	records      []Record
	at           map[string]int // folded name → index in records
	errs         []error
}

func (p *fileParser) fault(rr dns.RR, format string, args ...any) {
	h := rr.Header()
	p.errs = append(p.errs, fmt.Errorf("%s: %s %s: %s", p.file, h.Name, dns.TypeToString[h.Rrtype], fmt.Sprintf(format, args...)))
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
	sets := &p.records[i].Sets
	for j := range *sets {
		s := &(*sets)[j]
		if s.Type != h.Rrtype {
			continue
		}
		if s.TTL != h.Ttl {
			p.fault(rr, "TTL %d, but %d in an earlier record of this RRset: make them equal", h.Ttl, s.TTL)
		}
		s.Data = append(s.Data, data)
		return
	}
	*sets = append(*sets, Set{Type: h.Rrtype, TTL: h.Ttl, Data: [][]byte{data}})
}

// refusal says why a record may not stand in the file, or "".
func (p *fileParser) refusal(h *dns.RR_Header) string {
	owner := dns.CanonicalName(h.Name)
	apex := owner == p.origin
	switch {
	case h.Class != dns.ClassINET:
		return "the class is not IN"
	case !dns.IsSubDomain(p.origin, owner):
		return "the name is not in zone " + p.origin
	case strings.HasPrefix(owner, "*."):
		return "wildcards are not served: list the names"
	case h.Ttl > 1<<31-1:
		return "the TTL passes 2147483647 seconds (RFC 2181 section 8)"
	}
	switch h.Rrtype {
	case dns.TypeSOA:
		return "the SOA record is made from the configuration: remove the line"
	case dns.TypeNS:
		if apex {
			return "the NS records of the zone are made from `nameservers`: remove the line"
		}
		return "delegations are not served: serve the child zone here or elsewhere under a name of its own"
	case dns.TypeDNAME, dns.TypeDS, dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3, dns.TypeNSEC3PARAM, dns.TypeDNSKEY:
		return "records of this type are not served: remove the line"
	}
	return ""
}

// check looks for data beside a CNAME.
func (p *fileParser) check() {
	for _, r := range p.records {
		for _, s := range r.Sets {
			if s.Type == dns.TypeCNAME && (len(r.Sets) > 1 || len(s.Data) > 1) {
				p.errs = append(p.errs, fmt.Errorf("%s: %s: a CNAME stands beside other records: keep one of them (RFC 1034 section 3.6.2)",
					p.file, wire.AppendName(nil, r.Name)))
			}
		}
	}
}

// rdata returns the uncompressed RDATA of rr.
func rdata(rr dns.RR) ([]byte, error) {
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
