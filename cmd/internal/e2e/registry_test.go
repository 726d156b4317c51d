//go:build linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

// registry is one replica: Debian's docker-registry with a storage of its own.
type registry struct {
	*process
	t      *testing.T
	ns     *netns
	addr   string // ip:port
	dir    string // storage, and what the configuration names
	client *http.Client
}

// newRegistry starts a registry at addr and waits until it answers.
func newRegistry(t *testing.T, n *netns, addr string) *registry {
	t.Helper()
	r := prepareRegistry(t, n, addr)
	r.start()
	r.await()
	return r
}

// prepareRegistry makes a registry that has not been started.
func prepareRegistry(t *testing.T, n *netns, addr string) *registry {
	t.Helper()
	need(t, "docker-registry")
	r := &registry{t: t, ns: n, addr: addr, dir: t.TempDir()}
	r.client = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: n.dial, DisableKeepAlives: true}}
	config := fmt.Sprintf(`version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: %[1]s}}
http: {addr: %[2]q, secret: shared by all replicas}
health:
  file: [{file: %[3]s, interval: 20ms}]
`, r.dir, addr, r.switchFile())
	if err := os.WriteFile(r.configFile(), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

// switchFile makes the registry answer 503 as long as it exists: its own health
// check.
func (r *registry) switchFile() string { return filepath.Join(r.dir, "unhealthy") }

func (r *registry) configFile() string { return filepath.Join(r.dir, "config.yml") }

// start starts the registry, or starts it again after kill.
func (r *registry) start() { r.process = start(r.t, r.ns, "docker-registry", "serve", r.configFile()) }

// await waits until the registry answers 200.
func (r *registry) await() {
	r.t.Helper()
	eventually(r.t, patience, "the registry at "+r.addr+" answers", func() bool {
		if r.ended() {
			r.t.Fatalf("the registry at %s has ended", r.addr)
		}
		return r.status() == http.StatusOK
	})
}

// status returns the status of GET /v2/, 0 if there is none.
func (r *registry) status() int {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+r.addr+"/v2/", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// sicken makes the registry answer 503, cure ends that. Both return the moment
// before which the answers were still the old ones.
func (r *registry) sicken() time.Time {
	r.t.Helper()
	if err := os.WriteFile(r.switchFile(), nil, 0o600); err != nil {
		r.t.Fatal(err)
	}
	return r.last(http.StatusOK)
}

func (r *registry) cure() time.Time {
	r.t.Helper()
	if err := os.Remove(r.switchFile()); err != nil {
		r.t.Fatal(err)
	}
	return r.last(http.StatusServiceUnavailable)
}

// last asks until the status is not this one, and returns when the last request
// was begun that still got it.
func (r *registry) last(status int) time.Time {
	r.t.Helper()
	seen := time.Now()
	eventually(r.t, patience, fmt.Sprintf("%s does not answer %d any more", r.addr, status), func() bool {
		begin := time.Now()
		if r.status() != status {
			return true
		}
		seen = begin
		return false
	})
	return seen
}

// freeze stops the process in its tracks: connections are still accepted by the
// kernel, and nothing answers. thaw lets it go on.
func (r *registry) freeze() { r.signal(syscall.SIGSTOP) }
func (r *registry) thaw()   { r.signal(syscall.SIGCONT) }

// blobs returns the digests of the blobs in the storage, sorted, with what kind
// of algorithm left out: 64 hexadecimal digits each.
func (r *registry) blobs() []string {
	return r.digests(filepath.Join(r.dir, "docker/registry/v2/blobs/sha256"), "data")
}

// manifests returns the digests of the manifests of a repository, sorted.
func (r *registry) manifests(repository string) []string {
	return r.digests(filepath.Join(r.dir, "docker/registry/v2/repositories", repository, "_manifests/revisions/sha256"), "link")
}

// digests returns the names of the folders below root that hold file.
func (r *registry) digests(root, file string) []string {
	r.t.Helper()
	var found []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() == file {
			found = append(found, filepath.Base(filepath.Dir(path)))
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.t.Fatal(err)
	}
	slices.Sort(found)
	return found
}
