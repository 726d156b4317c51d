// Package admin is how operators and collectors reach a running server: an HTTP
// API on a unix socket, and the metrics listener. It holds no state and decides
// nothing; it asks the [API] it was given and writes JSON.
//
// cmd/internal/app serves it, cmd/internal/cli calls it through [Client].
package admin
