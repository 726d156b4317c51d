package probe

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"

	"portolan.dev/health"
)

// localErrnos are the errors that only this machine raises: it is short of something, its
// network is off, or something on it forbids the connection. None of them comes of what
// a machine on the way says (RFC 792, RFC 4443), nor of what the target does.
//
//nolint:gochecknoglobals // a constant list
var localErrnos = []error{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS, syscall.EAGAIN,
	syscall.EADDRNOTAVAIL, syscall.EADDRINUSE, syscall.ENETDOWN,
	syscall.EAFNOSUPPORT, syscall.EPROTONOSUPPORT, // a family that is switched off
	syscall.EPERM,
	syscall.EINVAL,       // a route into a black hole, a link-local address without an interface
	syscall.ECONNABORTED, // the system, or a tool on it, has closed the socket
}

// routeErrnos are the errors that this machine raises when it has no route, or one that
// forbids, and that a machine on the way makes it raise as well. [routed] tells which.
//
//nolint:gochecknoglobals // a constant list
var routeErrnos = []error{syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.EHOSTDOWN, syscall.EACCES}

// dialError is the error of a connection that did not come about, and where to.
type dialError struct {
	to  netip.AddrPort
	err error
}

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// lookUpError is the error of a name that did not lead to an address.
type lookUpError struct {
	host string
	err  error
}

func (e *lookUpError) Error() string { return "look-up of " + e.host + ": " + reason(e.err) }
func (e *lookUpError) Unwrap() error { return e.err }

// noSuchName says whether err is the word of a name server that the name, or an address
// of it, does not exist.
func noSuchName(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}

// startError is the error of a command that could not be started. Whatever it is, the
// target has no part in it.
type startError struct{ err error }

func (e *startError) Error() string { return e.err.Error() }
func (e *startError) Unwrap() error { return e.err }

// faultOf says where the trouble is that err tells of. It is the one place that knows:
// every type of probe goes through it by [failed].
func faultOf(err error) health.Fault { return faultBy(err, routed) }

// faultBy is faultOf with another way to ask for a route.
func faultBy(err error, routed func(netip.AddrPort) error) health.Fault {
	var (
		start  *startError
		lookUp *lookUpError
		dial   *dialError
		roots  x509.SystemRootsError
	)
	switch {
	case errors.As(err, &start), errors.As(err, &roots), isAny(err, localErrnos):
		return health.Local
	case errors.As(err, &lookUp):
		// That there is no such name was said by a server of the name, or by one that had
		// asked it. All else is the trouble of our resolver, or of our way to it.
		if noSuchName(err) {
			return health.Silent
		}
		return health.Local
	case !errors.As(err, &dial):
		// The connection stands, so the target has answered; or it has answered nonsense.
		return health.Answered
	case isAny(err, routeErrnos):
		if routed(dial.to) != nil {
			return health.Local
		}
		return health.Unreachable
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return health.Silent
	}
	return health.Answered // refused, reset, or not allowed to be dialed
}

func isAny(err error, list []error) bool {
	for _, e := range list {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// routed returns the error of this machine for packets to an address, nil if it would
// send them. Connecting a datagram socket looks for a route and sends nothing.
func routed(to netip.AddrPort) error {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return err
	}
	return c.Close()
}

// failed is the verdict on a target that err came of. Trouble of this machine is none:
// else all targets were down at once.
func failed(err error) health.Result {
	r := fail(err.Error())
	if r.Fault = faultOf(err); r.Fault == health.Local {
		r = neutral("here: " + err.Error())
		r.Fault = health.Local
	}
	return r
}
