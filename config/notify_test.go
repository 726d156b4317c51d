package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNotify(t *testing.T) {
	dir := "../testdata/config/good/"
	got := good(t, "notify.yaml").Notify
	for i := range got {
		if got[i].Pos.Line == 0 {
			t.Errorf("%d has no position", i)
		}
		got[i].Pos = Pos{}
	}
	equal(t, []Notify{
		{URL: "https://hooks.example.com/portolan?team=dns", Events: []string{"down", "up"}, SecretFile: dir + "hook.secret", CAFile: "/etc/portolan/ca.pem"},
		{URL: "http://127.0.0.1:8080", Secret: "hidden-token-hidden-token"},
		{URL: "http://[::1]:8080/", CAFile: dir + "ca.pem"},
		{URL: "https://chat.example.com/T0/B0/a%20b", Events: []string{"drain", "undrain", "routing", "failback", "config", "geodata"}},
	}, got)
}

// What a file says of a receiver may be secret, in the right place and in a wrong
// one: no error repeats it.
func TestErrorsRepeatNoSecret(t *testing.T) {
	for _, name := range []string{"notify.yaml", "notify_shape.yaml"} {
		data, err := os.ReadFile(filepath.Join("../testdata/config/bad", name))
		if err != nil {
			t.Fatal(err)
		}
		_, err = Parse(name, data)
		if err == nil || !bytes.Contains(data, []byte("hidden")) {
			t.Fatalf("%s: %v", name, err)
		}
		if strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s:\n%v", name, err)
		}
	}
}

func TestSecretDoesNotShow(t *testing.T) {
	n := good(t, "notify.yaml").Notify[1]
	if n.Secret != "hidden-token-hidden-token" {
		t.Fatalf("the secret is lost")
	}
	var logged bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&logged, nil), slog.NewJSONHandler(&logged, nil)} {
		slog.New(h).Info("a receiver", "receiver", n, "secret", n.Secret)
	}
	encoded, err := json.Marshal(n.Secret)
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{
		"%v": fmt.Sprint(n, &n, n.Secret), "%+v": fmt.Sprintf("%+v", n), "%#v": fmt.Sprintf("%#v", n), "%q": fmt.Sprintf("%q %s", n.Secret, n.Secret),
		"%x": fmt.Sprintf("%x", n.Secret), "JSON": string(encoded), "log": logged.String(),
	} {
		if strings.Contains(text, "hidden") || strings.Contains(text, fmt.Sprintf("%x", "hidden")) {
			t.Errorf("%s shows the secret: %s", what, text)
		}
	}
}

func TestTooManyReceivers(t *testing.T) {
	var b strings.Builder
	b.WriteString("zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}}\nnotify:\n")
	for i := range maxNotify + 1 {
		fmt.Fprintf(&b, "  - {url: \"https://hooks.example.com/%d\"}\n", i)
	}
	_, err := Parse("f.yaml", []byte(b.String()))
	var errs Errors
	if !errors.As(err, &errs) || len(errs) != 1 || errs[0].Path != "notify[32]" {
		t.Errorf("%v", err)
	}
}

// Receivers may stand in any file; no two have the same URL.
func TestNotifyInSeveralFiles(t *testing.T) {
	files := map[string]string{
		"main.yaml": "include: [more.yaml]\nnotify: [{url: \"https://hooks.example.com/a\"}]\n" + zoneLine,
		"more.yaml": "notify: [{url: \"https://hooks.example.com/b\"}]\n",
	}
	c, err := Load(tree(t, files) + "/main.yaml")
	if err != nil || len(c.Notify) != 2 || c.Notify[0].URL != "https://hooks.example.com/a" {
		t.Fatalf("%+v, %v", c, err)
	}
	files["more.yaml"] = files["main.yaml"][strings.Index(files["main.yaml"], "notify"):strings.Index(files["main.yaml"], zoneLine)]
	if _, err = Load(tree(t, files) + "/main.yaml"); err == nil || !strings.Contains(err.Error(), "main.yaml:2:") {
		t.Errorf("%v", err)
	}
}
