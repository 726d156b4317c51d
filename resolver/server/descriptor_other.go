//go:build !unix

package server

import (
	"errors"
	"os"
	"syscall"
)

// Descriptor fails: a socket has no second descriptor here.
func Descriptor(syscall.Conn) (*os.File, error) { return nil, errors.ErrUnsupported }

// listen does nothing: what has been shut down stays so here.
func listen(uintptr) error { return nil }
