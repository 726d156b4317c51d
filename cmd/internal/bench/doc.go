//go:build linux

// Command bench measures Portolan as a whole, and other name servers beside it,
// and prints tables in Markdown: the figures of docs/performance.md, and how to
// get them again.
//
//	bench peers     the same registry, location data and load for each server in turn
//	bench cores     one worker against two
//	bench growth    registries and regions, from few to very many
//	bench churn     reloads, new location data and health flips under full load
//	bench flip      one verdict that concerns every registry
//	bench probes    ten thousand probe targets
//	bench flood     random names and random clients, and memory over time
//
// It runs real programs: `portolan serve` on one CPU and `portolan load` on another,
// over loopback, and reads what the server has used from /proc. Everything it starts
// ends with it. It needs Linux with two CPUs; `bench peers` also root and a Debian,
// for the other servers. Only make runs it.
package main
