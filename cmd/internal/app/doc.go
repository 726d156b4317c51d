// Package app is the life of a running server: New, Start, Reload, Stop, Run.
//
// It is the one place that sees every package, and only cmd/internal/cli and the
// tests import it. New does everything that can fail before anything is served;
// Reload builds a whole new world first and touches live state only behind the
// border marked in the code, so that a failed reload changes nothing.
package app
