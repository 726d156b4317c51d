package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"strings"
)

// signature returns the value of webhook-signature: for each key "v1," and the
// base64 of the HMAC-SHA256 of "id.timestamp.body", separated by spaces (Standard
// Webhooks). "" without keys. The time is within, so that a message that
// was overheard cannot be sent again later.
func (t *Target) signature(id, timestamp string, body []byte) string {
	all := make([]string, 0, len(t.keys))
	for _, key := range t.keys {
		mac := hmac.New(sha256.New, key)
		_, _ = io.WriteString(mac, id+"."+timestamp+".") // a hash does not fail
		_, _ = mac.Write(body)
		all = append(all, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(all, " ")
}
