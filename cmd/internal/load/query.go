package load

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"

	"github.com/miekg/dns"
)

const (
	headerLen = 12
	// labelLen is the length of a random label: the nonce of the query in
	// hexadecimal digits.
	labelLen = 8
	// udpSize is the UDP size that queries offer, as most resolvers do.
	udpSize = 1232
	// maxQuery bounds a query: the longest name, a header, an OPT with a subnet.
	maxQuery = 320
)

// query is a packed query and the places in it that change from one to the next.
// The client subnet is the last option, so that its address ends the message.
type query struct {
	msg      []byte
	question []byte // the part of msg that an answer must repeat
	random   bool   // the first label is the nonce
	subnet   subnet
	address  int // where the address of a random subnet begins
}

// pack makes the query of a pattern.
func (p *pattern) pack() (query, error) {
	name := dns.Fqdn(p.name)
	q := query{subnet: p.subnet}
	if rest, ok := strings.CutPrefix(name, "*."); ok {
		q.random = true
		name = strings.Repeat("0", labelLen) + "." + rest
	}
	if _, ok := dns.IsDomainName(name); !ok {
		return query{}, fmt.Errorf("%q is not a domain name", p.name)
	}
	m := new(dns.Msg)
	m.SetQuestion(name, p.qtype)
	m.RecursionDesired = false
	m.SetEdns0(udpSize, false)
	if p.subnet.bits > 0 {
		m.IsEdns0().Option = []dns.EDNS0{p.subnet.option()}
	}
	msg, err := m.Pack()
	if err != nil {
		return query{}, fmt.Errorf("pack a query for %q: %w", p.name, err)
	}
	if len(msg) > maxQuery {
		return query{}, fmt.Errorf("the query for %q has %d octets, more than %d", p.name, len(msg), maxQuery)
	}
	q.msg = msg
	q.question = msg[headerLen : headerLen+bytes.IndexByte(msg[headerLen:], 0)+5]
	q.address = len(msg) - (p.subnet.bits+7)/8
	return q, nil
}

// option returns the client subnet option; a random one has every bit set, so that
// none of its octets is left out, and is filled in later.
func (s *subnet) option() *dns.EDNS0_SUBNET {
	o := &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: uint8(s.bits)}
	o.Address = net.IPv4bcast
	if s.ipv6 {
		o.Family = 2
		o.Address = bytes.Repeat([]byte{0xff}, net.IPv6len)
	}
	if !s.random {
		o.Address = s.fixed.AsSlice()
	}
	return o
}

// write writes the query into b, which is as long as the message. The nonce is
// the random label, if there is one.
func (q *query) write(b []byte, id uint16, nonce uint32, rng *rand.PCG) {
	copy(b, q.msg)
	binary.BigEndian.PutUint16(b, id)
	if q.random {
		putNonce(b[headerLen+1:], nonce)
	}
	if !q.subnet.random {
		return
	}
	address, r := b[q.address:], rng.Uint64()
	if q.subnet.ipv6 {
		randomIPv6(address, r, rng)
	} else {
		randomIPv4(address, r)
	}
	if last := q.subnet.bits % 8; last != 0 {
		address[len(address)-1] &= 0xff << (8 - last)
	}
}

// randomIPv4 fills address with the beginning of a unicast address, none in a /8
// that has special blocks.
func randomIPv4(address []byte, r uint64) {
	first := byte(1 + (r>>56)*222>>8)
	switch first {
	case 10, 100, 127, 169, 172, 192, 198, 203:
		first = 20 + byte(r>>48)&63
	}
	address[0] = first
	for i := 1; i < len(address); i++ {
		address[i] = byte(r >> (8 * (i - 1)))
	}
}

// randomIPv6 fills address with the beginning of an address in one of the blocks
// that the registries hand out.
func randomIPv6(address []byte, r uint64, rng *rand.PCG) {
	top := [8]byte{0x24, 0x26, 0x28, 0x2a, 0x24, 0x26, 0x2a, 0x2c}[r>>61]
	var random [16]byte
	binary.BigEndian.PutUint64(random[:], r)
	if len(address) > 8 {
		binary.BigEndian.PutUint64(random[8:], rng.Uint64())
	}
	random[0] = top
	random[1] &= 0x0f
	copy(address, random[:])
}

const hexDigits = "0123456789abcdef"

// putNonce writes the nonce as the digits of a label.
func putNonce(label []byte, nonce uint32) {
	for i := range labelLen {
		label[i] = hexDigits[nonce>>(28-4*i)&15]
	}
}

// asked reports whether msg, an answer, repeats the question of q with the nonce.
// Servers repeat a question octet by octet, and a random label is lower case.
func (q *query) asked(msg []byte, nonce uint32) bool {
	if len(msg) < headerLen+len(q.question) || binary.BigEndian.Uint16(msg[4:]) != 1 {
		return false
	}
	got := msg[headerLen : headerLen+len(q.question)]
	if !q.random {
		return bytes.Equal(got, q.question)
	}
	var label [labelLen]byte
	putNonce(label[:], nonce)
	return bytes.Equal(got[1:1+labelLen], label[:]) && bytes.Equal(got[1+labelLen:], q.question[1+labelLen:])
}
