package transfer

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"portolan.dev/resolver/wire"
)

const keyText = `key "transfer.example.io" {
	algorithm hmac-sha256; # as tsig-keygen writes it
	secret "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
};
`

func testKey(tb testing.TB) *Key {
	tb.Helper()
	k, err := ParseKey(keyText)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func TestParseKey(t *testing.T) {
	if k := testKey(t); k.Name != "transfer.example.io." || k.Algorithm != dns.HmacSHA256 {
		t.Errorf("%+v", k)
	}
	for text, words := range map[string]string{
		"":                      "is no key",
		"key a { }; key b { };": "more than one",
		"key a { secret \"x\"; algorithm hmac-md5; };":                                                "hmac-sha256",
		"key a { algorithm hmac-sha256; secret \"AAECAwQ=\"; };":                                      "16 octets",
		"key a { algorithm hmac-sha256; secret \"!!!\"; };":                                           "base64",
		"key . { algorithm hmac-sha256; secret \"AAECAwQFBgcICQoLDA0ODw==\"; };":                      "no domain name",
		"key a { algorithm hmac-sha256; algorithm hmac-sha256; secret \"AAECAwQFBgcICQoLDA0ODw==\" }": "is no key",
		"key a {":                 "is no key",
		"key a { algorithm x y }": "is no key",
	} {
		_, err := ParseKey(text)
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%q: %v, want %q", text, err, words)
		}
		if err != nil && strings.Contains(err.Error(), "AAECAw") {
			t.Errorf("%q: the error repeats the secret: %v", text, err)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	for _, seed := range []string{keyText, "", "key a { };", "key \"\" { algorithm ; secret ; }", "key a {{{;;;}}}", "# x\nkey // y", "key a { secret \""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		k, err := ParseKey(text)
		if err != nil {
			return
		}
		msg := make([]byte, wire.HeaderLen)
		if _, mac, err := k.sign(msg, "", false, 1); err != nil || mac == "" {
			t.Fatalf("%q: an accepted key does not sign: %v", text, err)
		}
	})
}

// zoneOf is a zone with n address records.
func zoneOf(tb testing.TB, n int, key *Key) *Zone {
	tb.Helper()
	apex, err := wire.ParseName("example.io.")
	if err != nil {
		tb.Fatal(err)
	}
	z := &Zone{
		Name: "example.io.", Apex: apex, TTL: 300, Key: key, SOA: append(append(bytes.Clone(apex), apex...), make([]byte, 20)...), SerialAt: 2 * len(apex),
		Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Serial: func() uint32 { return 77 },
	}
	z.Records = append(z.Records, wire.RR{Owner: apex, Type: dns.TypeNS, Class: 1, TTL: 300, Data: apex})
	for i := range n {
		owner, err := wire.ParseName(fmt.Sprintf("h%d.example.io.", i))
		if err != nil {
			tb.Fatal(err)
		}
		z.Records = append(z.Records, wire.RR{Owner: owner, Type: dns.TypeA, Class: 1, TTL: 300, Data: []byte{192, 0, byte(i >> 8), byte(i)}})
	}
	return z
}

const now = 1_800_000_000

// request is a packed query for a transfer, signed with key if that is not nil.
func request(tb testing.TB, qtype uint16, serial uint32, key *Key) []byte {
	tb.Helper()
	m := new(dns.Msg)
	m.SetQuestion("Example.IO.", qtype)
	if qtype == dns.TypeIXFR {
		m.Ns = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: "example.io.", Rrtype: dns.TypeSOA, Class: 1}, Ns: ".", Mbox: ".", Serial: serial}}
	}
	msg, err := m.Pack()
	if err != nil {
		tb.Fatal(err)
	}
	if key != nil {
		if msg, _, err = key.sign(msg, "", false, now); err != nil {
			tb.Fatal(err)
		}
	}
	return msg
}

// serve returns the messages of a response.
func serve(s *Set, msg []byte, from string) (out [][]byte, taken bool) {
	taken = s.Serve(msg, netip.MustParseAddrPort(from), now, func(m []byte) error {
		out = append(out, m)
		return nil
	})
	return out, taken
}

// records unpacks messages into one list.
func records(tb testing.TB, msgs [][]byte) (out []dns.RR) {
	tb.Helper()
	for _, msg := range msgs {
		m := new(dns.Msg)
		if err := m.Unpack(msg); err != nil {
			tb.Fatal(err)
		}
		if !m.Response || !m.Authoritative || m.Rcode != 0 {
			tb.Errorf("%v", m.MsgHdr)
		}
		out = append(out, m.Answer...)
	}
	return out
}

// A zone of any size goes out whole, between two SOA records, in messages that fit.
func TestServe(t *testing.T) {
	for _, n := range []int{0, 1, 1000, 8000} {
		s := NewSet([]*Zone{zoneOf(t, n, nil)})
		for _, qtype := range []uint16{dns.TypeAXFR, dns.TypeIXFR} {
			msgs, taken := serve(s, request(t, qtype, 5, nil), "192.0.2.9:53")
			rrs := records(t, msgs)
			if !taken || len(rrs) != n+3 {
				t.Fatalf("%d records, taken %t, want %d", len(rrs), taken, n+3)
			}
			for _, i := range []int{0, len(rrs) - 1} {
				if soa, ok := rrs[i].(*dns.SOA); !ok || soa.Serial != 77 {
					t.Errorf("record %d is %v", i, rrs[i])
				}
			}
			seen := make(map[string]bool)
			for _, rr := range rrs[1:] {
				if seen[rr.String()] {
					t.Fatalf("%v twice", rr)
				}
				seen[rr.String()] = true
			}
			if n == 8000 && len(msgs) < 10 {
				t.Errorf("%d messages", len(msgs))
			}
		}
	}
}

// Whoever has the serial gets the SOA record alone.
func TestServeCurrent(t *testing.T) {
	s := NewSet([]*Zone{zoneOf(t, 10, nil)})
	for serial, want := range map[uint32]int{76: 13, 77: 1, 78: 1, 77 + 1<<31 + 1: 13} {
		msgs, _ := serve(s, request(t, dns.TypeIXFR, serial, nil), "192.0.2.9:53")
		if got := len(records(t, msgs)); got != want {
			t.Errorf("serial %d: %d records, want %d", serial, got, want)
		}
	}
}

func TestServeRefuses(t *testing.T) {
	key := testKey(t)
	other, err := ParseKey(strings.Replace(keyText, "transfer.", "other.", 1))
	if err != nil {
		t.Fatal(err)
	}
	plain, signed := NewSet([]*Zone{zoneOf(t, 1, nil)}), NewSet([]*Zone{zoneOf(t, 1, key)})
	for _, tt := range []struct {
		what string
		s    *Set
		msg  []byte
		from string
	}{
		{"an address that is not allowed", plain, request(t, dns.TypeAXFR, 0, nil), "198.51.100.1:53"},
		{"another zone", plain, []byte("\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03foo\x00\x00\xfc\x00\x01"), "192.0.2.1:53"},
		{"no signature", signed, request(t, dns.TypeAXFR, 0, nil), "192.0.2.1:53"},
		{"a signature from elsewhere", signed, request(t, dns.TypeAXFR, 0, key), "198.51.100.1:53"},
		{"garbage", plain, []byte("\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x09"), "192.0.2.1:53"},
	} {
		if out, taken := serve(tt.s, tt.msg, tt.from); taken || len(out) > 0 {
			t.Errorf("%s: %d messages", tt.what, len(out))
		}
	}
	// What is signed wrongly is told so, and gets nothing.
	bad := request(t, dns.TypeAXFR, 0, key)
	bad[0] ^= 1 // the ID stands in the record, so another one does no harm
	if out, _ := serve(signed, bad, "192.0.2.1:53"); len(out) != 1 || len(records(t, out)) != 4 {
		t.Errorf("another ID: %d messages", len(out))
	}
	bad[len(bad)-30] ^= 1
	for _, tt := range []struct {
		what string
		msg  []byte
		code uint16
	}{
		{"a bad code", bad, dns.RcodeBadSig},
		{"an unknown key", request(t, dns.TypeAXFR, 0, other), dns.RcodeBadKey},
	} {
		out, taken := serve(signed, tt.msg, "192.0.2.1:53")
		if !taken || len(out) != 1 {
			t.Fatalf("%s: %d messages", tt.what, len(out))
		}
		var m dns.Msg
		if err := m.Unpack(out[0]); err != nil || m.Rcode != dns.RcodeNotAuth || len(m.Answer) > 0 || m.IsTsig() == nil || m.IsTsig().Error != tt.code || m.IsTsig().MAC != "" {
			t.Errorf("%s: %v %v", tt.what, err, &m)
		}
	}
}

// Late and early requests are told the time, signed.
func TestBadTime(t *testing.T) {
	key := testKey(t)
	s := NewSet([]*Zone{zoneOf(t, 1, key)})
	for _, late := range []int64{-301, 301} {
		var out []byte
		s.Serve(request(t, dns.TypeAXFR, 0, key), netip.MustParseAddrPort("192.0.2.1:53"), now+late, func(m []byte) error { out = m; return nil })
		var m dns.Msg
		if err := m.Unpack(out); err != nil || m.Rcode != dns.RcodeNotAuth || m.IsTsig() == nil || m.IsTsig().Error != dns.RcodeBadTime || m.IsTsig().OtherLen != 6 || m.IsTsig().MAC == "" {
			t.Errorf("%v %v", err, &m)
		}
	}
	if out, taken := serve(s, request(t, dns.TypeAXFR, 0, key), "192.0.2.1:53"); !taken || len(out) != 1 {
		t.Error("a good time is refused")
	}
}

// miekg/dns, which shares none of the code, believes our codes and we believe its.
func TestCodesAgree(t *testing.T) {
	secret := base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))
	for _, algorithm := range algorithms() {
		k := &Key{Name: "k.example.", Algorithm: algorithm, secret: secret}
		m := new(dns.Msg)
		m.SetQuestion("example.io.", dns.TypeAXFR)
		m.SetTsig(k.Name, algorithm, fudge, time.Now().Unix())
		theirs, mac, err := dns.TsigGenerate(m, secret, "", false)
		if err != nil {
			t.Fatal(err)
		}
		z := zoneOf(t, 3000, k)
		s := NewSet([]*Zone{z})
		var msgs [][]byte
		if !s.Serve(theirs, netip.MustParseAddrPort("192.0.2.1:53"), time.Now().Unix(), func(m []byte) error { msgs = append(msgs, m); return nil }) || len(msgs) < 3 {
			t.Fatalf("%s: %d messages", algorithm, len(msgs))
		}
		for i, msg := range msgs {
			var m dns.Msg
			if err := m.Unpack(msg); err != nil {
				t.Fatal(err)
			}
			// The check takes the record out of the message.
			if err := dns.TsigVerify(msg, secret, mac, i > 0); err != nil {
				t.Fatalf("%s, message %d: %v", algorithm, i, err)
			}
			mac = m.IsTsig().MAC
		}
	}
}

// A signed question gets the answer it would get unsigned, signed.
func TestAnswer(t *testing.T) {
	k := testKey(t)
	s := NewSet([]*Zone{zoneOf(t, 1, k)})
	unsigned := request(t, dns.TypeSOA, 0, nil)
	var asked []byte
	var spared int
	out := s.Answer([]byte("xy"), request(t, dns.TypeSOA, 0, k), now, func(msg []byte, room int) []byte {
		asked, spared = bytes.Clone(msg), room
		r := bytes.Clone(msg)
		r[2] |= 0x80
		return r
	})
	if len(asked) != len(unsigned) || !bytes.Equal(asked[2:], unsigned[2:]) {
		t.Errorf("asked %x, want %x", asked, unsigned)
	}
	var m dns.Msg
	if err := m.Unpack(out[2:]); err != nil || m.IsTsig() == nil || m.IsTsig().Error != 0 {
		t.Errorf("%v %v", err, &m)
	}
	if added := len(out) - 2 - len(unsigned); added != spared {
		t.Errorf("room for %d octets, the signature takes %d", spared, added)
	}
	if out := s.Answer(nil, unsigned, now, nil); len(out) != 0 {
		t.Error("a message without a signature is answered")
	}
}

// A send that fails ends a transfer.
func TestServeStops(t *testing.T) {
	s := NewSet([]*Zone{zoneOf(t, 8000, nil)})
	calls := 0
	s.Serve(request(t, dns.TypeAXFR, 0, nil), netip.MustParseAddrPort("192.0.2.1:53"), now, func([]byte) error { calls++; return errors.New("gone") })
	if calls != 1 {
		t.Errorf("%d calls", calls)
	}
}

// Beyond the transfers that may run, secondaries are told to come again, signed where
// the request was; the place of one that has ended is free, however it ended.
func TestServeBusy(t *testing.T) {
	k := testKey(t)
	plain, signed := NewSet([]*Zone{zoneOf(t, 8000, nil)}), NewSet([]*Zone{zoneOf(t, 8000, k)})
	traffic := new(Traffic)
	plain.Share(traffic, 2)
	signed.Share(traffic, 2)
	sending, goOn := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			first := true
			plain.Serve(request(t, dns.TypeAXFR, 0, nil), netip.MustParseAddrPort("192.0.2.1:53"), now, func([]byte) error {
				if first {
					sending <- struct{}{}
					<-goOn
				}
				first = false
				return nil
			})
		})
		<-sending
	}
	for _, tt := range []struct {
		s   *Set
		key *Key
	}{{plain, nil}, {signed, k}} {
		msg := request(t, dns.TypeAXFR, 0, tt.key)
		out, taken := serve(tt.s, msg, "192.0.2.9:53")
		var m dns.Msg
		if !taken || len(out) != 1 || m.Unpack(out[0]) != nil || m.Rcode != dns.RcodeServerFailure || len(m.Answer) > 0 || m.Authoritative || len(m.Question) != 1 {
			t.Fatalf("taken %t, %v", taken, &m)
		}
		if tt.key == nil {
			continue
		}
		var asked dns.Msg
		if err := asked.Unpack(msg); err != nil {
			t.Fatal(err)
		}
		if failed := tt.s.check(msg, asked.IsTsig(), now); failed != nil {
			t.Fatal("the request is not good")
		}
		bare, _ := strip(out[0], m.IsTsig())
		if sum := hex.EncodeToString(k.mac(bare, asked.IsTsig().MAC, m.IsTsig(), false)); sum != m.IsTsig().MAC {
			t.Errorf("code %s, want %s", m.IsTsig().MAC, sum)
		}
	}
	if n := traffic.Totals().Running; n != 2 {
		t.Errorf("%d are running", n)
	}
	close(goOn)
	wg.Wait()
	if msgs, _ := serve(signed, request(t, dns.TypeIXFR, 77, k), "192.0.2.9:53"); len(records(t, msgs)) != 1 {
		t.Error("the places of those that have ended are taken")
	}
}

// Requests are counted by what became of them.
func TestTraffic(t *testing.T) {
	k := testKey(t)
	s := NewSet([]*Zone{zoneOf(t, 3, k)})
	bad := request(t, dns.TypeAXFR, 0, k)
	bad[len(bad)-30] ^= 1
	octets := 0
	for _, tt := range []struct {
		msg  []byte
		from string
		want Outcome
	}{
		{request(t, dns.TypeAXFR, 0, k), "192.0.2.1:53", Sent},
		{request(t, dns.TypeIXFR, 1, k), "192.0.2.1:53", Sent},
		{request(t, dns.TypeIXFR, 77, k), "192.0.2.1:53", Current},
		{request(t, dns.TypeAXFR, 0, k), "198.51.100.1:53", Refused},
		{request(t, dns.TypeAXFR, 0, nil), "192.0.2.1:53", Refused},
		{bad, "192.0.2.1:53", BadSignature},
	} {
		before := s.traffic.Totals()
		msgs, _ := serve(s, tt.msg, tt.from)
		for _, m := range msgs {
			octets += len(m)
		}
		after := s.traffic.Totals()
		if before.Requests[tt.want]++; before.Requests != after.Requests {
			t.Errorf("%s: %v, want %v", tt.want, after.Requests, before.Requests)
		}
	}
	s.Serve(request(t, dns.TypeAXFR, 0, k), netip.MustParseAddrPort("192.0.2.1:53"), now, func([]byte) error { return errors.New("gone") })
	if got := s.traffic.Totals(); got.Requests[Aborted] != 1 || got.Octets != uint64(octets) || got.Running != 0 {
		t.Errorf("%+v, want %d octets", got, octets)
	}
}

// Whatever comes, nothing panics, and nobody without the key gets a record.
func FuzzServe(f *testing.F) {
	k := testKey(f)
	f.Add(request(f, dns.TypeAXFR, 0, nil))
	f.Add(request(f, dns.TypeIXFR, 7, k)[:40])
	f.Add([]byte("\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x01\x00\x00\xfc\x00\x01\x00\x00\xfa\x00\xff\x00\x00\x00\x00\x00\x00"))
	s := NewSet([]*Zone{zoneOf(f, 3, k)})
	good := request(f, dns.TypeAXFR, 0, k)
	f.Fuzz(func(t *testing.T, msg []byte) {
		out, _ := serve(s, msg, "192.0.2.1:53")
		for _, m := range out {
			if len(m) < 8 || m[7] != 0 && !bytes.Contains(msg, good[len(good)-40:]) {
				t.Fatalf("%x gets %x", msg, m)
			}
		}
		s.Answer(nil, msg, now, func(m []byte, _ int) []byte { return m })
		wire.WantsTransfer(msg)
	})
}

// secondary is a stand-in that answers NOTIFY as told and counts.
type secondary struct {
	conn net.PacketConn
	mu   sync.Mutex
	seen int
	last []byte
}

func (s *secondary) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

// newSecondary answers with rcode from the nth message on; before, it is silent.
func newSecondary(t *testing.T, silent int, rcode byte) *secondary {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &secondary{conn: conn}
	t.Cleanup(func() { _ = conn.Close() })
	go func() { // ends with the socket
		buf := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			s.mu.Lock()
			s.seen++
			s.last = bytes.Clone(buf[:n])
			answer := s.seen > silent
			s.mu.Unlock()
			if answer {
				buf[2], buf[3] = buf[2]|0x80, rcode
				_, _ = conn.WriteTo(buf[:n], from)
			}
		}
	}()
	return s
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for until := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal(what)
		}
	}
}

// Every secondary hears of every serial, once if it answers and again if it does not.
func TestNotifier(t *testing.T) {
	good, slow, refusing := newSecondary(t, 0, 0), newSecondary(t, 2, 0), newSecondary(t, 0, dns.RcodeRefused)
	z := zoneOf(t, 1, testKey(t))
	var serial sync.Map
	serial.Store("s", uint32(1))
	z.Serial = func() uint32 { v, _ := serial.Load("s"); return v.(uint32) }
	for _, s := range []*secondary{good, slow, refusing} {
		z.Notify = append(z.Notify, netip.MustParseAddrPort(s.conn.LocalAddr().String()))
	}
	var mu sync.Mutex
	var logged []string
	n := NewNotifier(NotifyOptions{
		// Who answers is not told again: the wait is beyond what a slow machine takes to.
		Now: time.Now, Wall: time.Now, Every: time.Millisecond, Wait: time.Second, Tries: 6,
		Log: func(_ string, _ netip.AddrPort, err error) {
			mu.Lock()
			defer mu.Unlock()
			logged = append(logged, err.Error())
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { n.Run(ctx); close(done) }()
	n.Set(NewSet([]*Zone{z}))
	eventually(t, "not all were told", func() bool { return good.count() == 1 && slow.count() == 3 && refusing.count() == 1 })
	serial.Store("s", uint32(2))
	eventually(t, "a new serial was not told", func() bool { return good.count() == 2 && slow.count() == 4 && refusing.count() == 2 })
	eventually(t, "what became of the messages is not counted", func() bool {
		return n.Stats() == NotifyStats{Acknowledged: 4, Refused: 2, Unanswered: 2, Behind: 1}
	})
	n.Set(nil)
	eventually(t, "a secondary that is gone is behind", func() bool { return n.Stats().Behind == 0 })
	cancel()
	<-done
	mu.Lock()
	defer mu.Unlock()
	if all := strings.Join(logged, "\n"); !strings.Contains(all, "REFUSED") || !strings.Contains(all, "no answer") {
		t.Errorf("logged %q", logged)
	}
}

// What a secondary checks is the time on the wall, whatever pauses are measured by.
func TestNotifierSignsByTheWallClock(t *testing.T) {
	s := newSecondary(t, 0, 0)
	z := zoneOf(t, 1, testKey(t))
	z.Serial = func() uint32 { return 1 }
	z.Notify = []netip.AddrPort{netip.MustParseAddrPort(s.conn.LocalAddr().String())}
	wall := time.Unix(1_900_000_000, 0)
	n := NewNotifier(NotifyOptions{
		Now: time.Now, Wall: func() time.Time { return wall }, Every: time.Millisecond, Wait: time.Second, Tries: 6,
		Log: func(string, netip.AddrPort, error) {},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { n.Run(ctx); close(done) }()
	n.Set(NewSet([]*Zone{z}))
	eventually(t, "the secondary was not told", func() bool { return s.count() > 0 })
	cancel()
	<-done
	var m dns.Msg
	if err := m.Unpack(s.last); err != nil {
		t.Fatal(err)
	}
	if sig := m.IsTsig(); sig == nil || sig.TimeSigned != uint64(wall.Unix()) {
		t.Errorf("signed at %v, want %d", sig, wall.Unix())
	}
}
