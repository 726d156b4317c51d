package probe

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"portolan.dev/health"
)

// maxDetail is the most bytes of a detail.
const maxDetail = 200

// stepError is an error of a probe and the step it came up in.
type stepError struct {
	step string // "connect", "tls", "response"
	err  error
}

func (e *stepError) Error() string { return e.step + ": " + reason(e.err) }
func (e *stepError) Unwrap() error { return e.err }

// reason words an error for an operator who knows the address and the step.
func reason(err error) string {
	var (
		step       *stepError
		lookUp     *lookUpError
		syscallErr *os.SyscallError
		opErr      *net.OpError
		dnsErr     *net.DNSError
		invalid    x509.CertificateInvalidError
		verify     *tls.CertificateVerificationError
		timeout    interface{ Timeout() bool }
	)
	switch {
	case errors.As(err, &step):
		return step.Error()
	case errors.As(err, &lookUp):
		return lookUp.Error()
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil:
		return expiry(invalid.Cert)
	case errors.As(err, &verify):
		return verify.Err.Error()
	case errors.As(err, &syscallErr):
		return syscallErr.Err.Error()
	case errors.As(err, &dnsErr):
		return dnsErr.Err
	case errors.As(err, &opErr) && opErr.Err != nil:
		return opErr.Err.Error()
	case errors.Is(err, io.EOF):
		return "closed by the target"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "cut off by the target"
	}
	return err.Error()
}

// expiry words the dates of a certificate that is not valid at this time.
func expiry(c *x509.Certificate) string {
	return fmt.Sprintf("certificate is valid only from %s until %s",
		c.NotBefore.UTC().Format(time.DateOnly), c.NotAfter.UTC().Format(time.DateOnly))
}

// clean returns s in printable ASCII, cut to maxDetail bytes: what a target sends
// must not reach a terminal or a log as it is.
func clean(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\t' || r == '\r' || r == '\n':
			r = ' '
		case r < ' ' || r > '~':
			r = '?'
		}
		b.WriteRune(r)
		if b.Len() > maxDetail {
			return b.String()[:maxDetail-3] + "..."
		}
	}
	return strings.TrimSpace(b.String())
}

// statusText returns a status as "503 Service Unavailable", in our words.
func statusText(code int) string {
	return strings.TrimSpace(fmt.Sprintf("%03d %s", code, http.StatusText(code)))
}

func pass(detail string) health.Result {
	return health.Result{Verdict: health.Pass, Detail: clean(detail)}
}

func fail(detail string) health.Result {
	return health.Result{Verdict: health.Fail, Detail: clean(detail)}
}

// neutral is the verdict on a target that answers but wants to be left alone.
func neutral(detail string) health.Result {
	return health.Result{Verdict: health.Neutral, Detail: clean(detail)}
}
