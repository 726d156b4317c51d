package config

import (
	"crypto/sha256"
	"sync"
)

// Cache keeps the registries of a load for the next one, which then decodes again
// only what has changed. Give the same one to every load of a configuration, by
// [Options]; the zero value is ready for use. What a load returns does not depend on
// it: text is known by its digest, and nothing but the text decides what is read from
// it before all files are put together. It takes about a sixth of the memory of the
// text. Safe for concurrent use, though of loads at the same time only one may fill it.
type Cache struct {
	mu   sync.Mutex
	kept map[digest]kept // of the last load that succeeded
	next map[digest]kept // of the load under way
}

// digest is the SHA-256 of the text of a part.
type digest [sha256.Size]byte

// kept is what is known of a text.
type kept struct {
	packed string // its registries
	marks  int    // what [marks] counts in it
}

// begin starts a load.
func (c *Cache) begin() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next = make(map[digest]kept, len(c.kept))
}

// end keeps what was put since the load began, and forgets what was not; after a load
// that failed the next one still knows what was known before.
func (c *Cache) end(failed bool) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !failed {
		c.kept = c.next
	}
	c.next = nil
}

// get gives what is known of a text from the load before.
func (c *Cache) get(sum digest) (k kept, ok bool) {
	if c == nil {
		return kept{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok = c.kept[sum]
	return k, ok
}

// put keeps what is known of a text for the next load.
func (c *Cache) put(sum digest, k kept) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next != nil {
		c.next[sum] = k
	}
}
