package resolver_test

import (
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"portolan.dev/resolver"
	"portolan.dev/resolver/transfer"
	"portolan.dev/resolver/wire"
)

const signingSecret = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

// newSigningServer answers questions signed with the key "client.test", too.
func newSigningServer(t *testing.T, algorithm string) *server {
	t.Helper()
	key, err := transfer.ParseKey(`key "client.test" { algorithm ` + algorithm + `; secret "` + signingSecret + `"; };`)
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t, contoso)
	s.s.Transfers = transfer.NewSet([]*transfer.Zone{{Name: "example.io.", Apex: []byte("\x07example\x02io\x00"), Key: key}})
	return s
}

// askSigned asks as miekg/dns does, with room for size octets (0: no EDNS), and returns
// the response, whose signature is good, and its length.
func (s *server) askSigned(w *resolver.Worker, name, algorithm string, size uint16) (*dns.Msg, int) {
	s.t.Helper()
	q := new(dns.Msg)
	q.SetQuestion(name, dns.TypeTXT)
	if size != 0 {
		q.SetEdns0(size, false)
		q.IsEdns0().Option = append(q.IsEdns0().Option, &dns.EDNS0_NSID{Code: dns.EDNS0NSID})
	}
	q.SetTsig("client.test.", algorithm+".", 300, time.Now().Unix())
	msg, mac, err := dns.TsigGenerate(q, signingSecret, "", false)
	if err != nil {
		s.t.Fatal(err)
	}
	out := w.Answer(nil, msg, loopback, time.Now().Unix())
	n := len(out)
	r := new(dns.Msg)
	if err := r.Unpack(out); err != nil {
		s.t.Fatalf("%v: %x", err, out)
	}
	if err := dns.TsigVerify(out, signingSecret, mac, false); err != nil {
		s.t.Fatalf("size %d: %v: %v", size, err, r)
	}
	return r, n
}

// A signature is part of what must fit: an answer that has no room for it is sent
// with TC, signed, and one octet more of room takes it whole.
func TestSignedAnswerFits(t *testing.T) {
	for _, algorithm := range []string{dns.HmacSHA224, dns.HmacSHA256, dns.HmacSHA512} {
		algorithm = algorithm[:len(algorithm)-1]
		s := newSigningServer(t, algorithm)
		full, whole := s.askSigned(s.udp, "big.example.io.", algorithm, 1232)
		if full.Truncated || len(full.Answer) != 6 || whole < 700 || whole > 1200 {
			t.Fatalf("%s: %d octets: %v", algorithm, whole, full)
		}
		for size := whole - 150; size <= whole+30; size++ {
			m, n := s.askSigned(s.udp, "big.example.io.", algorithm, uint16(size))
			if n > size {
				t.Errorf("%s: %d octets where %d fit", algorithm, n, size)
			}
			if size >= whole && (m.Truncated || len(m.Answer) != 6) {
				t.Errorf("%s: truncated at %d, and it takes %d", algorithm, size, whole)
			}
			// NSID gives way before the answer does.
			if nsid := len(s.s.NSID); size < whole-nsid && (!m.Truncated || len(m.Answer)+len(m.Ns) != 0 || m.Rcode != dns.RcodeSuccess) {
				t.Errorf("%s: at %d: %v", algorithm, size, m)
			}
		}
		if m, n := s.askSigned(s.udp, "big.example.io.", algorithm, 0); !m.Truncated || n > 512 {
			t.Errorf("%s: without EDNS: %d octets, %v", algorithm, n, m)
		}
		if m, _ := s.askSigned(s.stream, "big.example.io.", algorithm, 512); m.Truncated || len(m.Answer) != 6 {
			t.Errorf("%s: over a stream: %v", algorithm, m)
		}
	}
}

// A response code that is no answer stays where the signature leaves no room: the client
// is to come with the cookie it is given.
func TestSignedErrorWithoutRoom(t *testing.T) {
	name := strings.Repeat(strings.Repeat("k", 60)+".", 4)
	key, err := transfer.ParseKey(`key "` + name + `" { algorithm hmac-sha512; secret "` + signingSecret + `"; };`)
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t, contoso)
	s.s.Transfers = transfer.NewSet([]*transfer.Zone{{Name: "example.io.", Apex: []byte("\x07example\x02io\x00"), Key: key}})
	s.s.Cookies = &wire.CookieKeys{Active: wire.CookieSecret{7}, Enforce: true}
	for option, want := range map[dns.EDNS0]int{cookie("0102030405060708"): dns.RcodeBadCookie, &dns.EDNS0_NSID{Code: dns.EDNS0NSID}: dns.RcodeSuccess} {
		q := with(strings.Repeat(strings.Repeat("q", 60)+".", 3)+"example.io.", dns.TypeTXT, option)
		q.IsEdns0().SetUDPSize(512)
		q.SetTsig(name, dns.HmacSHA512, 300, time.Now().Unix())
		msg, _, err := dns.TsigGenerate(q, signingSecret, "", false)
		if err != nil {
			t.Fatal(err)
		}
		var m dns.Msg
		if err := m.Unpack(s.udp.Answer(nil, msg, loopback, time.Now().Unix())); err != nil {
			t.Fatal(err)
		}
		if m.Rcode != want || !m.Truncated || m.IsTsig() == nil {
			t.Errorf("%v: %v", option, &m)
		}
	}
}
