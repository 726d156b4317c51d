// Package e2e runs the real portolan binary against real registries and real DNS
// software, and looks at packets, counters, logs and exit codes from outside.
// It holds tests only: nothing imports it, and nothing of it is in the program.
//
// The tests need Linux. What also needs root, a network namespace or a program
// of the system says so with need, and is then skipped with a reason; where CI
// is set in the environment it fails instead, so that nothing is left out
// unseen. Traffic never leaves loopback: tests that need port 53, or a firewall,
// make a network namespace of their own.
//
// Every test file begins with the build constraint linux.
package e2e
