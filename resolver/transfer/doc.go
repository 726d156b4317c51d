// Package transfer gives zones to secondaries and tells them of changes: AXFR (RFC
// 5936), IXFR answered as AXFR or with the SOA record alone (RFC 1995 sections 2 and
// 4), NOTIFY (RFC 1996), each signed with TSIG (RFC 8945) where a key is configured.
//
// It imports resolver/wire and miekg/dns, which packs and signs; resolver/compile makes
// its [Set], and cmd runs its [Notifier]. It knows records and keys, and nothing of
// clients, replicas or sockets.
//
// A Set belongs to a snapshot and is only read. It is off the path of a query: the
// engine hands over what asks for a transfer on a stream, and what carries a TSIG
// record, and nothing else ever comes here.
//
// What goes out is what is the same for everybody: SOA and NS, the records of the file
// with delegations and glue, and the regional and data names of registries. Global
// names do not: their answer depends on who asks. A secondary of a zone with registries
// is a copy for safekeeping and must not be among its name servers.
package transfer
