package probe

import (
	"strings"
)

// challenge is what a server wants to see first (RFC 9110 section 11.6.1).
type challenge struct {
	scheme string            // in lower case
	params map[string]string // by names in lower case
}

// findChallenge returns the Bearer challenge in the values of WWW-Authenticate, or
// else the Basic one; nil if there is neither, which no registry client could
// answer.
func findChallenge(values []string) *challenge {
	var found *challenge
	for _, value := range values {
		for _, c := range parseChallenges(value) {
			switch {
			case c.scheme == "bearer":
				return &c
			case c.scheme == "basic" && found == nil:
				found = &c
			}
		}
	}
	return found
}

// parseChallenges reads one value of WWW-Authenticate, up to the first thing that
// it does not understand:
//
//	challenge = scheme [ 1*SP ( token68 / param *( OWS "," OWS param ) ) ]
//	param     = name BWS "=" BWS ( token / quoted-string )
//
// Challenges are divided by commas as well: a token without "=" begins the next.
func parseChallenges(value string) []challenge {
	var all []challenge
	rest := value
	for {
		rest = strings.TrimLeft(rest, " \t,")
		name, after := cutToken(rest)
		if name == "" {
			return all
		}
		after = strings.TrimLeft(after, " \t")
		if !strings.HasPrefix(after, "=") {
			all = append(all, challenge{strings.ToLower(name), map[string]string{}})
			rest = after
			continue
		}
		text, after, ok := cutValue(strings.TrimLeft(after[1:], " \t"))
		if !ok || len(all) == 0 {
			return all
		}
		params := all[len(all)-1].params
		if _, twice := params[strings.ToLower(name)]; !twice {
			params[strings.ToLower(name)] = text
		}
		rest = after
	}
}

// cutToken cuts a token (RFC 9110 section 5.6.2) from the start of s; "" if none
// is there.
func cutToken(s string) (token, rest string) {
	i := 0
	for i < len(s) && isTokenByte(s[i]) {
		i++
	}
	return s[:i], s[i:]
}

func isTokenByte(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	default:
		return strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
	}
}

// cutValue cuts a token or a quoted string (RFC 9110 section 5.6.4) from s.
func cutValue(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		value, rest = cutToken(s)
		return value, rest, value != ""
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			if i++; i == len(s) {
				return "", "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}
