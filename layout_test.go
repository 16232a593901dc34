package pingline_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// source is the Go code of one folder, without its tests.
type source struct {
	dir   string
	files []*ast.File
	names []string // of files
	lines []int    // of files
	pkg   *types.Package
	uses  map[*ast.Ident]types.Object // of what the folder itself declares, and of std types as far as they are known
}

// blind imports packages without what is in them: to see which files of a folder
// need each other, nothing else has to be known.
type blind struct{}

func (blind) Import(path string) (*types.Package, error) {
	p := types.NewPackage(path, filepath.Base(path))
	p.MarkComplete()
	return p, nil
}

var fset = token.NewFileSet()

// sources returns the whole tree, read once.
func sources(t *testing.T) []*source {
	t.Helper()
	all, err := readTree()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var readTree = sync.OnceValues(func() (all []*source, err error) {
	of := make(map[string]*source)
	err = filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			if path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
				return filepath.SkipDir
			}
			return nil
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		if err != nil || ast.IsGenerated(file) {
			return err
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		s := of[dir]
		if s == nil {
			s = &source{dir: dir, uses: make(map[*ast.Ident]types.Object)}
			of[dir] = s
			all = append(all, s)
		}
		s.files = append(s.files, file)
		s.names = append(s.names, filepath.Base(path))
		s.lines = append(s.lines, fset.File(file.Pos()).LineCount())
		return nil
	})
	for _, s := range all {
		conf := types.Config{Importer: blind{}, Error: func(error) {}} // most of what is imported is not there
		s.pkg, _ = conf.Check(s.dir, fset, s.files, &types.Info{Uses: s.uses})
	}
	return all, err
})

// need returns, of each file, which files of the folder declare what it uses:
// names of the package, fields and methods.
func (s *source) need() [][]bool {
	at := make(map[string]int)
	for i, f := range s.files {
		at[fset.File(f.Pos()).Name()] = i
	}
	need := make([][]bool, len(s.files))
	for i := range need {
		need[i] = make([]bool, len(s.files))
	}
	for id, obj := range s.uses {
		if obj.Pkg() != s.pkg || !obj.Pos().IsValid() {
			continue
		}
		shared := obj.Parent() == s.pkg.Scope()
		switch obj := obj.(type) {
		case *types.Var:
			shared = shared || obj.IsField()
		case *types.Func:
			shared = shared || obj.Signature().Recv() != nil
		}
		if shared {
			need[at[fset.File(id.Pos()).Name()]][at[fset.File(obj.Pos()).Name()]] = true
		}
	}
	return need
}

// tangle returns the most lines of files that need each other in a circle, and
// their names.
func (s *source) tangle() (lines int, names []string) {
	reach := s.need()
	for k := range reach {
		for i := range reach {
			for j := range reach {
				reach[i][j] = reach[i][j] || reach[i][k] && reach[k][j]
			}
		}
	}
	for i := range reach {
		n, in := s.lines[i], []string{s.names[i]}
		for j := range reach {
			if j != i && reach[i][j] && reach[j][i] {
				n, in = n+s.lines[j], append(in, s.names[j])
			}
		}
		if len(in) > 1 && n > lines {
			lines, names = n, in
		}
	}
	return lines, names
}

// Most lines of a folder, and of a tangle in it: files that need each other in a
// circle, of which none can be read without the others.
const (
	mostLines  = 2600
	mostTangle = 1500
)

func TestSizes(t *testing.T) {
	for _, s := range sources(t) {
		n := 0
		for _, l := range s.lines {
			n += l
		}
		if n > mostLines {
			t.Errorf("%s has %d lines, more than %d", s.dir, n, mostLines)
		}
		if n, names := s.tangle(); n > mostTangle {
			t.Errorf("%s: a tangle has %d lines, more than %d: %v", s.dir, n, mostTangle, names)
		}
	}
}

// Names that every package may use for what its package name says.
var commonNames = []string{"Config", "Stats", "Reader", "Writer", "Server"}

// isPassedOn reports whether a type is one of another package, under its own name:
// that is one meaning.
func isPassedOn(spec *ast.TypeSpec) bool {
	of, ok := spec.Type.(*ast.SelectorExpr)
	return ok && spec.Assign.IsValid() && of.Sel.Name == spec.Name.Name
}

// A name that is a type in several packages is the same type in all of them.
func TestOneNameOneMeaning(t *testing.T) {
	in := make(map[string][]string)
	for _, s := range sources(t) {
		for _, f := range s.files {
			for _, d := range f.Decls {
				if d, ok := d.(*ast.GenDecl); ok {
					for _, spec := range d.Specs {
						if spec, ok := spec.(*ast.TypeSpec); ok && !isPassedOn(spec) {
							in[spec.Name.Name] = append(in[spec.Name.Name], s.dir)
						}
					}
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(in)) {
		if dirs := slices.Compact(in[name]); len(dirs) > 1 && !slices.Contains(commonNames, name) {
			t.Errorf("%q is a type in %s: one name, one meaning", name, strings.Join(dirs, ", "))
		}
	}
}

// No package does anything by being imported: what there is to choose from stands in
// the tables of internal/node. An init fills tables of its own package.
func TestNothingRegistersItself(t *testing.T) {
	for _, s := range sources(t) {
		for _, f := range s.files {
			imported := make(map[string]bool)
			for _, imp := range f.Imports {
				path, err := strconv.Unquote(imp.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				if imp.Name == nil {
					imported[filepath.Base(path)] = true
				} else if imported[imp.Name.Name] = true; imp.Name.Name == "_" && path != "embed" {
					t.Errorf("%v: %s is imported for what it does then", fset.Position(imp.Pos()), path)
				}
			}
			for _, d := range f.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if !ok || fn.Recv != nil || fn.Name.Name != "init" {
					continue
				}
				ast.Inspect(fn, func(n ast.Node) bool {
					call, ok := n.(*ast.CallExpr)
					if !ok {
						return true
					}
					if of, ok := call.Fun.(*ast.SelectorExpr); ok {
						if id, ok := of.X.(*ast.Ident); ok && imported[id.Name] {
							t.Errorf("%v: init calls %s.%s", fset.Position(call.Pos()), id.Name, of.Sel.Name)
						}
					}
					return true
				})
			}
		}
	}
}

// A command is flags and printing: nobody imports main, so nothing of it is exported.
// That no command uses a type of another, cmd's own test says.
func TestCommandsExportNothing(t *testing.T) {
	for _, s := range sources(t) {
		for _, name := range s.pkg.Scope().Names() {
			if strings.HasPrefix(s.dir, "cmd/") && ast.IsExported(name) {
				t.Errorf("%s exports %s", s.dir, name)
			}
		}
	}
}

// isLevel reports whether an expression names a level: by the last word of what it
// ends in, a name, a field or a call.
func isLevel(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return strings.HasSuffix(strings.ToLower(e.Name), "level")
	case *ast.SelectorExpr:
		return isLevel(e.Sel)
	case *ast.CallExpr:
		if of, ok := e.Fun.(*ast.SelectorExpr); ok && of.Sel.Name == "Load" { // of an atomic
			return isLevel(of.X)
		}
		return isLevel(e.Fun) || len(e.Args) == 1 && isLevel(e.Args[0]) // int(level)
	case *ast.ParenExpr:
		return isLevel(e.X)
	}
	return false
}

// isNumber reports whether an expression is the number of a level that gives something
// up: a literal but 0, or the highest.
func isNumber(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.BasicLit:
		return e.Kind == token.INT && e.Value != "0"
	case *ast.Ident:
		return e.Name == "MaxLevel"
	case *ast.SelectorExpr:
		return isNumber(e.Sel)
	}
	return false
}

// literalLevels returns where a file compares a level with a number.
func literalLevels(f *ast.File) (at []token.Pos) {
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BinaryExpr:
			switch n.Op {
			case token.EQL, token.NEQ, token.LSS, token.LEQ, token.GTR, token.GEQ:
				if isLevel(n.X) && isNumber(n.Y) || isLevel(n.Y) && isNumber(n.X) {
					at = append(at, n.Pos())
				}
			}
		case *ast.SwitchStmt:
			if n.Tag == nil || !isLevel(n.Tag) {
				return true
			}
			for _, c := range n.Body.List {
				if slices.ContainsFunc(c.(*ast.CaseClause).List, isNumber) {
					at = append(at, c.Pos())
				}
			}
		}
		return true
	})
	return at
}

// The table of policies says what a level gives up, and all else asks the policy: no
// code compares a level with a number but 0, at which nothing is given up.
func TestLevelsAreNotComparedWithNumbers(t *testing.T) {
	for _, s := range sources(t) {
		for _, f := range s.files {
			for _, at := range literalLevels(f) {
				t.Errorf("%v: a level is compared with a number; ask a Policy", fset.Position(at))
			}
		}
	}
}

func TestLiteralLevelsAreFound(t *testing.T) {
	for text, want := range map[string]int{
		"o.Level() >= 2": 1, "3 > w.level": 1, "level == pingline.MaxLevel": 1, "MaxLevel != p.shedLevel": 1, "(now.level) < 1": 1, "s.level.Load() > 1": 1,
		"int(level) > 1": 1, "level > 0": 0, "level != was": 0, "n >= 2": 0, "level == other.level": 0, "level + 1": 0,
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "", "package p\nvar x = "+text, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(literalLevels(f)); got != want {
			t.Errorf("%s: found %d, want %d", text, got, want)
		}
	}
	f, err := parser.ParseFile(token.NewFileSet(), "", "package p\nfunc f() { switch s.level { case 0: case 1, 2: case MaxLevel: } }", 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(literalLevels(f)); got != 2 {
		t.Errorf("a switch over levels: found %d cases, want 2", got)
	}
}

// Where a package has several mutexes, a comment on each says what it guards, and
// whether it is taken before or after another, or nothing is locked under it.
func TestMutexesSayWhatTheyGuard(t *testing.T) {
	for _, s := range sources(t) {
		said := mutexes(s)
		if len(said) < 2 {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(said)) {
			text := said[name]
			guards := strings.Contains(text, "guards ") || strings.Contains(text, "held while ") || strings.Contains(text, "held during ")
			order := strings.Contains(text, "taken ") || strings.Contains(text, "nothing else is locked under it")
			if !guards || !order {
				t.Errorf("%s: its comment says not what it guards, or not in which order it is taken: %q", name, text)
			}
		}
	}
}

// mutexes returns the mutexes of structs, with their comments.
func mutexes(s *source) map[string]string {
	said := make(map[string]string)
	for _, f := range s.files {
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			of, ok := spec.Type.(*ast.StructType)
			if !ok {
				return true
			}
			for _, field := range of.Fields.List {
				if kind := types.ExprString(field.Type); kind != "sync.Mutex" && kind != "sync.RWMutex" {
					continue
				}
				name := s.dir + "." + spec.Name.Name
				if len(field.Names) > 0 {
					name += "." + field.Names[0].Name
				}
				said[name] = strings.ReplaceAll(field.Doc.Text()+field.Comment.Text(), "\n", " ")
			}
			return true
		})
	}
	return said
}
