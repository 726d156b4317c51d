package health

import "time"

const (
	// FlapWindow is how soon after a recovery going down again counts as a flap.
	FlapWindow = time.Hour
	// MaxRecoveryHold is where doubling stops.
	MaxRecoveryHold = time.Hour
)
