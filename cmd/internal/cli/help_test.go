package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// everyVerb calls f for each verb that is ours, with the words that call it.
func everyVerb(cmd *cobra.Command, words []string, f func(*cobra.Command, []string)) {
	for _, c := range cmd.Commands() {
		if c.Name() == "help" || c.Name() == "completion" {
			continue
		}
		path := append(append([]string(nil), words...), c.Name())
		f(c, path)
		everyVerb(c, path, f)
	}
}

// Every verb has help that says what it does, with each of its flags; asking for it
// is no mistake, and misspelling a flag is one that names that help.
func TestHelpOfEveryVerb(t *testing.T) {
	e := &env{getenv: func(string) string { return "" }}
	verbs := 0
	everyVerb(e.root(), nil, func(c *cobra.Command, path []string) {
		verbs++
		name := strings.Join(path, " ")
		if c.Short == "" || strings.HasSuffix(c.Short, ".") || strings.ToUpper(c.Short[:1]) != c.Short[:1] {
			t.Errorf("%s: short help %q", name, c.Short)
		}
		for _, words := range [][]string{append(append([]string(nil), path...), "--help"), append([]string{"help"}, path...)} {
			var out, errs bytes.Buffer
			if code := Main(t.Context(), words, strings.NewReader(""), &out, &errs); code != ExitOK || errs.Len() > 0 {
				t.Errorf("%v: exit code %d, %s", words, code, errs.String())
			}
			text := out.String()
			if !strings.Contains(text, "Usage:\n  portolan "+name) || !strings.Contains(text, c.Short) && c.Long == "" {
				t.Errorf("%v prints %s", words, text)
			}
			for line := range strings.Lines(text) {
				// What is written as paragraphs; flags are laid out by cobra.
				if c.Long != "" && strings.Contains(c.Long, strings.TrimSpace(line)) && len(line) > 90 {
					t.Errorf("%s: a line of %d characters: %s", name, len(line), line)
				}
			}
		}
		var out, errs bytes.Buffer
		code := Main(t.Context(), append(append([]string(nil), path...), "--no-such-flag"), strings.NewReader(""), &out, &errs)
		if code != ExitUsage || !strings.Contains(errs.String(), "see `portolan "+name+" --help`") {
			t.Errorf("%s --no-such-flag: exit code %d, %s", name, code, errs.String())
		}
	})
	if verbs < 10 {
		t.Errorf("%d verbs: too few to tell anything", verbs)
	}
}

// Every verb that prints what it has found prints it as JSON too.
func TestEveryVerbPrintsJSON(t *testing.T) {
	// What these print is no result: a log, a guide, or only the help of their verbs.
	silent := map[string]bool{"serve": true, "demo": true, "demo break": true, "demo mend": true}
	e := &env{getenv: func(string) string { return "" }}
	everyVerb(e.root(), nil, func(c *cobra.Command, path []string) {
		name := strings.Join(path, " ")
		if silent[name] || len(c.Commands()) > 0 {
			return
		}
		if f := c.Flags().Lookup("output"); f == nil || f.Shorthand != "o" || f.DefValue != "table" {
			t.Errorf("%s has no -o", name)
		}
	})
}
