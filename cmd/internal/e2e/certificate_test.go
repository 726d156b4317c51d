//go:build linux

package e2e

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const certificateConfig = `
server:
  listen: ["127.0.0.1:0"]
  identity: e2e
  tls: {listen: ["127.0.0.1:0"], certificate: %[1]s, key: %[2]s}
admin:
  socket: $DIR/admin.sock
  tcp: {listen: "%[3]s", certificate: %[1]s, key: %[2]s, token_file: tokens}
state: {dir: $DIR}
zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}}
registries: {myregistry: {replicas: {westus: {addresses: [192.0.2.10]}}}}
`

// layout is how a tool keeps a certificate and its key in a folder: renew makes the
// nth pair theirs.
type layout struct {
	name, certificate, key string
	renew                  func(t *testing.T, dir string, n int, certificate, key string)
}

func layouts() []layout {
	return []layout{
		{"certbot", "live/site/fullchain.pem", "live/site/privkey.pem", func(t *testing.T, dir string, n int, certificate, key string) {
			t.Helper()
			for name, text := range map[string]string{"fullchain": certificate, "privkey": key} {
				put(t, filepath.Join(dir, "archive/site", fmt.Sprintf("%s%d.pem", name, n)), text)
				point(t, filepath.Join(dir, "live/site", name+".pem"), fmt.Sprintf("../../archive/site/%s%d.pem", name, n))
			}
		}},
		{"Kubernetes", "tls.crt", "tls.key", func(t *testing.T, dir string, n int, certificate, key string) {
			t.Helper()
			version := fmt.Sprintf("..2026_%d", n)
			put(t, filepath.Join(dir, version, "tls.crt"), certificate)
			put(t, filepath.Join(dir, version, "tls.key"), key)
			point(t, filepath.Join(dir, "..data"), version)
			point(t, filepath.Join(dir, "tls.crt"), "..data/tls.crt")
			point(t, filepath.Join(dir, "tls.key"), "..data/tls.key")
			if n > 1 {
				_ = os.RemoveAll(filepath.Join(dir, fmt.Sprintf("..2026_%d", n-1))) // it is in nobody's way
			}
		}},
		{"releases", "current/cert.pem", "current/key.pem", func(t *testing.T, dir string, n int, certificate, key string) {
			t.Helper()
			put(t, filepath.Join(dir, "releases", strconv.Itoa(n), "cert.pem"), certificate)
			put(t, filepath.Join(dir, "releases", strconv.Itoa(n), "key.pem"), key)
			point(t, filepath.Join(dir, "current"), fmt.Sprintf("releases/%d", n))
		}},
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// point makes path a link to another place, at once as the tools do.
func point(t *testing.T, path, to string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(to, path+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// TestRenewedCertificates renews certificates that are links, under a server that is
// confined to what it needed at its start.
func TestRenewedCertificates(t *testing.T) {
	t.Parallel()
	for _, l := range layouts() {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			renew := func(n int) string {
				pair := selfSigned(t)
				l.renew(t, dir, n, pair[0].text, pair[1].text)
				block, _ := pem.Decode([]byte(pair[0].text))
				return string(block.Bytes)
			}
			first := renew(1)
			admin := freePort(t)
			config := fmt.Sprintf(certificateConfig, filepath.Join(dir, l.certificate), filepath.Join(dir, l.key), admin)
			s := serve(t, nil, config, file{"tokens", strings.Repeat("0123456789abcdef", 4)})
			if line := s.log.line(0, "msg=confined"); strings.Contains(line, "the kernel has no Landlock") {
				t.Skip(line)
			}
			shown := func(addr string) string {
				conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
				if err != nil {
					return err.Error()
				}
				defer conn.Close()
				return string(conn.ConnectionState().PeerCertificates[0].Raw)
			}
			listeners := []string{s.tls[0].String(), admin}
			for _, addr := range listeners {
				if shown(addr) != first {
					t.Fatalf("%s shows another certificate", addr)
				}
			}
			next := renew(2)
			for _, addr := range listeners {
				eventually(t, patience, addr+" shows the new certificate", func() bool { return shown(addr) == next })
			}
			if line := s.hup(); !strings.Contains(line, "msg=reloaded") {
				t.Error(line)
			}
		})
	}
}
