package parley_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// This file holds the architecture: which package may import which, and what
// the core of a protocol may not do. The rules of the house style are in
// house_test.go.

const module = "github.com/parley-go/parley"

// floors are the layers of the library, lowest first: a package imports only
// from floors below its own, or what sideways lists for it. A package that is
// missing here fails the test: a new one takes its place deliberately.
var floors = [][]string{
	{"transport"}, // the interface and its errors import nothing, so internal helpers may use them
	{"internal/...", "raft/wal/internal/..."},
	{"ring", "vclock", "breaker", "retry", "ratelimit"},
	{"crdt", "lb", "transport/mem", "transport/tcp", "transport/sim"},
	{"raft", "gossip", "quorum", "pubsub", "ratelimit/shared"},
	{"raft/rafttest", "raft/wal", "transport/transporttest"},
	{"."},
}

// sideways lists the imports inside one floor; helpers in internal may use each
// other.
var sideways = map[string][]string{}

// A protocol talks to the seam and never to an implementation of it.
var implementations = []string{"transport/mem", "transport/tcp", "transport/sim"}

// cores lists the files that are functions of their input: the state machines of
// protocols, and packages of values. Around them stand drivers, where
// goroutines, clocks and I/O belong; "!" names one among the files of a pattern.
var cores = map[string][]string{
	"ring":             {"*.go", "!run.go"},
	"vclock":           {"*.go", "!hybrid.go"}, // reads the clock, unless it is given one
	"crdt":             {"*.go"},
	"quorum":           {"tally.go", "version.go", "recovery.go", "wire.go"},
	"lb":               {"*.go", "!balancer.go", "!http.go", "!check.go", "!checks.go", "!resolve.go", "!report.go"},
	"ratelimit/shared": {"bucket.go", "ledger.go", "tenure.go", "account.go", "wire.go"},
	"raft": {
		"core.go", "durable.go", "election.go", "entry.go", "leader.go", "log.go", "membership.go", "message.go", "progress.go", "reads.go", "replicate.go",
		"replay.go", "sessions.go", "slab.go", "wire.go",
	},
	"internal/event": {"*.go"},
	"internal/draw":  {"*.go"},
}

func TestImportsGoDownTheFloors(t *testing.T) {
	for _, p := range library(packages(t)) {
		floor := floorOf(p.rel())
		require.GreaterOrEqual(t, floor, 0, "%s is on no floor: give it one in arch_test.go", p.rel())
		for _, path := range p.Imports {
			imported, ours := strings.CutPrefix(path, module)
			if !ours {
				continue
			}
			imported = strings.TrimPrefix(imported, "/")
			if imported == "" {
				imported = "."
			}
			down := floorOf(imported) < floor
			aside := floorOf(imported) == floor && (matches(sideways[p.rel()], imported) || floor == floorOf("internal/"))
			if !down && !aside {
				t.Errorf("%s imports %s, which is not below it", p.rel(), imported)
			}
			if strings.HasPrefix(p.rel(), "transport/") || p.rel() == "transport/transporttest" {
				continue
			}
			if slices.Contains(implementations, imported) {
				t.Errorf("%s imports %s: a protocol sees only the transport interface", p.rel(), imported)
			}
		}
	}
}

func TestDependenciesAreTheChosenOnes(t *testing.T) {
	chosen := []string{"github.com/cespare/xxhash/v2", "golang.org/x/sync"}
	for _, p := range library(packages(t)) {
		for _, path := range p.Imports {
			first, _, _ := strings.Cut(path, "/")
			if !strings.Contains(first, ".") || strings.HasPrefix(path, module) {
				continue
			}
			if !slices.ContainsFunc(chosen, func(m string) bool { return path == m || strings.HasPrefix(path, m+"/") }) {
				t.Errorf("%s imports %s: the library depends on %v alone", p.rel(), path, chosen)
			}
		}
	}
}

// forbidden maps a package to the names that a core may not use from it; an
// empty list forbids all of them.
var forbidden = map[string][]string{
	"net": nil, "os": nil, "io/fs": nil, "math/rand": nil, "log": nil, "log/slog": nil, "crypto/rand": nil,
	"time":         {"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"},
	"math/rand/v2": {"Int", "IntN", "Int32", "Int32N", "Int64", "Int64N", "Uint32", "Uint32N", "Uint64", "Uint64N", "Uint", "UintN", "N", "Float32", "Float64", "NormFloat64", "ExpFloat64", "Perm", "Shuffle"},
	"hash/maphash": nil,
}

func TestCoresArePure(t *testing.T) {
	all := packages(t)
	for _, p := range library(all) {
		patterns, listed := cores[p.rel()]
		if !listed {
			continue
		}
		for _, pattern := range patterns {
			found, err := filepath.Glob(filepath.Join(p.Dir, strings.TrimPrefix(pattern, "!")))
			require.NoError(t, err)
			require.NotEmpty(t, found, "%s has no %s", p.rel(), pattern)
		}
		fset := token.NewFileSet()
		var files []*ast.File
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
			require.NoError(t, err)
			files = append(files, f)
		}
		info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}}
		config := types.Config{Importer: exportData(fset, all)}
		_, err := config.Check(p.ImportPath, fset, files, info)
		require.NoError(t, err)
		for _, f := range files {
			name := filepath.Base(fset.Position(f.Pos()).Filename)
			core := slices.ContainsFunc(patterns, func(pattern string) bool { ok, _ := filepath.Match(pattern, name); return ok })
			if !core || slices.Contains(patterns, "!"+name) {
				continue
			}
			for _, complaint := range impurities(fset, f, info) {
				t.Error(complaint)
			}
		}
	}
}

// impurities lists what makes a file's behaviour depend on anything but its
// input: goroutines, clocks, the world outside, and the order of maps. A loop
// over a map whose order cannot matter says so in a comment on its line:
// "any order: reason".
func impurities(fset *token.FileSet, f *ast.File, info *types.Info) (found []string) {
	complain := func(n ast.Node, what string) {
		p := fset.Position(n.Pos())
		found = append(found, p.Filename+":"+strconv.Itoa(p.Line)+": a core "+what)
	}
	excused := map[int]bool{}
	for _, group := range f.Comments {
		for _, c := range group.List {
			if strings.Contains(c.Text, "any order: ") {
				excused[fset.Position(c.Pos()).Line] = true
			}
		}
	}
	sorted := map[ast.Expr]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			complain(n, "starts no goroutine")
		case *ast.SelectStmt:
			complain(n, "does not select")
		case *ast.RangeStmt:
			if _, isMap := info.Types[n.X].Type.Underlying().(*types.Map); isMap && !excused[fset.Position(n.Pos()).Line] {
				complain(n, "does not visit a map in map order (sort the keys, or say \"any order: why\")")
			}
		case *ast.CallExpr:
			switch path, name := qualified(n.Fun, info); {
			case path == "slices" && strings.HasPrefix(name, "Sorted"):
				sorted[n.Args[0]] = true
			case path == "maps" && (name == "Keys" || name == "Values" || name == "All") && !sorted[n] && !excused[fset.Position(n.Pos()).Line]:
				complain(n, "does not visit a map in map order (slices.Sorted, or say \"any order: why\")")
			}
			if startsGoroutine(n, info) {
				complain(n, "starts no goroutine")
			}
		case *ast.SelectorExpr:
			path, name := qualified(n, info)
			if names, bad := forbidden[path]; bad && (names == nil || slices.Contains(names, name)) {
				complain(n, "does not use "+path+"."+name)
			}
		}
		return true
	})
	return found
}

// startsGoroutine reports whether a call is that of a method Go, such as the one
// of sync.WaitGroup.
func startsGoroutine(call *ast.CallExpr, info *types.Info) bool {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != "Go" {
		return false
	}
	_, method := info.Uses[sel.Sel].(*types.Func)
	return method
}

// qualified returns the path and the name of a use of an imported package.
func qualified(e ast.Expr, info *types.Info) (path, name string) {
	if index, generic := e.(*ast.IndexExpr); generic {
		e = index.X
	}
	if sel, ok := e.(*ast.SelectorExpr); ok {
		if id, ok := sel.X.(*ast.Ident); ok {
			if p, ok := info.Uses[id].(*types.PkgName); ok {
				return p.Imported().Path(), sel.Sel.Name
			}
		}
	}
	return "", ""
}

// floorOf returns the floor of a package, given relative to the module; -1 for
// none.
func floorOf(rel string) int {
	return slices.IndexFunc(floors, func(floor []string) bool { return matches(floor, rel) })
}

func matches(patterns []string, rel string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		prefix, tree := strings.CutSuffix(pattern, "...")
		return pattern == rel || tree && strings.HasPrefix(rel, prefix)
	})
}

// exportData imports from the compiler's output, which go list named.
func exportData(fset *token.FileSet, all []listed) types.Importer {
	return importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		i := slices.IndexFunc(all, func(p listed) bool { return p.ImportPath == path })
		if i < 0 {
			return nil, os.ErrNotExist
		}
		return os.Open(all[i].Export)
	})
}

// A listed is what go list says of a package.
type listed struct {
	ImportPath, Dir, Export string
	GoFiles, Imports        []string
}

func (p listed) rel() string {
	if r := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/"); r != "" {
		return r
	}
	return "."
}

// library keeps the packages of this module.
func library(all []listed) []listed {
	return slices.DeleteFunc(slices.Clone(all), func(p listed) bool { return !strings.HasPrefix(p.ImportPath, module) })
}

// packages lists the packages of the library and all that they import.
func packages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles,Imports", "./...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err)
	var all []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		err := dec.Decode(&p)
		if err == io.EOF {
			return all
		}
		require.NoError(t, err)
		all = append(all, p)
	}
}
