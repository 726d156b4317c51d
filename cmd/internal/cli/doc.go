// Package cli is the verbs of the portolan command, one file each. It reads
// flags, calls what the verb is about, and prints; cmd/portolan runs it and
// nothing else imports it.
//
// Verbs that talk to a running server take --socket; verbs that work from the
// file take -c. Every verb that prints results takes -o table or -o json.
package cli
