package transfer

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"strings"

	"github.com/miekg/dns"

	"portolan.dev/resolver/wire"
)

// hash returns what the key computes its codes with.
func (k *Key) hash() func() hash.Hash {
	switch k.Algorithm {
	case dns.HmacSHA224:
		return sha256.New224
	case dns.HmacSHA384:
		return sha512.New384
	case dns.HmacSHA512:
		return sha512.New
	}
	return sha256.New
}

// mac is the code of RFC 8945 section 4.3 over a message without its TSIG record: with
// the code before it, and the variables, of which later messages of a stream have only
// the times (section 5.3.1).
func (k *Key) mac(msg []byte, before string, t *dns.TSIG, timers bool) []byte {
	secret, err := base64.StdEncoding.DecodeString(k.secret)
	if err != nil {
		return nil // ParseKey has decoded it
	}
	h := hmac.New(k.hash(), secret)
	if before != "" {
		prior, err := hex.DecodeString(before)
		if err != nil {
			return nil // it comes from a parsed record
		}
		_ = binary.Write(h, binary.BigEndian, uint16(len(prior)))
		h.Write(prior)
	}
	h.Write(msg)
	var v []byte
	if !timers {
		v = append(v, lower(t.Hdr.Name)...)
		v = binary.BigEndian.AppendUint16(v, dns.ClassANY)
		v = binary.BigEndian.AppendUint32(v, 0)
		v = append(v, lower(t.Algorithm)...)
	}
	v = binary.BigEndian.AppendUint16(v, uint16(t.TimeSigned>>32))
	v = binary.BigEndian.AppendUint32(v, uint32(t.TimeSigned))
	v = binary.BigEndian.AppendUint16(v, t.Fudge)
	if !timers {
		other, _ := hex.DecodeString(t.OtherData)
		v = binary.BigEndian.AppendUint16(v, t.Error)
		v = binary.BigEndian.AppendUint16(v, uint16(len(other)))
		v = append(v, other...)
	}
	h.Write(v)
	return h.Sum(nil)
}

// lower is a name in canonical wire form.
func lower(name string) []byte {
	out, err := wire.ParseName(name)
	if err != nil {
		return nil
	}
	return out
}

// record is a TSIG record of the key without a code.
func (k *Key) record(id uint16, now int64) *dns.TSIG {
	return &dns.TSIG{
		Hdr:       dns.RR_Header{Name: k.Name, Rrtype: dns.TypeTSIG, Class: dns.ClassANY},
		Algorithm: k.Algorithm, TimeSigned: uint64(now), Fudge: fudge, OrigId: id,
	}
}

// sign appends a TSIG record to a message, which follows what had the code before, and
// returns its own code.
func (k *Key) sign(msg []byte, before string, timers bool, now int64) (signed []byte, mac string, err error) {
	t := k.record(binary.BigEndian.Uint16(msg), now)
	signed, err = k.complete(msg, before, t, timers)
	return signed, t.MAC, err
}

// complete fills in the code of a TSIG record and appends it to a message.
func (k *Key) complete(msg []byte, before string, t *dns.TSIG, timers bool) ([]byte, error) {
	mac := k.mac(msg, before, t, timers)
	t.MAC, t.MACSize = hex.EncodeToString(mac), uint16(len(mac))
	return appendTSIG(msg, t)
}

// appendTSIG appends a TSIG record to a message and counts it.
func appendTSIG(msg []byte, t *dns.TSIG) ([]byte, error) {
	buf := make([]byte, dns.Len(t)+64)
	n, err := dns.PackRR(t, buf, 0, nil, false)
	if err != nil {
		return nil, err
	}
	binary.BigEndian.PutUint16(msg[10:], binary.BigEndian.Uint16(msg[10:])+1)
	return append(msg, buf[:n]...), nil
}

// failure is a signature that does not hold: the extended code of RFC 8945 section
// 5.2, and the key if the response is to be signed with it.
type failure struct {
	code uint16
	tsig *dns.TSIG
	key  *Key
	now  int64
}

// check verifies the signature of a message; nil if it holds, or if there is none.
func (s *Set) check(msg []byte, t *dns.TSIG, now int64) *failure {
	if t == nil {
		return nil
	}
	k := s.keys[dns.CanonicalName(t.Hdr.Name)]
	if k == nil || dns.CanonicalName(t.Algorithm) != k.Algorithm {
		return &failure{code: dns.RcodeBadKey, tsig: t, now: now}
	}
	bare, ok := strip(msg, t)
	given, err := hex.DecodeString(t.MAC)
	if !ok || err != nil || !hmac.Equal(given, k.mac(bare, "", t, false)) {
		return &failure{code: dns.RcodeBadSig, tsig: t, now: now}
	}
	if d := now - int64(t.TimeSigned); d > int64(t.Fudge) || -d > int64(t.Fudge) {
		return &failure{code: dns.RcodeBadTime, tsig: t, key: k, now: now}
	}
	return nil
}

// strip returns a message as it was before its TSIG record, the last one, was appended.
func strip(msg []byte, t *dns.TSIG) ([]byte, bool) {
	off := wire.HeaderLen
	var err error
	for range binary.BigEndian.Uint16(msg[4:]) {
		if _, off, err = dns.UnpackDomainName(msg, off); err != nil || off+4 > len(msg) {
			return nil, false
		}
		off += 4
	}
	records := 0
	for i := 6; i <= 10; i += 2 {
		records += int(binary.BigEndian.Uint16(msg[i:]))
	}
	for range records - 1 {
		if _, off, err = dns.UnpackRR(msg, off); err != nil {
			return nil, false
		}
	}
	bare := bytes.Clone(msg[:off])
	binary.BigEndian.PutUint16(bare, t.OrigId)
	binary.BigEndian.PutUint16(bare[10:], binary.BigEndian.Uint16(bare[10:])-1)
	return bare, true
}

// response is the answer to a signature that does not hold: NOTAUTH, with the reason in
// a TSIG record that is signed only where the time was the fault.
func (f *failure) response(m *dns.Msg) []byte {
	r := new(dns.Msg)
	r.SetRcode(m, dns.RcodeNotAuth)
	msg, err := r.Pack()
	if err != nil {
		return nil
	}
	t := &dns.TSIG{
		Hdr:       dns.RR_Header{Name: f.tsig.Hdr.Name, Rrtype: dns.TypeTSIG, Class: dns.ClassANY},
		Algorithm: f.tsig.Algorithm, TimeSigned: f.tsig.TimeSigned, Fudge: fudge, OrigId: m.Id, Error: f.code,
	}
	if f.key == nil {
		msg, err = appendTSIG(msg, t)
	} else {
		t.OtherLen, t.OtherData = 6, hex.EncodeToString(binary.BigEndian.AppendUint64(nil, uint64(f.now))[2:])
		msg, err = f.key.complete(msg, f.tsig.MAC, t, false)
	}
	if err != nil {
		return nil
	}
	return msg
}

// size is what a TSIG record of the key adds to a message, in octets (RFC 8945 section
// 4.2): the name, the ten octets of every record, the algorithm, six of time, and five
// fields of two beside the code.
func (k *Key) size() int {
	return len(lower(k.Name)) + 10 + len(lower(k.Algorithm)) + 6 + 5*2 + k.hash()().Size()
}

// Answer answers a message with a TSIG record: it asks answer for the response to the
// message without it, in which room is left for the octets of a signature, and signs
// that. No response means that the message was none that could be signed.
func (s *Set) Answer(dst, msg []byte, now int64, answer func(msg []byte, room int) []byte) []byte {
	m := new(dns.Msg)
	if m.Unpack(msg) != nil {
		return dst
	}
	t := m.IsTsig()
	if t == nil {
		return dst
	}
	if f := s.check(msg, t, now); f != nil {
		return append(dst, f.response(m)...)
	}
	bare, ok := strip(msg, t)
	if !ok {
		return dst
	}
	binary.BigEndian.PutUint16(bare, m.Id)
	key := s.keys[dns.CanonicalName(t.Hdr.Name)]
	response := answer(bare, key.size())
	if len(response) == 0 {
		return dst
	}
	signed, _, err := key.sign(response, strings.ToLower(t.MAC), false, now)
	if err != nil {
		return dst
	}
	return append(dst, signed...)
}
