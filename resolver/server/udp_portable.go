//go:build !linux

package server

import (
	"net"
	"net/netip"
	"time"
)

// portableSocket serves one UDP socket with one system call a datagram.
type portableSocket struct{ conn *net.UDPConn }

// listenUDP binds one socket: without SO_REUSEPORT that spreads datagrams,
// several would not share the load.
func listenUDP(addr netip.AddrPort, _ int) ([]udpSocket, error) {
	network := "udp4"
	if addr.Addr().Is6() {
		network = "udp6"
	}
	conn, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil, err
	}
	return []udpSocket{&portableSocket{conn}}, nil
}

// pollEvery is how long a blocked receive may take to notice a stop.
const pollEvery = 200 * time.Millisecond

func (s *portableSocket) serve(a BatchAnswerer, now func() time.Time, stop func() bool) error {
	in, out := make([]byte, 4096), make([]byte, 0, 65535)
	for !stop() {
		if err := s.conn.SetReadDeadline(now().Add(pollEvery)); err != nil {
			return err
		}
		n, from, err := s.conn.ReadFromUDPAddrPort(in)
		if err != nil {
			if e, ok := err.(net.Error); ok && e.Timeout() {
				continue
			}
			return err
		}
		peer := netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		a.Reset()
		a.Read(in[:n], peer)
		if out = a.Answer(out[:0], 0, now().Unix()); len(out) > 0 {
			_, _ = s.conn.WriteToUDPAddrPort(out, from) // a lost response is the client's to ask again
		}
	}
	return nil
}

func (s *portableSocket) close() { _ = s.conn.Close() }
