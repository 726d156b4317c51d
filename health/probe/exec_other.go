//go:build !linux

package probe

import "os/exec"

// runGroup runs cmd and kills it when its context ends. Process groups are left
// alone here: without a way to wait for a process and not reap it, the number of
// a group could be that of another by the time it is killed.
func runGroup(cmd *exec.Cmd) error { return cmd.Run() }
