package probe

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// The grammar of names and digests is that of the OCI distribution specification,
// section "Pulling manifests"; of digests only sha256 is known here.
var (
	repositoryName = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	sha256Digest   = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// manifestTypes are those that a probe can name: an image, or a list of images.
const manifestTypes = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json, " +
	"application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json"

// reference is a manifest by its digest.
type reference struct{ repository, digest string }

func parseReference(text string) (reference, error) {
	repository, digest, _ := strings.Cut(text, "@")
	if !repositoryName.MatchString(repository) || !sha256Digest.MatchString(digest) {
		return reference{}, errors.New("write repository@sha256:<64 hex digits>")
	}
	return reference{repository, digest}, nil
}

// pull gets the manifest, and the blob if the spec wants it, and checks that they
// are what their digests say.
func (v *visit) pull(ctx context.Context) (string, error) {
	m := v.manifest
	scope := "repository:" + m.repository + ":pull"
	r, err := v.call(ctx, call{
		step: "manifest", scope: scope, method: http.MethodGet,
		target: "/v2/" + m.repository + "/manifests/" + m.digest, accept: manifestTypes,
	})
	switch {
	case err != nil:
		return "", err
	case r.status != http.StatusOK:
		return "", v.refuse("manifest", r)
	case r.longer:
		return "", fmt.Errorf("manifest: longer than %d KiB, choose another", maxBody>>10)
	case digestOf(r.body) != m.digest:
		return "", errors.New("manifest: what came does not have the digest that was asked for")
	}
	if !v.spec.Blob {
		return "manifest pulled", nil
	}
	digest, err := blobOf(r.body)
	if err != nil {
		return "", err
	}
	return v.pullBlob(ctx, scope, m.repository, digest)
}

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// descriptor is what is read of a content descriptor of the OCI image specification.
type descriptor struct {
	Digest string `json:"digest"`
}

// blobOf returns the digest of the blob to ask for: the configuration, which is
// small, or else the first layer.
func blobOf(manifest []byte) (string, error) {
	var m struct {
		Config descriptor   `json:"config"`
		Layers []descriptor `json:"layers"`
	}
	if json.Unmarshal(manifest, &m) != nil {
		return "", errors.New("manifest: is not JSON")
	}
	digest := m.Config.Digest
	if digest == "" && len(m.Layers) > 0 {
		digest = m.Layers[0].Digest
	}
	if !sha256Digest.MatchString(digest) {
		return "", errors.New("manifest: names no blob by sha256; choose the manifest of one image, not of a list")
	}
	return digest, nil
}

// pullBlob reads a blob, or its first part if it is large. It is asked for by GET:
// HEAD is often answered without a look into the storage. A registry that sends
// its clients to a data endpoint has done its part; the probe does not go there.
func (v *visit) pullBlob(ctx context.Context, scope, repository, digest string) (string, error) {
	r, err := v.call(ctx, call{
		step: "blob", scope: scope, method: http.MethodGet,
		target: "/v2/" + repository + "/blobs/" + digest,
	})
	switch {
	case err != nil:
		return "", err
	case r.status == http.StatusOK && (r.longer || digestOf(r.body) == digest):
		return "manifest and blob pulled", nil
	case r.status == http.StatusOK:
		return "", errors.New("blob: what came does not have the digest that was asked for")
	case r.status >= 300 && r.status <= 399:
		return v.redirected(r)
	}
	return "", v.refuse("blob", r)
}

// redirected judges the redirect of a blob by its Location alone.
func (v *visit) redirected(r *response) (string, error) {
	u, err := url.Parse(r.header.Get("Location"))
	switch {
	case err != nil || r.header.Get("Location") == "":
		return "", errors.New("blob: " + statusText(r.status) + " without a Location that can be used")
	case u.Host == "" && u.Scheme == "":
		return "manifest pulled, blob elsewhere on this host", nil
	case u.Host == "" || u.Scheme != "https" && (v.spec.TLS || u.Scheme != "http"):
		return "", errors.New("blob: " + statusText(r.status) + " to " + u.Scheme + "://" + u.Host + ", which clients refuse")
	}
	return "manifest pulled, blob at " + u.Host, nil
}
