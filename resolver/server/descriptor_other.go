//go:build !unix

package server

import (
	"errors"
	"os"
	"syscall"
)

// Descriptor fails: a socket has no second descriptor here.
func Descriptor(syscall.Conn) (*os.File, error) { return nil, errors.ErrUnsupported }
