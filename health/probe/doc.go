// Package probe looks at targets: one protocol in each file, each a
// [health.Prober] built from a [Spec] by [New].
//
// A target is not trusted. A probe connects to the one address it was given,
// through no proxy; it follows no redirect, keeps no connection and no cookie,
// and stops reading at a fixed bound: an answer can neither send it somewhere else
// nor fill the memory. What a target says reaches operators only as a short
// line of printable ASCII.
//
// At run time the application builds the probers of a configuration and hands
// them to the monitor of package health; the command line builds one to try a
// target. It imports package health and nothing else of ours. Probers are safe
// for use by several goroutines.
package probe
