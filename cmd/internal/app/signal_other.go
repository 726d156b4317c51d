//go:build !unix

package app

import "os"

// notifyUpgrade does nothing: there is no such signal here.
func notifyUpgrade(chan<- os.Signal) {}
