package load

import "time"

// link is one socket to the server. Only one goroutine uses it.
type link interface {
	// add returns room for a query of n octets, to be filled before flush.
	add(n int) []byte
	// flush sends what was added and returns how many queries could not be sent.
	flush() (failed int, err error)
	// receive calls each with every answer that has arrived, up to a batch, and
	// returns whether there may be more. The octets are only lent. It never waits.
	// An error ends the link.
	receive(each func(msg []byte)) (more bool, err error)
	// descriptor is what to wait for.
	descriptor() int
	close()
}

// waiter waits until a link has something to receive, or the time has passed.
type waiter interface {
	wait(d time.Duration)
}
