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

	"portolan.dev/cmd/internal/secretfile"
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
	kept := newKeptFiles(secretfile.SystemRoots())
	pair, err := kept.pair("server.tls.certificate", pemFiles{files.Certificate, files.Key})
	if err != nil {
		t.Fatal(err)
	}
	var c certificate
	c.current.Store(pair)
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
	var log bytes.Buffer
	a := &App{log: slog.New(slog.NewTextHandler(&log, nil))}
	a.world.Store(&World{kept: kept})
	if n := shown(); n != 1 {
		t.Errorf("certificate %d", n)
	}
	writePair(t, files, 2)
	if n := shown(); n != 1 {
		t.Errorf("certificate %d is shown although it is not yet time to look", n)
	}
	a.lookAtFiles(t.Context())
	if n := shown(); n != 2 || !strings.Contains(log.String(), "taken up") {
		t.Errorf("certificate %d after it was renewed: %s", n, log.String())
	}
	writePair(t, files, 3)
	if err := os.WriteFile(files.Key, []byte("half a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	a.lookAtFiles(t.Context())
	a.lookAtFiles(t.Context())
	if n := shown(); n != 2 || strings.Count(log.String(), "cannot be used") != 1 {
		t.Errorf("certificate %d with half a key; %s", n, log.String())
	}
	writePair(t, files, 4)
	a.lookAtFiles(t.Context())
	if n := shown(); n != 4 {
		t.Errorf("certificate %d", n)
	}
	c.current.Store(nil)
	if _, err := c.config("dot").GetCertificate(nil); err == nil {
		t.Error("a certificate without a configuration")
	}
}
