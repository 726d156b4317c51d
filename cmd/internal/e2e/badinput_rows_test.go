//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

const exampleName = "myregistry.example.io"

// headerInputs are rows 1 to 11: decided on the header and the counts.
func headerInputs() []badInput {
	in := []badInput{
		{row: "1 empty", want: expected{drop: true}},
		{row: "1 one octet", msg: []byte{0}, want: expected{drop: true}},
		{row: "1 eleven octets", msg: header(flagRD, 1)[:11], want: expected{drop: true}},
		{row: "2 response", msg: response(query(exampleName, dns.TypeA)), want: expected{drop: true}},
		{row: "2 response without question", msg: header(flagQR), want: expected{drop: true}},
		{row: "2 response of NOTIFY", msg: response(withOpcode(query(exampleName, dns.TypeSOA), 4)), want: expected{drop: true}},
		{row: "7 no question", msg: header(flagRD), want: expected{rcode: dns.RcodeFormatError, noQuestion: true}},
		{
			row: "7 no question, EDNS", msg: append(header(flagRD, 0, 0, 0, 1), opt(1232, 0)...),
			want: expected{rcode: dns.RcodeFormatError, noQuestion: true, opt: true},
		},
		{
			row: "8 no question, cookie", msg: append(header(flagRD, 0, 0, 0, 1), opt(1232, 0, ednsOption(dns.EDNS0COOKIE, 1, 2, 3, 4, 5, 6, 7, 8))...),
			want: expected{noQuestion: true, opt: true, check: wantCookie},
		},
		{row: "9 two questions", msg: twoQuestions(2), want: expected{rcode: dns.RcodeFormatError, noQuestion: true}},
		{row: "9 65535 questions", msg: twoQuestions(65535), want: expected{rcode: dns.RcodeFormatError, noQuestion: true}},
		{row: "10 answer", msg: counted(1, 0, 0), want: expected{rcode: dns.RcodeFormatError}},
		{row: "10 authority", msg: counted(0, 1, 0), want: expected{rcode: dns.RcodeFormatError}},
		{row: "10 none of them", msg: query(exampleName, dns.TypeA), want: expected{}},
		{row: "11 three additional", msg: query(exampleName, dns.TypeA, opt(1232, 0), opt(1232, 0), opt(1232, 0)), want: expected{rcode: dns.RcodeFormatError}},
		{row: "11 65535 additional", msg: counted(0, 0, 65535), want: expected{rcode: dns.RcodeFormatError}},
		{row: "11 65535 answers", msg: counted(65535, 0, 0), want: expected{rcode: dns.RcodeFormatError}},
		{row: "11 65535 of all", msg: counted(65535, 65535, 65535), want: expected{rcode: dns.RcodeFormatError}},
		{row: "11 one additional, not there", msg: counted(0, 0, 1), want: expected{rcode: dns.RcodeFormatError}},
	}
	in = append(in, badInput{
		row: "5 UPDATE with a record", msg: withOpcode(update(), dns.OpcodeUpdate),
		want: expected{rcode: dns.RcodeNotImplemented},
	})
	for opcode := 1; opcode < 16; opcode++ {
		row := 3
		if opcode >= 4 && opcode <= 6 {
			row = opcode
		}
		in = append(in,
			badInput{
				row: fmt.Sprintf("%d opcode %d", row, opcode), msg: withOpcode(query(exampleName, dns.TypeSOA), opcode),
				want: expected{rcode: dns.RcodeNotImplemented},
			},
			badInput{
				row: fmt.Sprintf("%d opcode %d, header alone", row, opcode), msg: withOpcode(header(flagRD), opcode),
				want: expected{rcode: dns.RcodeNotImplemented, noQuestion: true},
			})
	}
	return in
}

func response(msg []byte) []byte {
	msg[2] |= 0x80
	return msg
}

func withOpcode(msg []byte, opcode int) []byte {
	msg[2] |= byte(opcode << 3)
	return msg
}

func twoQuestions(count uint16) []byte {
	q := asked(named(exampleName), dns.TypeA, dns.ClassINET)
	return append(append(header(flagRD, count), q...), q...)
}

// counted is a query that claims to have other sections as well; they are not
// there.
func counted(answer, authority, additional uint16) []byte {
	return append(header(flagRD, 1, answer, authority, additional), asked(named(exampleName), dns.TypeA, dns.ClassINET)...)
}

// update is an UPDATE of the zone with one record to add (RFC 2136).
func update() []byte {
	msg := append(header(0, 1, 0, 1, 0), asked(named("example.io"), dns.TypeSOA, dns.ClassINET)...)
	return append(msg, record('x', dns.TypeA, dns.ClassINET, 60, []byte{192, 0, 2, 1})...)
}

func wantCookie(t *testing.T, c client, _ []byte, m *dns.Msg) {
	t.Helper()
	cookie, ok := optionOf[*dns.EDNS0_COOKIE](m)
	if !ok || len(cookie.Cookie) != 48 || !strings.HasPrefix(cookie.Cookie, "0102030405060708") {
		t.Errorf("%v: no cookie of client and server: %v", c, m)
	}
}

// nameInputs are rows 12 to 17: query names, and what follows the message.
func nameInputs() []badInput {
	broken := expected{rcode: dns.RcodeFormatError, noQuestion: true}
	refused := expected{rcode: dns.RcodeRefused}
	in := []badInput{
		{row: "12 label type 01", msg: unnamed(0x41, 'a', 0, 0, 1, 0, 1), want: broken},
		{row: "12 label type 10", msg: unnamed(0x81, 'a', 0, 0, 1, 0, 1), want: broken},
		{row: "13 pointer to itself", msg: unnamed(0xc0, 12, 0, 1, 0, 1), want: broken},
		{row: "13 pointer forward", msg: unnamed(0xc0, 18, 0, 1, 0, 1, 1, 'a', 0), want: broken},
		{row: "13 pointer to the header", msg: unnamed(0xc0, 0, 0, 1, 0, 1), want: broken},
		{row: "13 pointer loop", msg: unnamed(1, 'a', 0xc0, 12, 0, 1, 0, 1), want: broken},
		{row: "13 pointer behind the end", msg: unnamed(0xc0, 0xff, 0, 1, 0, 1), want: broken},
		{row: "13 half a pointer", msg: unnamed(0xc0), want: broken},
		{row: "14 name of 256 octets", msg: queryFor(asked(longName(256), dns.TypeA, 1)), want: broken},
		{row: "14 name of 900 labels", msg: queryFor(asked(labels(slices.Repeat([]string{"a"}, 900)...), dns.TypeA, 1)), want: broken},
		{row: "14 label of 64 octets", msg: unnamed(append(append([]byte{64}, bytes.Repeat([]byte{'a'}, 64)...), 0, 0, 1, 0, 1)...), want: broken},
		{row: "14 no root", msg: append(header(flagRD, 1), 1, 'a', 2, 'i', 'o'), want: broken},
		{row: "15 root", msg: queryFor(asked(labels(), dns.TypeA, 1)), want: refused},
		{row: "15 name of 255 octets", msg: queryFor(asked(longName(255), dns.TypeA, 1)), want: refused},
		{row: "15 127 labels", msg: queryFor(asked(labels(slices.Repeat([]string{"a"}, 127)...), dns.TypeA, 1)), want: refused},
		{row: "15 all octets, elsewhere", msg: queryFor(asked(labels("\x00.\\\xff \"", "a;@$"), dns.TypeA, 1)), want: refused},
		{
			row: "15 all octets, in the zone", msg: queryFor(asked(labels("\x00.\\\xff \"", "example", "io"), dns.TypeA, 1)),
			want: expected{rcode: dns.RcodeNameError, check: wantNegative},
		},
		{
			row: "15 a dot within a label", msg: queryFor(asked(labels("myregistry.example", "io"), dns.TypeA, 1)),
			want: refused,
		},
		{row: "16 mixed case", msg: query("mYrEGIStry.eXAMple.Io", dns.TypeA), want: expected{asks: 1, check: wantSameAs(query(exampleName, dns.TypeA))}},
		{row: "16 upper case", msg: query("MYREGISTRY.WESTUS.GEO.EXAMPLE.IO", dns.TypeAAAA), want: expected{asks: 1, check: wantSameAs(query("myregistry.westus.geo.example.io", dns.TypeAAAA))}},
		{row: "17 one octet behind", msg: append(query(exampleName, dns.TypeA), 0), want: expected{rcode: dns.RcodeFormatError}},
		{row: "17 a message behind", msg: append(query(exampleName, dns.TypeA), query(exampleName, dns.TypeA)...), want: expected{rcode: dns.RcodeFormatError}},
		{
			row: "17 an OPT record behind, not counted", msg: append(query(exampleName, dns.TypeA), opt(1232, 0)...),
			want: expected{rcode: dns.RcodeFormatError},
		},
		{
			row: "17 one octet behind the OPT record", msg: append(query(exampleName, dns.TypeA, opt(1232, 0)), 0),
			want: expected{rcode: dns.RcodeFormatError, opt: true},
		},
	}
	whole := query(exampleName, dns.TypeA)
	for end := 12; end < len(whole); end++ {
		in = append(in, badInput{row: fmt.Sprintf("14 cut after %d octets", end), msg: whole[:end:end], want: broken})
	}
	return in
}

// unnamed is a header that counts one question, and any octets.
func unnamed(rest ...byte) []byte { return append(header(flagRD, 1), rest...) }

// longName returns a name of that many octets in all.
func longName(octets int) []byte {
	var parts []string
	for octets--; octets > 0; octets -= len(parts[len(parts)-1]) + 1 {
		parts = append(parts, strings.Repeat("a", min(63, octets-1)))
	}
	return labels(parts...)
}

func wantNegative(t *testing.T, c client, _ []byte, m *dns.Msg) {
	t.Helper()
	if len(m.Answer) != 0 || len(m.Ns) != 1 || !m.Authoritative {
		t.Errorf("%v: not a negative answer with its SOA: %v", c, m)
		return
	}
	if soa, ok := m.Ns[0].(*dns.SOA); !ok || soa.Hdr.Name != "example.io." || soa.Hdr.Ttl != 60 || soa.Minttl != 60 {
		t.Errorf("%v: the SOA of a negative answer: %v", c, m.Ns[0])
	}
}

// wantSameAs wants what follows the question to be the same as for another query.
func wantSameAs(other []byte) func(*testing.T, client, []byte, *dns.Msg) {
	return func(t *testing.T, c client, answer []byte, m *dns.Msg) {
		t.Helper()
		same, err := c.exchange(t, other, patience)
		if err != nil {
			t.Errorf("%v: %v", c, err)
			return
		}
		behind := 12 + questionLen(other)
		if len(m.Answer) == 0 || !bytes.Equal(answer[behind:], same[behind:]) {
			t.Errorf("%v: %x is not the answer %x", c, answer, same)
		}
	}
}
