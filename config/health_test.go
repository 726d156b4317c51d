package config

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestHealth(t *testing.T) {
	c, err := Parse("t.yaml", []byte(zoneLine+`health: {anchors: ["192.0.2.1:443", "[2001:db8::1]:53"]}`))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:443"), netip.MustParseAddrPort("[2001:db8::1]:53")}, c.Health.Anchors)
	for text, want := range map[string]string{
		`{anchors: ["one.example:443"]}`:                "health.anchors[0]: \"one.example:443\" is no address and port",
		`{anchors: ["192.0.2.1"]}`:                      "health.anchors[0]: \"192.0.2.1\" is no address and port",
		`{anchors: ["192.0.2.1:0"]}`:                    "health.anchors[0]: \"192.0.2.1:0\" is no address and port",
		`{anchors: ["0.0.0.0:443"]}`:                    "health.anchors[0]: \"0.0.0.0:443\" is no address of a host",
		`{anchors: ["192.0.2.1:443", "192.0.2.1:443"]}`: "health.anchors[1]: 192.0.2.1:443 stands twice in the list",
		`{anchors: [` + strings.Repeat("a, ", 9) + `]}`: "health.anchors: 9 anchors are more than are asked",
		`{anchor: ["192.0.2.1:443"]}`:                   "health.anchor: unknown key",
		`{anchors: {}}`:                                 "health.anchors: ",
	} {
		_, err := Parse("t.yaml", []byte(zoneLine+"health: "+text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// An anchor that is a replica cannot tell its death from trouble here.
func TestAnchorsThatAreReplicas(t *testing.T) {
	c, err := Parse("t.yaml", []byte(zoneLine+`
health: {anchors: ["192.0.2.9:443", "192.0.2.1:443"]}
registries: {a: {replicas: {westus: {addresses: [192.0.2.1]}}}}
`))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(c.Warnings); strings.Count(got, "health.anchors") != 1 || !strings.Contains(got, "192.0.2.1:443 is an address of the replica at t.yaml:") {
		t.Errorf("warnings: %s", got)
	}
}
