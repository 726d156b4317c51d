// Package load drives a DNS server and measures what it answers: how many a
// second, how late, with which response codes, and how many not at all.
//
// A [Mix] says what is asked; [Run] asks it, over UDP or pipelined TCP, in one of
// two ways. A closed loop keeps a bounded number of queries in flight and finds
// what a server can do at most. A fixed rate sends on a schedule that does not
// wait for the server, and counts the latency of each query from the moment it
// was due and not from when it was sent, so that a stall shows in every query it
// delayed (there is no coordinated omission).
//
// On Linux one thread moves datagrams with sendmmsg and recvmmsg and hands the
// kernel up to 64 queries in one piece (UDP_SEGMENT), so that the server and not
// the sender is the limit. Receive offload (UDP_GRO) is not used: responses that
// come over loopback never pass through it. Threads and sockets live for one Run;
// nothing is shared between threads while it lasts.
//
// An answer counts only if its source, ID and question are those of a query in
// flight. Targets that are neither loopback nor private are refused unless the
// caller says that the server is its own.
//
// The verb `portolan load` and the benchmarks import it; it imports nothing else
// of this module.
package load
