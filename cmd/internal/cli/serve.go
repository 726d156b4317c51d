package cli

import (
	"errors"
	"log/slog"
	"os"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/spf13/cobra"

	"portolan.dev/cmd/internal/app"
	"portolan.dev/cmd/internal/handover"
)

func (e *env) serve() *cobra.Command {
	var path string
	var json, debug bool
	cmd := &cobra.Command{
		Use:   "serve -c FILE",
		Short: "Answer queries",
		Long: `Answer queries until SIGTERM or SIGINT. SIGHUP loads the configuration and the
location data again; if that fails, serving goes on unchanged and the log says why.
SIGUSR2 does what "portolan upgrade" does.

Sockets that a service manager has opened are used for the addresses of the
configuration that they are bound to (sd_listen_fds(3)).

With PORTOLAN_CRASH in the environment a query that the server cannot take ends the
process instead of being dropped: for tests, which must not miss it.`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := needConfig(path); err != nil {
				return err
			}
			before, sockets, err := e.inherited()
			if err != nil {
				return err
			}
			app.LimitMemory()
			a, err := app.New(app.Options{
				Source: app.Source{Path: path, Now: e.now}, Log: e.logger(json, debug), Crash: e.getenv("PORTOLAN_CRASH") != "",
				Before: before, Sockets: sockets,
			})
			if err != nil {
				return e.report(err)
			}
			if err := a.Confine(cmd.Context()); err != nil {
				return e.report(errors.Join(err, a.Stop(cmd.Context())))
			}
			return a.Run(cmd.Context())
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().BoolVar(&json, "log-json", false, "log in JSON")
	cmd.Flags().BoolVar(&debug, "debug", false, "log more")
	return cmd
}

// inherited returns what the process before has left to this one, or else the sockets of
// a service manager.
func (e *env) inherited() (*handover.Channel, *handover.Sockets, error) {
	before, err := handover.Inherited(e.getenv)
	if err != nil || before != nil {
		return before, nil, errors.Join(err, os.Unsetenv(handover.Variable))
	}
	sockets := new(handover.Sockets)
	for _, f := range activation.Files(true) {
		if err := sockets.Add("", f); err != nil {
			return nil, nil, errors.Join(err, errors.New("the service manager's socket unit lists a socket that cannot be served: take it out"))
		}
	}
	return nil, sockets, nil
}

// logger writes to the error stream.
func (e *env) logger(json, debug bool) *slog.Logger {
	o := &slog.HandlerOptions{Level: slog.LevelInfo}
	if debug {
		o.Level = slog.LevelDebug
	}
	if json {
		return slog.New(slog.NewJSONHandler(e.err, o))
	}
	return slog.New(slog.NewTextHandler(e.err, o))
}
