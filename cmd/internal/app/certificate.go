package app

import (
	"crypto/tls"
	"errors"
	"sync/atomic"

	"portolan.dev/cmd/internal/secretfile"
)

// pemFiles are the paths of a certificate and its key.
type pemFiles struct{ certificate, key string }

// certificate holds the certificate that TLS listeners show: that of the configuration
// served. It follows its files, which others renew.
type certificate struct {
	current atomic.Pointer[secretfile.Kept[*tls.Certificate]] // nil for none
}

// config is the configuration of TLS listeners: 1.2 at least, and the protocol that
// clients may ask for by name (RFC 7858 has dot). No client is asked for a
// certificate.
func (c *certificate) config(protocol string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{protocol},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if k := c.current.Load(); k != nil {
				return k.Get(), nil
			}
			return nil, errors.New("no certificate is configured any more")
		},
	}
}
