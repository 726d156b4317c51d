package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// format is how a verb prints: table or json.
type format string

const (
	asTable format = "table"
	asJSON  format = "json"
)

// String, Set and Type make format a flag value that refuses other words.
func (f *format) String() string { return string(*f) }

// Set reads the flag.
func (f *format) Set(s string) error {
	if s != string(asTable) && s != string(asJSON) {
		return fmt.Errorf("output %q is not known: use table or json", s)
	}
	*f = format(s)
	return nil
}

// Type names the flag's value in help.
func (*format) Type() string { return "table|json" }

// outputFlag adds -o.
func outputFlag(cmd *cobra.Command, f *format) {
	*f = asTable
	cmd.Flags().VarP(f, "output", "o", "how to print")
}

// print writes v as JSON, or what table writes through a tab writer.
func (f *format) print(w io.Writer, v any, table func(io.Writer)) error {
	if *f == asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	table(tw)
	return tw.Flush()
}
