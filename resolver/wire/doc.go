// Package wire reads DNS queries and writes DNS responses as bytes.
//
// It is the lowest layer of the path of a query: it knows RFC 1035 framing,
// EDNS(0) and the options Portolan answers, and nothing of zones, replicas or
// sockets. It imports only the standard library; everything under resolver may
// import it.
//
// At run time [Query.Parse] takes a received message apart in place. It never
// allocates, never copies more than the query name, and looks at the twelve
// header bytes before anything else, so that a hostile message is refused
// before it can cost more than its length. The Query borrows the receive
// buffer: it is valid until that buffer is reused.
//
// At compile time a [Packer] lays out the records of an answer behind a
// question that is already known, with name compression; the result is copied
// behind any question with that name later on. [PutHeader] and the OPT writers
// complete a response at run time.
package wire
