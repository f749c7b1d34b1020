package parley_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The house style, as far as a program can hold it. Each rule names what it
// wants instead.

const (
	maxFileLines     = 800
	maxFunctionLines = 100 // 70 is the aim; what is longer is one flat table or switch
)

func TestHouseFiles(t *testing.T) {
	for _, f := range sources(t, ".") {
		if lines := f.line(f.syntax.FileEnd); lines > maxFileLines {
			t.Errorf("%s has %d lines: one idea a file, at most %d lines", f.path, lines, maxFileLines)
		}
		for _, d := range f.syntax.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if lines := f.line(fn.End()) - f.line(fn.Pos()) + 1; lines > maxFunctionLines {
				t.Errorf("%s: %s has %d lines: at most %d", f.at(fn), fn.Name.Name, lines, maxFunctionLines)
			}
			if fn.Name.Name == "init" && fn.Recv == nil {
				t.Errorf("%s: no init: what a package needs, its constructors make", f.at(fn))
			}
		}
	}
}

func TestHouseExportsAreDocumented(t *testing.T) {
	for _, f := range sources(t, ".") {
		if f.test || f.syntax.Name.Name == "main" {
			continue
		}
		for _, d := range f.syntax.Decls {
			for _, name := range undocumented(d) {
				t.Errorf("%s: %s is exported and has no comment", f.at(d), name)
			}
		}
	}
}

// undocumented lists the exported names of a declaration without a comment of
// their own: functions, methods of exported types, types, constants, and the
// fields of what is configured with.
func undocumented(d ast.Decl) (names []string) {
	if fn, ok := d.(*ast.FuncDecl); ok {
		if fn.Doc == nil && fn.Name.IsExported() && (fn.Recv == nil || ast.IsExported(receiver(fn))) {
			return []string{fn.Name.Name}
		}
		return nil
	}
	g, ok := d.(*ast.GenDecl)
	if !ok {
		return nil
	}
	for _, spec := range g.Specs {
		switch s := spec.(type) {
		case *ast.TypeSpec:
			if !s.Name.IsExported() {
				continue
			}
			if s.Doc == nil && g.Doc == nil {
				names = append(names, s.Name.Name)
			}
			switch u := s.Type.(type) {
			case *ast.StructType:
				if strings.HasSuffix(s.Name.Name, "Config") || strings.HasSuffix(s.Name.Name, "Policy") {
					names = append(names, bareFields(u.Fields)...)
				}
			case *ast.InterfaceType:
				names = append(names, bareFields(u.Methods)...)
			}
		case *ast.ValueSpec:
			for _, id := range s.Names {
				if id.IsExported() && s.Doc == nil && s.Comment == nil && g.Doc == nil {
					names = append(names, id.Name)
				}
			}
		}
	}
	return names
}

// bareFields lists the exported fields without a comment. Fields that stand
// together under one comment share it, up to the next blank line or comment.
func bareFields(list *ast.FieldList) (names []string) {
	documented, last := false, token.NoPos
	for _, field := range list.List {
		if field.Doc != nil || field.Comment != nil {
			documented = true
		} else if field.Pos()-last > 3 { // not on the line right below
			documented = false
		}
		last = field.End()
		for _, id := range field.Names {
			if id.IsExported() && !documented {
				names = append(names, id.Name)
			}
		}
	}
	return names
}

// Waiting in tests is done by testing/synctest, by the simulator, or by waiting
// for the very thing.
func TestHouseTestsDoNotSleep(t *testing.T) {
	for _, root := range []string{".", "examples", "verify"} {
		for _, f := range sources(t, root) {
			if !f.test {
				continue
			}
			ast.Inspect(f.syntax, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if id, isName := identOf(sel, ok); isName && id == "time" && sel.Sel.Name == "Sleep" && !f.in("testing/synctest") && !f.in(module+"/transport/sim") && filepath.Dir(f.path) != "transport/sim" {
					t.Errorf("%s: time.Sleep in a test that runs in real time", f.at(n))
				}
				return true
			})
		}
	}
}

func identOf(sel *ast.SelectorExpr, ok bool) (string, bool) {
	if !ok {
		return "", false
	}
	id, isIdent := sel.X.(*ast.Ident)
	if !isIdent {
		return "", false
	}
	return id.Name, true
}

// Package variables are constants in all but name: errors, tables, and
// assertions. What a test or a program could change belongs in a Config.
func TestHouseNoMutableGlobals(t *testing.T) {
	for _, f := range sources(t, ".") {
		if f.test {
			continue
		}
		for _, d := range f.syntax.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, spec := range g.Specs {
				v := spec.(*ast.ValueSpec)
				for _, id := range v.Names {
					if id.Name == "_" || strings.HasPrefix(id.Name, "Err") || strings.HasPrefix(id.Name, "err") || constantTable(g, v) {
						continue
					}
					t.Errorf("%s: %s is a package variable: make it a field, a constant, or say \"constant:\" in its comment", f.at(v), id.Name)
				}
			}
		}
	}
}

// constantTable reports whether a variable is declared never to change, or is a
// pool of buffers, which nobody can observe.
func constantTable(d *ast.GenDecl, v *ast.ValueSpec) bool {
	for _, g := range []*ast.CommentGroup{d.Doc, v.Doc, v.Comment} {
		if g != nil && strings.Contains(g.Text(), "constant:") {
			return true
		}
	}
	if len(v.Values) == 1 {
		if lit, ok := v.Values[0].(*ast.CompositeLit); ok {
			if sel, ok := lit.Type.(*ast.SelectorExpr); ok && sel.Sel.Name == "Pool" {
				return true
			}
		}
	}
	sel, ok := v.Type.(*ast.SelectorExpr)
	return ok && sel.Sel.Name == "Pool"
}

// Every package that people import shows its types at work, in an Example named
// after the type or one that uses it, and leaves no goroutine behind.
func TestHousePackagesHaveExamplesAndLeakChecks(t *testing.T) {
	type pkg struct {
		types map[string]string // exported type to place
		shown map[string]bool   // every name that occurs in an Example
		leaks bool
	}
	all := map[string]*pkg{}
	for _, f := range sources(t, ".") {
		dir := filepath.Dir(f.path)
		if dir == "." {
			continue
		}
		if all[dir] == nil {
			all[dir] = &pkg{types: map[string]string{}, shown: map[string]bool{}}
		}
		p := all[dir]
		p.leaks = p.leaks || f.test && f.in("go.uber.org/goleak")
		for _, d := range f.syntax.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if name, ok := strings.CutPrefix(d.Name.Name, "Example"); ok && f.test {
					show(p.shown, name, d.Body)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if s, ok := spec.(*ast.TypeSpec); ok && s.Name.IsExported() && !f.test && !slices.Contains(strings.Split(dir, "/"), "internal") {
						p.types[s.Name.Name] = f.at(s)
					}
				}
			}
		}
	}
	for dir, p := range all {
		if !p.leaks {
			t.Errorf("%s: no goleak.VerifyTestMain in its tests", dir)
		}
		for name, place := range p.types {
			if !p.shown[name] && !p.shown[name+"s"] { // t.Events yields Event
				t.Errorf("%s: %s is in no Example", place, name)
			}
		}
	}
}

// show adds the names in an Example's own name and in its body.
func show(shown map[string]bool, name string, body *ast.BlockStmt) {
	for part := range strings.SplitSeq(name, "_") {
		shown[part] = true
	}
	ast.Inspect(body, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			shown[id.Name] = true
		}
		return true
	})
}

func receiver(fn *ast.FuncDecl) string {
	e := fn.Recv.List[0].Type
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.IndexListExpr:
			e = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

// A source is one parsed file.
type source struct {
	path   string
	fset   *token.FileSet
	syntax *ast.File
	test   bool
}

func (f source) line(p token.Pos) int { return f.fset.Position(p).Line }
func (f source) at(n ast.Node) string { return f.fset.Position(n.Pos()).String() }

// in reports whether the file imports a package.
func (f source) in(path string) bool {
	return slices.ContainsFunc(f.syntax.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == `"`+path+`"` })
}

// sources parses the Go files of the module at root, without those of the
// modules nested in it.
func sources(t *testing.T, root string) (files []source) {
	t.Helper()
	nested := func(dir string) bool {
		if dir == root {
			return false
		}
		m, _ := filepath.Glob(filepath.Join(dir, "go.mod"))
		return len(m) > 0 || strings.HasPrefix(filepath.Base(dir), ".") || filepath.Base(dir) == "testdata"
	}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if nested(path) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		fset := token.NewFileSet()
		syntax, err := parser.ParseFile(fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		files = append(files, source{path, fset, syntax, strings.HasSuffix(path, "_test.go")})
		return nil
	})
	require.NoError(t, err)
	return files
}
