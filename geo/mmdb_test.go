package geo

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"go4.org/netipx"
)

// network is a line of a database to be made for a test.
type network struct {
	prefix string
	record mmdbtype.Map
}

func city(country, name string, latitude, longitude float64, radius uint16) mmdbtype.Map {
	m := mmdbtype.Map{
		"country": mmdbtype.Map{"iso_code": mmdbtype.String(country)},
		"location": mmdbtype.Map{
			"latitude":        mmdbtype.Float64(latitude),
			"longitude":       mmdbtype.Float64(longitude),
			"accuracy_radius": mmdbtype.Uint16(radius),
		},
	}
	if name != "" {
		m["city"] = mmdbtype.Map{"names": mmdbtype.Map{"en": mmdbtype.String(name)}}
	}
	return m
}

func country(code string) mmdbtype.Map {
	return mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String(code)}}
}

func flat(code, name string, latitude, longitude float32) mmdbtype.Map {
	return mmdbtype.Map{
		"country_code": mmdbtype.String(code),
		"city":         mmdbtype.String(name),
		"latitude":     mmdbtype.Float32(latitude),
		"longitude":    mmdbtype.Float32(longitude),
	}
}

// makeMMDB returns a database file. The epoch is fixed, so the same networks give
// the same bytes.
func makeMMDB(tb testing.TB, kind string, ipVersion int, networks ...network) []byte {
	tb.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{
		DatabaseType: kind, IPVersion: ipVersion, BuildEpoch: 1_790_000_000, RecordSize: 24,
		IncludeReservedNetworks: true, Description: map[string]string{"en": "test"},
	})
	if err != nil {
		tb.Fatal(err)
	}
	for _, n := range networks {
		if err := tree.Insert(netipx.PrefixIPNet(netip.MustParsePrefix(n.prefix)), n.record); err != nil {
			tb.Fatal(err)
		}
	}
	var b bytes.Buffer
	if _, err := tree.WriteTo(&b); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func writeFile(tb testing.TB, name string, data []byte) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

func cityNetworks() []network {
	return []network{
		{"1.0.0.0/16", city("US", "San Francisco", 37.8, -122.4, 20)},
		{"1.1.0.0/17", city("US", "Roanoke", 37.4, -79.8, 20)},
		{"1.1.128.0/17", city("US", "", 37.751, -97.822, 1000)},
		{"1.2.0.0/25", city("NL", "Amsterdam", 52.4, 4.9, 5)},
		{"1.2.0.128/26", city("US", "Roanoke", 37.4, -79.8, 20)},
		{"1.2.1.0/26", city("NL", "Amsterdam", 52.45, 4.95, 5)},
		{"1.3.0.0/16", country("CA")},
		{"1.4.0.0/16", mmdbtype.Map{"continent": mmdbtype.Map{"code": mmdbtype.String("EU")}}},
		{"2a00::/20", city("NL", "Amsterdam", 52.4, 4.9, 5)},
		{"2a01:0:0:8000::/49", city("US", "Roanoke", 37.4, -79.8, 20)},
		{"2a01:0:1:1:8000::/65", city("US", "Roanoke", 37.4, -79.8, 20)},
	}
}

func TestReadMMDBCity(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"GeoLite2-City", "DBIP-City-Lite", "GeoIP2-Enterprise", "Contoso-Places"} {
		table, err := ReadMMDB(writeFile(t, "city.mmdb", makeMMDB(t, kind, 6, cityNetworks()...)))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := table.Source(), "city.mmdb ("+kind+")"; got != want || table.Built().Unix() != 1_790_000_000 {
			t.Errorf("source %q of %s, want %q", got, table.Built(), want)
		}
		checkCells(t, table)
	}
}

func checkCells(t *testing.T, table *Table) {
	t.Helper()
	for _, c := range []struct {
		addr, country string
		kind          CellKind
		near          Point
		location      string
	}{
		{"1.0.3.4", "US", Located, Point{37.8, -122.4}, "1.0.0.0/16"},
		{"1.1.3.4", "US", Located, Point{37.4, -79.8}, "1.1.0.0/17"},
		{"1.1.200.4", "US", CountryOnly, Point{37.75, -97.82}, "1.1.128.0/17"},
		{"1.2.0.200", "NL", Located, Point{52.4, 4.9}, "1.2.0.0/23"}, // most of the /24, and the same cell next to it
		{"1.2.1.200", "NL", Located, Point{52.4, 4.9}, "1.2.0.0/23"}, // the only place in the /24
		{"1.3.9.9", "CA", CountryOnly, Point{}, "1.3.0.0/16"},
		{"1.4.9.9", "", Unlocated, Point{}, "1.4.0.0/14"},
		{"9.9.9.9", "", Unlocated, Point{}, "8.0.0.0/5"},
		{"2a00:fff::1", "NL", Located, Point{52.4, 4.9}, "2a00::/20"},
		{"2a01::1", "US", Located, Point{37.4, -79.8}, "2a01::/47"},
		{"2a01:0:1:8000::1", "US", Located, Point{37.4, -79.8}, "2a01::/47"},
		{"::ffff:1.0.3.4", "US", Located, Point{37.8, -122.4}, "1.0.0.0/16"},
	} {
		id, location := table.Cell(netip.MustParseAddr(c.addr))
		cell := table.Cells()[id]
		if cell.CountryCode() != c.country || cell.Kind != c.kind || location.String() != c.location {
			t.Errorf("%s: %+v in %s, want %s %s in %s", c.addr, cell, location, c.country, c.kind, c.location)
		}
		if c.kind == Located && cell.Kilometres(c.near) > 5 {
			t.Errorf("%s: at %s, want %s", c.addr, cell.Point, c.near)
		}
	}
	id, _ := table.Cell(netip.MustParseAddr("1.1.3.4"))
	if got := table.Cells()[id].Weight; got != 128 {
		t.Errorf("weight %d of a /17 and a quarter of a /24, want 128", got)
	}
}

func TestReadMMDBFlat(t *testing.T) {
	t.Parallel()
	v4 := writeFile(t, "v4.mmdb", makeMMDB(t, "city ipv4", 4,
		network{"1.0.0.0/16", flat("US", "San Francisco", 37.8, -122.4)},
		network{"1.1.0.0/16", flat("IO", "", 0, 0)},
	))
	v6 := writeFile(t, "v6.mmdb", makeMMDB(t, "city ipv6", 6, network{"2a00::/12", flat("NL", "Amsterdam", 52.4, 4.9)}))
	table, err := ReadMMDB(v4, v6)
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]Cell{
		"1.0.0.1": {Point: Point{37.8, -122.4}, Country: [2]byte{'U', 'S'}, Kind: Located, Weight: 256},
		"1.1.0.1": {Country: [2]byte{'I', 'O'}, Kind: CountryOnly, Weight: 256},
		"2a00::1": {Point: Point{52.4, 4.9}, Country: [2]byte{'N', 'L'}, Kind: Located, Weight: 1},
		"1.2.0.0": {},
		"2b00::1": {},
	} {
		id, _ := table.Cell(netip.MustParseAddr(addr))
		if got := table.Cells()[id]; got != want {
			t.Errorf("%s: %+v, want %+v", addr, got, want)
		}
	}
}

// TestReadMMDBCountry reads a database of country level: every cell is of a country
// alone, and an index takes the means of another table.
func TestReadMMDBCountry(t *testing.T) {
	t.Parallel()
	table, err := ReadMMDB(writeFile(t, "country.mmdb", makeMMDB(t, "GeoLite2-Country", 6, network{"1.0.0.0/8", country("US")})))
	if err != nil {
		t.Fatal(err)
	}
	ix := mustIndex(t, table, fourRegions(), nil, -1, WithCountryCells(fourCells().Cells()))
	class, scope := ix.Find4(1 << 24)
	if got := ix.Rank(class); got[0] != 1 || scope != 8 {
		t.Errorf("rank %v scope %d, want eastus first, where most of the country's addresses are, and 8", got, scope)
	}
}

// TestPlaceholders checks which points stand for a country: those without a city
// that hold a large share of it.
func TestPlaceholders(t *testing.T) {
	t.Parallel()
	table, err := ReadMMDB(writeFile(t, "city.mmdb", makeMMDB(t, "GeoLite2-City", 6,
		network{"1.0.0.0/16", city("DE", "", 51.2993, 9.491, 200)},
		network{"1.1.0.0/16", city("DE", "Berlin", 52.5, 13.4, 20)},
		network{"1.2.0.0/20", city("DE", "", 48.1, 11.5, 50)}, // a state, 3 % of the country
		network{"1.2.16.0/20", city("DE", "", 51.5, 10.5, 1000)},
		network{"1.3.0.0/16", city("SG", "Singapore", 1.3, 103.8, 20)},
	)))
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]CellKind{"1.0.0.1": CountryOnly, "1.1.0.1": Located, "1.2.0.1": Located, "1.2.16.1": CountryOnly, "1.3.0.1": Located} {
		id, _ := table.Cell(netip.MustParseAddr(addr))
		if got := table.Cells()[id].Kind; got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}

func TestReadMMDBErrors(t *testing.T) {
	t.Parallel()
	good := makeMMDB(t, "GeoLite2-City", 6, cityNetworks()...)
	asn := mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(64500)}
	badTree := slices.Clone(good)
	binary.BigEndian.PutUint16(badTree[1:], 0xffff) // a record of the first node
	badData := slices.Clone(good)
	at := bytes.Index(badData, []byte("Roanoke"))
	badData[at-1] = 0xff // longer than the file
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "not a MaxMind DB file, or cut short (0 bytes): fetch it again"},
		{"text", []byte("<html>429 Too Many Requests</html>"), "not a MaxMind DB file"},
		{"truncated", good[:len(good)/2], "cut short"},
		{"tree", badTree, "fetch it again"},
		{"data", badData, "fetch it again"},
		{"asn", makeMMDB(t, "GeoLite2-ASN", 6, network{"1.0.0.0/8", asn}), "is a GeoLite2-ASN database, which holds no places: give a city or country database"},
		{"other asn", makeMMDB(t, "Contoso-ASN", 6, network{"1.0.0.0/8", asn}), `a database of type "Contoso-ASN" without countries and coordinates`},
		{"other schema", makeMMDB(t, "ipinfo", 6, network{"1.0.0.0/8", mmdbtype.Map{"country": mmdbtype.String("US")}}), "has another schema"},
		{"no networks", makeMMDB(t, "GeoLite2-City", 6), "without countries"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := writeFile(t, "some.mmdb", c.data)
			_, err := ReadMMDB(path)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v, want one with the path and %q", err, c.want)
			}
		})
	}
}

func TestReadMMDBFamilies(t *testing.T) {
	t.Parallel()
	path := writeFile(t, "a.mmdb", makeMMDB(t, "city ipv4", 4, network{"1.0.0.0/8", flat("US", "X", 1, 1)}))
	other := writeFile(t, "b.mmdb", makeMMDB(t, "city ipv4", 4, network{"2.0.0.0/8", flat("US", "X", 1, 1)}))
	for _, paths := range [][]string{{path, other}, {other, path}} {
		if _, err := ReadMMDB(paths...); err == nil || !strings.Contains(err.Error(), "also covers IPv4: give one of them") {
			t.Errorf("error %v, want one about IPv4 in both", err)
		}
	}
	if _, err := ReadMMDB(path, path); err == nil || !strings.Contains(err.Error(), "given twice") {
		t.Errorf("error %v, want one about the file given twice", err)
	}
	if _, err := ReadMMDB(); err == nil {
		t.Error("no error without a file")
	}
	if _, err := ReadMMDB(filepath.Join(t.TempDir(), "none")); err == nil || !strings.Contains(err.Error(), "location database") {
		t.Errorf("error %v", err)
	}
}

// FuzzReadMMDB feeds damaged databases to all of ReadMMDB but the reading of the
// file. What is accepted must be sound enough to encode and to decode again.
func FuzzReadMMDB(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		db, err := openDatabase("fuzz.mmdb", data)
		if err != nil {
			return
		}
		s := newSurvey()
		if err := db.into(s); err != nil {
			return
		}
		table, err := s.table("fuzz", db.reader.Metadata.BuildTime())
		if err != nil {
			t.Fatal(err)
		}
		checkRoundTrip(t, table)
	})
}

// TestSeedsMMDB keeps the committed seeds what they are made from: run it with
// PORTOLAN_WRITE_SEEDS=1 to write them again.
func TestSeedsMMDB(t *testing.T) {
	t.Parallel()
	checkSeeds(t, "FuzzReadMMDB", map[string][]byte{
		"city":    makeMMDB(t, "GeoLite2-City", 6, cityNetworks()...),
		"flat4":   makeMMDB(t, "city ipv4", 4, network{"1.0.0.0/16", flat("US", "San Francisco", 37.8, -122.4)}),
		"country": makeMMDB(t, "GeoLite2-Country", 6, network{"2a00::/12", country("NL")}),
		"asn":     makeMMDB(t, "GeoLite2-ASN", 4, network{"1.0.0.0/8", mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(64500)}}),
		"cut":     makeMMDB(t, "city ipv4", 4, network{"1.0.0.0/8", flat("US", "X", 1, 1)})[:200],
	})
}

// Tables that place an address elsewhere have another digest, even where they have
// the same cells, as many ranges, and the same date.
func TestDigest(t *testing.T) {
	t.Parallel()
	read := func(networks ...network) *Table {
		table, err := ReadMMDB(writeFile(t, "city.mmdb", makeMMDB(t, "GeoLite2-City", 6, networks...)))
		if err != nil {
			t.Fatal(err)
		}
		return table
	}
	amsterdam, roanoke := city("NL", "Amsterdam", 52.4, 4.9, 5), city("US", "Roanoke", 37.4, -79.8, 20)
	one := read(network{"1.0.0.0/16", amsterdam}, network{"1.1.0.0/16", roanoke})
	if one.Digest() != read(network{"1.0.0.0/16", amsterdam}, network{"1.1.0.0/16", roanoke}).Digest() {
		t.Error("the same networks have another digest")
	}
	for what, other := range map[string]*Table{
		"two networks exchanged": read(network{"1.0.0.0/16", roanoke}, network{"1.1.0.0/16", amsterdam}),
		"a city elsewhere":       read(network{"1.0.0.0/16", amsterdam}, network{"1.1.0.0/16", city("US", "Roanoke", 47.4, -79.8, 20)}),
		"another network":        read(network{"1.0.0.0/16", amsterdam}, network{"1.2.0.0/16", roanoke}),
		"an IPv6 network":        read(network{"1.0.0.0/16", amsterdam}, network{"1.1.0.0/16", roanoke}, network{"2a00::/20", roanoke}),
	} {
		if other.Digest() == one.Digest() {
			t.Errorf("%s: the same digest", what)
		}
	}
}
