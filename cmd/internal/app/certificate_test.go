package app

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portolan.dev/config"
)

// writePair writes a certificate with the serial number and its key.
func writePair(t *testing.T, c config.TLS, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{c.Certificate: {Type: "CERTIFICATE", Bytes: der}, c.Key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A renewed certificate is shown without a reload; one that cannot be used is not.
func TestCertificateIsRenewed(t *testing.T) {
	dir := t.TempDir()
	files := config.TLS{Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	writePair(t, files, 1)
	l, err := loadCertificate("server.tls", pemFiles{files.Certificate, files.Key})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_800_000_000, 0)
	var log bytes.Buffer
	c := &certificate{now: func() time.Time { return now }, log: slog.New(slog.NewTextHandler(&log, nil))}
	c.current.Store(l)
	shown := func() int64 {
		t.Helper()
		pair, err := c.config("dot").GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(pair.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		return leaf.SerialNumber.Int64()
	}
	later := now.Add(time.Hour)
	renew := func(serial int64) {
		writePair(t, files, serial)
		later = later.Add(time.Hour) // two writes may fall into one tick of the file system
		if err := os.Chtimes(files.Certificate, later, later); err != nil {
			t.Fatal(err)
		}
	}
	if n := shown(); n != 1 {
		t.Errorf("certificate %d", n)
	}
	renew(2)
	if n := shown(); n != 1 {
		t.Errorf("certificate %d is shown although it is not yet time to look", n)
	}
	now = now.Add(certificateCheck)
	if n := shown(); n != 2 {
		t.Errorf("certificate %d after it was renewed", n)
	}
	renew(3)
	if err := os.WriteFile(files.Key, []byte("half a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	now = now.Add(certificateCheck)
	if n := shown(); n != 2 || !strings.Contains(log.String(), "cannot be used") {
		t.Errorf("certificate %d with half a key; %s", n, log.String())
	}
	renew(4)
	now = now.Add(-time.Hour) // the clock was set
	if n := shown(); n != 4 {
		t.Errorf("certificate %d after the clock was set back", n)
	}
	if err := os.Chmod(files.Key, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := loadCertificate("server.tls", pemFiles{files.Certificate, files.Key}); err == nil || !strings.Contains(err.Error(), "chmod") {
		t.Errorf("a key that all can read: %v", err)
	}
}
