// Package admin is how operators and collectors reach a running server: an HTTP
// API on a unix socket and, with TLS and a token, for other machines; and the metrics
// listener. It holds no state and decides
// nothing; it asks the [API] it was given and writes JSON. openapi.yaml describes
// the API and is served at /v1/openapi.yaml.
//
// A request is read whole, bounded in size and time, and checked strictly before
// anything is asked; a change that was asked for is then carried to its end, even
// if the client goes. Whoever may open the socket may do everything, and is named
// in the ledger as the system knows them.
//
// cmd/internal/app serves it, cmd/internal/cli calls it through [Client].
package admin
