package transfer

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Key is a TSIG key (RFC 8945 section 4).
type Key struct {
	Name      string // fully qualified, lower case
	Algorithm string // as TSIG records name it
	secret    string // base64
}

// Algorithms are those that RFC 8945 section 6 lets new keys use.
func algorithms() []string {
	return []string{dns.HmacSHA224, dns.HmacSHA256, dns.HmacSHA384, dns.HmacSHA512}
}

// minSecret is the least entropy in octets that RFC 8945 section 8 would call a key,
// with room below its advice for what peers accept.
const minSecret = 16

const keyExample = `write it as tsig-keygen does: key "name" { algorithm hmac-sha256; secret "base64"; };`

// ParseKey reads the file of a key, in the form that tsig-keygen writes:
//
//	key "transfer.example.io" {
//		algorithm hmac-sha256;
//		secret "base64";
//	};
//
// Comments begin with # or //. Errors never repeat the secret.
func ParseKey(text string) (*Key, error) {
	words := tokens(text)
	fields := make(map[string]string, 2)
	if len(words) < 3 || words[0] != "key" || words[2] != "{" {
		return nil, errors.New("is no key: " + keyExample)
	}
	rest := words[3:]
	for len(rest) >= 3 && rest[0] != "}" {
		name := rest[0]
		if _, twice := fields[name]; twice || rest[2] != ";" || name != "algorithm" && name != "secret" {
			return nil, errors.New("is no key: " + keyExample)
		}
		fields[name], rest = rest[1], rest[3:]
	}
	if len(rest) == 0 || rest[0] != "}" || !slices.Equal(rest[1:], []string{";"}) && len(rest) > 1 {
		return nil, errors.New("is no key, or holds more than one: " + keyExample)
	}
	k := &Key{Name: dns.CanonicalName(words[1]), Algorithm: dns.CanonicalName(fields["algorithm"]), secret: fields["secret"]}
	if _, ok := dns.IsDomainName(k.Name); !ok || k.Name == "." {
		return nil, errors.New("the name of the key is no domain name: " + keyExample)
	}
	if !slices.Contains(algorithms(), k.Algorithm) {
		return nil, fmt.Errorf("the algorithm is not one of hmac-sha224, -256, -384 and -512: make a key with `tsig-keygen -a hmac-sha256 %s`", strings.TrimSuffix(k.Name, "."))
	}
	secret, err := base64.StdEncoding.DecodeString(k.secret)
	if err != nil || len(secret) < minSecret {
		return nil, fmt.Errorf("the secret is not base64 of at least %d octets: make a key with `tsig-keygen -a hmac-sha256 %s`", minSecret, strings.TrimSuffix(k.Name, "."))
	}
	return k, nil
}

// tokens splits the text of a key file into words, braces and semicolons.
func tokens(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		if i := strings.IndexByte(line, '#'); i >= 0 {
			line = line[:i]
		}
		if i := strings.Index(line, "//"); i >= 0 && strings.Count(line[:i], `"`)%2 == 0 {
			line = line[:i]
		}
		for _, c := range "{};" {
			// Base64 and names hold none of these.
			line = strings.ReplaceAll(line, string(c), " "+string(c)+" ")
		}
		for word := range strings.FieldsSeq(line) {
			out = append(out, strings.Trim(word, `"`))
		}
	}
	return out
}
