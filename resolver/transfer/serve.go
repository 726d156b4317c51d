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
// Beyond the transfers that may run at a time the answer is SERVFAIL: the secondary is
// in its right and is to come again.
func (s *Set) Serve(msg []byte, from netip.AddrPort, now int64, send func([]byte) error) (taken bool) {
	m := new(dns.Msg)
	if m.Unpack(msg) != nil || len(m.Question) != 1 || m.Question[0].Qclass != dns.ClassINET {
		return false
	}
	o := &outgoing{m: m, send: send, now: now, traffic: s.traffic}
	outcome := s.serve(o, msg, from.Addr())
	s.traffic.requests[outcome].Add(1)
	return outcome != Refused
}

// serve answers the request of o, which came as msg, unless it is refused.
func (s *Set) serve(o *outgoing, msg []byte, from netip.Addr) Outcome {
	name, err := wire.ParseName(o.m.Question[0].Name)
	if err != nil {
		return Refused
	}
	o.z = s.zones[string(name)]
	if o.z == nil || !o.z.allows(from) {
		return Refused
	}
	if tsig := o.m.IsTsig(); tsig != nil || o.z.Key != nil {
		failed := s.check(msg, tsig, o.now)
		switch {
		case tsig == nil:
			return Refused // unsigned where a key is asked for
		case failed != nil:
			_ = o.out(failed.response(o.m))
			return BadSignature
		case o.z.Key == nil || o.z.Key.Name != dns.CanonicalName(tsig.Hdr.Name):
			return Refused // another zone's key
		}
		o.mac, o.key = tsig.MAC, o.z.Key
	}
	if !s.traffic.begin(s.most) {
		o.later()
		return Busy
	}
	defer s.traffic.end()
	return o.run()
}

// outgoing is one transfer.
type outgoing struct {
	z       *Zone
	m       *dns.Msg // the request
	send    func([]byte) error
	now     int64
	traffic *Traffic
	key     *Key   // that signs it; nil for none
	mac     string // of the request, then of the message before
	sent    int
	p       *wire.Packer
	n       int // records in p
}

// run sends the zone: the SOA record, all others, and the SOA record again (RFC 5936
// section 2.2). Whoever asks for changes since a serial that is current gets the SOA
// record alone, and else the zone (RFC 1995 section 4). The zone is that of one
// snapshot; the serial, which rises with the availability of replicas too, stays that
// of the first record.
func (o *outgoing) run() Outcome {
	soa, serial := o.z.soa()
	o.p = wire.NewPacker(o.z.Apex)
	outcome, records := Sent, o.z.Records
	if !o.add(soa) {
		return Aborted
	}
	if o.current(serial) {
		outcome, records = Current, nil
	}
	for _, rr := range records {
		if !o.add(rr) {
			return Aborted
		}
	}
	if outcome == Sent && !o.add(soa) || !o.flush() {
		return Aborted
	}
	return outcome
}

// later answers that the zone is not to be had at the moment.
func (o *outgoing) later() {
	msg := o.header(wire.RcodeServFail, 0)
	if o.key != nil {
		var err error
		if msg, _, err = o.key.sign(msg, o.mac, false, o.now); err != nil {
			return // not reached: the key has signed before
		}
	}
	_ = o.out(msg) // it comes again anyway
}

// out sends a message and counts it.
func (o *outgoing) out(msg []byte) error {
	if err := o.send(msg); err != nil {
		return err
	}
	o.traffic.octets.Add(uint64(len(msg)))
	return nil
}

// header begins a message of n answers: the header, and the question.
func (o *outgoing) header(rcode uint16, n int) []byte {
	q := o.m.Question[0]
	msg := make([]byte, 0, wire.HeaderLen+len(o.z.Apex)+4+512)
	flags := wire.FlagQR | wire.FlagAA | rcode
	if rcode != wire.RcodeNoError {
		flags &^= wire.FlagAA
	}
	for _, v := range []uint16{o.m.Id, flags, 1, uint16(n), 0, 0} {
		msg = binary.BigEndian.AppendUint16(msg, v)
	}
	msg = append(msg, o.z.Apex...)
	msg = binary.BigEndian.AppendUint16(msg, q.Qtype)
	return binary.BigEndian.AppendUint16(msg, q.Qclass)
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
	msg := append(o.header(wire.RcodeNoError, o.n), o.p.Bytes()...)
	if o.key != nil {
		var err error
		if msg, o.mac, err = o.key.sign(msg, o.mac, o.sent > 0, o.now); err != nil {
			return false
		}
	}
	o.sent, o.n = o.sent+1, 0
	o.p.Reset(o.z.Apex)
	return o.out(msg) == nil
}

// fudge is the seconds by which the clocks of two hosts may differ (RFC 8945 section
// 10).
const fudge = 300
