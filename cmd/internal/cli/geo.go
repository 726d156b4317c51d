package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"portolan.dev/cmd/internal/app"
	"portolan.dev/geo"
	"portolan.dev/geo/embedded"
	"portolan.dev/resolver/compile"
)

func (e *env) geo() *cobra.Command {
	cmd := &cobra.Command{Use: "geo", Short: "Look at location data", Args: cobra.ArbitraryArgs, RunE: groupRun}
	cmd.AddCommand(e.geoLookup())
	return cmd
}

func (e *env) geoLookup() *cobra.Command {
	var path string
	var regions []string
	var out format
	cmd := &cobra.Command{
		Use:   "lookup [IP...]",
		Short: "Say where addresses are and how the regions rank from there",
		Long: `Print for each address its cell, country, the block of the location data, the
scope of an answer, and the regions by distance. Without addresses they are read
from standard input, one a line.

With -c FILE the regions, networks and location data are those of the file; else
they are --regions, or four regions on two continents, and the embedded data.`,
		Example: "  portolan geo lookup 203.0.113.7 2001:db8::1\n  portolan geo lookup --regions aws/us-east-1,westeurope < addresses.txt",
		RunE: func(_ *cobra.Command, addrs []string) error {
			l, err := e.lookup(path, regions)
			if err != nil {
				return err
			}
			return e.eachAddress(addrs, func(a netip.Addr) error { return l.print(e.out, &out, a) })
		},
	}
	configFlag(cmd, &path)
	outputFlag(cmd, &out)
	cmd.Flags().StringSliceVar(&regions, "regions", []string{"westus", "eastus", "canadacentral", "westeurope"}, "well-known regions to rank, without -c")
	return cmd
}

// geoLookup is an index with the names that its numbers stand for.
type geoLookup struct {
	index   *geo.Index
	regions []geo.Region
	sites   []string
}

func (e *env) lookup(path string, names []string) (*geoLookup, error) {
	if path != "" {
		w, err := app.Source{Path: path, Now: e.now}.Build(nil, compile.NewSlots())
		if err != nil {
			return nil, e.report(err)
		}
		s := w.Compiled.Snapshot
		return &geoLookup{s.Places, s.Regions, s.Sites}, nil
	}
	l := &geoLookup{}
	for _, name := range names {
		r, err := geo.WellKnown(name)
		if err != nil {
			return nil, usageError{err}
		}
		l.regions = append(l.regions, r)
	}
	table, err := embedded.Table()
	if err != nil {
		return nil, err
	}
	l.index, err = geo.NewIndex(table, l.regions, nil, -1)
	return l, err
}

// eachAddress calls f for the addresses given, or for those on standard input.
// A word that is no address is reported and does not end a long list.
func (e *env) eachAddress(words []string, f func(netip.Addr) error) error {
	bad := false
	each := func(word string) error {
		a, err := netip.ParseAddr(word)
		if err != nil {
			fmt.Fprintf(e.err, "portolan: %q is no address\n", word)
			bad = true
			return nil //nolint:nilerr // told, and the next address is tried
		}
		return f(a)
	}
	for _, word := range words {
		if err := each(word); err != nil {
			return err
		}
	}
	lines := bufio.NewScanner(e.in)
	for len(words) == 0 && lines.Scan() {
		for word := range strings.FieldsSeq(lines.Text()) {
			if err := each(word); err != nil {
				return err
			}
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read addresses: %w", err)
	}
	if bad {
		return errReported
	}
	return nil
}

// location is the JSON form of one look-up.
type location struct {
	Address   string           `json:"address"`
	Looked    string           `json:"looked_up,omitempty"`
	Cell      int              `json:"cell"`
	Kind      string           `json:"kind"`
	Country   string           `json:"country,omitempty"`
	Latitude  float64          `json:"latitude"`
	Longitude float64          `json:"longitude"`
	Block     string           `json:"block,omitempty"`
	Scope     string           `json:"scope"`
	Site      string           `json:"site,omitempty"`
	Special   bool             `json:"special"`
	RankedBy  string           `json:"ranked_by"`
	Regions   []regionDistance `json:"regions"`
}

type regionDistance struct {
	Region string `json:"region"`
	// Kilometres is absent where it is not known where the address is.
	Kilometres *float64 `json:"km,omitempty"`
	Bias       float64  `json:"bias,omitempty"`
}

func (l *geoLookup) locate(a netip.Addr) location {
	p := l.index.Describe(a)
	v := location{
		Address: a.String(), Cell: int(p.CellID), Kind: p.Cell.Kind.String(), Country: p.Cell.CountryCode(),
		Latitude: p.Cell.Latitude, Longitude: p.Cell.Longitude, Scope: p.Scope.String(),
		Special: p.Special(), RankedBy: p.Basis.String(),
	}
	if p.Lookup != a {
		v.Looked = p.Lookup.String()
	}
	if p.Location.IsValid() {
		v.Block = p.Location.String()
	}
	if p.Site >= 0 {
		v.Site = l.sites[p.Site]
	}
	for _, r := range p.Ranking {
		if r.Region >= len(l.regions) {
			break // a configuration without regions
		}
		d := regionDistance{Region: l.regions[r.Region].Name, Bias: r.Bias}
		if r.Measured {
			d.Kilometres = &r.Kilometres
		}
		v.Regions = append(v.Regions, d)
	}
	return v
}

func (l *geoLookup) print(w io.Writer, f *format, a netip.Addr) error {
	if !a.IsValid() {
		return errors.New("no address")
	}
	v := l.locate(a)
	return f.print(w, v, func(w io.Writer) {
		place := "-"
		if v.Kind != geo.Unlocated.String() {
			place = fmt.Sprintf("%.2f,%.2f", v.Latitude, v.Longitude)
		}
		fmt.Fprintf(w, "%s\tcell %d (%s)\t%s\tblock %s\tscope %s\t%s", v.Address, v.Cell, v.Kind, orDash(v.Country), orDash(v.Block), v.Scope, place)
		if v.Site != "" {
			fmt.Fprintf(w, "\tnetwork %s", v.Site)
		}
		for _, r := range v.Regions {
			fmt.Fprintf(w, "\t%s", r.Region)
			if r.Kilometres != nil {
				fmt.Fprintf(w, " %.0f km", *r.Kilometres)
			}
		}
		fmt.Fprintln(w)
	})
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
