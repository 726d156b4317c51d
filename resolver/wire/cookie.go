package wire

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// CookieLen is the size of a COOKIE option's payload in a response: the
// client's 8 octets and a server cookie of 16, RFC 9018 section 4.
const CookieLen = 24

// CookieSecret is the 128-bit key of the server cookies of one address; all
// servers behind that address need the same one (RFC 9018 section 5).
type CookieSecret [16]byte

// The life of a server cookie in seconds, RFC 9018 section 4.3.
const (
	cookiePast   = 3600 // an older one is bad
	cookieFuture = 300  // so is one from further ahead: clocks differ, but not so much
	cookieRenew  = 1800 // an older one is good and replaced
)

// CookieKeys are the secrets in use at one moment. Immutable.
type CookieKeys struct {
	// Active makes the cookies that are given out.
	Active CookieSecret
	// Accept are good as well: what was active until lately, and what other servers
	// of the address may make active before this one (RFC 9018 section 5).
	Accept []CookieSecret
	// Enforce answers BADCOOKIE to datagrams whose server cookie is missing or bad
	// (RFC 7873 sections 5.2.3 and 5.2.4). Queries without the option are not
	// affected.
	Enforce bool
}

// CookieState is what a query showed of its sender.
type CookieState uint8

const (
	// CookieNone says that there was no COOKIE option, or a client cookie alone, or a server
	// cookie that this server would not have given to that address at that time.
	CookieNone CookieState = iota
	// CookieStale is good, and old enough or of such a secret that a new one is given.
	CookieStale
	// CookieGood is good as it is.
	CookieGood
)

// Check says what the cookie of e, which came from client, is worth. now is in
// Unix seconds; serial number arithmetic makes its wrap harmless (RFC 9018 section
// 4.3). Whatever the reserved octets hold is hashed, so only what was given out
// passes.
func (k *CookieKeys) Check(e *EDNS, client netip.Addr, now int64) CookieState {
	if e.CookieLen != CookieLen || e.Cookie[8] != 1 {
		return CookieNone
	}
	age := int32(uint32(now) - binary.BigEndian.Uint32(e.Cookie[12:]))
	if age > cookiePast || age < -cookieFuture {
		return CookieNone
	}
	prefix, hash := [16]byte(e.Cookie[:16]), binary.LittleEndian.Uint64(e.Cookie[16:])
	// The comparisons need not hide their time: it tells nothing of a keyed hash
	// that is compared whole, in one instruction.
	if cookieHash(&k.Active, prefix, client) == hash {
		if age > cookieRenew {
			return CookieStale
		}
		return CookieGood
	}
	for i := range k.Accept {
		if cookieHash(&k.Accept[i], prefix, client) == hash {
			return CookieStale
		}
	}
	return CookieNone
}

// EchoCookie appends the COOKIE option of a query whose cookie is good.
func EchoCookie(dst []byte, e *EDNS) []byte {
	dst = append(dst, 0, byte(OptionCookie), 0, CookieLen)
	return append(dst, e.Cookie[:CookieLen]...)
}

// AppendCookie appends a COOKIE option with a fresh server cookie for the client
// cookie of e and the client's address. now is in Unix seconds.
func AppendCookie(dst []byte, e *EDNS, client netip.Addr, secret *CookieSecret, now int64) []byte {
	var prefix [16]byte
	copy(prefix[:8], e.Cookie[:8])
	prefix[8] = 1 // version; three reserved octets stay 0
	binary.BigEndian.PutUint32(prefix[12:], uint32(now))
	dst = append(dst, 0, byte(OptionCookie), 0, CookieLen)
	dst = append(dst, prefix[:]...)
	return binary.LittleEndian.AppendUint64(dst, cookieHash(secret, prefix, client))
}

// cookieHash is SipHash-2-4 over client cookie, the fixed part of the server
// cookie and the client address, RFC 9018 section 4.4.
func cookieHash(secret *CookieSecret, prefix [16]byte, client netip.Addr) uint64 {
	var buf [32]byte
	copy(buf[:], prefix[:])
	n := 16
	if client = client.Unmap(); client.Is4() {
		a := client.As4()
		n += copy(buf[16:], a[:])
	} else {
		a := client.As16()
		n += copy(buf[16:], a[:])
	}
	return sipHash24(secret, buf[:n])
}

// sipHash24 is SipHash-2-4 (Aumasson and Bernstein, 2012).
func sipHash24(key *CookieSecret, data []byte) uint64 {
	k0, k1 := binary.LittleEndian.Uint64(key[:]), binary.LittleEndian.Uint64(key[8:])
	s := sipState{k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573}
	last := uint64(len(data)) << 56
	for ; len(data) >= 8; data = data[8:] {
		s.absorb(binary.LittleEndian.Uint64(data))
	}
	for i, c := range data {
		last |= uint64(c) << (8 * i)
	}
	s.absorb(last)
	s.v2 ^= 0xff
	for range 4 {
		s.round()
	}
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3
}

type sipState struct{ v0, v1, v2, v3 uint64 }

func (s *sipState) absorb(m uint64) {
	s.v3 ^= m
	s.round()
	s.round()
	s.v0 ^= m
}

func (s *sipState) round() {
	s.v0 += s.v1
	s.v1 = bits.RotateLeft64(s.v1, 13) ^ s.v0
	s.v0 = bits.RotateLeft64(s.v0, 32)
	s.v2 += s.v3
	s.v3 = bits.RotateLeft64(s.v3, 16) ^ s.v2
	s.v0 += s.v3
	s.v3 = bits.RotateLeft64(s.v3, 21) ^ s.v0
	s.v2 += s.v1
	s.v1 = bits.RotateLeft64(s.v1, 17) ^ s.v2
	s.v2 = bits.RotateLeft64(s.v2, 32)
}
