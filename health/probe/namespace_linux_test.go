package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"portolan.dev/health"
)

// scenarioEnv names the scenario that the test binary plays, in a network namespace and
// a mount namespace of its own.
const scenarioEnv = "PORTOLAN_TEST_SCENARIO"

// scenarios are troubles as the kernel makes them.
//
//nolint:thelper // each is a test, and not a helper of one
var scenarios = map[string]func(*testing.T){
	"no route": func(t *testing.T) {
		wantFault(t, tcpAt("203.0.113.1:443"), health.Neutral, health.Local, "here: connect: network is unreachable")
		wantFault(t, tcpAt("[2001:db8::1]:443"), health.Neutral, health.Local, "here: connect: ")
	},
	"address removed": func(t *testing.T) {
		intoNothing(t)
		wantFault(t, tcpAt("203.0.113.1:443"), health.Fail, health.Silent, "connect: timeout")
		ip(t, "addr del 192.0.2.1/24 dev v0")
		wantFault(t, tcpAt("203.0.113.1:443"), health.Neutral, health.Local, "here: connect: network is unreachable")
	},
	"interface down": func(t *testing.T) {
		intoNothing(t)
		ip(t, "link set v0 down")
		wantFault(t, tcpAt("203.0.113.1:443"), health.Neutral, health.Local, "here: connect: network is unreachable")
	},
	"routes that forbid": func(t *testing.T) {
		ip(t, "route add unreachable 198.51.100.0/24", "route add prohibit 203.0.113.0/24", "route add blackhole 192.0.2.0/24",
			"route add prohibit 2001:db8::/32")
		wantFault(t, tcpAt("198.51.100.1:443"), health.Neutral, health.Local, "here: connect: no route to host")
		wantFault(t, tcpAt("203.0.113.1:443"), health.Neutral, health.Local, "here: connect: permission denied")
		wantFault(t, tcpAt("192.0.2.1:443"), health.Neutral, health.Local, "here: connect: invalid argument")
		wantFault(t, tcpAt("[2001:db8::1]:443"), health.Neutral, health.Local, "here: connect: permission denied")
	},
	"no neighbor": func(t *testing.T) {
		ip(t, "link add v0 type veth peer name v1", "addr add 192.0.2.1/24 dev v0", "link set v1 up", "link set v0 up")
		sysctl(t, "ipv4/neigh/v0/mcast_solicit", "1")
		wantFault(t, tcpWithin("192.0.2.9:443", patience("")), health.Fail, health.Unreachable, "connect: no route to host")
	},
	"a router says so": func(t *testing.T) {
		throughRouter(t)
		wantFault(t, tcpAt("203.0.113.1:443"), health.Fail, health.Unreachable, "connect: network is unreachable")
		wantFault(t, tcpAt("198.51.100.1:443"), health.Fail, health.Unreachable, "connect: no route to host")
		wantFault(t, tcpWithin("[2001:db8:2::1]:443", patience("")), health.Fail, health.Unreachable, "connect: permission denied")
	},
	"refused": func(t *testing.T) {
		wantFault(t, tcpAt("127.0.0.1:1"), health.Fail, health.Answered, "connect: connection refused")
	},
	"no ports": func(t *testing.T) {
		target := raw(t, untilClosed)
		sysctl(t, "ipv4/ip_local_port_range", "50000 50001")
		for range 2 {
			if c, err := net.Dial("tcp", target); err == nil {
				defer c.Close()
			}
		}
		wantFault(t, tcpAt(target), health.Neutral, health.Local, "here: connect: cannot assign requested address")
	},
	"no descriptors": func(t *testing.T) {
		target := raw(t, untilClosed)
		spec := tcpAt(target)
		p, err := New(spec.Spec)
		if err != nil {
			t.Fatal(err)
		}
		var was syscall.Rlimit
		if err := errors.Join(syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was), syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 3, Max: was.Max})); err != nil {
			t.Fatal(err)
		}
		r := p.Probe(t.Context())
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
			t.Fatal(err)
		}
		checkFault(t, r, health.Neutral, health.Local, "here: connect: too many open files")
	},
	"no resolver": func(t *testing.T) {
		wantFault(t, tcpAt("target.example:443"), health.Neutral, health.Local, "here: connect: look-up of target.example: ")
	},
	"no resolv.conf": func(t *testing.T) {
		if err := unix.Mount("none", "/etc", "tmpfs", 0, ""); err != nil {
			t.Skip(err)
		}
		wantFault(t, tcpAt("target.example:443"), health.Neutral, health.Local, "here: connect: look-up of target.example: ")
	},
	"a resolver that does not answer": func(t *testing.T) {
		intoNothing(t)
		resolvConf(t, "nameserver 203.0.113.53\nsearch example\n")
		wantFault(t, tcpAt("target.example:443"), health.Neutral, health.Local, "here: connect: look-up of target.example: timeout")
	},
	"what resolvers say": func(t *testing.T) {
		resolvConf(t, "nameserver 127.0.0.1\nsearch example\n")
		resolver(t)
		wantFault(t, tcpAt("servfail.example:443"), health.Neutral, health.Local, "here: connect: look-up of servfail.example: ")
		wantFault(t, tcpAt("refused.example:443"), health.Neutral, health.Local, "here: connect: look-up of refused.example: ")
		wantFault(t, tcpAt("none.example:443"), health.Fail, health.Silent, "connect: look-up of none.example: no such host")
		wantFault(t, tcpAt("empty.example:443"), health.Fail, health.Silent, "connect: look-up of empty.example: no such host")
	},
	"the resolver is lost": func(t *testing.T) {
		resolvConf(t, "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
		stop := resolver(t)
		target := raw(t, untilClosed)
		_, port, _ := net.SplitHostPort(target)
		var minutes atomic.Int64
		names := NewNames(func() time.Time { return epoch.Add(time.Duration(minutes.Load()) * time.Minute) })
		for _, s := range []Spec{{Type: TCP}, {Type: HTTP}, {Type: Registry}, {Type: TLS}} {
			s.Address, s.Names = "target.example:"+port, names
			checkFault(t, tryFor(t, s, time.Second), map[bool]health.Verdict{true: health.Pass}[s.Type == TCP], health.Answered, "")
		}
		stop()
		minutes.Store(2)
		s := tcpAt("target.example:" + port)
		s.Names = names
		wantFault(t, s, health.Pass, health.Answered, "connected, at the addresses of 2m0s ago, for the look-up of target.example fails here: ")
		s.Address = "target.example:1"
		wantFault(t, s, health.Fail, health.Answered, "connect: connection refused, at the addresses of 2m0s ago")
		minutes.Store(63)
		wantFault(t, s, health.Neutral, health.Local, "here: connect: look-up of target.example: ")
	},
}

func TestTroubleOfTheKernel(t *testing.T) {
	t.Parallel()
	if name := os.Getenv(scenarioEnv); name != "" {
		if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		ip(t, "link set lo up")
		scenarios[name](t)
		return
	}
	if _, err := exec.LookPath("ip"); err != nil || os.Getuid() != 0 {
		t.Skip("network namespaces need root and iproute2")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name := range scenarios {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestTroubleOfTheKernel$")
			cmd.Env = append(os.Environ(), scenarioEnv+"="+name)
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
			out, err := cmd.CombinedOutput()
			if errors.Is(err, syscall.EPERM) {
				t.Skip("no namespace can be made")
			}
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// timed is a spec and the time for it.
type timed struct {
	Spec
	within time.Duration
}

func tcpAt(address string) timed { return tcpWithin(address, 2*time.Second) }

func tcpWithin(address string, within time.Duration) timed {
	return timed{Spec{Type: TCP, Address: address}, within}
}

func wantFault(t *testing.T, s timed, verdict health.Verdict, fault health.Fault, detail string) {
	t.Helper()
	checkFault(t, tryFor(t, s.Spec, s.within), verdict, fault, detail)
}

func checkFault(t *testing.T, r health.Result, verdict health.Verdict, fault health.Fault, detail string) {
	t.Helper()
	if r.Verdict != verdict || r.Fault != fault || !strings.HasPrefix(r.Detail, detail) {
		t.Errorf("%v, %v, %q; want %v, %v, %q", r.Verdict, r.Fault, r.Detail, verdict, fault, detail)
	}
}

func ip(t *testing.T, commands ...string) {
	t.Helper()
	for _, c := range commands {
		run(t, "ip", strings.Fields(c)...)
	}
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

func sysctl(t *testing.T, name, value string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join("/proc/sys/net", name), []byte(value), 0o600); err != nil {
		t.Skip(err)
	}
}

func resolvConf(t *testing.T, text string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(file, "/etc/resolv.conf", "", unix.MS_BIND, ""); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = unix.Unmount("/etc/resolv.conf", unix.MNT_DETACH) })
}

// intoNothing makes a way out on which every packet vanishes.
func intoNothing(t *testing.T) {
	t.Helper()
	ip(t, "link add v0 type veth peer name v1", "addr add 192.0.2.1/24 dev v0", "link set v1 up", "link set v0 up",
		"neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev v0 nud permanent", "route add default via 192.0.2.9")
}

// throughRouter makes another namespace the way out of this one: a router that knows no
// way to 203.0.113.0/24 and the neighbors of 198.51.100.0/24 no more, and that forbids
// 2001:db8:2::/48.
func throughRouter(t *testing.T) {
	t.Helper()
	router := exec.CommandContext(t.Context(), "sleep", "600")
	router.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := router.Start(); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = router.Process.Kill(); _ = router.Wait() })
	ip(t, "link add v0 type veth peer name v1", fmt.Sprintf("link set v1 netns %d", router.Process.Pid))
	for _, c := range []string{
		"ip addr add 192.0.2.254/24 dev v1", "ip addr add 2001:db8:1::254/64 dev v1 nodad", "ip link set v1 up",
		"ip route add unreachable 198.51.100.0/24", "ip route add prohibit 2001:db8:2::/48",
		"sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1",
	} {
		run(t, "nsenter", append([]string{"-t", strconv.Itoa(router.Process.Pid), "-n"}, strings.Fields(c)...)...)
	}
	ip(t, "addr add 192.0.2.1/24 dev v0", "addr add 2001:db8:1::1/64 dev v0 nodad", "link set v0 up",
		"route add default via 192.0.2.254", "route add default via 2001:db8:1::254")
}

// resolver serves 127.0.0.1:53 until it is stopped.
func resolver(t *testing.T) (stop func()) {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:53")
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{PacketConn: c, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		m.RecursionAvailable = true
		switch label, _, _ := strings.Cut(q.Question[0].Name, "."); {
		case label == "servfail":
			m.Rcode = dns.RcodeServerFailure
		case label == "refused":
			m.Rcode = dns.RcodeRefused
		case label == "none", strings.Contains(q.Question[0].Name, "example.example"):
			m.Rcode = dns.RcodeNameError
		case label == "target" && q.Question[0].Qtype == dns.TypeA:
			rr, _ := dns.NewRR("target.example. 0 A 127.0.0.1")
			m.Answer = append(m.Answer, rr)
		}
		_ = w.WriteMsg(m)
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.ActivateAndServe() }()
	stop = func() { _ = s.ShutdownContext(context.Background()); <-done }
	t.Cleanup(stop)
	return stop
}
