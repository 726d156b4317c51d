package app

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"portolan.dev/config"
)

// maxPEM bounds the files of a certificate in octets.
const maxPEM = 1 << 20

// certificateCheck is how often handshakes look whether the files have changed.
const certificateCheck = 5 * time.Second

// certificate is what TLS shows, from files that others renew. Handshakes look at
// the files now and then, so a renewal needs no reload; one that cannot be used
// changes nothing and is logged.
type certificate struct {
	now     func() time.Time
	log     *slog.Logger
	current atomic.Pointer[loaded]
	checked atomic.Int64 // Unix seconds of the last look at the files
}

// loaded is a certificate as it was read.
type loaded struct {
	files config.TLS
	stamp string // of the files, as far as that tells versions apart
	pair  tls.Certificate
}

// loadCertificate reads the files of c.
func loadCertificate(c config.TLS) (*loaded, error) {
	l := &loaded{files: c, stamp: pemStamp(c)}
	chain, err := readFile(c.Certificate, maxPEM)
	if err != nil {
		return nil, fmt.Errorf("server.tls.certificate: %w", err)
	}
	key, err := readPrivate(c.Key, maxPEM)
	if err != nil {
		return nil, fmt.Errorf("server.tls.key: %w", err)
	}
	if l.pair, err = tls.X509KeyPair(chain, key); err != nil {
		return nil, fmt.Errorf("server.tls: %s and %s: %w: both are PEM, the server's own certificate first", c.Certificate, c.Key, err)
	}
	return l, nil
}

// pemStamp changes when one of the files does.
func pemStamp(c config.TLS) string {
	var text strings.Builder
	for _, path := range []string{c.Certificate, c.Key} {
		info, err := os.Stat(path)
		if err != nil {
			return ""
		}
		fmt.Fprint(&text, info.ModTime().UnixNano(), " ", info.Size(), " ")
	}
	return text.String()
}

// config is the configuration of TLS listeners: 1.2 at least, and the protocol of RFC
// 7858 for whoever asks by name. No client is asked for a certificate.
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"dot"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			c.refresh()
			l := c.current.Load()
			if l == nil {
				return nil, errors.New("no certificate is configured any more")
			}
			return &l.pair, nil
		},
	}
}

// refresh loads files that have changed, in one of the handshakes that come at a time.
func (c *certificate) refresh() {
	last, now := c.checked.Load(), c.now().Unix()
	if l := c.current.Load(); l != nil && (now-last >= int64(certificateCheck/time.Second) || now < last) && c.checked.CompareAndSwap(last, now) {
		if s := pemStamp(l.files); s == l.stamp {
			return
		}
		next, err := loadCertificate(l.files)
		if err != nil {
			c.log.Warn("a renewed TLS certificate cannot be used; the old one stays", "error", err)
			return
		}
		c.current.Store(next)
		c.log.Info("the TLS certificate was renewed", "file", l.files.Certificate)
	}
}
