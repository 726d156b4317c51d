package config

import (
	"fmt"
	"strings"
)

const (
	maxLabel = 63  // octets, RFC 1035 section 2.3.4
	maxName  = 253 // characters of a name written without its trailing dot
)

// badLabel says what is wrong with a hostname label: letters, digits and
// hyphens, no hyphen at either end (RFC 1123 section 2.1). "" is nothing.
func badLabel(label string) string {
	switch {
	case label == "":
		return "has an empty label"
	case len(label) > maxLabel:
		return fmt.Sprintf("has a label of %d characters, and %d are allowed", len(label), maxLabel)
	case label[0] == '-' || label[len(label)-1] == '-':
		return "has a label that begins or ends with a hyphen"
	}
	for i := range len(label) {
		switch c := label[i]; {
		case letterOrDigit(c) || c == '-':
		case c == '_':
			return "has an underscore, which no host name has"
		case c >= 0x80:
			return "has a letter outside of a-z; write the form that begins with xn--"
		default:
			return "has the character " + show(string(rune(c))) + ", which no host name has"
		}
	}
	return ""
}

// badName says what is wrong with a host name without trailing dot.
func badName(name string) string {
	if len(name) > maxName {
		return fmt.Sprintf("has %d characters, and %d are allowed", len(name), maxName)
	}
	for label := range strings.SplitSeq(name, ".") {
		if msg := badLabel(label); msg != "" {
			return msg
		}
	}
	return ""
}

// hostname gives a host name, lower case and without trailing dot.
func (c *cursor) hostname() (string, bool) {
	s, ok := c.text()
	if !ok {
		return "", false
	}
	return c.checkedName(s)
}

// checkedName is hostname for a text that is already at hand, such as a key.
func (c *cursor) checkedName(s string) (string, bool) {
	name := strings.ToLower(strings.TrimSuffix(s, "."))
	if msg := badName(name); msg != "" {
		hint := "use letters, digits and hyphens"
		if strings.Contains(s, "://") {
			hint = "write the host alone, without scheme or path"
		}
		c.fail(show(s)+" is no host name: it "+msg, hint)
		return "", false
	}
	return name, true
}

// target gives a host name with a trailing dot that is no address.
func (c *cursor) target() (string, bool) {
	name, ok := c.hostname()
	if !ok {
		return "", false
	}
	if allDigits(name[strings.LastIndexByte(name, '.')+1:]) {
		c.fail(show(name)+" is an address, not a host name", "write addresses: ["+name+"]")
		return "", false
	}
	return name + ".", true
}

func allDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// region gives the name of a region: a label, or provider/label, in lower case.
func (c *cursor) region() (string, bool) {
	s, ok := c.text()
	if !ok {
		return "", false
	}
	return c.checkedRegion(s)
}

func (c *cursor) checkedRegion(s string) (string, bool) {
	name := strings.ToLower(s)
	provider, label, found := strings.Cut(name, "/")
	if !found {
		provider, label = "any", name
	}
	for _, part := range []string{provider, label} {
		if msg := badLabel(part); msg != "" {
			hint := "write westus or aws/us-east-1"
			if squeezed := strings.ReplaceAll(name, " ", ""); squeezed != name && badLabel(squeezed) == "" {
				hint = "write " + squeezed
			}
			c.fail("region "+show(s)+" "+msg, hint)
			return "", false
		}
	}
	return name, true
}

// bare is a fully qualified name as people write it.
func bare(name string) string { return strings.TrimSuffix(name, ".") }

// within says whether a fully qualified name is the zone or below it.
func within(name, zone string) bool {
	return name == zone || strings.HasSuffix(name, zone) && name[len(name)-len(zone)-1] == '.'
}

// contact gives the SOA RNAME for a mail address or a domain name, below the
// zone when it is a single label. Dots before the @ are escaped (RFC 1035
// section 8).
func (c *cursor) contact(zone string) (string, bool) {
	s, ok := c.text()
	if !ok {
		return "", false
	}
	local, domain, mail := strings.Cut(s, "@")
	if !mail {
		name, good := c.checkedName(s)
		if good && !strings.Contains(name, ".") {
			return name + "." + zone, true
		}
		return name + ".", good
	}
	if local == "" || len(local) > maxLabel || strings.Trim(strings.ToLower(local), "abcdefghijklmnopqrstuvwxyz0123456789.-_+") != "" {
		c.fail(show(s)+" is no mail address that fits a SOA record", "write it like hostmaster@"+bare(zone))
		return "", false
	}
	domain, ok = c.checkedName(domain)
	if !ok {
		return "", false
	}
	return strings.ToLower(strings.ReplaceAll(local, ".", `\.`)) + "." + domain + ".", true
}
