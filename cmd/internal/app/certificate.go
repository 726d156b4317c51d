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
	hint    func(error) string // what to add to an error; nil for nothing
	current atomic.Pointer[loaded]
	checked atomic.Int64 // Unix seconds of the last look at the files
}

// loaded is a certificate as it was read.
type loaded struct {
	section string // of the configuration
	files   pemFiles
	stamp   string // of the files, as far as that tells versions apart
	pair    tls.Certificate
}

// pemFiles are the paths of a certificate and its key.
type pemFiles struct{ certificate, key string }

// loadCertificate reads the files that a section of the configuration names.
func loadCertificate(section string, f pemFiles) (*loaded, error) {
	l := &loaded{section: section, files: f, stamp: fileStamp(f.certificate, f.key)}
	chain, err := readFile(f.certificate, maxPEM)
	if err != nil {
		return nil, fmt.Errorf("%s.certificate: %w", section, err)
	}
	key, err := readPrivate(f.key, maxPEM)
	if err != nil {
		return nil, fmt.Errorf("%s.key: %w", section, err)
	}
	if l.pair, err = tls.X509KeyPair(chain, key); err != nil {
		return nil, fmt.Errorf("%s: %s and %s: %w: both are PEM, the server's own certificate first", section, f.certificate, f.key, err)
	}
	return l, nil
}

// fileStamp changes when one of the files does.
func fileStamp(paths ...string) string {
	var text strings.Builder
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return ""
		}
		fmt.Fprint(&text, info.ModTime().UnixNano(), " ", info.Size(), " ")
	}
	return text.String()
}

// config is the configuration of TLS listeners: 1.2 at least, and the protocol that
// clients may ask for by name (RFC 7858 has dot). No client is asked for a
// certificate.
func (c *certificate) config(protocol string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{protocol},
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

// advised is the text of an error with what to do, where that is known.
func (c *certificate) advised(err error) string {
	if c.hint == nil {
		return err.Error()
	}
	return err.Error() + c.hint(err)
}

// refresh loads files that have changed, in one of the handshakes that come at a time.
func (c *certificate) refresh() {
	last, now := c.checked.Load(), c.now().Unix()
	if l := c.current.Load(); l != nil && (now-last >= int64(certificateCheck/time.Second) || now < last) && c.checked.CompareAndSwap(last, now) {
		if s := fileStamp(l.files.certificate, l.files.key); s == l.stamp {
			return
		}
		next, err := loadCertificate(l.section, l.files)
		if err != nil {
			c.log.Warn("a renewed TLS certificate cannot be used; the old one stays", "error", c.advised(err))
			return
		}
		c.current.Store(next)
		c.log.Info("the TLS certificate was renewed", "file", l.files.certificate)
	}
}
