package transfer

import (
	"encoding/binary"
	"net/netip"

	"github.com/miekg/dns"

	"portolan.dev/resolver/wire"
)

// messageSize is when a message of a transfer is sent: what pointers reach, and a
// buffer that a slow secondary can take within the time of one write.
const messageSize = 16 << 10

// Serve answers a message that asks for a transfer, for which it calls send once for
// each message of the response, and reports whether it did: a zone that is not to be
// had, by this asker, is refused by whoever refuses all else. It stops when send fails.
func (s *Set) Serve(msg []byte, from netip.AddrPort, now int64, send func([]byte) error) (taken bool) {
	m := new(dns.Msg)
	if m.Unpack(msg) != nil || len(m.Question) != 1 || m.Question[0].Qclass != dns.ClassINET {
		return false
	}
	name, err := wire.ParseName(m.Question[0].Name)
	if err != nil {
		return false
	}
	z := s.zones[string(name)]
	if z == nil || !z.allows(from.Addr()) {
		return false
	}
	out := &outgoing{z: z, m: m, send: send, now: now}
	if tsig := m.IsTsig(); tsig != nil || z.Key != nil {
		failed := s.check(msg, tsig, now)
		switch {
		case tsig == nil:
			return false // unsigned where a key is asked for: refused
		case failed != nil:
			_ = send(failed.response(m))
			return true
		case z.Key == nil || z.Key.Name != dns.CanonicalName(tsig.Hdr.Name):
			return false // another zone's key
		}
		out.mac, out.key = tsig.MAC, z.Key
	}
	out.run()
	return true
}

// outgoing is one transfer.
type outgoing struct {
	z    *Zone
	m    *dns.Msg // the request
	send func([]byte) error
	now  int64
	key  *Key   // that signs it; nil for none
	mac  string // of the request, then of the message before
	sent int
	p    *wire.Packer
	n    int // records in p
}

// run sends the zone: the SOA record, all others, and the SOA record again (RFC 5936
// section 2.2). Whoever asks for changes since a serial that is current gets the SOA
// record alone, and else the zone (RFC 1995 section 4). The zone is that of one
// snapshot; the serial, which rises with the availability of replicas too, stays that
// of the first record.
func (o *outgoing) run() {
	soa, serial := o.z.soa()
	o.p = wire.NewPacker(o.z.Apex)
	if !o.add(soa) {
		return
	}
	if o.current(serial) {
		o.flush()
		return
	}
	for _, rr := range o.z.Records {
		if !o.add(rr) {
			return
		}
	}
	if o.add(soa) {
		o.flush()
	}
}

// current reports whether an IXFR request names a serial not below that of the zone
// (RFC 1982).
func (o *outgoing) current(serial uint32) bool {
	if o.m.Question[0].Qtype != dns.TypeIXFR || len(o.m.Ns) != 1 {
		return false
	}
	have, ok := o.m.Ns[0].(*dns.SOA)
	return ok && int32(have.Serial-serial) >= 0
}

// add adds a record, after what has been collected is sent if it is enough.
func (o *outgoing) add(rr wire.RR) bool {
	if len(o.p.Bytes())+len(rr.Owner)+len(rr.Data) > messageSize && o.n > 0 && !o.flush() {
		return false
	}
	if o.p.Add(rr) != nil {
		return false // not reached: the record has been packed as an answer
	}
	o.n++
	return true
}

// flush sends the records collected as one message.
func (o *outgoing) flush() bool {
	q := o.m.Question[0]
	msg := make([]byte, wire.HeaderLen, wire.HeaderLen+len(o.p.Bytes())+512)
	binary.BigEndian.PutUint16(msg, o.m.Id)
	binary.BigEndian.PutUint16(msg[2:], wire.FlagQR|wire.FlagAA)
	binary.BigEndian.PutUint16(msg[4:], 1)
	binary.BigEndian.PutUint16(msg[6:], uint16(o.n))
	msg = append(msg, o.z.Apex...)
	msg = binary.BigEndian.AppendUint16(msg, q.Qtype)
	msg = binary.BigEndian.AppendUint16(msg, q.Qclass)
	msg = append(msg, o.p.Bytes()...)
	if o.key != nil {
		var err error
		if msg, o.mac, err = o.key.sign(msg, o.mac, o.sent > 0, o.now); err != nil {
			return false
		}
	}
	o.sent, o.n = o.sent+1, 0
	o.p.Reset(o.z.Apex)
	return o.send(msg) == nil
}

// fudge is the seconds by which the clocks of two hosts may differ (RFC 8945 section
// 10).
const fudge = 300
