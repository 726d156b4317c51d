// Package health decides whether replicas answer.
//
// A [Check] is one thing that is probed: it has a [Prober], a cadence and two
// thresholds. An [Endpoint] is what goes up and down, a replica: it is up while
// at least one of its checks is. A [Monitor] runs the checks of all endpoints
// and tells the one who asked, in order, what went down and what came back.
//
// Going down and coming back are not alike. An endpoint is down at once when its
// checks have failed often enough in a row; it is up again only after a time
// of unbroken success, which doubles when it flaps. An endpoint nobody has
// probed yet counts as up, so that a start does not empty any answer.
//
// Trouble of the prober's own machine is no verdict on a target: each [Result] says
// where the [Fault] is, and a self-check ([Monitor.SelfCheck]) finds out when even
// silence proves nothing. See self.go.
//
// At run time the application builds one Monitor, gives it the endpoints of each
// configuration with [Monitor.Set], and turns every [Change] into an event of
// the ledger. The application and the command line may import this package and
// health/probe, which holds the protocols; it imports nothing of ours, and
// nothing on the path of a query sees it.
//
// # Decisions
//
// One goroutine, a heap and a goroutine for each probe under way, not a goroutine
// and a timer for each check: thousands of checks then cost one timer, and
// the number of sockets open at once has a limit that can be stated.
//
// Results are taken as they come and nothing is averaged: "three failures in a
// row" can be counted by hand from a packet capture, a moving average cannot.
//
// Coming up is decided only on a probe that passes, never by a timer alone, so
// that no endpoint returns on old evidence.
package health
