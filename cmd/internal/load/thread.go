package load

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"time"
)

const (
	// maxBurst bounds what is sent between two looks for answers.
	maxBurst = 256
	// quiet is how long a closed loop waits for more answers before it sends less
	// than a burst: small bursts cost the server more a query.
	quiet = int64(50 * time.Microsecond)
	// nap is the shortest time worth sleeping; what is due earlier is waited for awake.
	nap = int64(100 * time.Microsecond)
	// longNap bounds a sleep, so that cancelling is seen.
	longNap = int64(50 * time.Millisecond)
)

// lane is one socket and what is in flight on it.
type lane struct {
	link   link
	flight *flight
	asked  int // queries on this connection
}

// thread sends and receives on lanes of its own. Times are in ns since it began;
// they are never 0 for a query.
type thread struct {
	o        *Options
	mix      *Mix
	rng      *rand.PCG
	lanes    []lane
	waiter   waiter
	dial     func() (link, error)
	window   int   // of one lane
	interval int64 // between two queries at a fixed rate, in 1/1024 ns
	begin    time.Time
	measure  int64 // from here to end is measured
	end      int64
	due      int64 // of the next query at a fixed rate, in 1/1024 ns
	turn     int   // the lane that sends next

	// While a lane is read: which, when its answers came, how many they were, and
	// the method one, bound once so that reading allocates nothing.
	lane    *lane
	arrived int64
	got     int
	each    func(msg []byte)

	tally tally
}

// tally is what a thread has counted.
type tally struct {
	latency  histogram
	sent     uint64 // queries due in the measured time
	lost     uint64 // of them, not answered in time
	answers  uint64 // that came within the measured time
	octets   uint64
	cut      uint64 // answers with TC set
	stray    uint64 // messages that answer nothing in flight
	failed   uint64 // queries the system did not take
	unsent   uint64 // queries due that never had room to be sent
	dials    uint64 // connections made anew
	busy     int64  // ns
	rcodes   [16]uint64
	firstErr error // of sending or connecting
}

func (t *thread) now() int64 { return int64(t.o.Now().Sub(t.begin)) + 1 }

// run sends and receives until the time is up, then waits for what is in flight.
func (t *thread) run(ctx context.Context) {
	last, heard := t.now(), t.now()
	for ctx.Err() == nil {
		got := t.receive()
		now := t.now()
		if got > 0 {
			heard = now
		}
		t.expire(now)
		sent := 0
		if t.sending(now) {
			sent = t.send(now, now-heard > quiet)
		} else if t.flying() == 0 {
			break
		}
		if got+sent > 0 {
			t.busy(last, now)
		} else if !t.o.Spin {
			t.sleep(now)
		}
		last = now
	}
	if t.o.Rate > 0 && ctx.Err() == nil {
		t.tally.unsent = uint64(max((t.end<<10-t.due+t.interval-1)/t.interval, 0))
	}
}

// sending reports whether there is more to send. At a fixed rate what was due is
// sent, late as it may be, unless that takes longer than an answer may.
func (t *thread) sending(now int64) bool {
	return now < t.end || t.o.Rate > 0 && t.due < t.end<<10 && now < t.end+int64(t.o.Timeout)
}

// busy counts the time between two rounds that had something to do.
func (t *thread) busy(from, to int64) {
	if from >= t.measure && to < t.end {
		t.tally.busy += to - from
	}
}

func (t *thread) flying() (n int) {
	for i := range t.lanes {
		n += t.lanes[i].flight.flying
	}
	return n
}

// sleep waits until there may be something to do.
func (t *thread) sleep(now int64) {
	until := now + longNap
	if t.o.Rate > 0 && now < t.end {
		until = min(until, t.due>>10)
	} else if now < t.end {
		until = now + quiet + nap // a closed loop that lost its answers goes on after the timeout
	}
	if until-now >= nap {
		t.waiter.wait(time.Duration(until - now - nap/2))
	}
}

// receive takes what has arrived on all lanes and returns how much it was.
func (t *thread) receive() (got int) {
	for i := range t.lanes {
		t.lane = &t.lanes[i]
		for more := true; more; {
			t.arrived, t.got = 0, 0
			var err error
			more, err = t.lane.link.receive(t.each)
			got += t.got
			if err != nil {
				t.redial(t.lane, err)
			}
		}
		if t.o.TCP && t.lane.asked >= t.o.PerConnection && t.lane.flight.flying == 0 {
			t.redial(t.lane, nil)
		}
	}
	return got
}

// one takes one message. There is one look at the clock for all that came together.
func (t *thread) one(msg []byte) {
	if t.arrived == 0 {
		t.arrived = t.now()
	}
	t.got++
	t.answered(t.lane, msg, t.arrived)
}

// answered counts one message, if it answers what was asked.
func (t *thread) answered(l *lane, msg []byte, now int64) {
	if len(msg) < headerLen || msg[2]&0x80 == 0 {
		t.tally.stray++
		return
	}
	id := binary.BigEndian.Uint16(msg)
	s := l.flight.slots[id]
	if s.due == 0 || !t.mix.queries[s.query].asked(msg, s.nonce) {
		t.tally.stray++
		return
	}
	l.flight.land(id)
	if now >= t.measure && now < t.end {
		t.tally.answers++
		t.tally.octets += uint64(len(msg))
	}
	if s.due < t.measure || s.due >= t.end {
		return
	}
	t.tally.latency.add(now - s.due)
	t.tally.rcodes[msg[3]&15]++
	if msg[2]&0x02 != 0 {
		t.tally.cut++
	}
}

// expire gives up what has been in flight for longer than the timeout.
func (t *thread) expire(now int64) {
	before := now - int64(t.o.Timeout)
	if before <= 0 {
		return
	}
	for i := range t.lanes {
		t.lanes[i].flight.expire(before, t.lose)
	}
}

func (t *thread) lose(s slot) {
	if s.due >= t.measure && s.due < t.end {
		t.tally.lost++
	}
}

// send sends what is due and has room, on the next lane, and returns how many
// queries that were.
func (t *thread) send(now int64, quietNow bool) int {
	l := &t.lanes[t.turn]
	if t.turn++; t.turn == len(t.lanes) {
		t.turn = 0
	}
	n := min(l.flight.room(t.window), maxBurst)
	if t.o.TCP {
		n = min(n, t.o.PerConnection-l.asked)
	}
	if t.o.Rate > 0 {
		passed := min(now<<10, t.end<<10-1) - t.due
		if n = min(n, int(passed/t.interval)+1); passed < 0 {
			n = 0
		}
	} else if n < min(t.window, maxBurst/2)/2 && !quietNow {
		n = 0
	}
	if n <= 0 {
		return 0
	}
	for range n {
		due := now
		if t.o.Rate > 0 {
			due = max(t.due>>10, 1)
			t.due += t.interval
		}
		t.add(l, due)
	}
	if failed, err := l.link.flush(); err != nil {
		t.tally.failed += uint64(failed)
		t.redial(l, err)
	}
	return n
}

// add puts one query on its way.
func (t *thread) add(l *lane, due int64) {
	s := slot{due: due, query: t.mix.draw(t.rng)}
	q := &t.mix.queries[s.query]
	if q.random {
		s.nonce = uint32(t.rng.Uint64())
	}
	id := l.flight.launch(s)
	q.write(l.link.add(len(q.msg)), id, s.nonce, t.rng)
	l.asked++
	if due >= t.measure && due < t.end {
		t.tally.sent++
	}
}

// redial replaces a TCP connection that has had its queries, or failed; what is in
// flight on it is lost. A UDP socket goes on.
func (t *thread) redial(l *lane, cause error) {
	if cause != nil && t.tally.firstErr == nil {
		t.tally.firstErr = cause
	}
	if !t.o.TCP {
		return
	}
	l.flight.expire(1<<62, t.lose)
	fresh, err := t.dial()
	if err != nil {
		if t.tally.firstErr == nil {
			t.tally.firstErr = err
		}
		return // the old one fails again, and so leads back here
	}
	l.link.close()
	l.link, l.asked = fresh, 0
	t.tally.dials++
	t.watch()
}

// watch makes the waiter wait for the links as they are now.
func (t *thread) watch() {
	links := make([]link, len(t.lanes))
	for i := range t.lanes {
		links[i] = t.lanes[i].link
	}
	t.waiter = newWaiter(links)
}

func (t *thread) close() {
	for i := range t.lanes {
		t.lanes[i].link.close()
	}
}
