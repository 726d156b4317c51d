package wire

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// signature is the parts of a TSIG record, to be spoiled one at a time.
type signature struct {
	key, algorithm []byte
	class          uint16
	mac, other     int // octets announced
	tail           []byte
}

// signed is a query with that record.
func (s *signature) signed(tb testing.TB) []byte {
	tb.Helper()
	data := append(bytes.Clone(s.algorithm), 0, 0, 1, 2, 3, 4, 1, 44) // time, fudge
	data = binary.BigEndian.AppendUint16(data, uint16(s.mac))
	data = append(data, make([]byte, min(s.mac, 32))...)
	data = append(data, 0x12, 0x34, 0, 0) // original ID, error
	data = binary.BigEndian.AppendUint16(data, uint16(s.other))
	data = append(data, s.tail...)
	msg := edit(query(tb, "a.example.", dns.TypeA, nil), 11, 1)
	msg = append(msg, s.key...)
	msg = binary.BigEndian.AppendUint16(msg, TypeTSIG)
	msg = binary.BigEndian.AppendUint16(msg, s.class)
	msg = append(msg, 0, 0, 0, 0)
	msg = binary.BigEndian.AppendUint16(msg, uint16(len(data)))
	return append(msg, data...)
}

// A TSIG record that is not as RFC 8945 section 4.2 says is FORMERR, and one that is,
// NOTAUTH.
func TestParseTSIG(t *testing.T) {
	key, algorithm := []byte("\x03key\x00"), []byte("\x0bhmac-sha256\x00")
	good := signature{key: key, algorithm: algorithm, class: ClassANY, mac: 32}
	for _, tt := range []struct {
		name  string
		spoil func(*signature)
		rcode uint16
	}{
		{"good", func(*signature) {}, RcodeNotAuth},
		{"without a MAC", func(s *signature) { s.mac = 0 }, RcodeNotAuth},
		{"with other data", func(s *signature) { s.other, s.tail = 6, make([]byte, 6) }, RcodeNotAuth},
		{"class IN", func(s *signature) { s.class = ClassIN }, RcodeFormErr},
		{"a key that is a pointer", func(s *signature) { s.key = []byte{0xc0, HeaderLen} }, RcodeFormErr},
		{"an algorithm that is a pointer", func(s *signature) { s.algorithm = []byte{0xc0, HeaderLen} }, RcodeFormErr},
		{"an algorithm without an end", func(s *signature) { s.algorithm = bytes.Repeat([]byte{63}, 80) }, RcodeFormErr},
		{"an algorithm over 255 octets", func(s *signature) {
			s.algorithm = append([]byte(strings.Repeat("\x3f"+strings.Repeat("x", 63), 4)), 0)
		}, RcodeFormErr},
		{"a MAC that is cut", func(s *signature) { s.mac = 40 }, RcodeFormErr},
		{"a MAC past the end", func(s *signature) { s.mac = 65535 }, RcodeFormErr},
		{"other data that is missing", func(s *signature) { s.other = 1 }, RcodeFormErr},
		{"more than other data", func(s *signature) { s.tail = []byte{0} }, RcodeFormErr},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := good
			tt.spoil(&s)
			var q Query
			if d := q.Parse(s.signed(t)); d != Reject || q.Rcode != tt.rcode {
				t.Errorf("disposition %d, rcode %d, want %d", d, q.Rcode, tt.rcode)
			}
		})
	}
	// RDATA that ends within the time.
	short := good.signed(t)
	at := bytes.Index(short, algorithm)
	short = short[:at+len(algorithm)+9]
	binary.BigEndian.PutUint16(short[at-2:], uint16(len(short)-at))
	var q Query
	if d := q.Parse(short); d != Reject || q.Rcode != RcodeFormErr {
		t.Errorf("cut within the time: disposition %d, rcode %d", d, q.Rcode)
	}
	// TSIG is the last record.
	opt := query(t, "a.example.", dns.TypeA, withOPT())
	behind := append(edit(good.signed(t), 11, 2), opt[len(opt)-OPTLen:]...)
	if d := q.Parse(behind); d != Reject || q.Rcode != RcodeFormErr {
		t.Errorf("a record behind it: disposition %d, rcode %d", d, q.Rcode)
	}
}

// Owner names of additional records are passed over, whatever they are.
func TestParseAdditionalNames(t *testing.T) {
	plain := edit(query(t, "a.example.", dns.TypeA, nil), 11, 1)
	sig := []byte{0, byte(TypeSIG), 0, 255, 0, 0, 0, 0, 0, 0}
	long := strings.Repeat("\x3f"+strings.Repeat("x", 63), 4)
	for _, tt := range []struct {
		name, owner string
		want        Disposition
	}{
		{"the root", "\x00", Refer},
		{"a name", "\x01x\x00", Refer},
		{"a pointer", "\xc0\x0c", Refer},
		{"a label and a pointer", "\x01x\xc0\x0c", Refer},
		{"255 octets", long[:3*64] + "\x3d" + strings.Repeat("y", 61) + "\x00", Refer},
		{"over 255 octets", long + "\x00", Reject},
		{"label type 0x40", "\x41x\x00", Reject},
		{"label type 0x80", "\x81x\x00", Reject},
	} {
		var q Query
		msg := append(append(bytes.Clone(plain), tt.owner...), sig...)
		if d := q.Parse(msg); d != tt.want || d == Reject && q.Rcode != RcodeFormErr {
			t.Errorf("%s: disposition %d, rcode %d", tt.name, d, q.Rcode)
		}
	}
	for _, end := range []string{"\xc0", "\x01", "\x01x", "\x3fx"} {
		var q Query
		if d := q.Parse(append(bytes.Clone(plain), end...)); d != Reject || q.Rcode != RcodeFormErr {
			t.Errorf("a message that ends with %x: disposition %d, rcode %d", end, d, q.Rcode)
		}
	}
}

// The first of several cookies counts (RFC 7873 section 5.2).
func TestTheFirstCookieCounts(t *testing.T) {
	first, second := &dns.EDNS0_COOKIE{Code: 10, Cookie: "0102030405060708"}, &dns.EDNS0_COOKIE{Code: 10, Cookie: strings.Repeat("ff", 24)}
	var q Query
	if d := q.Parse(query(t, "a.", dns.TypeA, withOPT(first, second))); d != Refer || q.EDNS.CookieLen != 8 || q.EDNS.Cookie[0] != 1 {
		t.Errorf("disposition %d, cookie %x of %d octets", d, q.EDNS.Cookie, q.EDNS.CookieLen)
	}
}

// Only a query for a zone is one.
func TestWantsTransfer(t *testing.T) {
	axfr, ixfr := query(t, "a.example.", dns.TypeAXFR, nil), query(t, "a.example.", dns.TypeIXFR, nil)
	long := edit(axfr, 12, 10) // a label as long as all that follows but 4 octets
	for _, tt := range []struct {
		name string
		msg  []byte
		want bool
	}{
		{"AXFR", axfr, true},
		{"IXFR", ixfr, true},
		{"the root's", query(t, ".", dns.TypeAXFR, nil), true},
		{"with a TSIG", query(t, "a.", dns.TypeAXFR, func(m *dns.Msg) { m.SetTsig("key.", dns.HmacSHA256, 300, 0) }), true},
		{"another type", query(t, "a.example.", dns.TypeA, nil), false},
		{"nothing", nil, false},
		{"a header", axfr[:HeaderLen], false},
		{"a response", edit(axfr, 2, 0x80), false},
		{"NOTIFY", edit(axfr, 2, 4<<3), false},
		{"no question", edit(axfr, 5, 0), false},
		{"two questions", edit(axfr, 5, 2), false},
		{"a name without an end", axfr[:len(axfr)-5], false},
		{"a name past the end", edit(axfr, 12, 63), false},
		{"a label to within the end", long, false},
		{"a pointer", edit(axfr, 12, 0xc0), false},
		{"without its class", axfr[:len(axfr)-2], false},
	} {
		if got := WantsTransfer(tt.msg); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
	// An answer beside the SOA of an IXFR is as wrong as in any query.
	var q Query
	if d := q.Parse(edit(ixfr, 7, 1, 0, 1)); d != Reject || q.Rcode != RcodeFormErr {
		t.Errorf("IXFR with an answer: disposition %d, rcode %d", d, q.Rcode)
	}
}

// Names are equal but for the case of letters: what differs by the same bit and is no
// letter is another name.
func TestEqualNames(t *testing.T) {
	for a := range 256 {
		for b := range 256 {
			x, y := []byte{1, byte(a), 0}, []byte{1, byte(b), 0}
			fx, fy := make([]byte, 3), make([]byte, 3)
			Fold(fx, x)
			Fold(fy, y)
			if got, want := EqualNames(x, y), bytes.Equal(fx, fy); got != want {
				t.Errorf("%#x and %#x: %v", a, b, got)
			}
		}
	}
}

// A record of every type whose names are compressed is moved whole: unpacked behind
// another question, it says what it said.
func TestMoveEveryType(t *testing.T) {
	const packedFor, movedTo = "q.example.", "a.much.longer.name.example."
	lines := []string{
		packedFor + " 5 IN NS x.example.", packedFor + " 5 IN CNAME q.example.", packedFor + " 5 IN PTR y.x.example.",
		packedFor + " 5 IN MX 10 x.example.", packedFor + " 5 IN SOA x.example. y.x.example. 1 2 3 4 5",
		packedFor + " 5 IN TXT x", packedFor + " 5 IN SRV 0 0 53 x.example.",
	}
	from, err := ParseName(packedFor)
	if err != nil {
		t.Fatal(err)
	}
	to, err := ParseName(movedTo)
	if err != nil {
		t.Fatal(err)
	}
	p := NewPacker(from)
	for _, rr := range records(t, lines) {
		if err := p.Add(fromMiekg(t, rr)); err != nil {
			t.Fatal(err)
		}
	}
	msg := edit(query(t, movedTo, dns.TypeANY, nil), 6, 0, byte(len(lines)))
	body := len(msg)
	msg = append(msg, p.Bytes()...)
	m := NewMove(len(from), HeaderLen, len(to), body)
	m.Apply(msg[body:], len(lines))
	var got dns.Msg
	if err := got.Unpack(msg); err != nil {
		t.Fatal(err)
	}
	for i, rr := range records(t, lines) {
		rr.Header().Name = movedTo
		if c, ok := rr.(*dns.CNAME); ok {
			c.Target = movedTo // it was the name itself, and for a wildcard it is again
		}
		if got.Answer[i].String() != rr.String() {
			t.Errorf("got %s, want %s", got.Answer[i], rr)
		}
	}
}
