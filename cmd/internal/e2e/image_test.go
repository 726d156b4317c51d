//go:build linux

package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	crand "crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// image is an OCI image layout on disk.
type image struct {
	dir      string
	blobs    []string // SHA-256 of the layers, the configuration and the manifest, in hexadecimal, sorted
	manifest string   // SHA-256 of the manifest
}

// descriptor is what the OCI image specification calls so.
type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int    `json:"size"`
}

const ociType = "application/vnd.oci.image."

// freshImage makes an image with layers that no registry and no cache of a
// client has seen: each holds a file of that many random bytes.
func freshImage(t *testing.T, layers, size int) *image {
	t.Helper()
	i := &image{dir: t.TempDir()}
	config := struct {
		Architecture string `json:"architecture"`
		OS           string `json:"os"`
		RootFS       struct {
			Type    string   `json:"type"`
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}{Architecture: "amd64", OS: "linux"}
	config.RootFS.Type = "layers"
	manifest := struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Config        descriptor   `json:"config"`
		Layers        []descriptor `json:"layers"`
	}{SchemaVersion: 2, MediaType: ociType + "manifest.v1+json"}
	for n := range layers {
		plain, packed := randomLayer(t, fmt.Sprintf("file-%d", n), size)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, "sha256:"+digest(plain))
		manifest.Layers = append(manifest.Layers, i.add(t, "layer.v1.tar+gzip", packed))
	}
	manifest.Config = i.addJSON(t, "config.v1+json", config)
	top := i.addJSON(t, "manifest.v1+json", manifest)
	i.manifest = top.Digest[len("sha256:"):]
	slices.Sort(i.blobs)
	i.write(t, "oci-layout", []byte(`{"imageLayoutVersion": "1.0.0"}`))
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []descriptor{top}})
	if err != nil {
		t.Fatal(err)
	}
	i.write(t, "index.json", index)
	return i
}

// randomLayer returns a tar archive with one random file, plain and compressed.
func randomLayer(t *testing.T, name string, size int) (plain, packed []byte) {
	t.Helper()
	content := make([]byte, size)
	_, _ = crand.Read(content) // never fails
	var archive, compressed bytes.Buffer
	tw := tar.NewWriter(&archive)
	if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(size)}); err != nil {
		t.Fatal(err)
	}
	if _, err := tw.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	zw := gzip.NewWriter(&compressed)
	if _, err := zw.Write(archive.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return archive.Bytes(), compressed.Bytes()
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func (i *image) add(t *testing.T, kind string, blob []byte) descriptor {
	t.Helper()
	sum := digest(blob)
	i.blobs = append(i.blobs, sum)
	i.write(t, filepath.Join("blobs/sha256", sum), blob)
	return descriptor{ociType + kind, "sha256:" + sum, len(blob)}
}

func (i *image) addJSON(t *testing.T, kind string, v any) descriptor {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return i.add(t, kind, b)
}

func (i *image) write(t *testing.T, name string, b []byte) {
	t.Helper()
	path := filepath.Join(i.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// push copies the image to a repository, once and without another try.
func (i *image) push(t *testing.T, n *netns, reference string) outcome {
	t.Helper()
	return run(t, n, "skopeo", "copy", "--insecure-policy", "--dest-tls-verify=false", "--quiet", "oci:"+i.dir, "docker://"+reference)
}
