//go:build !unix

package handover

import (
	"errors"
	"os"
)

func locate(*os.File) (network, address string, err error) { return "", "", errors.ErrUnsupported }
