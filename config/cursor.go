package config

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// cursor is one value of a file while it is decoded. Its methods either give the
// value or add an error and say so; a caller that is told false goes on with the
// next value, so that every error is found at once.
type cursor struct {
	*place

	d       *decoder
	node    *yaml.Node // never an alias
	aliased bool       // reached through an alias
}

// fail adds an error about the value.
func (c *cursor) fail(msg, hint string) { c.d.errs.add(c.place, msg, hint) }

// kind says what the value is, for errors.
func (c *cursor) kind() string {
	switch {
	case c.node.Kind == yaml.MappingNode:
		return "a mapping"
	case c.node.Kind == yaml.SequenceNode:
		return "a list"
	case c.node.Tag == "!!null":
		return "empty"
	case c.node.Tag == "!!str":
		return "the text " + show(c.node.Value)
	case c.node.Tag == "!!int", c.node.Tag == "!!float":
		return "the number " + show(c.node.Value)
	}
	return show(c.node.Value)
}

func (c *cursor) empty() bool { return c.node.Kind == yaml.ScalarNode && c.node.Tag == "!!null" }

// scalar gives the text of a scalar with one of the tags.
func (c *cursor) scalar(want, hint string, tags ...string) (string, bool) {
	if c.node.Kind == yaml.ScalarNode && slices.Contains(tags, c.node.Tag) {
		return c.node.Value, true
	}
	if custom(c.node) {
		c.fail("the tag "+show(c.node.Tag)+" is not supported", "leave the tag out")
		return "", false
	}
	c.fail("is "+c.kind()+", not "+want, hint)
	return "", false
}

// custom says whether a node has a tag of its own, such as !secret or !!binary.
func custom(n *yaml.Node) bool {
	switch n.Tag {
	case "!!str", "!!int", "!!float", "!!bool", "!!null", "!!timestamp", "!!merge", "!!map", "!!seq":
		return false
	}
	return true
}

// text gives a string that is not empty.
func (c *cursor) text() (string, bool) {
	s, ok := c.textOrEmpty()
	if ok && s == "" {
		c.fail("is empty", "give it a value or leave the key out")
	}
	return s, ok && s != ""
}

// textOrEmpty gives a string.
func (c *cursor) textOrEmpty() (string, bool) {
	if c.node.Kind == yaml.ScalarNode && c.node.Tag == "!!str" {
		return c.node.Value, true
	}
	hint := ""
	if c.node.Kind == yaml.ScalarNode && !c.empty() {
		hint = "put it in quotes: " + show(c.node.Value)
	}
	return c.scalar("text", hint, "!!str")
}

// literal gives the text of any scalar, quoted or not.
func (c *cursor) literal() (string, bool) {
	return c.scalar("a plain value", "", "!!str", "!!int", "!!float", "!!bool", "!!timestamp")
}

func (c *cursor) boolean() (value, ok bool) {
	s, ok := c.scalar("true or false", "write true or false", "!!bool")
	return strings.EqualFold(s, "true"), ok
}

// integer gives a decimal number within bounds, both included.
func (c *cursor) integer(low, high int) (int, bool) {
	s, ok := c.scalar("a whole number", "", "!!int")
	if !ok {
		return 0, false
	}
	// YAML reads 010 as eight and 0x10 as sixteen; nobody who writes a port means that.
	n, err := strconv.Atoi(s)
	if err != nil || len(s) > 1 && strings.TrimLeft(s, "+-")[0] == '0' {
		c.fail(show(s)+" is not a decimal number", "")
		return 0, false
	}
	if n < low || n > high {
		c.fail(fmt.Sprintf("%d is out of range", n), fmt.Sprintf("use %d to %d", low, high))
		return 0, false
	}
	return n, true
}

// float gives a finite number within bounds, both included.
func (c *cursor) float(low, high float64) (float64, bool) {
	s, ok := c.scalar("a number", "", "!!int", "!!float")
	if !ok {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	// .nan and .inf are numbers to YAML; ParseFloat knows them by other
	// spellings, and has more of them.
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		c.fail(show(s)+" is not a finite decimal number", fmt.Sprintf("use %g to %g", low, high))
		return 0, false
	}
	if f < low || f > high {
		c.fail(show(s)+" is out of range", fmt.Sprintf("use %g to %g", low, high))
		return 0, false
	}
	return f, true
}

// duration gives a time span within bounds, both included. A number without a
// unit is refused but for 0: readers would differ on what it means.
func (c *cursor) duration(low, high time.Duration) (time.Duration, bool) {
	if c.node.Kind == yaml.ScalarNode && c.node.Tag == "!!int" && c.node.Value != "0" {
		c.fail("is "+c.kind()+", not a duration", "add the unit: "+clip(c.node.Value)+"s")
		return 0, false
	}
	s, ok := c.scalar("a duration", "write it like 30s, 5m or 1h30m", "!!str", "!!int")
	if !ok {
		return 0, false
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		c.fail(show(s)+" is not a duration", "write it like 30s, 5m or 1h30m")
		return 0, false
	}
	if d < low || d > high {
		c.fail(show(s)+" is out of range", "use "+span(low)+" to "+span(high))
		return 0, false
	}
	return d, true
}

// ttl gives a TTL: whole seconds, not 0, not above a week (RFC 8767 section 4
// has resolvers cap longer ones).
func (c *cursor) ttl() (time.Duration, bool) {
	d, ok := c.duration(0, maxTTL)
	switch {
	case !ok:
		return 0, false
	case d == 0:
		c.fail("a TTL of 0 has every query reach the server and lets one push see two replicas", "use 30s to 5m")
		return 0, false
	case d%time.Second != 0:
		c.fail("a TTL has whole seconds", "")
		return 0, false
	}
	return d, true
}

const maxTTL = 7 * 24 * time.Hour

// choice gives one of the words.
func (c *cursor) choice(words ...string) (string, bool) {
	list := strings.Join(words, ", ")
	s, ok := c.scalar("one of "+list, "", "!!str")
	if !ok {
		return "", false
	}
	if slices.Contains(words, s) {
		return s, true
	}
	c.fail(show(s)+" is not known", suggest(s, words))
	return "", false
}

// span writes a duration without the zero parts time.Duration.String has.
func span(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// clip bounds a value that needs no quotes.
func clip(s string) string { return s[:min(len(s), maxShown)] }
