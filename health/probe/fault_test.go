package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"portolan.dev/health"
)

// dialed wraps an error as a connection that does not come about does.
func dialed(err error) error {
	return &stepError{"connect", &dialError{netip.MustParseAddrPort("192.0.2.1:443"), &net.OpError{Op: "dial", Net: "tcp", Err: err}}}
}

func connected(err error) error {
	return &stepError{"response", &net.OpError{Op: "read", Net: "tcp", Err: err}}
}

func sys(errno syscall.Errno) error { return os.NewSyscallError("connect", errno) }

func TestFaults(t *testing.T) {
	lookUp := func(e net.DNSError) error { return &stepError{"connect", &lookUpError{"target.example", &e}} }
	for _, tt := range []struct {
		err  error
		want health.Fault
	}{
		{dialed(sys(syscall.ECONNREFUSED)), health.Answered},
		{dialed(sys(syscall.ECONNRESET)), health.Answered},
		{dialed(sys(syscall.ETIMEDOUT)), health.Silent},
		{dialed(context.DeadlineExceeded), health.Silent},
		{dialed(os.ErrDeadlineExceeded), health.Silent},
		{dialed(sys(syscall.EHOSTUNREACH)), health.Unreachable},
		{dialed(sys(syscall.ENETUNREACH)), health.Unreachable},
		{dialed(sys(syscall.EACCES)), health.Unreachable},
		{dialed(forbidden("169.254.169.254:80")), health.Answered},
		{connected(io.EOF), health.Answered},
		{connected(os.ErrDeadlineExceeded), health.Answered}, // a program that hangs, on a host that is reached
		{connected(sys(syscall.ECONNRESET)), health.Answered},
		{&stepError{"tls", &tls.CertificateVerificationError{Err: x509.HostnameError{Host: "x", Certificate: &x509.Certificate{}}}}, health.Answered},
		{&stepError{"tls", &tls.CertificateVerificationError{Err: x509.SystemRootsError{Err: errors.New("none")}}}, health.Local},
		{errors.New("401 Unauthorized without a challenge"), health.Answered},
		{lookUp(net.DNSError{Err: "no such host", IsNotFound: true}), health.Silent},
		{lookUp(net.DNSError{Err: "server misbehaving", IsTemporary: true}), health.Local},
		{lookUp(net.DNSError{Err: "i/o timeout", IsTimeout: true}), health.Local},
		{lookUp(net.DNSError{Err: "connection refused", UnwrapErr: sys(syscall.ECONNREFUSED)}), health.Local},
		{&startError{os.ErrNotExist}, health.Local},
	} {
		if got := faultBy(tt.err, func(netip.AddrPort) error { return nil }); got != tt.want {
			t.Errorf("%v is %v, want %v", tt.err, got, tt.want)
		}
	}
	for _, err := range localErrnos {
		for _, wrapped := range []error{dialed(err), dialed(fmt.Errorf("socket: %w", err)), connected(err), &stepError{"token", dialed(err)}} {
			if got := faultOf(wrapped); got != health.Local {
				t.Errorf("%v is %v", wrapped, got)
			}
			if r := failed(wrapped); r.Verdict != health.Neutral || !strings.HasPrefix(r.Detail, "here: ") {
				t.Errorf("%+v", r)
			}
		}
	}
	for _, err := range routeErrnos {
		if got := faultBy(dialed(err), func(netip.AddrPort) error { return err }); got != health.Local {
			t.Errorf("%v without a route is %v", err, got)
		}
	}
}

// TestFaultOfAllTypes: every type of probe, and every connection of one, sorts its
// errors in the same way.
func TestFaultOfAllTypes(t *testing.T) {
	challenge := web(t, status(401, "WWW-Authenticate", `Bearer realm="https://192.0.2.7/token",service="x"`))
	for _, s := range []Spec{
		{Type: TCP},
		{Type: TLS},
		{Type: HTTP},
		{Type: HTTPS},
		{Type: Registry},
		{Type: Registry, TLS: true},
		{Type: Registry, Address: challenge, Login: as("u", "p"), TokenService: "https://192.0.2.7/token"},
		{Type: Registry, Address: challenge, TokenService: "https://192.0.2.7/token", Manifest: "a@sha256:" + strings.Repeat("0", 64)},
	} {
		if s.Address == "" {
			s.Address = "192.0.2.7:443"
		}
		p, err := New(s)
		if err != nil {
			t.Fatal(err)
		}
		forAll(p, func(d *dialer) {
			d.connect = func(ctx context.Context, network, address string) (net.Conn, error) {
				if address == challenge {
					return new(net.Dialer).DialContext(ctx, network, address)
				}
				return nil, &net.OpError{Op: "dial", Err: sys(syscall.EMFILE)}
			}
		})
		r := p.Probe(t.Context())
		if r.Verdict != health.Neutral || r.Fault != health.Local || !strings.HasSuffix(r.Detail, "connect: too many open files") {
			t.Errorf("%s %s: %v, %v, %q", s.Type, s.Address, r.Verdict, r.Fault, r.Detail)
		}
	}
}

// forAll calls f for every dialer of a prober.
func forAll(p health.Prober, f func(*dialer)) {
	switch p := p.(type) {
	case noting:
		forAll(p.Prober, f)
	case *tcpProber:
		f(p.dialer)
	case *tlsProber:
		f(p.dialer)
	case *httpProber:
		f(p.dialer)
	case *registryProber:
		f(p.dialer)
		if p.service != nil {
			f(p.service.dialer)
		}
	}
}

func TestCommandThatCannotBeStarted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "check")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	p, err := New(Spec{Type: Exec, Command: []string{path}})
	if err != nil {
		t.Fatal(err)
	}
	if r := p.Probe(t.Context()); r.Verdict != health.Fail || r.Fault != health.Silent {
		t.Errorf("exit 1: %+v", r)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if r := p.Probe(t.Context()); r.Verdict != health.Neutral || r.Fault != health.Local {
		t.Errorf("no such command: %+v", r)
	}
}

// asks is a resolver of a test.
type asks func(ctx context.Context, host string) ([]netip.Addr, error)

func namesThat(ask asks, now func() time.Time) *Names {
	n := NewNames(now)
	n.ask = ask
	return n
}

var errResolver = &net.DNSError{Err: "server misbehaving", IsTemporary: true}

// TestManyAddresses: the error that counts is the one that tells most of the target.
func TestManyAddresses(t *testing.T) {
	addr := netip.MustParseAddr
	for _, tt := range []struct {
		errs map[string]error // by address; none for one that hangs
		want health.Fault
	}{
		{map[string]error{"2001:db8::1": sys(syscall.EAFNOSUPPORT), "192.0.2.1": sys(syscall.ECONNREFUSED)}, health.Answered},
		{map[string]error{"2001:db8::1": sys(syscall.EAFNOSUPPORT), "192.0.2.1": nil}, health.Silent},
		{map[string]error{"2001:db8::1": nil, "192.0.2.1": sys(syscall.EMFILE)}, health.Silent},
		{map[string]error{"2001:db8::1": sys(syscall.EAFNOSUPPORT), "192.0.2.1": sys(syscall.EADDRNOTAVAIL)}, health.Local},
	} {
		names := namesThat(func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{addr("2001:db8::1"), addr("192.0.2.1")}, nil
		}, nil)
		d := (&Spec{Names: names}).newDialer("target.example:443", nil)
		d.connect = func(ctx context.Context, _, address string) (net.Conn, error) {
			host, _, _ := net.SplitHostPort(address)
			if err := tt.errs[host]; err != nil {
				return nil, err
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, err := d.open(ctx)
		cancel()
		if got := faultOf(err); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.errs, got, tt.want)
		}
	}
}

// TestOneOfManyAddressesAnswers though all others hang, and leaves no connection open.
func TestOneOfManyAddressesAnswers(t *testing.T) {
	target := raw(t, untilClosed)
	to := netip.MustParseAddrPort(target)
	names := namesThat(func(context.Context, string) ([]netip.Addr, error) {
		var all []netip.Addr
		for i := range byte(20) {
			all = append(all, netip.AddrFrom4([4]byte{192, 0, 2, i}))
		}
		all[3] = to.Addr()
		return all, nil
	}, nil)
	d := (&Spec{Names: names}).newDialerExcept(func(string) error { return nil }, fmt.Sprintf("target.example:%d", to.Port()), nil)
	dial, dials := d.connect, make(chan string, 100)
	d.connect = func(ctx context.Context, network, address string) (net.Conn, error) {
		dials <- address
		if address == target {
			return dial(ctx, network, address)
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	s, err := d.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.close()
	if n := len(dials); n < 4 || n > maxDialed {
		t.Errorf("%d addresses were dialed", n)
	}
}

// TestLookUpFailsHere goes through the life of a name whose resolver comes and goes.
func TestLookUpFailsHere(t *testing.T) {
	now := epoch
	var answer error
	var left time.Duration
	names := namesThat(func(ctx context.Context, _ string) ([]netip.Addr, error) {
		if deadline, ok := ctx.Deadline(); ok {
			left = time.Until(deadline)
		}
		if answer != nil {
			return nil, answer
		}
		return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
	}, func() time.Time { return now })
	look := func(wantErr bool, atMost time.Duration) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		addrs, err := names.lookUp(ctx, "target.example")
		if (err != nil) != wantErr || err == nil && len(addrs) != 1 {
			t.Errorf("%v, %v", addrs, err)
		}
		if left > atMost || left < atMost-time.Minute {
			t.Errorf("the look-up had %v, want %v", left, atMost)
		}
	}
	answer = errResolver
	look(true, time.Hour) // nothing to go on with
	answer = nil
	look(false, time.Hour)
	answer = errResolver
	look(false, time.Hour/2)
	look(false, time.Hour/8)
	now = now.Add(goodFor)
	look(false, time.Hour/8)
	now = now.Add(time.Second)
	look(true, time.Hour)
	answer = nil
	look(false, time.Hour)
	answer = &net.DNSError{Err: "no such host", IsNotFound: true}
	look(true, time.Hour/2) // that is an answer
}

func TestNamesAreBounded(t *testing.T) {
	names := NewNames(nil)
	for i := range maxNames + 100 {
		names.keep(strconv.Itoa(i), known{})
	}
	if len(names.hosts) > maxNames {
		t.Errorf("%d names are kept", len(names.hosts))
	}
}

func TestFamiliesInTurn(t *testing.T) {
	var in []netip.Addr
	for a := range strings.FieldsSeq("2001:db8::1 2001:db8::2 2001:db8::3 192.0.2.1 ::ffff:192.0.2.2") {
		in = append(in, netip.MustParseAddr(a))
	}
	if got, want := fmt.Sprint(dialable(in)), "[2001:db8::1 192.0.2.1 2001:db8::2 192.0.2.2 2001:db8::3]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestNamesAreNoIdentity: a target stays the same when its names are looked up anew.
func TestNamesAreNoIdentity(t *testing.T) {
	a, b := Spec{Type: TCP, Address: "target.example:1", Names: NewNames(nil)}, Spec{Type: TCP, Address: "target.example:1", Names: NewNames(time.Now)}
	if a.Key() != b.Key() {
		t.Errorf("%s and %s", a.Key(), b.Key())
	}
}

// What an earlier process knew of a name is dialed while the resolver fails, as long as it is
// good for; and what is learned is told once.
func TestNamesAreRecalled(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	fails := errors.New("no resolver")
	n := namesThat(func(context.Context, string) ([]netip.Addr, error) { return nil, fails }, func() time.Time { return now })
	told := 0
	n.OnLearn(func() { told++ })
	addrs := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}
	n.Recall("t.example", addrs, now.Add(-goodFor+time.Minute))
	n.Recall("u.example", addrs, now.Add(time.Hour)) // a clock that was set back
	for _, host := range []string{"t.example", "u.example"} {
		if got, err := n.lookUp(t.Context(), host); err != nil || !slices.Equal(got, addrs) {
			t.Errorf("%s: %v, %v", host, got, err)
		}
	}
	now = now.Add(2 * time.Minute)
	if got, err := n.lookUp(t.Context(), "t.example"); err == nil {
		t.Errorf("good for too long: %v", got)
	}
	if _, err := n.lookUp(t.Context(), "u.example"); err != nil {
		t.Error(err)
	}
	n.ask = func(context.Context, string) ([]netip.Addr, error) { return addrs[:1], nil }
	for range 3 {
		if _, err := n.lookUp(t.Context(), "v.example"); err != nil {
			t.Error(err)
		}
	}
	seen := 0
	n.Each(func(string, []netip.Addr, time.Time) { seen++ })
	if told != 1 || seen != 3 {
		t.Errorf("told %d times, %d hosts", told, seen)
	}
}
