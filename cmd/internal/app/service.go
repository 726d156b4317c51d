package app

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// tell tells a service manager how the process is doing (sd_notify(3)); without one
// it does nothing.
func (a *App) tell(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		a.log.Warn("the service manager cannot be told", "state", state, "error", err)
	}
}

// asksPerWatch is how often the server asks itself in the time after which the
// service manager would kill it: one lost datagram must not.
const asksPerWatch = 4

// watch tells the service manager again and again that the server answers, as long
// as it does, where the manager wants to know (sd_watchdog_enabled(3)). What counts
// is an answer over UDP: a process whose workers hang lives on for everybody but its
// clients.
func (a *App) watch(ctx context.Context) {
	period, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		a.log.WarnContext(ctx, "the service manager's watchdog cannot be served", "error", err)
	}
	if err != nil || period == 0 {
		return
	}
	tick := time.NewTicker(period / asksPerWatch)
	defer tick.Stop()
	for {
		if err := a.askSelf(ctx, period/asksPerWatch); err == nil {
			a.tell(daemon.SdNotifyWatchdog)
		} else if ctx.Err() == nil {
			a.log.WarnContext(ctx, "the server does not answer itself", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// askSelf asks one of the server's addresses, another worker each time, as the
// source port would have it, and waits for the answer.
func (a *App) askSelf(ctx context.Context, patience time.Duration) error {
	addr := a.server.Addrs()[0]
	if addr.Addr().IsUnspecified() {
		addr = netip.AddrPortFrom(loopbackOf(addr.Addr()), addr.Port())
	}
	if slices.ContainsFunc(a.world.Load().Config.Server.ProxyFrom, func(p netip.Prefix) bool { return p.Contains(addr.Addr()) }) {
		return nil // without a PROXY header nothing from there is answered
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "udp", addr.String())
	if err != nil {
		return fmt.Errorf("ask %s: %w", addr, err)
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return fmt.Errorf("ask %s: %w", addr, err)
	}
	id := uint16(rand.Uint32()) //nolint:gosec // tells answers apart, no more
	if _, err := conn.Write(selfQuery(id)); err != nil {
		return fmt.Errorf("ask %s: %w", addr, err)
	}
	return awaitSelf(conn, id)
}

func loopbackOf(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.IPv6Loopback()
}

// selfQuery is a query for the root's SOA: no zone has to be there for an answer.
func selfQuery(id uint16) []byte {
	const (
		typeSOA = 6
		classIN = 1
	)
	m := binary.BigEndian.AppendUint16(nil, id)
	m = append(m, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0) // one question, the root
	m = binary.BigEndian.AppendUint16(m, typeSOA)
	return binary.BigEndian.AppendUint16(m, classIN)
}

// awaitSelf reads until the answer comes or the deadline of conn is over.
func awaitSelf(conn net.Conn, id uint16) error {
	var m [512]byte
	for {
		n, err := conn.Read(m[:])
		if err != nil {
			return errors.Join(errors.New("no answer from this very server"), err)
		}
		if n > 2 && binary.BigEndian.Uint16(m[:]) == id && m[2]&0x80 != 0 {
			return nil
		}
	}
}
