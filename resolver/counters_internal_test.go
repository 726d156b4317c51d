package resolver

import "testing"

// What a worker counts while room is made for more slots is counted, whichever array
// it has in hand: drains go by the last answer.
func TestGrowingLosesNothing(t *testing.T) {
	c := new(counters)
	c.grow(1)
	c.warm(chunkSlots) // no room: nothing happens
	c.answered(chunkSlots, 1)
	for n := 1; n < 10*chunkSlots; n *= 3 {
		inHand := *c.answers.Load()
		c.grow(n)
		c.answered(uint32(n), int64(n))
		inHand[0][0].last.Store(int64(n)) // by a worker that is slow
		inHand[0][0].count.Add(1)
		var total Totals
		c.addTo(&total, UDP)
		if n >= len(total.Answers) || total.LastAnswer[n] != int64(n) || total.LastAnswer[0] != int64(n) {
			t.Fatalf("after growing to %d: %d slots, last answers %d and %d", n, len(total.Answers), total.LastAnswer[n], total.LastAnswer[0])
		}
	}
}
