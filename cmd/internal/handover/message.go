package handover

import (
	"encoding/json"
	"fmt"
	"os"
)

// Variable is the environment variable that tells a process which descriptor its end
// of a handover is.
const Variable = "PORTOLAN_HANDOVER"

// maxBody bounds the body of a message: the counters of 10,000 replicas fit.
const maxBody = 64 << 20

// Kind says what a message is about.
type Kind byte

// The messages; see the doc of the package for who sends them when.
const (
	Hello Kind = iota + 1
	Socket
	Begin
	Loaded
	Ledger
	Proved
	Go
	Serving
	Connection
	Quiet
	Counters
	Failed
)

// String names a kind for error messages.
func (k Kind) String() string {
	names := [...]string{
		"", "who it is", "a socket", "that this is all", "that it has loaded", "to take the ledger", "that it works", "to serve", "that it serves",
		"of a connection", "that it is quiet", "the counters", "what failed",
	}
	if k == 0 || int(k) >= len(names) {
		return fmt.Sprintf("message %d", byte(k))
	}
	return names[k]
}

// Message is what was received.
type Message struct {
	Kind Kind
	// File is the descriptor that came with it, nil for none.
	File *os.File
	body []byte
}

// Decode decodes the body.
func (m *Message) Decode(v any) error {
	if err := json.Unmarshal(m.body, v); err != nil {
		return fmt.Errorf("%s: %w", m.Kind, err)
	}
	return nil
}

// Close closes the descriptor of a message that nobody wants.
func (m *Message) Close() {
	if m.File != nil {
		_ = m.File.Close()
	}
}

func (m *Message) broken(err error) (Message, error) {
	m.Close()
	return Message{}, err
}
