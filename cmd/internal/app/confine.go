package app

import (
	"context"
	"os"
	"path/filepath"

	"portolan.dev/cmd/internal/sandbox"
	"portolan.dev/config"
)

// Confine gives up what serving does not need, unless the configuration says not to.
// It belongs between [New] and [App.Start], in a process that does nothing else: it
// cannot be undone. It must be called at most once.
func (a *App) Confine(ctx context.Context) error {
	c := a.world.Load().Config
	if !c.Server.Sandbox {
		a.confined = "off: server.sandbox is false"
		return nil
	}
	paths := needs(c)
	if a.before != nil && a.before.Sandbox == sandbox.Describe(paths) {
		// What is given up is so for children, too, and it is the same: another layer of it
		// would only count against the few that there can be.
		a.confined = a.before.Sandbox
		return nil
	}
	status, err := sandbox.Confine(paths)
	if err != nil {
		return err
	}
	a.confined = status
	a.log.InfoContext(ctx, "confined", "sandbox", string(status))
	return nil
}

// needs lists what a server with this configuration opens after its start: what it
// reads again at a reload, and its state. A folder stands for the files in it, because
// a file that an editor or a tool replaces is another file under the same name.
func needs(c *config.Config) sandbox.Paths {
	p := sandbox.Paths{Write: []string{c.State.Dir}}
	if self, err := os.Executable(); err == nil {
		p.Programs = []string{filepath.Dir(self)}
	}
	if c.Admin.Socket != "" {
		p.Write = append(p.Write, filepath.Dir(c.Admin.Socket))
	}
	if c.State.Memory != "" {
		p.Write = append(p.Write, c.State.Memory)
	}
	for _, path := range c.Files {
		p.Read = append(p.Read, sandbox.Folders(path)...)
	}
	for _, path := range c.Named {
		if path != c.State.Dir && path != c.State.Memory && path != c.Admin.Socket {
			p.Read = append(p.Read, sandbox.Folders(path)...)
		}
	}
	for i := range c.Probes {
		p.Execute = p.Execute || c.Probes[i].Type == config.ProbeExec
	}
	return p
}

// hint says how to go on after an error that the sandbox may have caused; "" if not.
func (a *App) hint(err error) string { return sandbox.Hint(a.confined, err.Error()) }
