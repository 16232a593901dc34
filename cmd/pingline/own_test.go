package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// shared are the files whose declarations all commands may use. Every other file is
// a command's own, that of its name or, as serve_hangup.go is serve's, of its beginning.
var shared = map[string]bool{"main.go": true, "config.go": true, "filter.go": true, "usage.go": true, "values.go": true, "reading.go": true}

// A command uses no type, function or constant that another command declares: such
// a thing belongs into a package.
func TestCommandsShareNothing(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	set, owners, uses := token.NewFileSet(), map[string]string{}, map[string][]*ast.Ident{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") || shared[name] {
			continue
		}
		file, err := parser.ParseFile(set, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for declared := range file.Scope.Objects {
			owners[declared] = commandOf(name)
		}
		// The parser resolves within a file: what is left over is of the package.
		uses[name] = file.Unresolved
	}
	if len(owners) < 10 {
		t.Fatalf("%d declarations were found", len(owners))
	}
	for name, idents := range uses {
		for _, id := range idents {
			if owner, ok := owners[id.Name]; ok && owner != commandOf(name) {
				t.Errorf("%v: %s is declared in %s", set.Position(id.Pos()), id.Name, owner)
			}
		}
	}
}

// commandOf returns the command whose file this is.
func commandOf(file string) string {
	name, _, _ := strings.Cut(strings.TrimSuffix(file, ".go"), "_")
	return name
}
