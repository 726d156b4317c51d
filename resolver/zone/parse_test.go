package zone_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"portolan.dev/resolver/wire"
	"portolan.dev/resolver/zone"
)

const goodFile = `$TTL 300
; a comment
@        3600 IN MX 10 mail
         3600 IN TXT "v=spf1 -all" ; the owner is that of the line above
mail          A 192.0.2.80
Mail          A 192.0.2.81
MAIL          A 192.0.2.80 ; said twice, counts once
www.Example.IO. IN CNAME MyRegistry
$ORIGIN deep.example.io.
a.b      60 IN CAA ( 0
           issue "ca.example.net" )
odd\.label   A 192.0.2.1
\*           A 192.0.2.2
x        IN TYPE65280 \# 3 010203
$GENERATE 1-2 h$ 300 A 192.0.2.$`

func parse(text string) ([]zone.Record, error) {
	return zone.Parse(strings.NewReader(text), zone.File{Name: "f.zone", Origin: "example.io.", TTL: 86400})
}

func TestParse(t *testing.T) {
	records, err := parse(goodFile)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range records {
		for _, s := range r.Sets {
			for _, data := range s.Data {
				// Back into text, by way of the record's octets.
				msg := append(bytes.Clone(r.Name), byte(s.Type>>8), byte(s.Type), 0, 1, byte(s.TTL>>24), byte(s.TTL>>16), byte(s.TTL>>8), byte(s.TTL), byte(len(data)>>8), byte(len(data)))
				one, _, err := dns.UnpackRR(append(msg, data...), 0)
				if err != nil {
					t.Fatalf("%q: %v", r.Name, err)
				}
				got = append(got, strings.ReplaceAll(one.String(), "\t", " "))
			}
		}
	}
	want := []string{
		`example.io. 3600 IN MX 10 mail.example.io.`,
		`example.io. 3600 IN TXT "v=spf1 -all"`,
		`mail.example.io. 300 IN A 192.0.2.80`,
		`mail.example.io. 300 IN A 192.0.2.81`,
		`www.example.io. 300 IN CNAME MyRegistry.example.io.`,
		`a.b.deep.example.io. 60 IN CAA 0 issue "ca.example.net"`,
		`odd\.label.deep.example.io. 300 IN A 192.0.2.1`,
		`*.deep.example.io. 300 IN A 192.0.2.2`,
		`x.deep.example.io. 300 CLASS1 TYPE65280 \# 3 010203`,
		`h1.deep.example.io. 300 IN A 192.0.2.1`,
		`h2.deep.example.io. 300 IN A 192.0.2.2`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Without $TTL the zone's own TTL applies, and an empty file is a file.
func TestParseDefaults(t *testing.T) {
	records, err := parse("a A 192.0.2.1\nb 5 A 192.0.2.1\n")
	if err != nil || len(records) != 2 || records[0].Sets[0].TTL != 86400 || records[1].Sets[0].TTL != 5 {
		t.Errorf("%+v, %v", records, err)
	}
	if records, err := parse("; nothing\n\n"); err != nil || len(records) != 0 {
		t.Errorf("an empty file: %+v, %v", records, err)
	}
}

// A file that is all there is of a zone has its SOA and NS records.
func TestParseWhole(t *testing.T) {
	for _, tt := range []struct {
		text  string
		words []string
	}{
		{"@ SOA ns host 1 2 3 4 5\n@ NS ns\nNS A 192.0.2.1", nil},
		{"@ SOA ns.test. host 1 2 3 4 5\n@ NS ns.test.", nil},
		{"@ NS ns.test.", []string{"f.zone:1: example.io.", "no SOA", "add"}},
		{"", []string{"f.zone:0: example.io.", "no SOA", "no NS"}},
		{"@ SOA ns host 1 2 3 4 5", []string{"f.zone:1: example.io.", "no NS"}},
		{"@ SOA ns host 1 2 3 4 5\n@ SOA ns host 2 2 3 4 5\n@ NS ns.test.", []string{"f.zone:3: example.io.", "2 SOA", "keep one"}},
		{"@ SOA ns host 1 2 3 4 5\n@ NS ns", []string{"f.zone:2: example.io.", "ns.example.io.", "no address"}},
	} {
		_, err := zone.Parse(strings.NewReader(tt.text), zone.File{Name: "f.zone", Origin: "example.io.", TTL: 60, Whole: true})
		if (err != nil) != (len(tt.words) > 0) {
			t.Errorf("%q: %v", tt.text, err)
		}
		for _, w := range tt.words {
			if err != nil && !strings.Contains(err.Error(), w) {
				t.Errorf("%q does not say %q", err, w)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct {
		what, text string
		words      []string
	}{
		{"SOA", "\n@ IN SOA ns1 host 1 2 3 4 5", []string{"f.zone:2:", "example.io. SOA", "configuration", "remove"}},
		{"SOA below the apex", "a IN SOA ns1 host 1 2 3 4 5", []string{"f.zone:1:", "at its apex", "remove"}},
		{"NS at the apex", "\n\n@ NS ns1", []string{"f.zone:3:", "`nameservers`"}},
		{"a delegation without glue", "a A 192.0.2.1\nsub NS ns.sub", []string{"f.zone:2: sub.example.io.", "ns.sub.example.io.", "no address", "add"}},
		{"a delegation to a name that is not there", "sub NS ns", []string{"f.zone:1: sub.example.io.", "ns.example.io.", "no address", "add"}},
		{"a delegation to an alias", "sub NS ns\nNS CNAME a.test.", []string{"f.zone:1: sub.example.io.", "CNAME", "RFC 2181"}},
		{"data at a delegation", "sub NS a.test.\nsub TXT x", []string{"f.zone:2: sub.example.io.: type 16", "move"}},
		{"data below a delegation", "x.sub TXT y\nsub NS a.test.", []string{"f.zone:1: x.sub.example.io.: type 16", "sub.example.io.", "move"}},
		{"data below a DNAME", "d DNAME a.test.\nx.y.d A 192.0.2.1", []string{"f.zone:2: x.y.d.example.io.", "DNAME of d.example.io.", "remove"}},
		{"two DNAMEs", "d DNAME a.test.\nd DNAME b.test.", []string{"f.zone:2: d.example.io.: 2 DNAME", "keep one"}},
		{"a DNAME beside a CNAME", "d DNAME a.test.\nd CNAME b.test.", []string{"f.zone:2: d.example.io.", "keep one"}},
		{"a wildcard that delegates", "*.x NS a.test.", []string{"f.zone:1:", "cannot delegate", "RFC 4592"}},
		{"a wildcard DNAME", "*.x DNAME a.test.", []string{"f.zone:1:", "cannot be a DNAME"}},
		{"DS at the apex", "@ DS 1 8 2 0123", []string{"f.zone:1:", "zone above"}},
		{"a name out of the zone", "a.example.net. A 192.0.2.1", []string{"f.zone:1:", "not in zone example.io."}},
		{"a name that only ends like the zone", "a.notexample.io. A 192.0.2.1", []string{"not in zone"}},
		{"another class", "a CH TXT x", []string{"f.zone:1:", "class is not IN"}},
		{"a TTL over 31 bits", "a 2147483648 A 192.0.2.1", []string{"f.zone:1:", "2147483647", "RFC 2181"}},
		{"unequal TTLs", "a 60 A 192.0.2.1\na 61 A 192.0.2.2", []string{"f.zone:2:", "TTL 61, but 60", "make them equal"}},
		{"a CNAME beside other data", "a CNAME b\n\na A 192.0.2.1", []string{"f.zone:3: a.example.io.", "keep one", "RFC 1034"}},
		{"two CNAMEs", "a CNAME b\na CNAME c", []string{"f.zone:2:", "keep one"}},
		{"DS without a delegation", "a DS 1 8 2 0123", []string{"f.zone:1:", "without NS"}},
		{"DNSKEY", "@ DNSKEY 257 3 8 AwEAAQ==", []string{"not served"}},
		{"NSEC", "a NSEC b A", []string{"not served"}},
		{"a type of questions", "a TYPE255 \\# 0", []string{"f.zone:1:", "stands for a question"}},
		{"OPT", "a TYPE41 \\# 0", []string{"f.zone:1:", "no type of records"}},
		{"what is no record", "a A 192.0.2.1\nb A 192.0.2.999\n", []string{"f.zone:", "line: 2", "nothing behind it was read"}},
		{"no data", "a CNAME ", []string{"f.zone:1: a.example.io. CNAME", "no data", "add it"}},
		{"no data, of a type with numbers first", "a MX ", []string{"f.zone:1: a.example.io. MX", "no data"}},
		{"an include", "$INCLUDE /etc/passwd\n", []string{"f.zone:", "line: 1"}},
		{"a label of 64 octets", strings.Repeat("a", 64) + " A 192.0.2.1", []string{"f.zone:", "line: 1"}},
	} {
		t.Run(tt.what, func(t *testing.T) {
			_, err := parse(tt.text)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, w := range tt.words {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
		})
	}
}

// Every fault is told, not the first alone.
func TestParseTellsAll(t *testing.T) {
	_, err := parse("@ NS a\nb SOA . . 1 1 1 1 1\n*.x NS c\nd CNAME e\nd A 192.0.2.1\nf A nonsense\ng NS h\n")
	lines := strings.Split(err.Error(), "\n")
	for i, want := range []string{"f.zone:1:", "f.zone:2:", "f.zone:3:", "line: 6", "f.zone:5:"} {
		if i >= len(lines) || !strings.Contains(lines[i], want) {
			t.Errorf("line %d of %q does not say %q", i, lines, want)
		}
	}
	if len(lines) != 5 {
		t.Errorf("%d lines: %q", len(lines), lines)
	}
}

// A large RRset takes no longer than many small ones: what looks for records said
// twice must not compare all with all.
func TestParseLargeSet(t *testing.T) {
	records, err := parse("$GENERATE 0-65535 a 5 TXT $\n$GENERATE 0-65535 a 5 TXT $\n")
	if err != nil || len(records) != 1 || len(records[0].Sets[0].Data) != 65536 {
		t.Errorf("%d records, %v", len(records), err)
	}
}

// A file that cannot be read to its end is not half a file.
func TestParseReadError(t *testing.T) {
	broken := errors.New("disk on fire")
	_, err := zone.Parse(io.MultiReader(strings.NewReader("a A 192.0.2.1\n"), iotest.ErrReader(broken)), zone.File{Name: "f.zone", Origin: "example.io.", TTL: 60})
	if !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}

// Whatever Parse accepts can be defined and lies in the zone, each name and type
// once and each record once; whatever it refuses, it says where.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		strings.ReplaceAll(goodFile, "$GENERATE", "; "), "", "@ A 192.0.2.1", "$TTL 5\n$ORIGIN .\n@ A 192.0.2.1", "a 0 TXT \"\"\nA 0 TXT \"\"", "a TYPE1 \\# 4 c0000201",
		"*.x CNAME a\nd DNAME x\nsub NS ns.sub\nsub DS 1 8 2 0123\nns.sub A 192.0.2.1", "a SVCB 1 . alpn=h2", "a\\000b A 192.0.2.1", "( ( (", "a CNAME a", "$INCLUDE x", "a NAPTR 1 2 \"\" \"\" \"\" .",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(strings.ToUpper(text), "$GENERATE") {
			t.Skip("a short line makes many records, which takes time and shows nothing new")
		}
		records, err := parse(text)
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if !strings.HasPrefix(line, "f.zone:") {
					t.Fatalf("%q does not begin with the file", line)
				}
			}
			return
		}
		b := zone.NewBuilder(1)
		if _, err := b.AddZone([]byte("\x07example\x02io\x00"), &zone.SOA{MName: []byte{0}, RName: []byte{0}}); err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			types := map[uint16]bool{}
			for _, s := range r.Sets {
				if types[s.Type] || len(s.Data) == 0 || s.TTL > 1<<31-1 || types[wire.TypeCNAME] {
					t.Fatalf("%q: %+v", r.Name, r.Sets)
				}
				types[s.Type] = true
				slices.SortFunc(s.Data, bytes.Compare)
				if len(slices.CompactFunc(s.Data, bytes.Equal)) != len(s.Data) {
					t.Fatalf("%q has a record twice: %q", r.Name, s.Data)
				}
			}
			err := b.Define(0, r.Name, zone.Static, 0, r.Sets...)
			if err != nil && !errors.Is(err, zone.ErrDefined) && !strings.Contains(err.Error(), "65535") {
				t.Fatal(err)
			}
			if errors.Is(err, zone.ErrDefined) && len(r.Name) != 12 {
				t.Fatal(err)
			}
		}
	})
}
