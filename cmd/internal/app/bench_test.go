package app_test

import (
	"strings"
	"testing"
)

// BenchmarkStart is the time from nothing to the first answer, with the embedded
// location data.
func BenchmarkStart(b *testing.B) {
	text := strings.Replace(sticky("", ""), "geo: {database: DIR/city.mmdb}\n", "", 1)
	for b.Loop() {
		s := start(b, text)
		s.addresses(b, "myregistry.example.io.", pusher)
		b.StopTimer()
		s.stop(b)
		b.StartTimer()
	}
}
