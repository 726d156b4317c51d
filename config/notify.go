package config

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Notify is a receiver of events: each that matches is posted to it as JSON.
type Notify struct {
	// URL is absolute, http or https, without user and fragment. Its path may hold
	// a token, so it belongs neither in logs nor in errors.
	URL string
	// Events has the kinds that are posted, as the ledger names them; empty for all.
	Events []string
	// Secret signs what is posted, or the lines of SecretFile do; at most one of the
	// two is set, and with neither nothing is signed.
	Secret     Secret
	SecretFile string
	CAFile     string // PEM bundle instead of the roots of the system; "" for those
	Pos        Pos
}

// Secret is a text that does not show when it is printed, logged or encoded.
// Convert it to string to use it.
type Secret string

const hidden = "[secret]"

const (
	exampleURL    = "write it like https://hooks.example.com/portolan"
	exampleNotify = "write it like notify: [{url: https://hooks.example.com/portolan}]"
)

// String hides the secret from fmt.
func (Secret) String() string { return hidden }

// GoString hides it from %#v.
func (Secret) GoString() string { return hidden }

// MarshalText hides it from encoders, and so from structured logs.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

const (
	// maxNotify bounds the receivers: each has a queue and a goroutine.
	maxNotify = 32
	// minSecret is the shortest secret in bytes. Whoever sees one signed message can
	// try secrets at leisure.
	minSecret = 16
	// maxURL is what servers commonly take.
	maxURL = 2048
)

// NotifyEvents are the kinds of events that can be asked for.
func NotifyEvents() []string {
	return []string{"down", "up", "drain", "undrain", "routing", "failback", "config", "geodata", "effective", "passing"}
}

func notifyFields() []field[Notify] {
	return []field[Notify]{
		{name: "url", typ: "URL", required: true, set: into(func(c *cursor) (string, bool) { return c.webURL(exampleURL) }, func(n *Notify) *string { return &n.URL })},
		{name: "events", typ: "list of kinds of events", note: "all", set: decodeNotifyEvents},
		{name: "secret", typ: "text", note: "none: not signed", set: into((*cursor).secret, func(n *Notify) *Secret { return &n.Secret })},
		{name: "secret_file", typ: "path", note: "none: not signed", set: into((*cursor).file, func(n *Notify) *string { return &n.SecretFile })},
		{name: "ca_file", typ: "path", note: "the roots of the system", set: into((*cursor).file, func(n *Notify) *string { return &n.CAFile })},
	}
}

// decodeNotify reads receivers. Several files may add to the list. A URL that stands
// where its mapping should is not repeated either.
func decodeNotify(c *cursor, v *Config) {
	if c.node.Kind == yaml.ScalarNode {
		c.fail("is not a list of receivers", exampleNotify)
		return
	}
	c.items(func(c *cursor) {
		if c.node.Kind == yaml.ScalarNode {
			c.fail("is not a mapping", exampleNotify)
			return
		}
		var n Notify
		g := c.d.sections.notify.one(c, &n)
		n.Pos = c.pos()
		checkNotify(c, &n, g)
		if n.URL == "" {
			return // said already
		}
		if at := c.d.receivers[n.URL]; at != nil {
			c.d.errs.add(g.where("url"), "this URL is given twice", "put all its events into one entry; first given at "+at.pos().String())
			return
		}
		c.d.receivers[n.URL] = g.where("url")
		if len(v.Notify) == maxNotify {
			c.fail("more than "+strconv.Itoa(maxNotify)+" receivers", "let one receiver hand events on")
			return
		}
		v.Notify = append(v.Notify, n)
	})
}

// checkNotify looks at what keys say together.
func checkNotify(c *cursor, n *Notify, g given[Notify]) {
	if g.has("secret") && g.has("secret_file") {
		c.d.errs.add(g.where("secret"), "secret and secret_file are both given", "keep secret_file")
	}
	if !strings.HasPrefix(n.URL, "http:") {
		return
	}
	c.d.warnings.add(g.where("url"), "events are sent in the clear", "use https")
	if n.CAFile != "" {
		c.d.warnings.add(g.where("ca_file"), "has no effect without TLS", "use https")
	}
}

// webURL gives an absolute URL of HTTP, with its scheme and host in lower case.
// Errors do not repeat it: it may hold a token.
func (c *cursor) webURL(example string) (string, bool) {
	if c.node.Tag != "!!str" {
		c.fail("is no URL", example)
		return "", false
	}
	u, err := url.Parse(c.node.Value)
	if err != nil {
		c.fail("is no URL", example)
		return "", false
	}
	if msg, hint := badURL(u, c.node.Value, example); msg != "" {
		c.fail(msg, hint)
		return "", false
	}
	u.Host = strings.ToLower(u.Host)
	return u.String(), true
}

func badURL(u *url.URL, text, example string) (msg, hint string) {
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	switch {
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return "is no absolute http or https URL", example
	case u.User != nil:
		return "has a user or password", "leave them out: what goes there proves who sends it in another way"
	case strings.Contains(text, "#"):
		return "has a fragment, which is never sent", "leave out what follows #"
	case strings.HasSuffix(u.Host, ":"), u.Port() != "" && (err != nil || port == 0):
		return "has no valid port", "use 1 to 65535, or leave it out"
	case len(text) > maxURL:
		return "is longer than " + strconv.Itoa(maxURL) + " bytes", "shorten it"
	case strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return "has a space or a character outside of ASCII", "write it as %20 and so on, and hosts in their xn-- form"
	}
	return "", ""
}

// secret gives a text that no error repeats.
func (c *cursor) secret() (Secret, bool) {
	switch {
	case c.node.Kind != yaml.ScalarNode || c.node.Tag != "!!str":
		c.fail("is not text", "put it in quotes, or use secret_file")
	case len(c.node.Value) < minSecret:
		c.fail("is shorter than "+strconv.Itoa(minSecret)+" bytes", "draw one at random: openssl rand -base64 32")
	default:
		return Secret(c.node.Value), true
	}
	return "", false
}

func decodeNotifyEvents(c *cursor, n *Notify) {
	var out []string
	c.items(func(c *cursor) {
		kind, ok := c.choice(NotifyEvents()...)
		if ok && slices.Contains(out, kind) {
			c.fail(kind+" stands twice in the list", "remove one")
			return
		}
		if ok {
			out = append(out, kind)
		}
	})
	n.Events = out
}
