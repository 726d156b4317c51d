package secretfile

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// One policy holds for every secret, whatever it is for.
func TestRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for mode := range os.FileMode(0o1000) {
		if mode&0o400 == 0 {
			continue // not even the owner may read it
		}
		write(t, path, "text", mode)
		for _, s := range []Source{Secret(path), Key(path), PEM(path)} {
			text, err := s.Read()
			good := !s.Secret || mode&0o027 == 0
			if (err == nil) != good || good && string(text) != "text" || !good && !strings.Contains(err.Error(), "chmod 0640 or 0600") {
				t.Errorf("mode %04o, %+v: %q, %v", mode, s, text, err)
			}
		}
	}
	write(t, path, strings.Repeat("x", 10), 0o600)
	if text, err := (Source{Path: path, Secret: true, Most: 10}).Read(); err != nil || len(text) != 10 {
		t.Errorf("%q, %v", text, err)
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{path: "more than 9 octets", dir: "no regular file", pipe: "no regular file", filepath.Join(dir, "gone"): "relative to the file"} {
		_, err := Source{Path: path, Most: 9}.Read()
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if _, err := Secret(filepath.Join(dir, "gone")).Read(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what is wrapped is lost: %v", err)
	}
}

// What is kept follows its files, through every way in which one is replaced.
func TestKept(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	write(t, path, "a", 0o600)
	parse := func(texts [][]byte) (string, error) {
		if string(texts[0]) == "bad" {
			return "", errors.New("of no use")
		}
		return string(texts[0]), nil
	}
	k, err := Keep("key", parse, Secret(path))
	if err != nil {
		t.Fatal(err)
	}
	look := func(want string, changes bool, fault string) {
		t.Helper()
		changed, err := k.Look()
		if changed != changes || k.Get() != want || (err == nil) != (fault == "") || err != nil && !strings.Contains(err.Error(), fault) {
			t.Errorf("%q, changed %v, %v; want %q, %v, %q", k.Get(), changed, err, want, changes, fault)
		}
	}
	look("a", false, "")
	past := time.Now().Add(-time.Hour)
	write(t, path, "b", 0o600)
	if err := os.Chtimes(path, past, past); err != nil { // as a link to an older file, or a clock that was set
		t.Fatal(err)
	}
	look("b", true, "")
	write(t, path+".new", "c", 0o600)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	look("c", true, "")
	write(t, path, "bad", 0o600)
	look("c", false, "of no use")
	look("c", false, "") // has been said
	write(t, path, "d", 0o644)
	look("c", false, "chmod")
	write(t, path, "c", 0o600)
	look("c", false, "")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	look("c", false, "no such file")
	write(t, path, "d", 0o640)
	look("d", true, "")
	if k.Name() != "key" || len(k.Paths()) != 1 || k.Paths()[0] != path {
		t.Errorf("%q, %v", k.Name(), k.Paths())
	}
	write(t, path, "bad", 0o600)
	if _, err := Keep("key", parse, Secret(path)); err == nil {
		t.Error("kept although it cannot be used")
	}
}

// A digest is that of the files one by one: what moves from one to the next is a change.
func TestKeptOfSeveral(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	write(t, a, "xy", 0o600)
	write(t, b, "z", 0o600)
	k, err := Keep("pair", func(texts [][]byte) (string, error) { return string(texts[0]) + "|" + string(texts[1]), nil }, PEM(a), Key(b))
	if err != nil {
		t.Fatal(err)
	}
	was := k.Digest()
	write(t, a, "x", 0o600)
	write(t, b, "yz", 0o600)
	if changed, err := k.Look(); err != nil || !changed || k.Get() != "x|yz" || k.Digest() == was {
		t.Errorf("%v, %v, %q", changed, err, k.Get())
	}
}

func authority(t *testing.T, serial int64) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(serial), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func poolOf(text string) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(text))
	return pool
}

// The authorities of the system are those that the standard library would trust, and
// follow their files.
func TestSystemRoots(t *testing.T) {
	dir := t.TempDir()
	file, folder := filepath.Join(dir, "bundle.pem"), filepath.Join(dir, "certs")
	first, second, third := authority(t, 1), authority(t, 2), authority(t, 3)
	write(t, file, first, 0o644)
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(folder, "a.pem"), second, 0o644)
	if err := os.Symlink("a.pem", filepath.Join(folder, "01234567.0")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", file)
	t.Setenv("SSL_CERT_DIR", folder)
	r := SystemRoots()
	if len(r.Paths()) == 0 {
		t.Skip("the authorities of this system are in no files")
	}
	if changed, err := r.Look(); changed || err != nil {
		t.Errorf("a look before they are wanted: %v, %v", changed, err)
	}
	if !r.Get().Equal(poolOf(first + second)) {
		t.Error("not the authorities of file and folder")
	}
	digest := r.Digest()
	if changed, _ := r.Look(); changed {
		t.Error("nothing has changed")
	}
	dependent, err := Keep("x", func([][]byte) (*x509.CertPool, error) { return r.Get(), nil }, r.Source())
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(folder, "b.pem"), third, 0o644)
	if changed, _ := r.Look(); !changed || !r.Get().Equal(poolOf(first+second+third)) || r.Digest() == digest {
		t.Error("a new authority is not taken up")
	}
	if changed, err := dependent.Look(); !changed || err != nil || !dependent.Get().Equal(r.Get()) {
		t.Errorf("what depends on them: %v, %v", changed, err)
	}
	later := time.Now().Add(time.Hour)
	write(t, file, third, 0o644)
	if err := os.Chtimes(file, later, later); err != nil {
		t.Fatal(err)
	}
	if changed, _ := r.Look(); !changed || r.Get().Equal(poolOf(first+second+third)) || !r.Get().Equal(poolOf(third+second)) {
		t.Error("an authority that is gone is still trusted")
	}
	if std, err := x509.SystemCertPool(); err != nil || !std.Equal(r.Get()) {
		t.Errorf("the standard library trusts others: %v", err)
	}
}

func TestLines(t *testing.T) {
	lines, numbers := Lines([]byte("\n# a remark\n  one \r\n\t\ntwo\n#"))
	if len(lines) != 2 || string(lines[0]) != "one" || string(lines[1]) != "two" || numbers[0] != 3 || numbers[1] != 5 {
		t.Errorf("%q, %v", lines, numbers)
	}
}
