//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/miekg/dns"

	"portolan.dev/cmd/internal/admin"
)

// reloads measures a server that has both CPUs and no load: from a reload that is asked
// for, with one changed registry among so many, to an answer that has changed. With
// inOne all of them stand in one file, else in several. It returns the median.
func (r *rig) reloads(ctx context.Context, registries, regions, probePort int, inOne bool) (took time.Duration, err error) {
	dir, addr := fmt.Sprintf("reload-%d-%d-%t", registries, regions, inOne), r.port()
	config, err := r.many(dir, addr, registries, regions, probePort, inOne)
	if err != nil {
		return 0, err
	}
	p, err := r.serve(ctx, []int{r.serverCPU, r.loadCPU}, addr, dir, config)
	if err != nil {
		return 0, err
	}
	defer p.stop()
	file := filepath.Join(r.dir, dir, "portolan.yaml")
	if !inOne {
		file = filepath.Join(r.dir, dir, registriesFile(registries/2/perFile*perFile))
	}
	changed := registryName(registries / 2)
	client := admin.NewClient(p.socket(r))
	var all []float64
	for range r.rounds {
		if err := edit(file, changed); err != nil {
			return 0, err
		}
		before, err := addressOf(ctx, p, changed)
		if err != nil {
			return 0, err
		}
		begin := r.now()
		if _, err := client.Reload(ctx, admin.ReloadRequest{Force: true}); err != nil {
			return 0, err
		}
		if !r.until(ctx, patience, func() bool {
			after, err := addressOf(ctx, p, changed)
			return err == nil && after != before
		}) {
			return 0, errors.New("a reload has changed no answer")
		}
		all = append(all, float64(r.now().Sub(begin)))
	}
	return time.Duration(median(all)), nil
}

// edit gives the replicas of a registry other addresses: those before the last time.
func edit(file, registry string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	text := string(data)
	begin := strings.Index(text, "  "+registry+":\n")
	if begin < 0 {
		return fmt.Errorf("%s does not have %s", file, registry)
	}
	end := len(text)
	if n := strings.Index(text[begin+1:], "\n  r"); n >= 0 { // the registry behind it
		end = begin + 1 + n
	}
	from, to := "[10.", "[11."
	if strings.Contains(text[begin:end], to) {
		from, to = to, from
	}
	return os.WriteFile(file, []byte(text[:begin]+strings.ReplaceAll(text[begin:end], from, to)+text[end:]), 0o600)
}

// addressOf asks for the address of a registry.
func addressOf(ctx context.Context, p *portolan, registry string) (string, error) {
	m := new(dns.Msg)
	m.SetQuestion(registry+".example.io.", dns.TypeA)
	a, _, err := (&dns.Client{Timeout: time.Second}).ExchangeContext(ctx, m, p.addr.String())
	if err != nil {
		return "", err
	}
	for _, rr := range a.Answer {
		if address, ok := rr.(*dns.A); ok {
			return address.A.String(), nil
		}
	}
	return "", fmt.Errorf("%s has no address", registry)
}
