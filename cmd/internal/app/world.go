package app

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"portolan.dev/cmd/internal/availability"
	"portolan.dev/cmd/internal/notify"
	"portolan.dev/cmd/internal/secretfile"
	"portolan.dev/config"
	"portolan.dev/geo"
	"portolan.dev/geo/embedded"
	"portolan.dev/health/probe"
	"portolan.dev/resolver"
	"portolan.dev/resolver/compile"
	"portolan.dev/resolver/wire"
)

// World is a configuration with everything that follows from it, ready to serve
// or to look at.
type World struct {
	Config   *config.Config
	Table    *geo.Table
	Compiled *compile.Result

	kept         *keptFiles
	receivers    []*secretfile.Kept[*notify.Target]
	cookies      *wire.CookieKeys                   // nil without a file of secrets
	certificate  *secretfile.Kept[*tls.Certificate] // nil without TLS
	remote       *remoteFiles                       // of the admin API for other machines; nil without
	countryCells []geo.Cell                         // of the embedded data, kept for the next reload; nil if the embedded data are served
	tableFiles   []fs.FileInfo                      // that Table was read from; nil for the embedded data
	tableDigest  [sha256.Size]byte
	sum          string                      // what digest returns
	said         said                        // once the world belongs to an App
	availability *availability.Configuration // the same
}

// Source is where a World comes from.
type Source struct {
	// Path is the configuration file.
	Path string
	// Text is used instead of Path when it is not nil; Path then only names it.
	Text []byte
	// Now is the clock on the wall.
	Now func() time.Time
	// Cache makes it faster to build one world after another; nil for none.
	Cache *config.Cache
	// CountryCells are those of the embedded data, for who starts one server after
	// another and has decoded them once; they are only read. nil decodes them.
	CountryCells []geo.Cell

	beside func(func())      // as in config.Options
	names  *probe.Names      // nil for those of one world
	roots  *secretfile.Roots // nil for those of one world
}

// LoadConfig reads and checks the configuration, without location data.
func (s Source) LoadConfig() (*config.Config, error) {
	options := config.Options{Cache: s.Cache, Beside: s.beside, KnownRegion: func(name string) error {
		_, err := geo.WellKnown(name)
		return err
	}}
	if s.Text != nil {
		return options.Parse(s.Path, s.Text)
	}
	c, err := options.Load(s.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: name the configuration with -c FILE", err)
	}
	return c, err
}

// Build makes a world: all that can fail on the way from a file to a snapshot.
// previous is what is being served, or nil; slots keeps counters over reloads.
func (s Source) Build(previous *World, slots *compile.Slots) (*World, error) {
	return s.build(previous, slots, compile.NewNumbering())
}

func (s Source) build(previous *World, slots *compile.Slots, numbering *compile.Numbering) (*World, error) {
	c, err := s.LoadConfig()
	if err != nil {
		return nil, err
	}
	roots := s.roots
	if roots == nil {
		roots = secretfile.SystemRoots()
	}
	w := &World{Config: c, kept: newKeptFiles(roots)}
	othersErr := w.keep()
	if err := w.readTable(previous); err != nil {
		return nil, errors.Join(err, othersErr)
	}
	if w.countryCells, err = s.countryCells(c, previous); err != nil {
		return nil, err
	}
	var served *resolver.Snapshot
	var places *compile.Places
	if previous != nil {
		served, places = previous.Compiled.Snapshot, previous.Compiled.Places
	}
	identity, err := os.Hostname()
	if err != nil {
		identity = ""
	}
	names := s.names
	if names == nil {
		names = probe.NewNames(s.Now)
	}
	w.Compiled, err = compile.Compile(c, compile.Options{
		Table: w.Table, CountryCells: w.countryCells, Places: places, Previous: served, Slots: slots, Numbering: numbering, Seed: rand.Uint64(), //nolint:gosec // spoils guessing, guards no secret
		Now: s.Now(), Names: names,
		Identity: identity, ReadFile: os.ReadFile,
		ReadSecret: func(name string) ([]byte, error) { return secretfile.Secret(name).Read() },
		Files:      w.kept,
	})
	if err = errors.Join(err, othersErr); err != nil {
		return nil, err
	}
	w.sum = w.digest()
	return w, nil
}

// keep reads the files that are served from, beside those of probes. The error joins all
// that is wrong.
func (w *World) keep() error {
	c := w.Config
	var receiversErr, cookiesErr, tlsErr, remoteErr error
	w.receivers, receiversErr = w.kept.receivers(c)
	w.cookies, cookiesErr = cookieKeys(c.Server.Cookies)
	if len(c.Server.TLS.Listen) > 0 {
		w.certificate, tlsErr = w.kept.pair("server.tls.certificate", pemFiles{c.Server.TLS.Certificate, c.Server.TLS.Key})
	}
	w.remote, remoteErr = w.kept.remote(c.Admin.TCP)
	return errors.Join(receiversErr, cookiesErr, tlsErr, remoteErr)
}

// readTable loads the location data, or takes that of the world before where it
// cannot have changed: the embedded data never does, and files that were neither
// replaced nor written to have not.
func (w *World) readTable(previous *World) (err error) {
	names := w.Config.Geo.Database
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			return fmt.Errorf("geo.database: %w", err)
		}
		w.tableFiles = append(w.tableFiles, info)
	}
	if previous != nil && slices.EqualFunc(w.tableFiles, previous.tableFiles, sameFile) {
		w.Table, w.tableDigest = previous.Table, previous.tableDigest
		return nil
	}
	if len(names) == 0 {
		w.Table, err = embedded.Table()
	} else if w.Table, err = geo.ReadMMDB(names...); err != nil {
		return fmt.Errorf("geo.database: %w", err)
	}
	if err == nil {
		w.tableDigest = w.Table.Digest()
	}
	return err
}

// sameFile says whether a file is still what it was.
func sameFile(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// countryCells returns the places of the embedded data for a configuration with
// data of its own, which may know countries only.
func (s Source) countryCells(c *config.Config, previous *World) ([]geo.Cell, error) {
	switch {
	case len(c.Geo.Database) == 0:
		return nil, nil
	case s.CountryCells != nil:
		return s.CountryCells, nil
	}
	if previous != nil && previous.countryCells != nil {
		return previous.countryCells, nil
	}
	table, err := embedded.Table()
	if err != nil {
		return nil, err
	}
	return table.Cells(), nil
}

// digest tells worlds apart that may answer a client differently while all replicas
// are well: by the places of regions, the operator's networks, whether client subnets
// count, the location data, or the replicas of a registry and their routing. The names
// of networks change nothing.
func (w *World) digest() string {
	h := sha256.New()
	fmt.Fprintln(h, w.tableDigest, w.Config.Geo.DefaultRegion, w.Config.Server.ECS)
	for _, r := range w.Compiled.Snapshot.Regions {
		fmt.Fprintln(h, r.Name, r.Latitude, r.Longitude, r.Bias)
	}
	for _, n := range w.Config.Geo.Networks {
		fmt.Fprintln(h, n.Prefixes, n.Region, n.Plain)
	}
	s := w.Compiled.Snapshot
	var line []byte
	for i := range s.Registries {
		r := &s.Registries[i]
		line = append(append(line[:0], r.Key...), 0)
		line = binary.BigEndian.AppendUint64(line, uint64(r.Configured))
		line = binary.BigEndian.AppendUint64(line, uint64(w.Compiled.Routed[i]))
		_, _ = h.Write(append(line, byte(r.AllDown))) // never fails
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
