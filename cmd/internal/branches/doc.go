// Command branches says which branches of the packet path no test takes, and fails
// when there is one that is not on the list of those that no test can take.
//
//	go run ./cmd/internal/branches [-v]
//
// path.yaml beside it says what the packet path is, which tests count, and which
// branches are excused, each with its reason. `make cover` runs it in the root of the
// repository.
//
// A branch is one outcome of a condition: of what && and || and ! combine, of what if,
// for and case decide by, and of every comparison, whether it decides something at once
// or is returned. Besides there are the cases of switch and select, what a switch does
// where no case holds, the inside of each range, and each function. Go's own coverage
// knows statements: it cannot tell an if that has only ever been true, nor which half
// of an || made it so. Tools that can count only the tests of the package itself.
//
// It writes the files of the packet path anew, in a folder that is removed again, with
// a call around each condition; the tests are built with those in the place of the real
// ones (-overlay), on the same lines. Each call notes the first time of each outcome in
// a file, at once, so that what a killed process has seen counts as well.
//
// It is a tool of those who change the program and is not in it; nothing imports it.
package main
