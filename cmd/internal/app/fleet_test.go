package app_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/cmd/internal/app"
)

// fleet writes a configuration of n registries with eight replicas each in sixty
// regions, behind 10,000 front ends, as a hundred files, and returns the main one.
func fleet(tb testing.TB, n int) string {
	tb.Helper()
	dir := tb.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	var main strings.Builder
	fmt.Fprintf(&main, "server: {listen: ['127.0.0.1:0']}\nadmin: {socket: %[1]s/admin.sock, metrics: '127.0.0.1:0'}\nstate: {dir: %[1]s/state}\n", dir)
	main.WriteString("zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}}\nprobes: {tcp: {type: tcp, port: 443}}\ninclude: ['r*.yaml']\nregions:\n")
	for i := range 60 {
		fmt.Fprintf(&main, "  region%d: {latitude: %d, longitude: %d}\n", i, i%12*10-55, i*6-180)
	}
	write("main.yaml", main.String())
	for f := range 100 {
		var b strings.Builder
		b.WriteString("registries:\n")
		for i := f * n / 100; i < (f+1)*n/100; i++ {
			fmt.Fprintf(&b, "  registry%d:\n    regional_endpoints: enabled\n    replicas:\n", i)
			for j := range 8 {
				front := (i*8 + j) % 10_000
				fmt.Fprintf(&b, "      region%d: {addresses: [10.0.%d.%d], probe: tcp}\n", (i+j*7)%60, front>>8, front&0xff)
			}
		}
		write(fmt.Sprintf("r%02d.yaml", f), b.String())
	}
	return filepath.Join(dir, "main.yaml")
}

// fleetSize is 2,000 registries, and 100,000 with PORTOLAN_LONG=1.
func fleetSize() int {
	if os.Getenv("PORTOLAN_LONG") != "" {
		return 100_000
	}
	return 2000
}

func fleetServer(b *testing.B, path string) *app.App {
	b.Helper()
	a, err := app.New(app.Options{Source: app.Source{Path: path, Now: time.Now}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = a.Stop(b.Context()) })
	return a
}

// BenchmarkReload is a reload in which one registry of a fleet has changed.
func BenchmarkReload(b *testing.B) {
	n := fleetSize()
	b.Run(fmt.Sprintf("registries=%d", n), func(b *testing.B) {
		path := fleet(b, n)
		a := fleetServer(b, path)
		changed := filepath.Join(filepath.Dir(path), "r50.yaml")
		text, err := os.ReadFile(changed)
		if err != nil {
			b.Fatal(err)
		}
		for i := 0; b.Loop(); i++ {
			other := strings.Replace(string(text), "enabled\n", fmt.Sprintf("enabled\n    recovery_hold: %ds\n", i%50+1), 1)
			if err := os.WriteFile(changed, []byte(other), 0o600); err != nil {
				b.Fatal(err)
			}
			report, err := a.Reload(b.Context(), admin.ReloadRequest{})
			if err != nil || len(report.Registries) != 1 {
				b.Fatalf("%+v: %v", report, err)
			}
		}
	})
}
