package wire

import "encoding/binary"

// OPTLen is the size of an OPT record without options, RFC 6891 section 6.1.2.
const OPTLen = 11

// AppendOPT appends an OPT record without options: version 0, the given UDP
// payload size, DO as in the query, Z 0, and the upper bits of rcode.
// Options follow it; [FinishOPT] then sets its length.
func AppendOPT(dst []byte, size uint16, do bool, rcode uint16) []byte {
	var flags byte
	if do {
		flags = 0x80
	}
	return append(dst, 0, 0, byte(TypeOPT), byte(size>>8), byte(size), byte(rcode>>4), 0, flags, 0, 0, 0)
}

// FinishOPT sets the RDLENGTH of the OPT record that begins at start and ends
// with msg.
func FinishOPT(msg []byte, start int) {
	binary.BigEndian.PutUint16(msg[start+OPTLen-2:], uint16(len(msg)-start-OPTLen))
}

// AppendOption appends an EDNS option.
func AppendOption(dst []byte, code uint16, payload []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, code)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(payload)))
	return append(dst, payload...)
}

// AppendECS appends the client subnet option of the query with the scope of the
// answer; family, source and address are echoed (RFC 7871 section 7.2.1).
func AppendECS(dst []byte, e *ECS, scope uint8) []byte {
	dst = append(dst, 0, byte(OptionECS), 0, 4+e.Octets, byte(e.Family>>8), byte(e.Family), e.Source, scope)
	return append(dst, e.Addr[:e.Octets]...)
}

// paddingBlock is what the length of padded responses is a multiple of, RFC 8467
// section 4.1.
const paddingBlock = 468

// AppendKeepalive appends an edns-tcp-keepalive option; timeout is in units of
// 100 ms (RFC 7828 section 3.1).
func AppendKeepalive(dst []byte, timeout uint16) []byte {
	return append(dst, 0, byte(OptionKeepalive), 0, 2, byte(timeout>>8), byte(timeout))
}

// AppendZoneVersion appends the version of the zone with that apex, in wire form:
// its SOA serial (RFC 9660 section 2.1).
func AppendZoneVersion(dst, apex []byte, serial uint32) []byte {
	labels := byte(0)
	for off := 0; apex[off] != 0; off += int(apex[off]) + 1 {
		labels++
	}
	dst = append(dst, 0, byte(OptionZoneVersion), 0, 6, labels, 0)
	return binary.BigEndian.AppendUint32(dst, serial)
}

// AppendPadding appends a Padding option that makes the message from start on a
// whole number of blocks long (RFC 7830 section 3), and is the last option.
func AppendPadding(msg []byte, start int) []byte {
	n := (paddingBlock - (len(msg)-start+4)%paddingBlock) % paddingBlock
	msg = append(msg, 0, byte(OptionPadding), byte(n>>8), byte(n))
	var zeros [paddingBlock]byte
	return append(msg, zeros[:n]...)
}

// EDE returns an extended DNS error option, ready to append (RFC 8914 section 2).
// text is UTF-8 without NUL.
func EDE(info uint16, text string) []byte {
	payload := binary.BigEndian.AppendUint16(nil, info)
	return AppendOption(nil, OptionEDE, append(payload, text...))
}
