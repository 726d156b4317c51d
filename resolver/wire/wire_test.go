package wire

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"testing"

	"github.com/miekg/dns"
)

func mustHex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// The vectors of RFC 9018 appendix A, with the clock set to the timestamp of
// each server cookie.
func TestCookieVectors(t *testing.T) {
	for _, tt := range []struct{ name, client, addr, key, server string }{
		{"A.1", "2464c4abcf10c957", "198.51.100.100", "e5e973e5a6b2a43f48e7dc849e37bfcf", "010000005cf79f111f8130c3eee29480"},
		{"A.2", "2464c4abcf10c957", "198.51.100.100", "e5e973e5a6b2a43f48e7dc849e37bfcf", "010000005cf7a871d4a564a1442aca77"},
		{"A.4 old", "22681ab97d52c298", "2001:db8:220:1:59de:d0f4:8769:82b8", "dd3bdf9344b678b185a6f5cb60fca715", "010000005cf7c57926556bd0934c72f8"},
		{"A.4 new", "22681ab97d52c298", "2001:db8:220:1:59de:d0f4:8769:82b8", "445536bcd2513298075a5d379663c962", "010000005cf7c609a6bb79d16625507a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := mustHex(t, tt.server)
			now := int64(server[4])<<24 | int64(server[5])<<16 | int64(server[6])<<8 | int64(server[7])
			e := EDNS{CookieLen: 8}
			copy(e.Cookie[:], mustHex(t, tt.client))
			got := AppendCookie(nil, &e, netip.MustParseAddr(tt.addr), (*CookieSecret)(mustHex(t, tt.key)), now)
			want := append(mustHex(t, "000a0018"+tt.client), server...)
			if !bytes.Equal(got, want) {
				t.Errorf("got %x, want %x", got, want)
			}
		})
	}
}

// What is given out is good until it is an hour old, from the address it was given
// to, by any secret in use; RFC 9018 section 4.3 and appendix A.3 (reserved octets
// that are not 0 are hashed).
func TestCookieCheck(t *testing.T) {
	const given = 0x5cf79f11 // RFC 9018 appendix A.1
	server := "010000005cf79f111f8130c3eee29480"
	key := CookieSecret(mustHex(t, "e5e973e5a6b2a43f48e7dc849e37bfcf"))
	other := CookieSecret{1}
	for _, tt := range []struct {
		name, client, server, addr string
		keys                       CookieKeys
		now                        int64
		want                       CookieState
	}{
		{"as given", "2464c4abcf10c957", server, "198.51.100.100", CookieKeys{Active: key}, given, CookieGood},
		{"to IPv4 in IPv6 form", "2464c4abcf10c957", server, "::ffff:198.51.100.100", CookieKeys{Active: key}, given, CookieGood},
		{"half an hour old", "2464c4abcf10c957", server, "198.51.100.100", CookieKeys{Active: key}, given + 1800, CookieGood},
		{"31 minutes old", "2464c4abcf10c957", server, "198.51.100.100", CookieKeys{Active: key}, given + 1860, CookieStale},
		{"59 minutes old", "2464c4abcf10c957", server, "198.51.100.100", CookieKeys{Active: key}, given + 3540, CookieStale},
		{"61 minutes old", "2464c4abcf10c957", server, "198.51.100.100", CookieKeys{Active: key}, given + 3660, CookieNone},
		{"4 minutes ahead", "2464c4abcf10c957", server, "198.51.100.100", CookieKeys{Active: key}, given - 240, CookieGood},
		{"6 minutes ahead", "2464c4abcf10c957", server, "198.51.100.100", CookieKeys{Active: key}, given - 360, CookieNone},
		{"from another address", "2464c4abcf10c957", server, "198.51.100.101", CookieKeys{Active: key}, given, CookieNone},
		{"with another client cookie", "2464c4abcf10c958", server, "198.51.100.100", CookieKeys{Active: key}, given, CookieNone},
		{"by the previous secret", "2464c4abcf10c957", server, "198.51.100.100", CookieKeys{Active: other, Accept: []CookieSecret{{2}, key}}, given, CookieStale},
		{"by a secret out of use", "2464c4abcf10c957", server, "198.51.100.100", CookieKeys{Active: other, Accept: []CookieSecret{{2}}}, given, CookieNone},
		{"A.3", "fc93fc62807ddb86", "01abcdef5cf78f71a314227b6679ebf5", "203.0.113.203", CookieKeys{Active: key}, 0x5cf78f71, CookieGood},
		{"another version", "2464c4abcf10c957", "02" + server[2:], "198.51.100.100", CookieKeys{Active: key}, given, CookieNone},
		{"one octet longer", "2464c4abcf10c957", server + "00", "198.51.100.100", CookieKeys{Active: key}, given, CookieNone},
		{"the client's half", "2464c4abcf10c957", "", "198.51.100.100", CookieKeys{Active: key}, given, CookieNone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var e EDNS
			e.CookieLen = uint8(copy(e.Cookie[:], mustHex(t, tt.client+tt.server)))
			if got := tt.keys.Check(&e, netip.MustParseAddr(tt.addr), tt.now); got != tt.want {
				t.Errorf("%d, want %d", got, tt.want)
			}
		})
	}
	var e EDNS
	e.CookieLen = uint8(copy(e.Cookie[:], mustHex(t, "2464c4abcf10c957"+server)))
	for i := range e.CookieLen {
		bad := e
		bad.Cookie[i] ^= 1
		if (&CookieKeys{Active: key}).Check(&bad, netip.MustParseAddr("198.51.100.100"), given) != CookieNone {
			t.Errorf("good with octet %d changed", i)
		}
	}
}

func TestFoldMatchesASCII(t *testing.T) {
	src := make([]byte, 256)
	for i := range src {
		src[i] = byte(i)
	}
	for off := range 9 {
		got := make([]byte, 256)
		fold(got, src[off:])
		for i, c := range src[off:] {
			want := c
			if 'A' <= c && c <= 'Z' {
				want += 'a' - 'A'
			}
			if got[i] != want {
				t.Fatalf("octet %#x folds to %#x, want %#x", c, got[i], want)
			}
		}
	}
}

func TestHashDependsOnSeedNameAndLength(t *testing.T) {
	seen := map[uint64]string{}
	for _, name := range []string{".", "a.", "b.", "a.b.", "b.a.", "example.io.", "myregistry.example.io.", "myregistry.eastus.geo.example.io."} {
		wire, err := ParseName(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, seed := range []uint64{0, 1, 1 << 63} {
			h := Hash(Pad(wire), len(wire), seed)
			if other, ok := seen[h]; ok {
				t.Errorf("%s with seed %d collides with %s", name, seed, other)
			}
			seen[h] = name
		}
	}
}

func TestParseNameMatchesMiekg(t *testing.T) {
	for _, name := range []string{".", "a.", "example.io.", "EXAMPLE.io", `a\.b.example.`, `\000\255x.example.`, "_explain.myregistry.example.io.", "xn--bcher-kva.example."} {
		got, err := ParseName(name)
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		buf := make([]byte, 256)
		n, err := dns.PackDomainName(dns.CanonicalName(name), buf, 0, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, buf[:n]) {
			t.Errorf("%q: got %x, want %x", name, got, buf[:n])
		}
		back, err := ParseName(string(AppendName(nil, got)))
		if err != nil || !bytes.Equal(back, got) {
			t.Errorf("%q: presentation form %q reads back as %x, %v", name, AppendName(nil, got), back, err)
		}
	}
	for _, bad := range []string{"", "..", "a..b", ".a", `a\`, `a\25`, `a\256.`, string(bytes.Repeat([]byte("a"), 64)), string(bytes.Repeat([]byte("abcdefg."), 40))} {
		if got, err := ParseName(bad); err == nil {
			t.Errorf("%q parses to %x", bad, got)
		}
	}
}
