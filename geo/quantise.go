package geo

import "errors"

// errDisorder is what networks that do not come in the order of their addresses fail
// with. A sound search tree has no such networks.
var errDisorder = errors.New("networks overlap or are out of order: fetch the database again")

// quantiser turns networks, added in the order of their addresses, into ranges
// whose borders lie on blocks of one size: /24 for IPv4, /48 for IPv6. A block with
// several places goes to the one that has most of its addresses.
//
// It exists because a place that changes inside a /24 would need ECS scopes longer
// than the subnet resolvers send, and because the finer borders are more noise than
// knowledge: in the data that comes with Portolan, 0.16 % of addresses change the
// nearest of 56 regions by it.
type quantiser[A address] struct {
	host A // the host bits of a block

	starts []A
	values []uint32 // places
	next   A        // the lowest address not given away
	full   bool     // all are given away; next has wrapped

	votes []vote[A] // on the block that begins at block
	block A
}

type vote[A address] struct {
	place uint32
	size  A
}

// add gives a network to a place. A network is a prefix; first and last are its
// ends, equal for an IPv6 network longer than /64.
func (q *quantiser[A]) add(first, last A, place uint32) error {
	if q.full || first < q.next {
		return errDisorder
	}
	if last-first >= q.host { // one block or several
		if err := q.flush(); err != nil {
			return err
		}
		return q.emit(first, last, place)
	}
	if len(q.votes) > 0 && first&^q.host != q.block {
		if err := q.flush(); err != nil {
			return err
		}
	}
	q.block = first &^ q.host
	size := last - first + 1
	for i := range q.votes {
		if q.votes[i].place == place {
			q.votes[i].size += size
			return nil
		}
	}
	q.votes = append(q.votes, vote[A]{place, size})
	return nil
}

// flush decides the block that is being voted on, if there is one. Of equal votes
// the lowest addresses win.
func (q *quantiser[A]) flush() error {
	if len(q.votes) == 0 {
		return nil
	}
	winner := q.votes[0]
	for _, v := range q.votes[1:] {
		if v.size > winner.size {
			winner = v
		}
	}
	q.votes = q.votes[:0]
	return q.emit(q.block, q.block|q.host, winner.place)
}

func (q *quantiser[A]) emit(first, last A, place uint32) error {
	if q.full || first < q.next {
		return errDisorder
	}
	if first > q.next {
		q.append(q.next, 0)
	}
	q.append(first, place)
	q.next = last + 1
	q.full = q.next == 0
	return nil
}

func (q *quantiser[A]) append(start A, place uint32) {
	if n := len(q.values); n > 0 && q.values[n-1] == place {
		return
	}
	q.starts = append(q.starts, start)
	q.values = append(q.values, place)
}

// finish decides the last block and leaves the rest of the space to place 0.
func (q *quantiser[A]) finish() error {
	if err := q.flush(); err != nil {
		return err
	}
	if !q.full {
		q.append(q.next, 0)
	}
	return nil
}
