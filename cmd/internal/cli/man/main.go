// Command man writes the manual pages of portolan(1) and its verbs, from the help
// of the commands themselves.
//
//	go run ./cmd/internal/cli/man DIR
//
// Packages of the server are built with its pages; at run time nothing of it is
// there. It imports the command line, and nothing imports it.
package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra/doc"

	"portolan.dev/cmd/internal/cli"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "man: %v\n", err)
		os.Exit(1) //nolint:forbidigo // this is a main
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("the folder to write to is wanted, and nothing else")
	}
	if err := os.MkdirAll(args[0], 0o750); err != nil {
		return err
	}
	// A fixed day: the same program has the same pages whenever they are written.
	day := time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)
	header := &doc.GenManHeader{Section: "1", Source: "Portolan", Manual: "Portolan", Date: &day}
	return doc.GenManTree(cli.Command(), header, args[0])
}
