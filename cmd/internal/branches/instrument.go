package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
)

// outcome is how a branch can be taken.
type outcome string

// The outcomes.
const (
	isTrue  outcome = "true"
	isFalse outcome = "false"
	isTaken outcome = "taken" // of what is no condition: a case, a range, a function
)

// site is a place in the code that notes outcomes.
type site struct {
	File, Func string
	// Text is what stands there, blanks made one; behind it #2 and so on where the
	// function has the same more than once.
	Text string
	Line int
	// Outcomes are those that tests have to bring about.
	Outcomes []outcome
}

// insertion is text to put before the octet at an offset.
type insertion struct {
	at   int
	text string
}

// source is a file that is being instrumented. Nothing but calls is put in, and no
// line, so that what the compiler and panics say still leads to the real file.
type source struct {
	name  string
	text  []byte
	fset  *token.FileSet
	wants func(function string) bool

	function string
	texts    map[string]int // of the function, how often each has come
	first    int            // the number of the first site
	sites    []site
	opening  []insertion
	closing  []insertion // in order of their openings
}

// instrument returns a file with calls around all conditions of the functions that
// wants names, and its sites, which count from first.
func instrument(name string, text []byte, first int, wants func(function string) bool) ([]byte, []site, error) {
	s := &source{name: name, text: text, fset: token.NewFileSet(), wants: wants, first: first}
	file, err := parser.ParseFile(s.fset, name, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, nil, err
	}
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Body == nil || !wants(functionName(f)) {
			continue
		}
		s.function, s.texts = functionName(f), make(map[string]int)
		s.enter(f.Body, "func")
		ast.Inspect(f.Body, s.visit)
	}
	return s.result(), s.sites, nil
}

// functionName is how path.yaml names a function: Type.method for methods.
func functionName(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return f.Name.Name
	}
	typ := f.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if generic, ok := typ.(*ast.IndexExpr); ok {
		typ = generic.X
	}
	return typ.(*ast.Ident).Name + "." + f.Name.Name
}

// visit instruments one node. What is below it is visited after it.
func (s *source) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.GenDecl:
		return n.Tok != token.CONST // constants are decided when they are compiled
	case *ast.IfStmt:
		s.condition(n.Cond)
	case *ast.ForStmt:
		s.condition(n.Cond)
	case *ast.RangeStmt:
		s.enter(n.Body, "range "+s.textOf(n.X))
	case *ast.FuncLit:
		s.enter(n.Body, "func literal")
	case *ast.SwitchStmt:
		s.cases(n)
	case *ast.TypeSwitchStmt:
		for _, c := range n.Body.List {
			s.clause(c.(*ast.CaseClause))
		}
	case *ast.CommClause:
		s.mark(n.Colon+1, n.Pos(), s.between(n.Pos(), n.Colon))
	case *ast.UnaryExpr:
		if n.Op == token.NOT {
			s.condition(n.X)
		}
	case *ast.BinaryExpr:
		s.binary(n)
	}
	return true
}

func (s *source) binary(n *ast.BinaryExpr) {
	switch n.Op {
	case token.LAND, token.LOR:
		s.condition(n.X)
		s.condition(n.Y)
	case token.EQL, token.NEQ, token.LSS, token.LEQ, token.GTR, token.GEQ:
		s.leaf(n)
	default: // a number
	}
}

// condition instruments an expression that something is decided by, unless that is
// done where the walk comes to its parts.
func (s *source) condition(e ast.Expr) {
	switch e := ast.Unparen(e).(type) {
	case nil:
	case *ast.BinaryExpr: // binary does it: nothing else is true or false
	case *ast.UnaryExpr:
		if e.Op != token.NOT {
			s.leaf(e)
		}
	default:
		s.leaf(e)
	}
}

func (s *source) leaf(e ast.Expr) {
	id := s.add(e.Pos(), s.textOf(e), isTrue, isFalse)
	s.opening = append(s.opening, insertion{s.offset(e.Pos()), fmt.Sprintf("branchIf(%d,", id)})
	s.closing = append(s.closing, insertion{s.offset(e.End()), ")"})
}

// cases instruments the cases of a switch: those without a tag are conditions, the
// others are to be taken, and so is none of them where there is no default.
func (s *source) cases(n *ast.SwitchStmt) {
	hasDefault := false
	for _, c := range n.Body.List {
		c := c.(*ast.CaseClause)
		hasDefault = hasDefault || c.List == nil
		switch {
		case n.Tag != nil && len(c.List) > 1 && pure(n.Tag):
			s.values(n.Tag, c)
		case n.Tag != nil || c.List == nil:
			s.clause(c)
		default:
			for _, e := range c.List {
				s.condition(e)
			}
		}
	}
	if n.Tag != nil && !hasDefault {
		id := s.add(n.Pos(), "no case of switch "+s.textOf(n.Tag), isTaken)
		s.opening = append(s.opening, insertion{s.offset(n.Body.Rbrace), fmt.Sprintf("default: branchMark(%d);", id)})
	}
}

// values instruments a case of several values, each of which is to be met. The tag is
// compared again, which is right for tags that are only read.
func (s *source) values(tag ast.Expr, c *ast.CaseClause) {
	var b strings.Builder
	for _, e := range c.List {
		id := s.add(e.Pos(), "case "+s.textOf(e), isTaken)
		fmt.Fprintf(&b, " if %s == %s { branchMark(%d) };", s.textOf(tag), s.textOf(e), id)
	}
	s.opening = append(s.opening, insertion{s.offset(c.Colon) + 1, b.String()})
}

// pure reports whether an expression may be evaluated twice: a name, or a field.
func pure(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return true
	case *ast.SelectorExpr:
		return pure(e.X)
	}
	return false
}

func (s *source) clause(c *ast.CaseClause) {
	s.mark(c.Colon+1, c.Pos(), s.between(c.Pos(), c.Colon))
}

// enter instruments a body that is to be entered.
func (s *source) enter(body *ast.BlockStmt, text string) { s.mark(body.Lbrace+1, body.Lbrace, text) }

func (s *source) mark(at, pos token.Pos, text string) {
	id := s.add(pos, text, isTaken)
	s.opening = append(s.opening, insertion{s.offset(at), fmt.Sprintf(" branchMark(%d);", id)})
}

// add makes a site and returns its number.
func (s *source) add(pos token.Pos, text string, outcomes ...outcome) int {
	s.texts[text]++
	if n := s.texts[text]; n > 1 {
		text = fmt.Sprintf("%s #%d", text, n)
	}
	s.sites = append(s.sites, site{s.name, s.function, text, s.fset.Position(pos).Line, outcomes})
	return s.first + len(s.sites) - 1
}

func (s *source) offset(pos token.Pos) int { return s.fset.Position(pos).Offset }

func (s *source) textOf(e ast.Expr) string { return s.between(e.Pos(), e.End()) }

func (s *source) between(from, to token.Pos) string {
	return strings.Join(strings.Fields(string(s.text[s.offset(from):s.offset(to)])), " ")
}

// result puts the insertions in. Of those at the same place, what closes comes before
// what opens, and what was opened last is closed first.
func (s *source) result() []byte {
	slices.Reverse(s.closing)
	all := slices.Concat(s.closing, s.opening)
	slices.SortStableFunc(all, func(a, b insertion) int { return cmp.Compare(a.at, b.at) })
	var out []byte
	at := 0
	for _, in := range all {
		out = append(append(out, s.text[at:in.at]...), in.text...)
		at = in.at
	}
	return append(out, s.text[at:]...)
}
