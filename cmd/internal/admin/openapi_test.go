package admin

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// described is what this test reads of openapi.yaml.
type described struct {
	Paths      map[string]map[string]any `yaml:"paths"`
	Components struct {
		Schemas    map[string]schema `yaml:"schemas"`
		Parameters map[string]any    `yaml:"parameters"`
		Responses  map[string]any    `yaml:"responses"`
	} `yaml:"components"`
}

type schema struct {
	Type       any               `yaml:"type"`
	Format     string            `yaml:"format"`
	Ref        string            `yaml:"$ref"`
	Items      *schema           `yaml:"items"`
	Required   []string          `yaml:"required"`
	Properties map[string]schema `yaml:"properties"`
	Additional *bool             `yaml:"additionalProperties"`
}

// text is the type that a schema stands for, in short.
func (s *schema) text() string {
	switch {
	case s.Ref != "":
		return strings.TrimPrefix(s.Ref, "#/components/schemas/")
	case s.Items != nil:
		return "[]" + s.Items.text()
	case s.Format != "":
		return s.Format
	}
	return fmt.Sprint(s.Type)
}

func readDescription(t *testing.T) described {
	t.Helper()
	var d described
	if err := yaml.Unmarshal(openAPI, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// Every route and method is described, and nothing else.
func TestOpenAPIRoutes(t *testing.T) {
	var described, served []string
	for path, methods := range readDescription(t).Paths {
		for method := range methods {
			described = append(described, strings.ToUpper(method)+" "+path)
		}
	}
	for _, r := range (&Server{}).table() {
		served = append(served, r.method+" "+r.path)
	}
	slices.Sort(described)
	slices.Sort(served)
	if d := cmp.Diff(served, described); d != "" {
		t.Errorf("served (-) and described (+) differ:\n%s", d)
	}
}

// jsonFields lists the members of a struct in the source: name, type, and whether
// it may be absent.
func jsonFields(t *testing.T, structs map[string]*ast.StructType, name string) map[string]string {
	t.Helper()
	out := make(map[string]string)
	for _, f := range structs[name].Fields.List {
		if f.Tag == nil { // embedded
			maps.Copy(out, jsonFields(t, structs, f.Type.(*ast.Ident).Name))
			continue
		}
		tag, err := strconv.Unquote(f.Tag.Value)
		if err != nil {
			t.Fatal(err)
		}
		member, option, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(tag, `json:"`), `"`), ",")
		out[member] = jsonType(f.Type)
		if option == "" {
			out[member] += " always"
		}
	}
	return out
}

func jsonType(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return jsonType(e.X)
	case *ast.ArrayType:
		return "[]" + jsonType(e.Elt)
	case *ast.SelectorExpr: // time.Time
		return "date-time"
	case *ast.Ident:
		switch {
		case e.Name == "bool":
			return "boolean"
		case strings.HasPrefix(e.Name, "float"):
			return "number"
		case strings.HasPrefix(e.Name, "int"), strings.HasPrefix(e.Name, "uint"):
			return "integer"
		}
		return e.Name
	}
	return "?"
}

func sourceStructs(t *testing.T) map[string]*ast.StructType {
	t.Helper()
	structs := make(map[string]*ast.StructType)
	for _, file := range []string{"types.go", "control.go", "change.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, s := range g.Specs {
				if ts, ok := s.(*ast.TypeSpec); ok {
					if st, ok := ts.Type.(*ast.StructType); ok {
						structs[ts.Name.Name] = st
					}
				}
			}
		}
	}
	return structs
}

// Every member of every JSON type is described with its type, and nothing else.
// What a request may leave out is not always what Go would leave out: those
// differ below.
func TestOpenAPISchemas(t *testing.T) {
	structs, schemas := sourceStructs(t), readDescription(t).Components.Schemas
	if len(structs) < 15 {
		t.Fatalf("only %d types were found in the source", len(structs))
	}
	delete(structs, "EventQuery") // travels as parameters
	delete(schemas, "Duration")   // is no struct
	requests := map[string]map[string]string{
		"DrainRequest":    {"region": "string always"},
		"ReplicasRequest": {"region": "string always"},
		"RoutingRequest":  {"global_endpoint_routing": "[boolean null] always"},
		"ReloadRequest":   {},
		"UpgradeRequest":  {},
	}
	for name := range structs {
		if _, ok := schemas[name]; !ok && name != "Selector" {
			t.Errorf("%s is not described", name)
		}
	}
	for name, s := range schemas {
		if structs[name] == nil {
			t.Errorf("%s is described, but is no type", name)
			continue
		}
		want := jsonFields(t, structs, name)
		differs, request := requests[name]
		maps.Copy(want, differs)
		got := make(map[string]string)
		for member, p := range s.Properties {
			got[member] = p.text()
			if slices.Contains(s.Required, member) {
				got[member] += " always"
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s in the source (-) and in openapi.yaml (+):\n%s", name, d)
		}
		for _, member := range s.Required {
			if got[member] == "" {
				t.Errorf("%s requires %s, which it has not", name, member)
			}
		}
		if closed := s.Additional != nil && !*s.Additional; closed != request {
			t.Errorf("%s: additionalProperties: false is for requests, which refuse what they do not know", name)
		}
	}
}

// Every reference leads somewhere.
func TestOpenAPIReferences(t *testing.T) {
	d := readDescription(t)
	known := make(map[string]bool)
	for name := range d.Components.Schemas {
		known["schemas/"+name] = true
	}
	for name := range d.Components.Parameters {
		known["parameters/"+name] = true
	}
	for name := range d.Components.Responses {
		known["responses/"+name] = true
	}
	used := make(map[string]bool)
	for _, part := range strings.Split(string(openAPI), `$ref: "#/components/`)[1:] {
		ref, _, _ := strings.Cut(part, `"`)
		used[ref] = true
		if !known[ref] {
			t.Errorf("%s leads nowhere", ref)
		}
	}
	for name := range known {
		if !used[name] {
			t.Errorf("%s is used by nothing", name)
		}
	}
}
