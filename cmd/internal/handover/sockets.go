package handover

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
)

// Sockets are open sockets that wait for who serves their addresses. Safe for
// concurrent use.
type Sockets struct {
	mu   sync.Mutex
	open []opened
}

// opened is one of them. An empty use fits any for which its network is right.
type opened struct {
	use, network, address string
	file                  *os.File
}

// Uses of sockets beside those of the DNS, and the networks that uses take.
const (
	Metrics = "metrics"
	Admin   = "admin"
	Remote  = "remote"
)

func networkOf(use string) string {
	switch use {
	case "udp":
		return "udp"
	case Admin:
		return "unix"
	}
	return "tcp"
}

// Add adds a socket. use is what it served in the process before; "" if it comes from a
// service manager, who knows addresses only. The File is the set's from then on.
func (s *Sockets) Add(use string, f *os.File) error {
	network, address, err := locate(f)
	if err != nil {
		return errors.Join(fmt.Errorf("the inherited descriptor %s: %w", f.Name(), err), f.Close())
	}
	if use != "" && network != networkOf(use) {
		return errors.Join(fmt.Errorf("a %s socket to serve as %s", network, use), f.Close())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = append(s.open, opened{use, network, address, f})
	return nil
}

// Empty reports whether nothing waits.
func (s *Sockets) Empty() bool {
	if s == nil {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open) == 0
}

// Take returns the sockets for a use and an address, host:port or the path of a unix
// socket; they are the caller's from then on. With port 0 any port fits of a socket that
// had this use before.
func (s *Sockets) Take(use, address string) (files []*os.File) {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var port uint16
	s.open = slices.DeleteFunc(s.open, func(o opened) bool {
		if o.network != networkOf(use) || o.use != "" && o.use != use {
			return false
		}
		if !o.at(address) {
			at, ok := o.anyPort(address)
			if !ok || port != 0 && at != port {
				return false
			}
			port = at
		}
		files = append(files, o.file)
		return true
	})
	return files
}

// at says whether a socket is bound to an address.
func (o *opened) at(address string) bool {
	if o.network == "unix" {
		return o.address == address
	}
	want, err := netip.ParseAddrPort(address)
	if err != nil {
		return o.address == address
	}
	got, err := netip.ParseAddrPort(o.address)
	return err == nil && got == want
}

// anyPort says whether a socket of the process before fits an address with port 0, and
// which it has.
func (o *opened) anyPort(address string) (port uint16, ok bool) {
	want, err := netip.ParseAddrPort(address)
	if err != nil || want.Port() != 0 || o.use == "" {
		return 0, false
	}
	got, err := netip.ParseAddrPort(o.address)
	return got.Port(), err == nil && got.Addr() == want.Addr()
}

// Close closes what nobody has taken and returns their networks and addresses.
func (s *Sockets) Close() (left []string) {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.open {
		left = append(left, o.network+" "+o.address)
		_ = o.file.Close()
	}
	s.open = nil
	slices.Sort(left)
	return slices.Compact(left)
}
