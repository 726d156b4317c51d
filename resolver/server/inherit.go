package server

import (
	"fmt"
	"net"
	"net/netip"
	"os"
)

// Use is what a socket is for.
type Use string

// The uses of sockets.
const (
	UDP Use = "udp"
	TCP Use = "tcp"
	TLS Use = "tls"
)

// Socket is an open socket of a server, to be given to another process.
type Socket struct {
	Use  Use
	Addr netip.AddrPort // where it is bound
	File *os.File       // a descriptor of its own; the receiver closes it
}

// Sockets returns all sockets of the server once more: both they and those that the
// server has must be closed for an address to become free. On error nothing is open.
func (s *Server) Sockets() ([]Socket, error) {
	var out []Socket
	add := func(u Use, addr netip.AddrPort, f *os.File, err error) error {
		if err != nil {
			for _, made := range out {
				_ = made.File.Close()
			}
			return fmt.Errorf("%s %s: %w", u, addr, err)
		}
		out = append(out, Socket{u, addr, f})
		return nil
	}
	for i, u := range s.udp {
		f, err := u.descriptor()
		if err := add(UDP, s.udpAddrs[i], f, err); err != nil {
			return nil, err
		}
	}
	for i, l := range s.tcp {
		f, err := Descriptor(l)
		if err := add(TCP, s.addrs[i], f, err); err != nil {
			return nil, err
		}
	}
	addrs := s.AddrsTLS()
	for i, l := range s.tls {
		f, err := Descriptor(l)
		if err := add(TLS, addrs[i], f, err); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (s *Server) inherited(u Use, addr netip.AddrPort) []*os.File {
	if s.o.Inherit == nil {
		return nil
	}
	return s.o.Inherit(u, addr)
}

// listenTCP returns the listener of an address: an inherited one, or a new one.
func (s *Server) listenTCP(u Use, addr netip.AddrPort) (*net.TCPListener, error) {
	files := s.inherited(u, addr)
	if len(files) > 0 {
		for _, more := range files[1:] {
			_ = more.Close()
		}
		l, err := net.FileListener(files[0])
		_ = files[0].Close()
		if err != nil {
			return nil, fmt.Errorf("take over the listener: %w", err)
		}
		return l.(*net.TCPListener), nil
	}
	network := "tcp4"
	if addr.Addr().Is6() {
		network = "tcp6"
	}
	return net.ListenTCP(network, net.TCPAddrFromAddrPort(addr))
}

// listenUDP returns the sockets of an address, one for each receive loop: those that
// are inherited, all of them, since what waits in one that is closed is lost; and as
// many more as workers are wanted.
func (s *Server) listenUDP(addr netip.AddrPort) ([]udpSocket, error) {
	files := s.inherited(UDP, addr)
	if len(files) == 0 {
		return listenUDP(addr, s.o.Workers)
	}
	var sockets []udpSocket
	var err error
	for _, f := range files {
		if err != nil {
			_ = f.Close()
			continue
		}
		var u udpSocket
		if u, err = inheritUDP(f, addr, s.o.InheritKept); err == nil {
			sockets = append(sockets, u)
		}
	}
	for err == nil && len(sockets) < s.o.Workers {
		u, e := sockets[0].another(addr)
		if e != nil {
			break // fewer loops than asked for serve as well
		}
		sockets = append(sockets, u)
	}
	if err != nil {
		for _, u := range sockets {
			u.close()
		}
		return nil, fmt.Errorf("take over the socket: %w", err)
	}
	return sockets, nil
}
