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

// The clock goes on evenly while that of the system is set, and then comes nearer.
func TestClockSurvivesSteps(t *testing.T) {
	// What has passed and what the clock of the system was set by are kept apart, as
	// the monotonic reading of a time does.
	start := time.Now()
	passed, set := time.Duration(0), time.Duration(0)
	c := newClock(func() time.Time { return start.Add(passed) }) // with a monotonic reading
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	look := func() {
		// What look sees of the wall clock is without the monotonic reading.
		ahead := start.Round(0).Add(passed + set).Sub(c.now().Round(0))
		c.follow(ahead, logger)
	}
	if d := c.now().Sub(start); d != 0 {
		t.Fatalf("begins %v off", d)
	}
	for _, step := range []time.Duration{time.Hour, -time.Hour} {
		log.Reset()
		set += step
		last := c.now()
		for range 10 * 3600 {
			passed += time.Second
			look()
			now := c.now()
			if d := now.Sub(last); d < 900*time.Millisecond || d > 1100*time.Millisecond {
				t.Fatalf("a second takes %v", d)
			}
			last = now
		}
		if d := c.now().Round(0).Sub(start.Round(0).Add(passed + set)); d > time.Second || d < -time.Second {
			t.Errorf("still %v off after ten hours", d)
		}
		if !strings.Contains(log.String(), "was set") || !strings.Contains(log.String(), "agrees") {
			t.Errorf("log: %s", log.String())
		}
	}
}
