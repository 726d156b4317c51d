// Package notify posts events of the ledger to receivers that operators name:
// webhooks. A [Notifier] follows the log in a goroutine of its own and puts each event
// into the queue of every [Target] that wants its kind; each queue has one
// goroutine, which posts one delivery at a time, in order, and tries again until
// it is taken or an hour old.
//
//	ledger ─▶ feed ─▶ queue (bounded, drops its oldest) ─▶ post ─▶ receiver
//	                  queue ...
//
// Nothing waits for a receiver: not the ledger, whose watchers delay nobody, not
// another receiver, not a reload. [Notifier.Stop] is bounded.
//
// Within one run of the process a delivery is made at least once unless it is
// counted as lost (see [Outcome]); one whose response was lost is made again, with the
// same id. Queues are not durable: a start begins with the next event, as the ledger
// has all of them for whoever asks.
//
// Requests follow the Standard Webhooks specification: the headers webhook-id,
// webhook-timestamp and webhook-signature, the last of them over id, time and body
// with HMAC-SHA256, so that a receiver finds a library that verifies them.
//
// Proxies of the environment are not used. An event says what is down where; which
// machines see it is for the configuration to say, and a variable that was set for
// another purpose must not change it.
//
// The application makes the one Notifier of a server, gives it new targets at each
// reload, and says what the body of a request is. This package knows no
// configuration and no admin API; of ours it imports the ledger only.
package notify
