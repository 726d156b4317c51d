package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/cmd/internal/version"
)

// Exit codes of the command.
const (
	ExitOK      = 0
	ExitFailed  = 1 // the verb ran and the answer is no: errors in a file, a probe that fails
	ExitUsage   = 2 // the command line is wrong
	ExitRefused = 3 // the server refuses the change, and --force may be what is wanted
)

// errReported ends a verb with [ExitFailed] when all has been said already.
var errReported = errors.New("reported")

// usageError is a mistake on the command line.
type usageError struct{ error }

// env is what verbs use of the process, so that tests can stand in for it.
type env struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
	now      func() time.Time
}

// Main runs the command line args (without the program's name) and returns the
// exit code.
func Main(ctx context.Context, args []string, in io.Reader, out, errw io.Writer) int {
	return (&env{in, out, errw, os.Getenv, time.Now}).run(ctx, args) //nolint:forbidigo // here the clock is made
}

// Command returns the command line as a tree of commands, to be described and not
// run.
func Command() *cobra.Command {
	nothing := func(string) string { return "" }
	return (&env{strings.NewReader(""), io.Discard, io.Discard, nothing, time.Now}).root() //nolint:forbidigo // here the clock is made
}

func (e *env) run(ctx context.Context, args []string) int {
	root := e.root()
	root.SetArgs(args)
	root.SetIn(e.in)
	root.SetOut(e.out)
	root.SetErr(e.err)
	cmd, err := root.ExecuteContextC(ctx)
	var usage usageError
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, errReported):
		return ExitFailed
	case errors.As(err, &usage):
		fmt.Fprintf(e.err, "portolan: %v\nsee `%s --help`\n", err, cmd.CommandPath())
		return ExitUsage
	case errors.Is(err, admin.ErrRefused):
		fmt.Fprintf(e.err, "portolan: %v\n", err)
		return ExitRefused
	default:
		fmt.Fprintf(e.err, "portolan: %v\n", err)
		return ExitFailed
	}
}

func (e *env) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "portolan",
		Short: "Steer container hosts to the nearest healthy replica of a registry, over DNS",
		Long: `Portolan is an authoritative DNS server for geo-replicated container registries:
one global name answers each client with the nearest healthy replica.

Exit codes: 0 all is well; 1 the answer is no or something failed; 2 the command
line is wrong; 3 the server refuses the change, as it would leave a registry
without an eligible replica or clash with another one.`,
		Version:           version.Version(),
		Args:              cobra.ArbitraryArgs, // unknown verbs are told below, as mistakes of usage
		RunE:              groupRun,
		SilenceUsage:      true,
		SilenceErrors:     true,
		DisableAutoGenTag: true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(e.serve(), e.demo(), e.check(), e.probe(), e.explain(), e.status(), e.geo(), e.version(),
		e.replication(), e.showEndpoints(), e.drain(), e.undrain(), e.drains(), e.failback(), e.events(), e.reload(), e.upgrade(), e.load())
	return root
}

// groupRun is what a command that only groups others does: help, or say that there
// is no such verb.
func groupRun(cmd *cobra.Command, a []string) error {
	if len(a) == 0 {
		return cmd.Help()
	}
	cmd.SuggestionsMinimumDistance = 2 // edits, which is what cobra uses by itself
	if near := cmd.SuggestionsFor(a[0]); len(near) > 0 {
		return usageError{fmt.Errorf("unknown command %q: did you mean %s?", a[0], strings.Join(near, " or "))}
	}
	return usageError{fmt.Errorf("unknown command %q", a[0])}
}

// args wraps a cobra argument check so that its errors are mistakes of usage.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, a []string) error {
		if err := check(cmd, a); err != nil {
			return usageError{err}
		}
		return nil
	}
}

// configFlag adds -c.
func configFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVarP(path, "config", "c", "", "configuration file")
}

// needConfig asks for -c where a verb cannot do without.
func needConfig(path string) error {
	if path == "" {
		return usageError{errors.New("no configuration: name it with -c FILE")}
	}
	return nil
}
