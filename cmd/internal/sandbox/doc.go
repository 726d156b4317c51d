// Package sandbox gives up what a running server does not need: with Landlock
// (landlock(7)) the process may read a few places of the file system and write
// fewer, whatever a fault in a parser would make it do. It adds to what systemd
// confines and works without it.
//
// The server confines itself once, when everything is open and before the first
// query. What is given up cannot be had back: not by a reload, not by a child.
//
// The command line uses it; it imports nothing of ours.
package sandbox
