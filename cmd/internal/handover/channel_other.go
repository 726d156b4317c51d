//go:build !unix

package handover

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// Channel is one end: there are none here.
type Channel struct{}

// Pair fails: a process cannot give its sockets to another one.
func Pair() (*Channel, *os.File, error) { return nil, nil, errors.ErrUnsupported }

// Inherited returns nil, or an error if the environment speaks of an end.
func Inherited(getenv func(string) string) (*Channel, error) {
	if getenv(Variable) != "" {
		return nil, fmt.Errorf("%s: %w", Variable, errors.ErrUnsupported)
	}
	return nil, nil
}

// Send fails.
func (*Channel) Send(Kind, any, *os.File) error { return errors.ErrUnsupported }

// Receive fails.
func (*Channel) Receive(time.Time) (Message, error) { return Message{}, errors.ErrUnsupported }

// Close does nothing.
func (*Channel) Close() error { return nil }
