package app

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

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
		p.Read = append(p.Read, folders(path)...)
	}
	for _, path := range c.Named {
		if path != c.State.Dir && path != c.State.Memory && path != c.Admin.Socket {
			p.Read = append(p.Read, folders(path)...)
		}
	}
	p.Read = append(p.Read, resolverFolders("/etc/resolv.conf", os.Geteuid())...)
	for i := range c.Probes {
		p.Execute = p.Execute || c.Probes[i].Type == config.ProbeExec
	}
	return p
}

// resolverFolders lists where the configuration of the resolver is read from once a tool
// has replaced it: a look-up must not fail for ever because a lease was renewed. Its own
// folder is that of the whole system's configuration. It is left out for root, who may
// read everything there; others may read what anybody may.
func resolverFolders(path string, uid int) []string {
	out := folders(path)
	if uid != 0 {
		return out
	}
	own := filepath.Dir(path)
	return slices.DeleteFunc(out, func(dir string) bool { return filepath.Clean(dir) == own })
}

// maxLinks bounds the links that are followed from one name, as the kernel does.
const maxLinks = 40

// folders lists where a file is read from: its folder, and if it is a link, the folders
// that the links lead through and end in. Whoever renews a file that is a link makes
// the link lead to another file beside the one before (certbot: live/ to archive/), or
// exchanges the link to a folder of versions (Kubernetes: ..data), which therefore is
// granted with all versions where they lie beside it. Where a link to a folder leads
// elsewhere altogether, the folder that it leads to at the start is all there is.
func folders(path string) (out []string) {
	for range maxLinks {
		dir, name := filepath.Split(path)
		out = append(append(out, dir), versioned(dir)...)
		if resolved, err := filepath.EvalSymlinks(dir); err == nil {
			dir = resolved
		}
		to, err := os.Readlink(filepath.Join(dir, name))
		if err != nil {
			return out // the file itself, a pattern, or nothing yet
		}
		if path = to; !filepath.IsAbs(to) {
			path = filepath.Join(dir, to)
		}
	}
	return out
}

// versioned lists the folders on the way to dir that hold a link which leads to
// another folder below them. The first two levels of the tree are never among them:
// what lies below these is not of one program.
func versioned(dir string) (out []string) {
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		parent := filepath.Dir(at)
		if strings.Count(parent, "/") < 2 {
			return out
		}
		if to, err := os.Readlink(at); err == nil && filepath.IsLocal(to) {
			out = append(out, parent)
		}
	}
}

// hint says how to go on after an error that the sandbox may have caused; "" if not.
func (a *App) hint(err error) string { return sandbox.Hint(a.confined, err.Error()) }
