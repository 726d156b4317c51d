package app_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/cmd/internal/app"
)

const remoteServer = head + `
zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}}
registries:
  myregistry: {replicas: {westus: {addresses: [192.0.2.1]}, eastus: {addresses: [192.0.2.2]}}}
`

var remoteToken = strings.Repeat("0123456789abcdef", 4)

// startRemote starts a server whose admin API other machines may use.
func startRemote(t *testing.T) (*server, *x509.CertPool) {
	t.Helper()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ns1"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	shown := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	writeFile(t, filepath.Join(dir, "cert.pem"), string(shown))
	writeFile(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	writeFile(t, filepath.Join(dir, "tokens"), remoteToken)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(shown)
	text := strings.Replace(remoteServer, `metrics: "127.0.0.1:0"`,
		`metrics: "127.0.0.1:0", tcp: {listen: "127.0.0.1:0", certificate: CERTS/cert.pem, key: CERTS/key.pem, token_file: CERTS/tokens}`, 1)
	return start(t, strings.ReplaceAll(text, "CERTS", dir)), roots
}

// Other machines are let in with TLS and a token, and not otherwise.
func TestAdminFromOtherMachines(t *testing.T) {
	t.Parallel()
	s, roots := startRemote(t)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	defer client.CloseIdleConnections()
	for name, c := range map[string]struct {
		path, header string
		code         int
	}{
		"no token":              {"/v1/status", "", 401},
		"another scheme":        {"/v1/status", "Basic " + remoteToken, 401},
		"another token":         {"/v1/status", "Bearer " + strings.ToUpper(remoteToken), 401},
		"half a token":          {"/v1/status", "Bearer " + remoteToken[:32], 401},
		"a path that is not":    {"/v1/nothing", "", 401},
		"the description":       {"/v1/openapi.yaml", "", 401},
		"a token":               {"/v1/status", "Bearer " + remoteToken, 200},
		"the scheme in letters": {"/v1/status", "bearer " + remoteToken, 200},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+s.AdminAddr()+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.header != "" {
			req.Header.Set("Authorization", c.header)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != c.code {
			t.Errorf("%s: %s %s, %v", name, resp.Status, text, err)
		}
		if c.code == 401 && (!strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Bearer") || !strings.Contains(string(text), "token_file")) {
			t.Errorf("%s: %v %s", name, resp.Header, text)
		}
	}
	if n := len(s.logs.records(t, "a request to the admin API without a token that lets in")); n != 1 {
		t.Errorf("%d lines for what was refused within a minute", n)
	}
}

// Without TLS there is an answer that says so, and nothing is done.
func TestAdminFromOtherMachinesNeedsTLS(t *testing.T) {
	t.Parallel()
	s, _ := startRemote(t)
	c, err := net.Dial("tcp", s.AdminAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	body := `{"region": "westus"}`
	_, err = io.WriteString(c, "POST /v1/drain HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+remoteToken+
		"\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n"+body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != http.StatusBadRequest {
		t.Errorf("%v, %v", resp, err)
	}
	if resp != nil {
		_ = resp.Body.Close()
	}
	if d, err := s.Drains(t.Context(), admin.Selector{}); err != nil || len(d) != 0 {
		t.Errorf("%+v, %v", d, err)
	}
}

// The client of the command line does what it does over the socket, and is named by
// its address.
func TestAdminClientFromOtherMachines(t *testing.T) {
	t.Parallel()
	s, roots := startRemote(t)
	server := "https://" + s.AdminAddr()
	c, err := admin.NewRemoteClient(server, remoteToken, roots)
	if err != nil {
		t.Fatal(err)
	}
	d, err := c.Drain(t.Context(), admin.DrainRequest{Selector: admin.Selector{Region: "westus"}})
	if err != nil || len(d) != 1 || d[0].By != "a token from 127.0.0.1" {
		t.Errorf("%+v, %v", d, err)
	}
	stranger, err := admin.NewRemoteClient(server, strings.Repeat("x", 64), roots)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stranger.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "token") {
		t.Errorf("another token: %v", err)
	}
	distrustful, err := admin.NewRemoteClient(server, remoteToken, x509.NewCertPool())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := distrustful.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "--ca") {
		t.Errorf("an authority that is not trusted: %v", err)
	}
	for _, bad := range []string{"http://127.0.0.1:9354", "127.0.0.1:9354", "https://", "https://ann@host", "https://host/path", "https://host?x=1"} {
		if _, err := admin.NewRemoteClient(bad, remoteToken, nil); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

// A listener for other machines without all that makes it safe is no configuration.
func TestAdminFromOtherMachinesIsWhole(t *testing.T) {
	t.Parallel()
	for part, want := range map[string]string{
		`listen: ":9354"`: "admin.tcp.token_file", `token_file: tokens`: "admin.tcp.listen",
		`listen: ":9354", certificate: c, key: k`: "admin.tcp.token_file", `listen: ":9354", key: k, token_file: f`: "admin.tcp.certificate",
	} {
		text := strings.Replace(remoteServer, `metrics: "127.0.0.1:0"`, "tcp: {"+part+"}", 1)
		_, err := app.Source{Path: "portolan.yaml", Text: []byte(text), Now: time.Now}.LoadConfig()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", part, err)
		}
	}
}
