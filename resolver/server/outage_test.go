package server

import (
	"errors"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"
)

// An outage waits longer and longer, but never long, and lasts a second before
// anything is done about it; the clock may be set meanwhile.
func TestOutage(t *testing.T) {
	var o outage
	now := time.Unix(1_000_000, 0)
	var waited, atLasting time.Duration
	for range 100 {
		pause, lasting := o.add(now)
		if pause <= 0 || pause > longestPause || pause > pollEvery {
			t.Fatalf("a pause of %v", pause)
		}
		if lasting {
			if waited-atLasting < reopenAfter || waited-atLasting > reopenAfter+longestPause {
				t.Errorf("lasting after %v, want %v", waited-atLasting, reopenAfter)
			}
			atLasting = waited
		}
		waited += pause
		now = now.Add(pause)
	}
	if atLasting == 0 || waited > 100*longestPause {
		t.Errorf("never lasting in %v", waited)
	}
	now = now.Add(-time.Hour)
	o.add(now)
	if _, lasting := o.add(now.Add(reopenAfter)); !lasting {
		t.Error("after the clock was set back, the outage does not last")
	}
	o.end()
	if pause, lasting := o.add(now.Add(time.Hour)); pause != firstPause || lasting {
		t.Errorf("the first error after the end: %v, %v", pause, lasting)
	}
}

// failing is a listener whose Accept gives errors, then a connection, then is closed.
type failing struct {
	net.Listener
	errs []error
}

func (f *failing) Accept() (net.Conn, error) {
	if len(f.errs) == 0 {
		return nil, net.ErrClosed
	}
	err := f.errs[0]
	f.errs = f.errs[1:]
	if err == nil {
		return new(net.TCPConn), nil
	}
	return nil, err
}

// SyscallConn fails, and with it what would make the listener work again.
func (*failing) SyscallConn() (syscall.RawConn, error) { return nil, errors.ErrUnsupported }

// No error of the system ends an accept loop, whichever it is; the end of the listener
// does.
func TestNoErrorEndsAccepting(t *testing.T) {
	l := new(failing)
	for errno := syscall.Errno(1); errno < 140; errno++ {
		l.errs = append(l.errs, &net.OpError{Op: "accept", Err: errno})
	}
	l.errs = append(l.errs, nil, syscall.EMFILE, nil)
	var told []error
	var pauses []time.Duration
	now := time.Unix(1_000_000, 0)
	p := &persistent{Listener: l, now: func() time.Time { return now }, sleep: func(d time.Duration) {
		pauses = append(pauses, d)
		now = now.Add(d)
	}, failed: func(err error) { told = append(told, err) }}
	for range 2 {
		if conn, err := p.Accept(); err != nil || conn == nil {
			t.Fatalf("%v, %v", conn, err)
		}
	}
	if _, err := p.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("at the end: %v", err)
	}
	mending := len(told) - 140 // some 13 s of errors, and every second an attempt to end them
	if mending < 10 || mending > 14 || len(pauses) != 140 || slices.Max(pauses) > longestPause || pauses[0] != firstPause {
		t.Errorf("%d errors told, %d of mending, %d pauses from %v to %v", len(told), mending, len(pauses), pauses[0], slices.Max(pauses))
	}
}
