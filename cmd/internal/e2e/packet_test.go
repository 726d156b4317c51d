//go:build linux

package e2e

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Parts of messages, in wire form.

const (
	flagQR = 0x8000
	flagRD = 0x0100
)

// header returns a header: flags, and the counts of the sections.
func header(flags uint16, counts ...uint16) []byte {
	msg := binary.BigEndian.AppendUint16([]byte{0xbe, 0xef}, flags)
	for i := range 4 {
		var n uint16
		if i < len(counts) {
			n = counts[i]
		}
		msg = binary.BigEndian.AppendUint16(msg, n)
	}
	return msg
}

// labels returns a name from labels of any octets.
func labels(labels ...string) []byte {
	var name []byte
	for _, l := range labels {
		name = append(append(name, byte(len(l))), l...)
	}
	return append(name, 0)
}

// named returns a name from its usual form.
func named(text string) []byte { return labels(strings.Split(text, ".")...) }

// asked returns a question.
func asked(name []byte, qtype, class uint16) []byte {
	name = slices.Clone(name)
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(name, qtype), class)
}

// query returns a query of class IN with RD set, and further records if they are
// given, which it counts as additional.
func query(name string, qtype uint16, additional ...[]byte) []byte {
	return queryFor(asked(named(name), qtype, dns.ClassINET), additional...)
}

func queryFor(question []byte, additional ...[]byte) []byte {
	msg := header(flagRD, 1, 0, 0, uint16(len(additional)))
	return append(append(msg, question...), bytes.Join(additional, nil)...)
}

// opt returns an OPT record. ttl is extended code, version and flags.
func opt(size uint16, ttl uint32, options ...[]byte) []byte {
	return record(0, dns.TypeOPT, size, ttl, bytes.Join(options, nil))
}

// record returns a resource record. Its owner name is the root if owner is 0,
// else a label of that one octet.
func record(owner byte, rrtype, class uint16, ttl uint32, data []byte) []byte {
	rr := []byte{owner}
	if owner != 0 {
		rr = []byte{1, owner, 0}
	}
	rr = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(rr, rrtype), class)
	rr = binary.BigEndian.AppendUint32(rr, ttl)
	return append(binary.BigEndian.AppendUint16(rr, uint16(len(data))), data...)
}

// ednsOption returns an option of an OPT record.
func ednsOption(code uint16, payload ...byte) []byte {
	o := binary.BigEndian.AppendUint16(nil, code)
	return append(binary.BigEndian.AppendUint16(o, uint16(len(payload))), payload...)
}

// ecs returns a client subnet option.
func ecs(family uint16, source, scope byte, address ...byte) []byte {
	payload := append(binary.BigEndian.AppendUint16(nil, family), source, scope)
	return ednsOption(dns.EDNS0SUBNET, append(payload, address...)...)
}

// questionLen returns the length of the question of a message that has one.
func questionLen(msg []byte) int {
	off := 12
	for msg[off] != 0 {
		off += int(msg[off]) + 1
	}
	return off + 5 - 12
}
