package resolver_test

import (
	"encoding/binary"
	"testing"

	"github.com/miekg/dns"
)

// FuzzAnswer gives the whole path any octets at all: no panic, no response to a
// response, and whatever is sent can be read, belongs to the query and fits.
func FuzzAnswer(f *testing.F) {
	s := newServer(f, contoso)
	for _, class := range classes {
		msg, err := class.query().Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(msg)
	}
	signed := question("myregistry.example.io.", dns.TypeA, "")
	signed.SetTsig("key.", dns.HmacSHA256, 300, 1_800_000_000)
	msg, err := signed.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(msg)
	f.Fuzz(func(t *testing.T, msg []byte) {
		out := s.raw(msg)
		if len(msg) < 12 || msg[2]&0x80 != 0 {
			if len(out) > 0 {
				t.Fatalf("%x is answered with %x", msg, out)
			}
			return
		}
		if len(out) < 12 || out[0] != msg[0] || out[1] != msg[1] || out[2]&0x80 == 0 {
			t.Fatalf("%x is answered with %x", msg, out)
		}
		var m dns.Msg
		if err := m.Unpack(out); err != nil {
			t.Fatalf("%x is answered with %x: %v", msg, out, err)
		}
		if len(out) > 1232 || m.IsEdns0() == nil && len(out) > 512 {
			t.Fatalf("%d octets answer %x", len(out), msg)
		}
		if m.Rcode == dns.RcodeFormatError && len(m.Answer)+len(m.Ns) > 0 {
			t.Fatalf("FORMERR with records: %v", &m)
		}
		if binary.BigEndian.Uint16(out[4:]) > 1 || len(m.Question) == 1 && string(out[12:16]) != string(msg[12:16]) {
			t.Fatalf("the question of %x is echoed as %x", msg, out)
		}
	})
}
