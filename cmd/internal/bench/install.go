//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const policy = "/usr/sbin/policy-rc.d"

// install installs the Debian packages whose programs are missing, without letting
// any of them start a daemon.
func (r *rig) install(ctx context.Context, packages map[string]string) (err error) {
	missing := make([]string, 0, len(packages))
	for name, file := range packages {
		_, err := exec.LookPath(file)
		if pattern := strings.Contains(file, "/"); pattern {
			var found []string
			if found, err = filepath.Glob(file); err == nil && len(found) == 0 {
				err = fs.ErrNotExist
			}
		}
		if err != nil {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return fmt.Errorf("missing %q: install them, or run as root on Debian", missing)
	}
	r.progress("installing %q", missing)
	if _, err := os.Stat(policy); errors.Is(err, fs.ErrNotExist) {
		if err := os.WriteFile(policy, []byte("#!/bin/sh\nexit 101\n"), 0o755); err != nil { //nolint:gosec // a program
			return err
		}
		defer func() { err = errors.Join(err, os.Remove(policy)) }()
	}
	for _, args := range [][]string{{"update", "-q"}, append([]string{"install", "-y", "-q", "--no-install-recommends"}, missing...)} {
		cmd := exec.CommandContext(ctx, "apt-get", args...) //nolint:gosec // the packages of the benchmark
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w: %s", args[0], err, out)
		}
	}
	return nil
}
