// Package availability turns verdicts of health, orders of operators and time into
// the masks that queries read: which replicas the global name of each registry may
// answer now, and how that came about.
//
//	health.Monitor → Changed → masks → (at once) queries
//	                         ↘ journal → ledger, noted in memory until durable
//	operator → Drain, … → journal → ledger (durable first) → masks → queries
//	ledger, notes → New, Adopt → masks of the first configuration
//
// It knows no sockets, no HTTP and no disk: the ledger, the memory that outlives a
// process and the probes are behind interfaces, the clock is given. The application
// makes one [Availability] at its start, hands it every configuration with
// [Availability.Adopt], and runs it with [Availability.Run]. Only the application
// may import it; nothing on the path of a query sees it.
//
// # What waits for what
//
// A replica that is down is left at once: its bit is cleared before the verdict is
// written. Before that, and until it is durable, it is noted in memory that only the loss of
// the machine takes. All else is durable before it takes effect: a replica that comes back, as
// long as the disk may still take it, and the orders of operators. The journal writes everything in the order in which it was
// decided, from a goroutine of its own.
//
// No lock that a query, a verdict or an explanation may meet is held over a write.
// Explanations read published text ([Availability.Excluded]) and take no lock at all.
//
// # Whose fault it is
//
// Whatever changes, the masks of the registry concerned are computed from all that is
// known, so that no order of events can leave a bit behind. A registry all of whose
// replicas are down is in an outage, for which the rules of [decide.Outage] hold: what works
// is answered, and what went down together comes back together.
//
// That an order has taken effect is a fact that the ledger holds. The wall clock of
// another process, which may have been set since, is never asked for it.
package availability
