package geo

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

func TestUnwrap(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		addr  string
		bits  int
		v4    string // "" if it is not unwrapped
		shift int
	}{
		{"::ffff:8.8.4.4", 128, "8.8.4.4", 96},
		{"::ffff:8.8.4.0", 120, "8.8.4.0", 96},
		{"::ffff:8.8.0.0", 119, "", 0},
		{"::ffff:0:8.8.4.4", 128, "8.8.4.4", 96},
		{"64:ff9b::8.8.4.4", 128, "8.8.4.4", 96},
		{"64:ff9b:1::8.8.4.4", 128, "", 0},
		{"64:ff9b:0:0:0:1:808:404", 128, "", 0},
		{"2002:808:404::1", 128, "8.8.4.4", 16},
		{"2002:808:404::", 48, "8.8.4.4", 16},
		{"2002:808:400::", 40, "8.8.4.0", 16},
		{"2002:808::", 39, "", 0},
		// RFC 4380 section 4: the client's 192.0.2.45, all bits inverted.
		{"2001:0:cb00:7101:0:63bf:3fff:fdd2", 128, "192.0.2.45", 96},
		{"2001:0:cb00:7101::", 56, "", 0},
		{"2001:1::1", 128, "", 0},
		{"2003::1", 128, "", 0},
		{"::8.8.4.4", 128, "", 0},
		{"2600::1", 128, "", 0},
	} {
		hi, lo := key6(netip.MustParseAddr(c.addr))
		v4, shift, ok := Unwrap(hi, lo, c.bits)
		if ok != (c.v4 != "") {
			t.Errorf("%s/%d: ok %v", c.addr, c.bits, ok)
			continue
		}
		if ok && (v4 != key4(netip.MustParseAddr(c.v4)) || shift != c.shift) {
			t.Errorf("%s/%d: %#x shift %d, want %s shift %d", c.addr, c.bits, v4, shift, c.v4, c.shift)
		}
	}
}

// TestUnwrapBlocks checks that the blocks an Index keeps apart are those that are
// unwrapped, no more and no less.
func TestUnwrapBlocks(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(3, 3))
	for range 20000 {
		addr := randomAddr6(rnd)
		inBlock := false
		for _, p := range wrappedBlocks() {
			inBlock = inBlock || p.Contains(addr)
		}
		hi, lo := key6(addr)
		if _, _, ok := Unwrap(hi, lo, 128); ok != inBlock {
			t.Fatalf("%s: unwrapped %v, in a block %v", addr, ok, inBlock)
		}
	}
}
