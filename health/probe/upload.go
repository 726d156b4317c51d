package probe

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
	"path"
	"strings"
)

// upload opens an upload and gives it up, which is what fails when a registry is
// read-only, full, or spread over backends that do not know each other's uploads.
func (v *visit) upload(ctx context.Context) (string, error) {
	uploads := "/v2/" + v.spec.Write + "/blobs/uploads/"
	scope := "repository:" + v.spec.Write + ":pull,push"
	r, err := v.call(ctx, call{step: "upload", scope: scope, method: http.MethodPost, target: uploads})
	switch {
	case err != nil:
		return "", err
	case r.status != http.StatusAccepted:
		return "", v.refuse("upload", r)
	}
	location, err := url.Parse(r.header.Get("Location"))
	if err != nil || r.header.Get("Location") == "" {
		return "", errors.New("upload: 202 Accepted without a Location that can be used")
	}
	if !v.cancelable(location, uploads) {
		return "upload opened at " + location.Host + " and left there", nil
	}
	r, err = v.call(ctx, call{
		step: "end of upload", scope: scope, method: http.MethodDelete,
		host: location.Host, target: location.RequestURI(),
	})
	switch {
	case err != nil:
		return "", err
	case r.status >= 200 && r.status <= 299:
		return "upload opened and given up", nil
	case r.status == http.StatusMethodNotAllowed,
		r.status == http.StatusNotFound && !bytes.Contains(r.body, []byte("BLOB_UPLOAD_UNKNOWN")):
		return "upload opened; the registry does not let it be given up", nil
	}
	return "", v.refuse("end of upload", r)
}

// cancelable says whether an upload may be deleted at location: the target chooses
// it, and the request carries a token, so that it must be an upload of this
// repository on the probed host. A registry that answers with its regional name
// has opened the upload all the same, and will drop it by itself.
func (v *visit) cancelable(location *url.URL, uploads string) bool {
	if location.Host != "" && !v.spec.servedHere(location) {
		return false
	}
	return location.Opaque == "" && strings.HasPrefix(location.Path, uploads) && path.Clean(location.Path) == location.Path
}
