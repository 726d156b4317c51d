//go:build linux

package e2e

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// floodNets are addresses of a namespace that nobody has: strangers ask from them.
var floodNets = []string{"11.0.0.0/8", "12.0.0.0/8", "13.0.0.0/8", "14.0.0.0/8"}

// flood has more strangers ask than the table of clients has room for, each twice, while
// a drain holds the pushes; and again after it.
func (r *eventRun) flood() {
	for _, n := range floodNets {
		must(r.t, r.ns, "ip", "route", "replace", "local", n, "dev", "lo")
	}
	to := netip.MustParseAddrPort(r.listen[0][1 : len(r.listen[0])-1])
	r.strangers(to)
	r.admin.must("/v1/drain", fields{"registry": "myregistry", "region": "westus"})
	r.newcomers("eastus")
	r.stage()
	r.strangers(to)
	r.stage()
	r.admin.must("/v1/undrain", fields{"registry": "myregistry", "region": "westus"})
	r.newcomers("westus")
	r.stage()
	m := r.server.scrape()
	if lost := m.sum("portolan_client_units_forgotten_total"); lost == 0 {
		r.t.Error("the flood does not fill the table: it proves nothing")
	}
}

// strangers asks for the global name from an address of each /24 of floodNets, and again
// a second or more later.
func (r *eventRun) strangers(to netip.AddrPort) {
	r.t.Helper()
	msg, err := question(pushName, "A").Pack()
	if err != nil {
		r.t.Fatal(err)
	}
	fd := -1
	if err := r.ns.do(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		return err
	}); err != nil {
		r.t.Fatal(err)
	}
	defer unix.Close(fd)
	server := &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	for range 2 {
		begin := time.Now()
		for i := range len(floodNets) << 16 {
			from := unix.Inet4Pktinfo{Spec_dst: [4]byte{byte(11 + i>>16), byte(i >> 8), byte(i), 1}}
			if err := unix.Sendmsg(fd, msg, unix.PktInfo4(&from), server, 0); err != nil {
				r.t.Fatalf("from %v: %v", from.Spec_dst, err)
			}
			if i%512 == 511 { // what is lost in a full socket fills no table
				time.Sleep(10 * time.Millisecond)
			}
		}
		time.Sleep(max(0, 1100*time.Millisecond-time.Since(begin)))
	}
}
