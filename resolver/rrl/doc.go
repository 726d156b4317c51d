// Package rrl limits how many responses a second go to one address and to the
// networks around it, so that queries with a forged source cannot turn a server
// into a weapon against that source (response rate limiting, ISC-TN-2012-1).
//
// A response is counted for the address (IPv4 /32, IPv6 /128) and for the networks
// that hold it (/24 and /16; /56, /48 and /32), each with its own multiple of the
// rate: who floods a whole network by forging one address of it after the other is
// stopped by the network's count. What is limited for the address is not charged to
// its network, so that a neighbour of a victim still gets answers. Responses are
// counted by [Class], never by name: a name would let a flood of made-up names have
// a count for each.
//
// At run time [Limiter.Take] costs a few memory reads and writes, takes no lock and
// never allocates. The [Table] is of one size for good; under a flood of different
// addresses counts replace each other, those nearest to zero first.
//
// It imports only the standard library; resolver uses it on the path of a query,
// and cmd makes it.
package rrl
