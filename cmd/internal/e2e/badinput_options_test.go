//go:build linux

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// optionInputs are rows 25 to 27 and 33 to 38: the other options, and signatures.
func optionInputs() []badInput {
	broken := expected{rcode: dns.RcodeFormatError, opt: true, check: wantPlainOPT}
	ask := func(options ...[]byte) []byte { return query(exampleName, dns.TypeA, opt(1232, 0, options...)) }
	cookie := func(octets int) []byte {
		return ednsOption(dns.EDNS0COOKIE, []byte("\x01\x02\x03\x04\x05\x06\x07\x08 and more than forty octets besides")[:octets]...)
	}
	seattle := ecs(1, 24, 0, 128, 95, 0)
	in := []badInput{
		{row: "26 client cookie", msg: ask(cookie(8)), want: expected{opt: true, check: wantCookie}},
		{row: "27 a server cookie of nobody", msg: ask(cookie(24)), want: expected{opt: true, check: wantCookie}},
		{row: "27 a server cookie of 8 octets", msg: ask(cookie(16)), want: expected{opt: true, check: wantCookie}},
		{row: "27 a server cookie of 32 octets", msg: ask(cookie(40)), want: expected{opt: true, check: wantCookie}},
		{row: "33 two client subnets", msg: ask(seattle, seattle), want: expected{rcode: dns.RcodeFormatError, opt: true, check: wantNoSubnet}},
		{row: "34 NSID with a payload", msg: ask(ednsOption(dns.EDNS0NSID, 1, 2, 3)), want: expected{opt: true, check: wantNSID("e2e")}},
		{row: "35 ZONEVERSION with a payload", msg: ask(ednsOption(19, 1, 2, 3)), want: expected{opt: true, check: wantZoneVersion}},
		{row: "36 keepalive", msg: ask(ednsOption(dns.EDNS0TCPKEEPALIVE)), want: expected{opt: true, check: wantKeepalive}},
		{row: "36 keepalive with a payload", msg: ask(ednsOption(dns.EDNS0TCPKEEPALIVE, 0, 100)), want: expected{opt: true, check: wantKeepalive}},
		{row: "36 padding", msg: ask(ednsOption(dns.EDNS0PADDING, make([]byte, 64)...)), want: expected{opt: true, check: wantPadding}},
		{row: "37 TSIG", msg: query(exampleName, dns.TypeA, tsig()), want: expected{rcode: dns.RcodeNotAuth, extra: 1, check: wantBadKey}},
		{row: "37 TSIG behind OPT", msg: query(exampleName, dns.TypeA, opt(1232, 0), tsig()), want: expected{rcode: dns.RcodeNotAuth, opt: true, extra: 1, check: wantBadKey}},
		{row: "37 TSIG is not last", msg: query(exampleName, dns.TypeA, tsig(), opt(1232, 0)), want: expected{rcode: dns.RcodeFormatError}},
		{row: "37 TSIG of another class", msg: query(exampleName, dns.TypeA, record('k', dns.TypeTSIG, dns.ClassINET, 0, tsig()[13:])), want: expected{rcode: dns.RcodeFormatError}},
		{row: "37 TSIG without an algorithm", msg: query(exampleName, dns.TypeA, record('k', dns.TypeTSIG, dns.ClassANY, 0, nil)), want: expected{rcode: dns.RcodeFormatError}},
		{row: "37 TSIG cut short", msg: query(exampleName, dns.TypeA, record('k', dns.TypeTSIG, dns.ClassANY, 0, tsig()[13:40])), want: expected{rcode: dns.RcodeFormatError}},
		{row: "38 SIG(0)", msg: query(exampleName, dns.TypeA, record(0, dns.TypeSIG, dns.ClassANY, 0, make([]byte, 40))), want: expected{check: wantAnswer}},
	}
	for _, octets := range []int{0, 1, 7, 9, 15, 41} {
		in = append(in, badInput{row: fmt.Sprintf("25 cookie of %d octets", octets), msg: ask(cookie(octets)), want: broken})
	}
	return in
}

// tsig is a TSIG record by a key that nobody has (RFC 8945 section 4.2).
func tsig() []byte {
	data := labels("hmac-sha256")
	data = append(data, 0, 0, 0x6b, 0x49, 0xd2, 0, 1, 44, 0, 4, 1, 2, 3, 4, 0xbe, 0xef, 0, 0, 0, 0)
	return record('k', dns.TypeTSIG, dns.ClassANY, 0, data)
}

// wantBadKey wants BADKEY, unsigned, for the key of the query (RFC 8945 section 5.2.1).
func wantBadKey(t *testing.T, c client, _ []byte, m *dns.Msg) {
	t.Helper()
	sig, ok := m.Extra[len(m.Extra)-1].(*dns.TSIG)
	if !ok || sig.Error != dns.RcodeBadKey || sig.MACSize != 0 || sig.Hdr.Name != "k." || sig.Algorithm != dns.HmacSHA256 || sig.OrigId != m.Id || sig.TimeSigned != 0x6b49d200 {
		t.Errorf("%v: want BADKEY: %v", c, m)
	}
}

func wantAnswer(t *testing.T, c client, _ []byte, m *dns.Msg) {
	t.Helper()
	if len(m.Answer) == 0 || !m.Authoritative {
		t.Errorf("%v: no answer: %v", c, m)
	}
}

func wantNSID(text string) func(*testing.T, client, []byte, *dns.Msg) {
	return func(t *testing.T, c client, answer []byte, m *dns.Msg) {
		t.Helper()
		wantAnswer(t, c, answer, m)
		if o, ok := optionOf[*dns.EDNS0_NSID](m); !ok || o.Nsid != hex.EncodeToString([]byte(text)) {
			t.Errorf("%v: NSID %v", c, o)
		}
	}
}

func wantZoneVersion(t *testing.T, c client, answer []byte, m *dns.Msg) {
	t.Helper()
	wantAnswer(t, c, answer, m)
	if o, ok := optionOf[*dns.EDNS0_ZONEVERSION](m); !ok || o.LabelCount != 2 || o.Type != 0 {
		t.Errorf("%v: ZONEVERSION %v", c, o)
	}
}

// wantKeepalive wants the idle timeout of ten seconds over streams alone.
func wantKeepalive(t *testing.T, c client, answer []byte, m *dns.Msg) {
	t.Helper()
	wantAnswer(t, c, answer, m)
	if o, ok := optionOf[*dns.EDNS0_TCP_KEEPALIVE](m); ok != (c.network != "udp") || ok && o.Timeout != 100 {
		t.Errorf("%v: keepalive %v", c, o)
	}
}

// wantPadding wants whole blocks of 468 octets over TLS alone.
func wantPadding(t *testing.T, c client, answer []byte, m *dns.Msg) {
	t.Helper()
	wantAnswer(t, c, answer, m)
	if _, ok := optionOf[*dns.EDNS0_PADDING](m); ok != (c.network == "tls") || ok && len(answer)%468 != 0 {
		t.Errorf("%v: padding: %v, %d octets", c, ok, len(answer))
	}
}

// selfSigned returns a certificate and its key as files.
func selfSigned(t *testing.T) []file {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"ns1.example.io"}}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return []file{
		{"cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))},
		{"key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))},
	}
}
