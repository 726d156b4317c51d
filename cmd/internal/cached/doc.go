// Package cached knows what caches that honor the TTL may still hold of answers that
// are not given any more: answers with the TTL of an earlier configuration, and
// addresses that a replica has no more.
//
// # The rule
//
// A cache may hold an answer until the moment at which it was given plus the TTL that
// it was given with. Of a replica only the moment of the last answer is known, so the
// last of its answers expires at the latest of: that moment plus the TTL of now; and,
// for each longer TTL of an earlier time, that moment or the end of that time, whichever
// came first, plus that TTL.
//
// The package is pure: the caller says what time it is, and writes the records of
// [Append] to where the next process finds them.
package cached
