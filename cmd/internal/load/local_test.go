//go:build unix

package load

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// localAddr returns the address of a link's own end.
func localAddr(t *testing.T, l link) netip.AddrPort {
	t.Helper()
	name, err := unix.Getsockname(l.descriptor())
	if err != nil {
		t.Fatal(err)
	}
	in, ok := name.(*unix.SockaddrInet4)
	if !ok {
		t.Fatalf("local address %v", name)
	}
	return netip.AddrPortFrom(netip.AddrFrom4(in.Addr), uint16(in.Port))
}
