// Package differential serves the same generated zones by Portolan and by other
// authoritative servers, asks all of them the same random questions, and compares the
// answers, over UDP and TCP. Every difference is one of a table of reasons, or a failure.
// So are the response codes to spoiled queries. gdnsd gets the zones without what it
// refuses.
//
// It holds tests only: nothing imports it, and nothing of it is in the program. The
// tests need Linux and the servers named in need; without them they are skipped, and
// where CI is set in the environment they fail instead. Traffic never leaves loopback.
// `make differential` runs the long variant; PORTOLAN_SEED replays a run.
package differential
