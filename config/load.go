package config

import (
	"cmp"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Options is what a configuration is checked against that is not in the files.
type Options struct {
	// KnownRegion gives nil for a region that has well-known coordinates, and
	// else an error for the operator to read. nil accepts every name.
	KnownRegion func(name string) error
	// Cache makes a load faster that comes after another one; nil for none.
	Cache *Cache
	// Beside runs what is done side by side, each time in a goroutine of its own, and
	// returns when it is done; nil just calls it.
	Beside func(func())

	part int // size of parts; 0 for partSize
}

// Load is [Options.Load] with every region known.
func Load(path string) (*Config, error) { return Options{}.Load(path) }

// Parse is [Options.Parse] with every region known.
func Parse(file string, data []byte) (*Config, error) { return Options{}.Parse(file, data) }

// Load reads the file and all it includes. What is wrong with their content is
// an [Errors]; a main file that cannot be read is an error of the file system.
func (o Options) Load(path string) (*Config, error) {
	data, err := readFile(path)
	if errors.Is(err, errTooLarge) {
		return nil, Errors{{Pos: Pos{File: path}, Msg: err.Error(), Hint: "split it and use include"}}
	}
	if err != nil {
		return nil, err
	}
	return o.decode(path, data, (*loader).include)
}

// Parse reads one document as if it stood in the named file, which need not
// exist. It opens no file, and refuses include.
func (o Options) Parse(file string, data []byte) (*Config, error) {
	return o.decode(file, data, func(_ *loader, c *cursor) {
		c.fail("include is not available here", "load the configuration from a file")
	})
}

// decode reads a main file, hurriedly at first: most files have no fault, and what
// there is to say of those that have is found by going through them once more.
func (o Options) decode(file string, data []byte, include func(*loader, *cursor)) (*Config, error) {
	o.Cache.begin()
	c, again, err := o.once(file, data, false, include)
	if again {
		c, _, err = o.once(file, data, true, include)
	}
	o.Cache.end(err != nil)
	return c, err
}

// once reads a main file, and says whether it is to be read again, carefully.
func (o Options) once(file string, data []byte, careful bool, include func(*loader, *cursor)) (c *Config, again bool, err error) {
	l := &loader{d: newDecoder(o), done: map[string]bool{}}
	l.d.careful, l.d.cache, l.d.part, l.d.beside = careful, o.Cache, cmp.Or(o.part, partSize), o.Beside
	main := l.source(file)
	l.read(main, l.d.parse(data, main), func(c *cursor) { include(l, c) })
	c, err = l.d.result(main)
	return c, err != nil && l.d.hurried, err
}

func (d *decoder) result(main *source) (*Config, error) {
	if !d.errs.closed {
		d.finish(main)
	}
	d.cfg.Warnings = d.warnings.errors()
	if errs := d.errs.errors(); errs != nil {
		return nil, errs
	}
	return d.cfg, nil
}

const (
	maxFiles = 1 << 20
	// maxIncludes bounds the depth of includes; three levels are already rare.
	maxIncludes = 16
)

// loader reads a main file and what it includes, depth first.
type loader struct {
	d    *decoder
	open []string        // real paths of the files being read, outermost first
	done map[string]bool // real paths of the files read
}

func (l *loader) source(path string) *source {
	src := &source{name: path, dir: filepath.Dir(path), order: len(l.d.cfg.Files)}
	l.d.cfg.Files = append(l.d.cfg.Files, path)
	return src
}

// read decodes one file, and calls include with the value of that key.
func (l *loader) read(src *source, p parsed, include func(*cursor)) {
	if p.problem != nil {
		p.problem.add(src, &l.d.errs)
	}
	root := p.root
	if root == nil {
		return
	}
	src.parts, src.data = p.parts, p.data
	defer func() {
		src.parts, src.data = nil, nil
		l.d.nodes.give(p.blocks)
	}()
	c := &cursor{place: &place{source: src, line: int32(root.Line), column: int32(root.Column)}, d: l.d, node: root}
	// A file read later may not repeat a key of this one, but for the sections.
	l.d.sections.top.add(c, l.d.cfg)
	if root.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value == "include" {
			include(c.below(root.Content[i], root.Content[i+1], 0))
		}
	}
}

// include reads what a list of paths and globs names, in order.
func (l *loader) include(c *cursor) {
	if resolved, err := filepath.EvalSymlinks(c.source.name); err == nil {
		l.done[resolved] = true
		l.open = append(l.open, resolved)
		defer func() { l.open = l.open[:len(l.open)-1] }()
	}
	if len(l.open) > maxIncludes {
		c.fail("includes go too deep", "include the files from the main file")
		return
	}
	c.items(func(c *cursor) {
		pattern, ok := c.file()
		if !ok {
			return
		}
		paths, err := expand(pattern)
		if err != nil {
			c.fail(show(pattern)+" is no pattern", "write it like registries.d/*.yaml")
		}
		for path, p := range ahead(paths, l.d.parseFile, l.d.beside) {
			if l.includeFile(c, path, p); l.d.errs.closed {
				return
			}
		}
	})
}

// expand gives the files a pattern matches, sorted, without hidden ones unless
// the pattern names them, as a shell does: editors leave such beside what they
// edit. A path without wildcard is given whether it exists or not.
func expand(pattern string) ([]string, error) {
	if !strings.ContainsAny(pattern, `*?[\`) {
		return []string{pattern}, nil
	}
	paths, err := filepath.Glob(pattern)
	if strings.HasPrefix(filepath.Base(pattern), ".") {
		return paths, err
	}
	return slices.DeleteFunc(paths, func(p string) bool { return strings.HasPrefix(filepath.Base(p), ".") }), err
}

// includeFile decodes one file that c names, unless it was read already.
func (l *loader) includeFile(c *cursor, path string, p parsed) {
	resolved, err := filepath.EvalSymlinks(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.fail(show(path)+" does not exist", "mend the path; it is relative to the file it stands in")
	case err != nil:
		c.fail("cannot read "+show(path)+": "+reason(err), "")
	case slices.Contains(l.open, resolved):
		c.fail(show(path)+" includes itself: "+strings.Join(append(l.open, resolved), " includes "), "keep included files in a folder of their own")
	case l.done[resolved]:
	case len(l.done) >= maxFiles:
		c.fail("too many files are included", "put more into each")
		l.d.errs.closed = true
	case p.err != nil:
		l.done[resolved] = true
		c.fail("cannot read "+show(path)+": "+reason(p.err), "include regular files that the server may read, of at most 128 MiB")
	default:
		l.done[resolved] = true
		l.read(l.source(path), p, l.include)
	}
}

// reason is an error without the path it is about.
func reason(err error) string {
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		return pathError.Err.Error()
	}
	return err.Error()
}
