//go:build !unix

package server

import (
	"errors"
	"os"
	"syscall"
)

// descriptorOf fails: a socket has no second descriptor here.
func descriptorOf(syscall.Conn) (*os.File, error) { return nil, errors.ErrUnsupported }
