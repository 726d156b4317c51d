package app_test

import (
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A dead address of a replica is left out of the global answer while another of its family
// lives, over a reload too; the regional answer never changes.
func TestADeadAddressIsLeftOut(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.22:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	text := strings.NewReplacer(
		"westus: {addresses: [192.0.2.1]", "westus: {addresses: [127.0.0.21, 127.0.0.22], probe: tcp",
		"probes: {", "probes: {tcp: {type: tcp, port: "+port+", interval: 100ms, timeout: 50ms, fall: 2, rise: 1}, ",
	).Replace(sticky("    regional_endpoints: enabled\n", ""))
	s := start(t, text)
	want := func(name string, addrs ...string) bool {
		return slices.Equal(s.addresses(t, name, "128.95.1.0/24"), addrs)
	}
	const global, regional = "myregistry.example.io.", "myregistry.westus.geo.example.io."
	if !want(global, "127.0.0.21", "127.0.0.22") {
		t.Errorf("at first: %v", s.addresses(t, global, "128.95.1.0/24"))
	}
	serial := s.serial(t, "example.io.")
	eventually(t, "the dead address is left out", func() bool { return want(global, "127.0.0.22") })
	if !want(regional, "127.0.0.21", "127.0.0.22") {
		t.Errorf("regional: %v", s.addresses(t, regional, ""))
	}
	if now := s.serial(t, "example.io."); now <= serial {
		t.Errorf("serial %d after %d", now, serial)
	}
	r := s.replica(t, "westus")
	if len(r.Addresses) != 2 || r.Addresses[0].State != "down" || !r.Addresses[0].LeftOut || r.Addresses[1].LeftOut || r.State != "up" || !strings.Contains(r.Last, "refused") {
		t.Errorf("%+v", r)
	}
	e, err := s.Explain("myregistry", mustAddr("192.0.2.99"), mustPrefix("128.95.1.0/24"))
	if err != nil || !slices.Equal(e.Addresses, []string{"127.0.0.22"}) || !slices.Equal(e.LeftOut, []string{"127.0.0.21"}) ||
		!slices.Contains(e.Lines, "dead, left out 127.0.0.21") {
		t.Errorf("%+v, %v", e, err)
	}
	s.reload(t)
	if !want(global, "127.0.0.22") {
		t.Errorf("after a reload: %v", s.addresses(t, global, "128.95.1.0/24"))
	}
	n, _ := strconv.Atoi(port)
	again, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 21), Port: n})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	eventually(t, "it is back", func() bool { return want(global, "127.0.0.21", "127.0.0.22") })
}
