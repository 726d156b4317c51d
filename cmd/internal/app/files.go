package app

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"portolan.dev/cmd/internal/notify"
	"portolan.dev/cmd/internal/secretfile"
	"portolan.dev/health/probe"
)

// lookEvery is how often the server looks whether a file has changed that it takes up
// without a reload.
const lookEvery = 5 * time.Second

// keptFiles are the files that a configuration names and that are taken up when they
// change, without a reload: certificates and their keys, authorities, passwords. What is
// part of the configuration itself, as the secrets of cookies and keys of transfers,
// which other servers must change at the same time, waits for a reload.
type keptFiles struct {
	system  *secretfile.Roots
	all     []secretfile.Looker
	roots   map[string]*secretfile.Kept[*x509.CertPool] // by path
	logins  map[string]*secretfile.Kept[probe.Login]
	allowed map[string]*secretfile.Kept[*tokens]
	pairs   map[pemFiles]*secretfile.Kept[*tls.Certificate]
}

// newKeptFiles keeps nothing yet. system are the authorities of the system.
func newKeptFiles(system *secretfile.Roots) *keptFiles {
	return &keptFiles{
		system:  system,
		all:     []secretfile.Looker{system},
		roots:   make(map[string]*secretfile.Kept[*x509.CertPool]),
		logins:  make(map[string]*secretfile.Kept[probe.Login]),
		allowed: make(map[string]*secretfile.Kept[*tokens]),
		pairs:   make(map[pemFiles]*secretfile.Kept[*tls.Certificate]),
	}
}

// keep keeps what parse makes of files, once for all that want the same.
func keep[K comparable, T any](f *keptFiles, known map[K]*secretfile.Kept[T], key K, name string,
	parse func([][]byte) (T, error), sources ...secretfile.Source,
) (*secretfile.Kept[T], error) {
	if k, ok := known[key]; ok {
		return k, nil
	}
	k, err := secretfile.Keep(name, parse, sources...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	known[key] = k
	f.all = append(f.all, k)
	return k, nil
}

// Roots implements [compile.Files].
func (f *keptFiles) Roots(path string) (func() *x509.CertPool, error) {
	if path == "" {
		return f.system.Get, nil
	}
	k, err := keep(f, f.roots, path, "ca_file", func(texts [][]byte) (*x509.CertPool, error) { return authorities(path, texts[0]) }, secretfile.PEM(path))
	if err != nil {
		return nil, err
	}
	return k.Get, nil
}

// authorities makes a pool of a bundle.
func authorities(path string, text []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate in PEM form: put those of the authorities there", path)
	}
	return pool, nil
}

// Login implements [compile.Files].
func (f *keptFiles) Login(path string) (func() probe.Login, error) {
	k, err := keep(f, f.logins, path, "credentials", func(texts [][]byte) (probe.Login, error) { return parseLogin(path, texts[0]) }, secretfile.Secret(path))
	if err != nil {
		return nil, err
	}
	return k.Get, nil
}

// parseLogin reads one line, user:password.
func parseLogin(path string, text []byte) (probe.Login, error) {
	line := strings.TrimRight(string(text), "\r\n")
	user, password, ok := strings.Cut(line, ":")
	if !ok || user == "" || strings.ContainsAny(line, "\r\n") {
		return probe.Login{}, fmt.Errorf("%s is not one line of the form user:password: write it so", path)
	}
	return probe.Login{User: user, Password: password}, nil
}

// Certificate implements [compile.Files].
func (f *keptFiles) Certificate(certificate, key string) (func() *tls.Certificate, error) {
	k, err := f.pair("client_certificate", pemFiles{certificate, key})
	if err != nil {
		return nil, err
	}
	return k.Get, nil
}

// pair keeps a certificate and its key.
func (f *keptFiles) pair(name string, p pemFiles) (*secretfile.Kept[*tls.Certificate], error) {
	return keep(f, f.pairs, p, name, func(texts [][]byte) (*tls.Certificate, error) {
		pair, err := tls.X509KeyPair(texts[0], texts[1])
		if err != nil {
			return nil, fmt.Errorf("%s and %s: %w: both are PEM, the own certificate first", p.certificate, p.key, err)
		}
		return &pair, nil
	}, secretfile.PEM(p.certificate), secretfile.Key(p.key))
}

// changed names the files that hold something else than those of another configuration
// that are named for the same.
func (f *keptFiles) changed(before *keptFiles) (names []string) {
	was := make(map[string][sha256.Size]byte)
	key := func(k secretfile.Looker) string { return k.Name() + "\x00" + strings.Join(k.Paths(), "\x00") }
	for _, k := range before.all {
		was[key(k)] = k.Digest()
	}
	for _, k := range f.all {
		if digest, ok := was[key(k)]; ok && digest != k.Digest() {
			names = append(names, describeFiles(k))
		}
	}
	slices.Sort(names)
	return names
}

// describeFiles names a kept value and, if the configuration names them, its files.
func describeFiles(k secretfile.Looker) string {
	if _, system := k.(*secretfile.Roots); system {
		return k.Name()
	}
	return k.Name() + " " + strings.Join(k.Paths(), ", ")
}

// watchFiles has the files of what is served looked at, until ctx ends.
func (a *App) watchFiles(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			a.lookAtFiles(ctx)
		}
	}
}

// lookAtFiles takes up the files that have changed; one that cannot be used changes
// nothing.
func (a *App) lookAtFiles(ctx context.Context) {
	w := a.world.Load()
	retarget := false
	for _, k := range w.kept.all {
		changed, err := k.Look()
		switch {
		case err != nil:
			a.log.WarnContext(ctx, "a changed file cannot be used; what it held before stays", "what", k.Name(), "error", err.Error()+a.hint(err))
		case changed:
			a.log.InfoContext(ctx, "a changed file was taken up", "what", describeFiles(k))
			_, receiver := k.(*secretfile.Kept[*notify.Target])
			retarget = retarget || receiver
		}
	}
	if !retarget {
		return
	}
	a.reloading.Lock()
	defer a.reloading.Unlock()
	if a.world.Load() == w { // or a reload has set those of the next one
		a.notifier.Set(w.targets())
	}
}
