// Command gen makes the table of places that package embedded holds. It is run by
// hand when the data is renewed, from the root of the repository:
//
//	go run ./geo/embedded/gen -o geo/embedded/places.bin $(geo/embedded/fetch.sh)
//
// It imports geo, and nothing imports it.
package main
