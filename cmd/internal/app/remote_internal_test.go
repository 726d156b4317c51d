package app

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"portolan.dev/cmd/internal/secretfile"
)

func writeTokens(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path+".new", mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

var (
	tokenA = strings.Repeat("a", minToken)
	tokenB = strings.Repeat("b", 2*minToken)
)

func TestTokens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	for _, c := range []struct {
		name, text string
		mode       os.FileMode
		want       string // of the error; "" for none
	}{
		{"one", tokenA + "\n", 0o600, ""},
		{"without a line's end", tokenA, 0o400, ""},
		{"two, a remark and space", "# of ann\n" + tokenA + "\n\n  " + tokenB + "  \r\n", 0o640, ""},
		{"none", "# nothing\n", 0o600, "0 tokens"},
		{"short", strings.Repeat("a", minToken-1), 0o600, "tokens:1: a token of 31 characters"},
		{"two words", tokenA + " " + tokenB, 0o600, "in one word"},
		{"others may read it", tokenA, 0o644, "chmod"},
		{"the group may write it", tokenA, 0o660, "chmod"},
		{"too many", strings.Repeat(tokenA+"\n", maxTokens+1), 0o600, "101 tokens"},
		{"too large", strings.Repeat("#", secretfile.MaxSecret+1), 0o600, "too many"},
	} {
		writeTokens(t, path, c.text, c.mode)
		k, err := tokensOf(path)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
			continue
		}
		if err != nil {
			if strings.Contains(err.Error(), tokenA[:8]) {
				t.Errorf("%s: the error shows the token: %v", c.name, err)
			}
			continue
		}
		got := k.Get()
		if !got.allow(tokenA) || got.allow(tokenA+"a") || got.allow(tokenA[1:]) || got.allow("") || got.allow("# of ann") {
			t.Errorf("%s: what is let in is wrong", c.name)
		}
		if got.allow(tokenB) != strings.Contains(c.text, tokenB) {
			t.Errorf("%s: the second token", c.name)
		}
	}
}

// tokensOf keeps a file of tokens.
func tokensOf(path string) (*secretfile.Kept[*tokens], error) {
	return newKeptFiles(secretfile.SystemRoots()).tokens(path)
}

// Tokens that were replaced let in without a reload; a file that cannot be used
// changes nothing.
func TestTokensAreReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	writeTokens(t, path, tokenA, 0o600)
	kept := newKeptFiles(secretfile.SystemRoots())
	k, err := kept.tokens(path)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	a := &App{log: slog.New(slog.NewTextHandler(&log, nil))}
	a.world.Store(&World{kept: kept})
	r := newRemote(&remoteFiles{tokens: k})
	if !r.allow(tokenA) || r.allow(tokenB) {
		t.Error("at first")
	}
	writeTokens(t, path, tokenB+"\n", 0o600)
	if !r.allow(tokenA) {
		t.Error("before it is time to look")
	}
	a.lookAtFiles(t.Context())
	if r.allow(tokenA) || !r.allow(tokenB) {
		t.Error("after the change")
	}
	for _, bad := range []struct {
		text string
		mode os.FileMode
	}{{"short", 0o600}, {tokenA, 0o644}} {
		writeTokens(t, path, bad.text, bad.mode)
		a.lookAtFiles(t.Context())
		if !r.allow(tokenB) || r.allow("short") || r.allow(tokenA) || !strings.Contains(log.String(), "what it held before stays") {
			t.Errorf("with %q, mode %v: %s", bad.text, bad.mode, log.String())
		}
		log.Reset()
	}
	if strings.Contains(log.String(), tokenB[:8]) {
		t.Errorf("the log shows a token: %s", log.String())
	}
}
