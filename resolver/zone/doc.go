// Package zone holds the names of all zones and what each answers.
//
// It imports only resolver/wire (and miekg/dns to read zone files); resolver and
// resolver/compile import it. It knows owner names, RRsets and their packed
// answers, and nothing of clients, replicas' health or sockets.
//
// A [Table] is built once by a [Builder] while a snapshot is compiled, and only
// read from then on, by any number of goroutines:
//
//	query name ──hash──▶ slots ──▶ Node ──▶ RRsets ──▶ bodies
//	                      (one probe for a name that exists)
//	     miss: the next shorter suffix, until a name of a zone is met
//
// Every name between an apex and an owner name is a Node too, so an empty
// non-terminal is found like any other name and answers NODATA (RFC 8020); the
// first suffix that exists is the closest encloser (RFC 4592 section 3.3.1),
// and a miss below it is NXDOMAIN.
//
// What stands in bodies is everything behind the question, ready to copy: the
// question of an answer has the length of the owner name, so compression
// pointers are known at build time. Only the SOA serial, and in negative
// answers the pointers to the apex, are written per response.
package zone
