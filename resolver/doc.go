// Package resolver is the authoritative answer engine: bytes in, bytes out. It
// never recurses; the name is that of the step (gdnsd calls it so too), not of
// the DNS role.
//
// The path of a query, in the order of the files:
//
//	packet → server → Worker.Answer                              answer.go
//	    accept   header, class and type policy                    accept.go
//	    find     the name: hit, miss, or not ours                 zone.Table
//	    locate   ECS or source address → locality class, scope    locate.go
//	    decide   rank × masks → replica                           decide
//	    write    copy the packed answer, patch, OPT, header       reply.go
//	→ server → packet
//
// Datagrams that were received together take the same path side by side: a [Batch]
// makes each look-up for all of them before the next one (batch.go).
//
// A [Snapshot] is everything that can be computed before a query comes: it is
// compiled (resolver/compile), published whole by [Resolver.Swap], and read with
// one atomic load per query. What changes between two snapshots, the
// availability masks and the zone serials, is in atomics inside it.
//
// Invariants of the path: no allocation, no lock, no formatting, no clock, no
// dependence on earlier queries. The names that exist to explain (_explain and
// _whoami) may format and allocate; they run the same locate and decide steps.
//
// It imports geo, resolver/wire, resolver/zone, resolver/rrl and resolver/decide; compile,
// server and cmd use it. It never sees configuration, health or sockets.
package resolver
