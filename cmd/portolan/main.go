// Command portolan is an authoritative DNS server that steers container hosts to
// the nearest healthy replica of a geo-replicated registry, and the tools around
// it. See `portolan --help`.
package main

import (
	"context"
	"os"

	"portolan.dev/cmd/internal/cli"
)

func main() {
	os.Exit(cli.Main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
