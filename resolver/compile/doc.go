// Package compile turns a configuration and location data into a
// resolver.Snapshot and a list of what to probe.
//
// It is the only package that sees configuration and the answer engine at once,
// and the border where everything that can fail happens before anything live is
// touched: [Compile] is pure but for reading the zone and key files that the
// configuration names, and its result is complete or there is none.
//
// Only cmd imports it. It runs at start, on reload, and for the verbs that work
// from the file.
package compile
