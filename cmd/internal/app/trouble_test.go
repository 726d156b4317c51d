package app

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// Trouble that comes with every packet does not fill the log, and is not forgotten.
func TestTroubleIsLoggedNowAndThen(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	var log bytes.Buffer
	a := &App{o: Options{Source: Source{Now: func() time.Time { return now }}}, log: slog.New(slog.NewTextHandler(&log, nil))}
	for range 100 {
		a.panicked("a fault", []byte("main.go:1"))
		a.socketTrouble("accept a connection", errors.New("too many open files"))
	}
	now = now.Add(troublePause)
	a.panicked("a fault", nil)
	a.socketTrouble("accept a connection", errors.New("too many open files"))
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 4 || strings.Count(log.String(), "more=0") != 2 || strings.Count(log.String(), "more=99") != 2 || !strings.Contains(lines[0], "main.go:1") {
		t.Errorf("%s", log.String())
	}
}
