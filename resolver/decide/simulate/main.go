package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "simulate:", err)
		os.Exit(1) //nolint:forbidigo // this is a main, though not in cmd
	}
}

// options are the flags.
type options struct {
	pushes int // a seed
	seeds  int
	days   int
	rate   int // pushes of a host in a day
}

func run(args []string, out io.Writer) error {
	var o options
	flags := flag.NewFlagSet("simulate", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.IntVar(&o.pushes, "pushes", 1_000_000, "pushes to simulate for each seed, a quarter for each kind of host")
	flags.IntVar(&o.seeds, "seeds", 5, "how many seeds, from 1")
	flags.IntVar(&o.days, "days", 21, "how many days the pushes are spread over")
	flags.IntVar(&o.rate, "rate", 4, "how often a host pushes in a day")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || o.pushes < 1 || o.seeds < 1 || o.days < 1 || o.rate < 1 {
		return errors.New("the flags take numbers from 1, and there are no arguments: see -help")
	}
	total := newTally(o)
	for i, t := range simulateAll(o) {
		t.print(out, fmt.Sprintf("seed %d", i+1))
		total.add(t)
	}
	if o.seeds > 1 {
		total.print(out, "sum")
	}
	return total.check(out)
}

// simulateAll simulates every seed, as many at a time as there are processors.
func simulateAll(o options) []*tally {
	tallies := make([]*tally, o.seeds)
	var wg sync.WaitGroup
	next := make(chan int)
	for range min(runtime.GOMAXPROCS(0), o.seeds) {
		wg.Go(func() { // ends when all seeds are handed out
			for i := range next {
				tallies[i] = simulate(o, uint64(i+1))
			}
		})
	}
	for i := range tallies {
		next <- i
	}
	close(next)
	wg.Wait()
	return tallies
}
