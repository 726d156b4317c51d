//go:build !unix

package load

import (
	"errors"
	"net/netip"
	"time"
)

// errSystem is all there is on systems without the sockets of Unix.
var errSystem = errors.New("load can be made on Linux and other Unix systems only")

func newUDPLink(netip.AddrPort, time.Duration) (link, error) { return nil, errSystem }

func newTCPLink(netip.AddrPort, time.Duration) (link, error) { return nil, errSystem }

func newWaiter([]link) waiter { return nil }

func pin(int) error { return errSystem }

func sharpen() {}
