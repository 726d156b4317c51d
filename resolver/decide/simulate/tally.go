package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
)

// tally is the outcome of one seed, or of several.
type tally struct {
	options  options
	events   int
	requests int
	queries  int
	pushes   [kindCount]int
	broken   [algorithmCount][kindCount][breakageCount]int
	// lag is, by algorithm, how long after a drain its replica was still given.
	// It may be given as a last resort while all others are down.
	lag     [algorithmCount]moment
	returns [algorithmCount]returns
}

func newTally(o options) *tally { return &tally{options: o} }

// count adds a push that has ended.
func (t *tally) count(p *push) {
	t.pushes[p.host.kind]++
	for i, b := range p.broken {
		t.broken[i][p.host.kind][b]++
	}
}

// add adds the outcome of another seed.
func (t *tally) add(o *tally) {
	t.events += o.events
	t.requests += o.requests
	t.queries += o.queries
	for i := range t.lag {
		t.returns[i].add(&o.returns[i])
		t.lag[i] = max(t.lag[i], o.lag[i])
	}
	for k := range t.pushes {
		t.pushes[k] += o.pushes[k]
		for a := range t.broken {
			for b := range t.broken[a][k] {
				t.broken[a][k][b] += o.broken[a][k][b]
			}
		}
	}
}

// voluntary returns how many pushes of one kind were broken without a death.
func (t *tally) voluntary(a int, k kind) int {
	b := &t.broken[a][k]
	return b[voluntary] + b[split] + b[spent]
}

// voluntaryOfAll returns the same for all kinds.
func (t *tally) voluntaryOfAll(a int) (n int) {
	for k := range kindCount {
		n += t.voluntary(a, k)
	}
	return n
}

// brokenBy returns how many pushes of all kinds one thing broke.
func (t *tally) brokenBy(a int, b breakage) (n int) {
	for k := range kindCount {
		n += t.broken[a][k][b]
	}
	return n
}

// print writes a table: for each algorithm and kind of host, how many pushes were
// broken by voluntary changes and by deaths.
func (t *tally) print(out io.Writer, title string) {
	pushes := 0
	for _, n := range t.pushes {
		pushes += n
	}
	fmt.Fprintf(out, "%s: %d pushes, %d events, %d requests, %.1f queries a push\n",
		title, pushes, t.events, t.requests, float64(t.queries)/float64(pushes))
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "servers\talgorithm\t")
	for k := range kindCount {
		fmt.Fprintf(w, "%v\t", k)
	}
	fmt.Fprint(w, "all\tsplit\tspent\tall-down\tblip\telsewhere\tlost\tdrained\t\n")
	for i, a := range algorithms() {
		fmt.Fprintf(w, "%d\t%s\t", a.servers, a.name)
		for k := range kindCount {
			fmt.Fprintf(w, "%d / %d\t", t.voluntary(i, k), t.broken[i][k][death])
		}
		of := func(b breakage) int { return t.brokenBy(i, b) }
		fmt.Fprintf(w, "%d / %d\t%d\t%d\t%d / %d\t%d / %d\t%d\t%d\t%d s\t\n", t.voluntaryOfAll(i), of(death), of(split), of(spent),
			of(entering), of(leaving), of(blipEntering), of(blipLeaving), t.returns[i].elsewhere, t.returns[i].lost, t.lag[i]/second)
	}
	_ = w.Flush() // as the other writes to the terminal
	fmt.Fprint(out, legend)
}

const legend = `broken by voluntary changes / by deaths; of the voluntary: A and AAAA split, holds spent
all-down, blip: broken while all replicas went down / were or came back, and no replica of the push died
elsewhere, lost: hosts that were given another replica after that than before, or lost a hold to what is first for them
drained: how long after a drain it was still given

`

// check says whether the holds, on one name server, keep what is promised of them:
//
//   - no push of a host that can be told apart is broken by a voluntary change;
//   - of hosts with unrelated resolvers, at most a quarter as many as without
//     holds, under the same events;
//   - a drained replica is given to nobody after that time;
//   - an outage of all replicas leaves no host elsewhere, and the prober's blips
//     break no more pushes than without the rule for it;
//   - and there was something to protect from: without holds, at least one push
//     in 2500 is broken, and without that rule, hosts are elsewhere.
func (t *tally) check(out io.Writer) error {
	var errs []error
	pushes := t.pushes[unrelated]
	for k := range unrelated {
		pushes += t.pushes[k]
		if n := t.voluntary(holdsOne, k); n > 0 {
			errs = append(errs, fmt.Errorf("%v: voluntary changes broke %d pushes of %d in spite of holds, where none should break", k, n, t.pushes[k]))
		}
	}
	bare := t.voluntary(recoveringOne, unrelated)
	if n := t.voluntary(holdsOne, unrelated); n*4 > bare {
		errs = append(errs, fmt.Errorf("%v: voluntary changes broke %d pushes in spite of holds, more than a quarter of the %d without", unrelated, n, bare))
	}
	if lag := t.lag[holdsOne]; lag > longestDrain() {
		errs = append(errs, fmt.Errorf("a replica was given %d s after its drain, the bound is %d s", lag/second, longestDrain()/second))
	}
	errs = append(errs, t.checkOutages())
	if n := t.voluntaryOfAll(pureOne); n*2500 < pushes {
		errs = append(errs, fmt.Errorf("voluntary changes broke only %d pushes of %d without holds, too few to show anything: use more -pushes", n, pushes))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	fmt.Fprintln(out, "holds keep what is promised of them")
	return nil
}

// checkOutages says whether the rule for outages of all replicas is of use.
func (t *tally) checkOutages() error {
	var errs []error
	n, bare := t.returns[holdsOne].elsewhere, t.returns[noRuleOne].elsewhere
	switch {
	case bare == 0:
		errs = append(errs, errors.New("no host was elsewhere after an outage of all replicas without the rule, too few to show anything: use more -pushes"))
	case n > 0:
		errs = append(errs, fmt.Errorf("%d hosts were elsewhere after an outage of all replicas, where none should be", n))
	}
	blips := func(a int) int { return t.brokenBy(a, blipEntering) + t.brokenBy(a, blipLeaving) }
	if n, bare := blips(holdsOne), blips(noRuleOne); n > bare {
		errs = append(errs, fmt.Errorf("the prober's blips broke %d pushes, more than the %d without the rule", n, bare))
	}
	return errors.Join(errs...)
}
