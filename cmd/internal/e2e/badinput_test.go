//go:build linux

package e2e

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// badInputConfig has a text record of 700 octets and one of 3000.
const badInputConfig = `
server:
  listen: ["127.0.0.1:0", "[::1]:0"]
  identity: e2e
  tls: {listen: ["127.0.0.1:0", "[::1]:0"], certificate: cert.pem, key: key.pem}
admin: {socket: $DIR/admin.sock, metrics: "127.0.0.1:0"}
state: {dir: $DIR}
geo: {default_region: westeurope}
zones:
  example.io:
    nameservers: {ns1: [192.0.2.53, "2001:db8::53"]}
    records: example.io.zone
registries:
  myregistry:
    regional_endpoints: enabled
    replicas:
      westus: {addresses: [192.0.2.10, "2001:db8::10"]}
      westeurope: {addresses: [192.0.2.30, "2001:db8::30"]}
  plain:
    replicas:
      westus: {addresses: [192.0.2.11, "2001:db8::11"]}
      westeurope: {addresses: [192.0.2.31, "2001:db8::31"]}
`

// badInput is one message and what has to come back on every transport. Rows are
// numbered as in the list of expected answers that the server was built to, so
// that both can be compared.
type badInput struct {
	row  string
	msg  []byte
	want expected
}

// expected describes a response. The zero value is NOERROR with the question and
// without an OPT record.
type expected struct {
	drop       bool // nothing comes back; over TCP the connection is closed
	rcode      int  // with the bits from the OPT record
	noQuestion bool // there was none that could be read
	opt        bool // an OPT record is there
	asks       int  // responses that check asks for besides
	extra      int  // additional records of an error besides OPT
	// check looks closer; answer is the response as it came.
	check func(t *testing.T, c client, answer []byte, m *dns.Msg)
}

// One row after the other: what each of them is counted as is compared, too.
func TestBadInput(t *testing.T) {
	srv := serve(t, nil, badInputConfig, append(selfSigned(t), file{"example.io.zone", bigTexts()})...)
	for _, in := range allInputs() {
		t.Run(in.row, func(t *testing.T) {
			before := srv.scrape()
			for _, c := range srv.clients() {
				in.send(t, c)
			}
			after := srv.scrape()
			if in.want.drop { // nothing says when the server has done so
				eventually(t, patience, "all are dropped", func() bool {
					after = srv.scrape()
					return after.sum("portolan_queries_dropped_total")-before.sum("portolan_queries_dropped_total") >= float64(len(srv.clients()))
				})
			}
			in.count(t, before, after)
		})
	}
}

// allInputs are the messages of all rows.
func allInputs() []badInput {
	return slices.Concat(headerInputs(), nameInputs(), ednsInputs(), subnetInputs(), optionInputs(), typeInputs(), policyInputs())
}

// send sends the message over one transport and compares.
func (in *badInput) send(t *testing.T, c client) {
	t.Helper()
	answer, err := c.exchange(t, in.msg, in.patience(c))
	if in.want.drop {
		switch {
		case answer != nil:
			t.Errorf("%v: an answer: %x", c, answer)
		case c.network == "udp" && !errors.Is(err, os.ErrDeadlineExceeded):
			t.Errorf("%v: %v", c, err)
		case c.network != "udp" && errors.Is(err, os.ErrDeadlineExceeded):
			t.Errorf("%v: the connection stays open", c)
		}
		return
	}
	if answer == nil {
		t.Errorf("%v: no answer: %v", c, err)
		return
	}
	m := new(dns.Msg)
	if err := m.Unpack(answer); err != nil {
		t.Errorf("%v: %v: %x", c, err, answer)
		return
	}
	in.compare(t, c, answer, m)
	if in.want.check != nil {
		in.want.check(t, c, answer, m)
	}
}

// patience is how long to wait for an answer, or for none.
func (in *badInput) patience(c client) time.Duration {
	if in.want.drop && c.network == "udp" { // a stream is closed, sooner or later
		return silence
	}
	return patience
}

// compare checks what is the same for all responses: what is echoed, what is
// never set, and that errors carry nothing.
func (in *badInput) compare(t *testing.T, c client, answer []byte, m *dns.Msg) {
	t.Helper()
	const qr, opcode, rd, ra, z, ad, cd = 0x8000, 0x7800, 0x0100, 0x0080, 0x0040, 0x0020, 0x0010
	sent, got := binary.BigEndian.Uint16(in.msg[2:]), binary.BigEndian.Uint16(answer[2:])
	rcode := int(got & 0xf)
	opt := m.IsEdns0()
	if opt != nil {
		rcode |= opt.ExtendedRcode() &^ 0xf
	}
	if rcode != in.want.rcode {
		t.Errorf("%v: rcode %d, want %d", c, rcode, in.want.rcode)
	}
	if (opt != nil) != in.want.opt {
		t.Errorf("%v: OPT record: %v, want %v", c, opt != nil, in.want.opt)
	}
	if !bytes.Equal(in.msg[:2], answer[:2]) || got&qr == 0 || got&(opcode|rd|cd) != sent&(opcode|rd|cd) || got&(ra|z|ad) != 0 {
		t.Errorf("%v: header %x for %x", c, answer[:4], in.msg[:4])
	}
	questions := binary.BigEndian.Uint16(answer[4:])
	if in.want.noQuestion {
		if questions != 0 {
			t.Errorf("%v: %d questions, want none", c, questions)
		}
	} else if end := 12 + questionLen(in.msg); questions != 1 || !bytes.Equal(answer[12:end], in.msg[12:end]) {
		t.Errorf("%v: the question is not echoed: %x for %x", c, answer, in.msg)
	}
	if rcode != dns.RcodeSuccess && rcode != dns.RcodeNameError {
		others := len(m.Extra)
		if opt != nil {
			others--
		}
		if m.Authoritative || len(m.Answer)+len(m.Ns) > 0 || others != in.want.extra {
			t.Errorf("%v: an error with AA or records: %v", c, m)
		}
	}
}

// count wants each response in the counter of its transport, family and code, and
// each message without one in the counter of those.
func (in *badInput) count(t *testing.T, before, after samples) {
	t.Helper()
	name, want := dns.RcodeToString[in.want.rcode], float64(1+in.want.asks)
	if in.want.rcode == dns.RcodeBadVers {
		name = "BADVERS"
	}
	for _, transport := range []string{"udp", "tcp", "tls"} {
		label := `transport="` + transport + `"`
		dropped := after.sum("portolan_queries_dropped_total", label) - before.sum("portolan_queries_dropped_total", label)
		if in.want.drop {
			if dropped != 2 {
				t.Errorf("dropped_total over %s rose by %v, want 2", transport, dropped)
			}
			continue
		}
		for _, family := range []string{"ipv4", "ipv6"} {
			labels := []string{label, `family="` + family + `"`, `rcode="` + name + `"`}
			n := after.sum("portolan_queries_total", labels...) - before.sum("portolan_queries_total", labels...)
			if n != want || dropped != 0 {
				t.Errorf("queries_total %v rose by %v, want %v; dropped_total by %v", labels, n, want, dropped)
			}
		}
	}
}

// bigTexts returns a zone file with TXT records of 700 and 3000 octets.
func bigTexts() string {
	text := func(octets int) string {
		return strings.Repeat(` "`+strings.Repeat("x", 99)+`"`, octets/100)
	}
	return "big IN TXT" + text(700) + "\nhuge IN TXT" + text(3000) + "\n"
}
