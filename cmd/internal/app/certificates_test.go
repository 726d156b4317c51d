package app_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// endingCertificate is one of its own making that has lived for nine tenths of its life.
func endingCertificate(t *testing.T, end time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: end.Add(-100 * time.Hour), NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// Status and metrics say when the certificate of a replica ends, and whether that is soon.
func TestCertificatesOfReplicas(t *testing.T) {
	t.Parallel()
	end := time.Now().Add(10 * time.Hour).Truncate(time.Second)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{endingCertificate(t, end)}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.(*tls.Conn).HandshakeContext(t.Context())
			_ = c.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	s := start(t, strings.NewReplacer(
		"admin.sock}", `admin.sock, metrics: "127.0.0.1:0"}`,
		"probes: {", "probes: {tls: {type: tls, verify: false, port: "+port+", interval: 500ms}, ",
		"192.0.2.1]", `192.0.2.1], probe: tls, probe_target: "127.0.0.1:`+port+`"`).Replace(sticky("", "")))
	eventually(t, "the certificate is seen", func() bool { return s.replica(t, "westus").CertificateEnds != nil })
	if r := s.replica(t, "westus"); !r.CertificateEnds.Equal(end) || !r.CertificateEndsSoon {
		t.Errorf("ends %v, soon %v, want %v", r.CertificateEnds, r.CertificateEndsSoon, end)
	}
	if want := fmt.Sprint("portolan_replica_certificate_end_timestamp_seconds{region=\"westus\",registry=\"myregistry\"} ", float64(end.Unix())); !strings.Contains(s.metrics(t), want) {
		t.Errorf("no %s in the metrics", want)
	}
	s.WarnCertificates(t.Context())
	if r := s.logs.records(t, "certificates of replicas end soon"); len(r) != 1 || r[0]["count"] != 1.0 || !strings.Contains(fmt.Sprint(r[0]["first"]), "myregistry/westus at ") {
		t.Errorf("logged %v", r)
	}
}
