// Package ledger keeps what must outlive the process: the ordered log of events
// (what went down and came back, what an operator drained, which configuration
// and location data were taken up) and the state that follows from it.
//
// A change is made by appending its [Event] to a [Store]. Append returns when
// the event is on disk, and only then may the change take effect: a server that
// is killed at any instant knows after its restart every change it has ever
// acted on, and so neither forgets a drain nor brings a replica back early. Beside
// the log a Store keeps four things that are not events: the last SOA serial of
// each zone, the saved table of active clients, the addresses that target host
// names last resolved to, and the TTLs and addresses that caches may hold.
//
// [Open] gives the Store of a single server, a bbolt file. The interface is small
// and speaks of sequence numbers and compare-and-set, so that a distributed
// store can stand behind it.
//
// At run time the application opens one [File], builds availability from its
// [State] before the first query is answered, and appends the verdicts of health
// and the orders of the operator. The application, the admin interface and the
// command line may import this package; it imports nothing of ours. Nothing on
// the path of a query sees it.
//
// # Decisions
//
// The folded state is written in the transaction of the event that changes it,
// one record per replica or endpoint, so that an append costs the same however long
// the log and however many the replicas. A second folded state, the base, is
// what the deleted part of the log came to: base and retained log always fold to
// the state.
//
// bbolt trusts its file: a damaged page makes it panic, fault or loop. Open
// therefore walks every page itself, bounded and by plain reads, before bbolt maps
// the file, and every record of ours carries a checksum. What does not hold
// together is refused with the way out; it is never replaced by an empty log.
//
// All of these but the serials lie in files of their own beside the log. They are
// written often or large, and can be done without; the log is small and precious.
package ledger
