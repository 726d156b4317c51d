// Package server receives queries and sends responses. It knows sockets and
// sizes, and nothing of DNS data: what a message means is for the [Answerer].
//
// It imports nothing of ours; cmd wires it to the resolver. At run time each
// UDP socket has a goroutine of its own, on Linux a locked thread that moves
// datagrams in batches with recvmmsg and sendmmsg and shares its address with
// the other workers through SO_REUSEPORT; elsewhere a plain loop. TCP follows
// RFC 7766 and RFC 9210: pipelined queries, answered in order, with bounds on
// connections, time and memory.
//
// Goroutines start in [Server.Start] and have ended when [Server.Stop] returns.
package server
