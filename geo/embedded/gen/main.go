package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"portolan.dev/geo"
)

// maxBytes is how large the table may be: it is in every binary and in every clone.
const maxBytes = 5 << 20

func main() {
	if err := run(os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1) //nolint:forbidigo // this is a main, though not in cmd
	}
}

func run(args []string, log io.Writer) error {
	flags := flag.NewFlagSet("gen", flag.ContinueOnError)
	flags.SetOutput(log)
	out := flags.String("o", "places.bin", "file to write")
	source := flags.String("source", "DB-IP City Lite", "name of the data, to which its date is added")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return errors.New("no databases given: run geo/embedded/fetch.sh and give the files it prints")
	}
	t, err := geo.ReadMMDB(flags.Args()...)
	if err != nil {
		return err
	}
	t = t.Named(*source + " " + t.Built().Format("2006-01-02"))
	var file bytes.Buffer
	if err := geo.Encode(&file, t); err != nil {
		return err
	}
	if file.Len() > maxBytes {
		return fmt.Errorf("the table has %d bytes: more than %d is too much to embed", file.Len(), maxBytes)
	}
	if err := os.WriteFile(*out, file.Bytes(), 0o644); err != nil { //nolint:gosec // a file of the source tree
		return err
	}
	fmt.Fprintf(log, "%s: %s, %d cells, %d IPv4 ranges, %d IPv6 ranges, %d bytes\n",
		*out, t.Source(), len(t.Cells()), t.Len4(), t.Len6(), file.Len())
	return nil
}
