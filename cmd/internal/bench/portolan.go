//go:build linux

package main

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"time"
)

// portolan is one running `portolan serve`.
type portolan struct {
	*process
	addr    netip.AddrPort
	dir     string // of its configuration, relative to the rig's
	started time.Duration
}

// socket is the path of its admin socket.
func (p *portolan) socket(r *rig) string { return filepath.Join(r.dir, p.dir, "admin.sock") }

// head is the beginning of every configuration.
func (r *rig) head(addr netip.AddrPort, workers int) string {
	return fmt.Sprintf(`
server: {listen: [%q], workers: %d, identity: bench}
admin: {socket: admin.sock}
state: {dir: state, grace: 0s, memory: %q}
zones: {example.io: {nameservers: {ns1: [127.0.0.1]}}}
`, addr, workers, r.shared)
}

// one is a configuration of the registry with the regions of the comparison, with
// holds, and probes that always succeed.
func (r *rig) one(addr netip.AddrPort, workers, probePort int) string {
	var b strings.Builder
	b.WriteString(r.head(addr, workers))
	fmt.Fprintf(&b, `
geo: {default_region: westus}
probes: {alive: {type: tcp, port: %d}}
registries:
  myregistry:
    replicas:
`, probePort)
	for i, region := range regionsOfPeers() {
		fmt.Fprintf(&b, "      %s: {addresses: [%s], probe: alive}\n", region, address(i))
	}
	return b.String()
}

// serve starts Portolan with the configuration in dir and waits for its first answer.
func (r *rig) serve(ctx context.Context, cpus []int, addr netip.AddrPort, dir, config string) (*portolan, error) {
	path, err := r.write(dir+"/portolan.yaml", config)
	if err != nil {
		return nil, err
	}
	begin := r.now()
	p, err := r.start(ctx, cpus, r.portolan, "serve", "-c", path)
	if err != nil {
		return nil, err
	}
	if err := r.awaitAnswer(ctx, p, addr, name, 5*time.Minute); err != nil {
		return nil, err
	}
	return &portolan{process: p, addr: addr, dir: dir, started: r.now().Sub(begin)}, nil
}
