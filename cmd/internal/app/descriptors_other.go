//go:build !linux

package app

func descriptorLimit() (int, bool) { return 0, false }

func raiseDescriptors(int) (int, bool) { return 0, false }
