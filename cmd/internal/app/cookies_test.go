package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"portolan.dev/config"
	"portolan.dev/resolver/wire"
)

func TestParseSecrets(t *testing.T) {
	const a, b = "000102030405060708090a0b0c0d0e0f", "F0F1F2F3F4F5F6F7F8F9FAFBFCFDFEFF"
	keys, err := parseSecrets("f", []byte("# two\n\n  active\t"+a+"\r\nprevious "+b+"\nnext "+a))
	if err != nil {
		t.Fatal(err)
	}
	var first, second wire.CookieSecret
	for i := range first {
		first[i], second[i] = byte(i), byte(0xf0+i)
	}
	want := &wire.CookieKeys{Active: first, Accept: []wire.CookieSecret{second, first}}
	if diff := cmp.Diff(want, keys); diff != "" {
		t.Error(diff)
	}
	for text, want := range map[string]string{
		"":                                "f: there is no active secret",
		"previous " + a:                   "f: there is no active secret",
		"active " + a[2:]:                 "f:1: the secret is not 32",
		"active zz" + a[2:]:               "f:1: the secret is not 32",
		"\nactive " + a + "\nactive " + b: "f:3: there is another active",
		"current " + a:                    "f:1: is not a role",
		"active":                          "f:1: is not a role",
		"active " + a + " " + b:           "f:1: is not a role",
		"active " + a + strings.Repeat("0", 1<<17): "f:1: the secret is not 32",
	} {
		_, err := parseSecrets("f", []byte(text))
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		} else if strings.Contains(err.Error(), a[4:]) {
			t.Errorf("the error shows a secret: %v", err)
		}
	}
}

func TestSecretsFileMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets")
	if err := os.WriteFile(path, []byte("active 000102030405060708090a0b0c0d0e0f"), 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, good := range map[os.FileMode]bool{0o400: true, 0o600: true, 0o440: true, 0o640: true, 0o644: false, 0o660: false, 0o604: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		keys, err := cookieKeys(config.Cookies{Secrets: path, Enforce: true})
		if (err == nil) != good || err == nil && !keys.Enforce {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
	for _, bad := range []string{filepath.Dir(path), path + "-not-there"} {
		if _, err := cookieKeys(config.Cookies{Secrets: bad}); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

func FuzzParseSecrets(f *testing.F) {
	f.Add([]byte("active 000102030405060708090a0b0c0d0e0f\n# \nnext 000102030405060708090a0b0c0d0e0f"))
	f.Add([]byte("active"))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := parseSecrets("f", data)
		if err == nil && (keys == nil || len(keys.Accept) > 2) {
			t.Errorf("%q gives %v", data, keys)
		}
	})
}
