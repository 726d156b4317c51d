//go:build !linux

package server

import (
	"errors"
	"net"
	"net/netip"
	"os"
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

func (s *portableSocket) serve(server *Server, a BatchAnswerer) {
	in, out := make([]byte, 4096), make([]byte, 0, 65535)
	var o outage
	for !server.deaf.Load() {
		err := s.conn.SetReadDeadline(server.o.Now().Add(pollEvery))
		if err == nil {
			err = s.receive(server, a, in, out)
		}
		if e, ok := err.(net.Error); err == nil || ok && e.Timeout() { //nolint:errorlint // package net wraps nothing here
			o.end()
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		// Without SO_REUSEPORT nothing can be bound beside the socket: it is tried again.
		server.stats.ReceiveErrors.Add(1)
		server.o.Log("receive a datagram", err)
		pause, _ := o.add(server.o.Now())
		server.sleep(pause)
	}
}

// receive answers one datagram.
func (s *portableSocket) receive(server *Server, a BatchAnswerer, in, out []byte) error {
	n, from, err := s.conn.ReadFromUDPAddrPort(in)
	if err != nil {
		return err
	}
	if reply := answerOne(server, a, out, in[:n], from); len(reply) > 0 {
		if _, err := s.conn.WriteToUDPAddrPort(reply, from); err != nil {
			server.stats.Unsent.Add(1) // the client asks again
		}
	}
	return nil
}

// answerOne returns the response to one datagram; nil for none.
func answerOne(server *Server, a BatchAnswerer, out, msg []byte, peer netip.AddrPort) (reply []byte) {
	if server.o.Panicked != nil {
		defer server.recovered()
	}
	msg, from, ok := server.unwrap(msg, netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port()))
	if !ok {
		return nil
	}
	a.Reset()
	a.Read(msg, from)
	return a.Answer(out[:0], 0, server.o.Time().Unix())
}

// inheritUDP takes a bound socket over, whoever opened it.
func inheritUDP(f *os.File, _ netip.AddrPort, _ bool) (udpSocket, error) {
	conn, err := net.FilePacketConn(f)
	if err != nil {
		return nil, err
	}
	return &portableSocket{conn.(*net.UDPConn)}, nil
}

// another implements udpSocket: what receives beside s would not share its load.
func (*portableSocket) another(netip.AddrPort) (udpSocket, error) { return nil, errors.ErrUnsupported }

// descriptor implements udpSocket.
func (s *portableSocket) descriptor() (*os.File, error) { return s.conn.File() }

func (s *portableSocket) close() { _ = s.conn.Close() }
