package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const zoneLine = "zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}}\n"

// tree writes files into a folder and gives its path.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func registryLine(key, address string) string {
	return fmt.Sprintf("  %s: {replicas: {westus: {addresses: [%s]}}}\n", key, address)
}

func TestInclude(t *testing.T) {
	dir := tree(t, map[string]string{
		"main.yaml": "include: [registries.d/*.yaml, 'probes.d/*', none.d/*.yaml, extra.yaml, registries.d/b.yaml]\n" +
			zoneLine + "server: {identity: ns1, tcp: {idle: 5s}}\nregistries:\n" + registryLine("main", "192.0.2.1"),
		"registries.d/b.yaml":           "registries:\n" + registryLine("b", "192.0.2.3"),
		"registries.d/a.yaml":           "registries:\n" + registryLine("a", "192.0.2.2"),
		"registries.d/.hidden.yaml":     "no: {such: key}",
		"registries.d/editor.yaml.swp":  "no: {such: key}",
		"probes.d/p.yaml":               "probes: {p: {type: exec, command: [/bin/check]}, q: {type: https, ca_file: ca.pem}}",
		"extra.yaml":                    "include: [deeper/last.yaml]\nserver: {version: none, tcp: {message: 1s}}\nregions: {westus: {bias: 5}}",
		"deeper/last.yaml":              "geo: {networks: {10.0.0.0/8: westus}}\nzones: {example.org: {nameservers: {ns.example.io: }, records: r.zone}}",
		"deeper/not-included.yaml":      "no: {such: key}",
		"registries.d/nested/skip.yaml": "no: {such: key}",
	})
	// The registries name no zone, and there are two: that is for another test.
	for _, name := range []string{"main.yaml", "registries.d/a.yaml", "registries.d/b.yaml"} {
		path := filepath.Join(dir, name)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(data), "{replicas", "{zone: example.io, replicas")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Load(filepath.Join(dir, "main.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var files, keys []string
	for _, f := range c.Files {
		rel, err := filepath.Rel(dir, f)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, rel)
	}
	for _, r := range c.Registries {
		keys = append(keys, r.Key)
	}
	want := []string{"main.yaml", "registries.d/a.yaml", "registries.d/b.yaml", "probes.d/p.yaml", "extra.yaml", "deeper/last.yaml"}
	if diff := cmp.Diff(want, files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"main", "a", "b"}, keys); diff != "" {
		t.Errorf("registries (-want +got):\n%s", diff)
	}
	s := c.Server
	if s.Identity != "ns1" || s.Version != "none" || s.TCP.Idle.String() != "5s" || s.TCP.Message.String() != "1s" || s.TCP.Connections != 1000 {
		t.Errorf("server of two files = %+v", s)
	}
	if got := c.Probes[1].CAFile; got != filepath.Join(dir, "probes.d/ca.pem") {
		t.Errorf("ca_file = %s, want it beside the file that names it", got)
	}
	if got := c.Zones[1].Records; got != filepath.Join(dir, "deeper/r.zone") {
		t.Errorf("records = %s, want it beside the file that names it", got)
	}
	if got := c.Registries[2].Pos; got != (Pos{filepath.Join(dir, "registries.d/b.yaml"), 2, 3}) {
		t.Errorf("position = %v", got)
	}
}

// TestIncludeErrors gives one line per error, with DIR for the folder.
func TestIncludeErrors(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  string
	}{
		{
			"missing file",
			map[string]string{"main.yaml": "include: [no.yaml]\n" + zoneLine},
			`DIR/main.yaml:1:11: include[0]: "DIR/no.yaml" does not exist (mend the path; it is relative to the file it stands in)`,
		},
		{
			"itself",
			map[string]string{"main.yaml": "include: ['*.yaml']\n" + zoneLine},
			`DIR/main.yaml:1:11: include[0]: "DIR/main.yaml" includes itself: DIR/main.yaml includes DIR/main.yaml (keep included files in a folder of their own)`,
		},
		{
			"cycle",
			map[string]string{"main.yaml": "include: [a.yaml]\n" + zoneLine, "a.yaml": "include: [b.yaml]\n", "b.yaml": "include: [a.yaml]\n"},
			`DIR/b.yaml:1:11: include[0]: "DIR/a.yaml" includes itself: DIR/main.yaml includes DIR/a.yaml includes DIR/b.yaml includes DIR/a.yaml (keep included files in a folder of their own)`,
		},
		{
			"folder",
			map[string]string{"main.yaml": "include: [d]\n" + zoneLine, "d/a.yaml": ""},
			`DIR/main.yaml:1:11: include[0]: cannot read "DIR/d": DIR/d is no regular file (include regular files that the server may read, of at most 128 MiB)`,
		},
		{
			"bad pattern and no list",
			map[string]string{"main.yaml": "include: ['[']\n" + zoneLine, "d/a.yaml": ""},
			`DIR/main.yaml:1:11: include[0]: "DIR/[" is no pattern (write it like registries.d/*.yaml)`,
		},
		{
			"no list",
			map[string]string{"main.yaml": "include: d/*.yaml\n" + zoneLine, "d/a.yaml": ""},
			`DIR/main.yaml:1:10: include: is the text "d/*.yaml", not a list (write a list: ["d/*.yaml"])`,
		},
		{
			"one key in two files, and errors in order of reading",
			map[string]string{
				"main.yaml": zoneLine + "server: {ecs: true}\nprobes: {p: {type: tcp, port: 1}}\nregistries:\n" + registryLine("a", "192.0.2.1") + "include: ['d/*']\nx: 1\n",
				"d/1.yaml":  "registries:\n" + registryLine("a", "192.0.2.1") + zoneLine + "probes: {p: {type: tcp, port: 1}}\n",
				"d/2.yaml":  "server: {ecs: true}\nregions: {westus: }\ny: 2",
				"d/3.yaml":  "regions: {WestUS: {}}\ngeo: {networks: {10.0.0.0/8: westus}}\n",
				"d/4.yaml":  "geo: {networks: {10.0.0.0/8: westus}}\nregistries: {b: {replicas: {}}",
			},
			`DIR/main.yaml:7:1: x: unknown key (use one of include, server, admin, state, geo, diagnostics, health, zones, regions, probes, registries, notify)
DIR/d/1.yaml:2:3: registries.a: duplicate key (first given at DIR/main.yaml:5:3)
DIR/d/1.yaml:3:9: zones.example.io: duplicate key (first given at DIR/main.yaml:1:9)
DIR/d/1.yaml:4:10: probes.p: duplicate key (first given at DIR/main.yaml:3:10)
DIR/d/2.yaml:1:10: server.ecs: duplicate key (first given at DIR/main.yaml:2:10)
DIR/d/2.yaml:3:1: y: unknown key (use one of include, server, admin, state, geo, diagnostics, health, zones, regions, probes, registries, notify)
DIR/d/3.yaml:1:11: regions.WestUS: duplicate key (first given at DIR/d/2.yaml:2:11)
DIR/d/4.yaml:2: did not find expected ',' or '}' (check indentation, quotes and brackets)`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := tree(t, test.files)
			_, err := Load(filepath.Join(dir, "main.yaml"))
			if _, ok := errors.AsType[Errors](err); !ok {
				t.Fatalf("Load gave %v, want Errors", err)
			}
			if diff := cmp.Diff(test.want, strings.ReplaceAll(err.Error(), dir, "DIR")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestLoadUnreadable(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "no.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load of a missing file gave %v", err)
	}
	if _, err := Load(t.TempDir()); err == nil {
		t.Error("Load of a folder gave no error")
	}
	// A pipe that nobody writes to must not make Load wait.
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip(err)
	}
	dir := tree(t, map[string]string{"main.yaml": "include: ['" + pipe + "']\n" + zoneLine})
	if _, err := Load(filepath.Join(dir, "main.yaml")); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("Load with a pipe gave %v", err)
	}
}

// TestIncludeDepth follows a chain of files as far as it is allowed.
func TestIncludeDepth(t *testing.T) {
	files := map[string]string{"main.yaml": "include: [1.yaml]\n" + zoneLine}
	for i := 1; i <= maxIncludes+3; i++ {
		files[fmt.Sprintf("%d.yaml", i)] = fmt.Sprintf("include: [%d.yaml]\n", i+1)
	}
	_, err := Load(filepath.Join(tree(t, files), "main.yaml"))
	if err == nil || !strings.Contains(err.Error(), "includes go too deep") {
		t.Errorf("Load gave %v", err)
	}
}
