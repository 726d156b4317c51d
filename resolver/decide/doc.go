// Package decide chooses the replica that answers a global name.
//
// It is pure: no I/O, no clock, no randomness, and it imports nothing of ours.
// Only resolver and the tools that explain or simulate a decision import it.
//
// Regions are bits. A locality has a fixed order of all regions, its rank; a
// registry has masks of the regions that take part; the decision is the first
// region of the rank whose bit is set. A change of health or of routing changes
// a mask and nothing else, so the same locality and the same masks give the
// same replica on every server, for every query type, over every transport.
package decide
