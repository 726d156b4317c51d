package resolver_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"portolan.dev/resolver"
	"portolan.dev/resolver/rrl"
	"portolan.dev/resolver/wire"
)

// Options that only inform give way to an answer that just fits, one after the other;
// none makes it longer than the client can take, and none truncates it.
func TestOptionsGiveWay(t *testing.T) {
	s := newServer(t, strings.Replace(contoso, "identity: ns1.test,", "identity: "+strings.Repeat("n", 40)+",", 1))
	seen := make(map[[2]bool]bool)
	name := "big.example.io."
	plain := s.ask(question(name, dns.TypeTXT, ""), true)
	plain.Compress = true
	whole, err := plain.Pack()
	if err != nil {
		t.Fatal(err)
	}
	for size := len(whole); size < len(whole)+100; size++ {
		m := with(name, dns.TypeTXT, &dns.EDNS0_NSID{Code: dns.EDNS0NSID}, &dns.EDNS0_LOCAL{Code: 19})
		m.IsEdns0().SetUDPSize(uint16(size))
		msg, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		out := s.raw(msg)
		var got dns.Msg
		if err := got.Unpack(out); err != nil {
			t.Fatal(err)
		}
		if len(out) > size || got.Truncated != (size < len(whole)+wire.OPTLen) {
			t.Fatalf("%d octets for a client that takes %d: truncated %v", len(out), size, got.Truncated)
		}
		_, nsid := option[*dns.EDNS0_NSID](&got)
		_, version := option[*dns.EDNS0_ZONEVERSION](&got)
		if left := size - len(out); !got.Truncated && (!nsid && left >= 44+10 || !version && left >= 10) {
			t.Errorf("NSID %v, ZONEVERSION %v, with %d octets left", nsid, version, left)
		}
		seen[[2]bool{nsid, version}] = true
	}
	for _, want := range [][2]bool{{false, false}, {false, true}, {true, true}} {
		if !seen[want] {
			t.Errorf("never NSID %v and ZONEVERSION %v", want[0], want[1])
		}
	}
}

// A referral is not of the zone's data: it has no version.
func TestNoVersionOfAReferral(t *testing.T) {
	s := contentServer(t)
	for name, want := range map[string]bool{"sub.file.test.": false, "mail.file.test.": true} {
		got := s.ask(with(name, dns.TypeA, &dns.EDNS0_LOCAL{Code: 19}), false)
		if _, ok := option[*dns.EDNS0_ZONEVERSION](got); ok != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A response that nearly fills a message is not padded beyond it.
func TestNoPaddingOfTheLongest(t *testing.T) {
	s := contentServer(t)
	for name, want := range map[string]bool{"huge.file.test.": false, "mail.file.test.": true} {
		m := with(name, dns.TypeTXT, &dns.EDNS0_PADDING{})
		got := s.answer(resolver.TLS, m, "192.0.2.1", 0)
		if _, ok := option[*dns.EDNS0_PADDING](got); ok != want || got.Truncated {
			t.Errorf("%s: padding %v, %d octets", name, ok, got.Len())
		}
	}
}

// A TSIG error that has no room is left out.
func TestTSIGWithoutRoom(t *testing.T) {
	s := newServer(t, contoso)
	for _, tt := range []struct {
		key  string
		want bool
	}{{"key.", true}, {strings.Repeat(strings.Repeat("k", 60)+".", 4), false}} {
		m := question(strings.Repeat(strings.Repeat("q", 60)+".", 3)+"example.io.", dns.TypeA, "")
		m.SetTsig(tt.key, strings.Repeat(strings.Repeat("a", 60)+".", 3), 300, clock.Unix())
		msg, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		out := s.raw(msg)
		if len(out) > 512 || out[3]&0xf != dns.RcodeNotAuth || (binary.BigEndian.Uint16(out[10:]) == 1) != tt.want {
			t.Errorf("a key of %d octets: %d octets, %x", len(tt.key), len(out), out[:12])
		}
	}
}

// Without slips, what is over the rate limit is dropped.
func TestNoSlips(t *testing.T) {
	s := newServer(t, contoso)
	s.s.Limits = limits(rrl.Policy{Rates: [3]uint32{1, 1, 1}, Burst: 1})
	msg, err := question("example.io.", dns.TypeSOA, "").Pack()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if out := s.raw(msg); (len(out) > 0) != (i == 0) {
			t.Errorf("response %d: %x", i, out)
		}
	}
}

// secondaries gives out zones as a test wants it.
type secondaries struct {
	takes   bool
	message []byte // the answer to signed queries
	served  int
}

func (s *secondaries) Serve(_ []byte, _ netip.AddrPort, _ int64, send func([]byte) error) bool {
	s.served++
	return s.takes && send([]byte("zone")) == nil
}

func (s *secondaries) Answer(dst, msg []byte, _ int64, answer func([]byte, int) []byte) []byte {
	if s.message == nil {
		return dst
	}
	// The query without its TSIG record is answered as ever.
	bare := slices.Clone(msg[:12+len("\x07example\x02io\x00")+4])
	bare[11] = 0
	return append(append(dst, s.message...), answer(bare, 0)...)
}

// Streams hand queries for zones, and all transports signed ones, to whoever gives
// zones to secondaries; what that does not take is answered as ever.
func TestTransfersAreHandedOver(t *testing.T) {
	s := newServer(t, contoso)
	axfr, err := question("example.io.", dns.TypeAXFR, "").Pack()
	if err != nil {
		t.Fatal(err)
	}
	soa, err := question("example.io.", dns.TypeSOA, "").Pack()
	if err != nil {
		t.Fatal(err)
	}
	var sent []string
	stream := func(msg []byte) bool {
		return s.stream.Stream(msg, loopback, clock.Unix(), func(b []byte) error {
			sent = append(sent, string(b))
			return nil
		})
	}
	if stream(axfr) {
		t.Error("a transfer is taken where nobody gives any")
	}
	to := &secondaries{takes: true}
	s.s.Transfers = to
	if !stream(axfr) || stream(soa) || to.served != 1 || len(sent) != 1 {
		t.Errorf("served %d, sent %q", to.served, sent)
	}
	to.takes = false
	if stream(axfr) {
		t.Error("what is not taken counts as taken")
	}
	if err := errors.New("gone"); s.stream.Stream(axfr, loopback, 0, func([]byte) error { return err }) {
		t.Error("a transfer to nobody")
	}

	m := question("example.io.", dns.TypeSOA, "")
	m.SetTsig("key.", dns.HmacSHA256, 300, clock.Unix())
	signed, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	if out := s.raw(signed); out[3]&0xf != dns.RcodeNotAuth {
		t.Errorf("not taken: %x", out)
	}
	to.message = []byte("signed:")
	if out := s.raw(signed); !bytes.HasPrefix(out, to.message) || !bytes.Equal(out[len(to.message):], s.raw(soa)) {
		t.Errorf("taken: %x", out)
	}
	if out := s.raw(append(soa, 0)); out[3]&0xf != dns.RcodeFormatError {
		t.Errorf("another fault: %x", out)
	}
}
