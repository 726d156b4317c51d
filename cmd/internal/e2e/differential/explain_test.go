//go:build linux

package differential

import (
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// explain returns why a response of ours may differ from that of another server in
// these respects, or "".
func explain(server string, owners map[string]bool, q, ours, theirs *dns.Msg, diff []string) string {
	for _, e := range explanations {
		if (e.server == "" || e.server == server) && e.holds(q, ours, theirs, diff) {
			return e.reason
		}
	}
	if only(diff, "additional") && !ours.Authoritative && subset(ours.Extra, theirs.Extra) && !anyOwner(owners, theirs.Extra, ours.Extra) {
		return "addresses that a wildcard would make for a name server are no glue"
	}
	return ""
}

// ownersOf returns the owner names of a zone file.
func ownersOf(origin, file string) map[string]bool {
	owners := make(map[string]bool)
	zp := dns.NewZoneParser(strings.NewReader(file), origin, "")
	for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
		owners[dns.CanonicalName(rr.Header().Name)] = true
	}
	return owners
}

// anyOwner reports whether a record of more that is not in less stands in the file.
func anyOwner(owners map[string]bool, more, less []dns.RR) bool {
	return slices.ContainsFunc(more, func(rr dns.RR) bool {
		return owners[dns.CanonicalName(rr.Header().Name)] && !subset([]dns.RR{rr}, less)
	})
}

// only reports whether responses differ in nothing but the named respects.
func only(diff []string, names ...string) bool {
	for _, d := range diff {
		found := false
		for _, n := range names {
			found = found || strings.HasPrefix(d, n+":")
		}
		if !found {
			return false
		}
	}
	return true
}

// explanations are all ways in which answers are known to differ.
var explanations = []struct {
	server string // "" for any
	reason string
	holds  func(q, ours, theirs *dns.Msg, diff []string) bool
}{
	{"", "additional records beside a positive answer are optional (RFC 1034 section 4.3.2)", func(_, ours, _ *dns.Msg, diff []string) bool {
		return only(diff, "additional") && len(ours.Answer) > 0
	}},
	{"", "a DNAME that leads to itself is followed once here (no server has to)", func(_, ours, theirs *dns.Msg, diff []string) bool {
		return only(diff, "answer", "rcode") && has(ours.Answer, dns.TypeDNAME) && subset(ours.Answer, theirs.Answer) && feeds(ours.Answer)
	}},
	{"", "a loop through several DNAMEs is followed for 16 links here", func(_, ours, _ *dns.Msg, diff []string) bool {
		return only(diff, "answer", "rcode", "authority", "tc") && has(ours.Answer, dns.TypeDNAME) && len(ours.Answer) > 16
	}},
	{"knot", "where YXDOMAIN ends an answer, Knot goes on with a name cut short; NSD does not", func(_, ours, theirs *dns.Msg, diff []string) bool {
		return ours.Rcode == dns.RcodeYXDomain && only(diff, "authority", "additional", "answer", "rcode") && subset(ours.Answer, theirs.Answer)
	}},
	{"knot", "Knot follows five CNAMEs that DNAMEs make, and gives the rest up", func(_, ours, theirs *dns.Msg, diff []string) bool {
		return only(diff, "answer", "rcode", "authority", "additional") && has(theirs.Answer, dns.TypeDNAME) && len(theirs.Answer) > 5 && subset(theirs.Answer, ours.Answer)
	}},
	{"gdnsd", "gdnsd gives a CNAME alone, whatever it leads to", func(_, ours, theirs *dns.Msg, diff []string) bool {
		return only(diff, "answer", "rcode", "authority", "additional") && len(theirs.Answer) == 1 && has(theirs.Answer, dns.TypeCNAME) &&
			theirs.Rcode == dns.RcodeSuccess && len(theirs.Ns) == 0 && subset(theirs.Answer, ours.Answer)
	}},
	{"gdnsd", "gdnsd answers ANY with HINFO at each name that exists (RFC 8482 section 4.2)", func(q, ours, theirs *dns.Msg, diff []string) bool {
		return q.Question[0].Qtype == dns.TypeANY && only(diff, "answer", "authority", "additional") && ours.Authoritative &&
			len(theirs.Answer) == 1 && has(theirs.Answer, dns.TypeHINFO)
	}},
	{"gdnsd", "gdnsd knows no DS: it refers the question for one to the zone below (RFC 4035 section 3.1.4.1)", func(q, ours, theirs *dns.Msg, diff []string) bool {
		return q.Question[0].Qtype == dns.TypeDS && only(diff, "aa", "authority", "additional") && ours.Authoritative && len(ours.Answer) == 0 &&
			!theirs.Authoritative && has(theirs.Ns, dns.TypeNS) && dns.CanonicalName(theirs.Ns[0].Header().Name) == dns.CanonicalName(q.Question[0].Name)
	}},
	{"gdnsd", "gdnsd gives the addresses of name servers below the delegation alone (RFC 9471 section 3.2)", func(_, ours, theirs *dns.Msg, diff []string) bool {
		return only(diff, "additional") && !ours.Authoritative && subset(theirs.Extra, ours.Extra) && allElsewhere(ours, theirs.Extra)
	}},
	{"", "ANY: any one RRset is enough, and a CNAME is one (RFC 8482 section 4.1)", func(q, ours, theirs *dns.Msg, diff []string) bool {
		return q.Question[0].Qtype == dns.TypeANY && only(diff, "answer", "additional", "rcode", "authority") && len(ours.Answer) > 0 && len(theirs.Answer) > 0
	}},
}

// subset reports whether all records of a are in b.
func subset(a, b []dns.RR) bool {
	all := "\n" + set(b) + "\n"
	for _, rr := range a {
		if rr.Header().Rrtype != dns.TypeOPT && !strings.Contains(all, "\n"+strings.ToLower(rr.String())+"\n") {
			return false
		}
	}
	return true
}

func has(rrs []dns.RR, typ uint16) bool {
	return slices.ContainsFunc(rrs, func(rr dns.RR) bool { return rr.Header().Rrtype == typ })
}

// feeds reports whether a DNAME leads to names below itself.
func feeds(rrs []dns.RR) bool {
	return slices.ContainsFunc(rrs, func(rr dns.RR) bool {
		d, ok := rr.(*dns.DNAME)
		return ok && dns.IsSubDomain(d.Hdr.Name, d.Target)
	})
}

// allElsewhere reports whether all additional records of a referral that are not in less
// are owned by names that are not below its cut.
func allElsewhere(referral *dns.Msg, less []dns.RR) bool {
	return !slices.ContainsFunc(referral.Extra, func(rr dns.RR) bool {
		return !subset([]dns.RR{rr}, less) && dns.IsSubDomain(referral.Ns[0].Header().Name, rr.Header().Name)
	})
}
