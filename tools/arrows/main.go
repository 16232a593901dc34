// Command arrows draws the packages of this module and their imports as the SVG
// picture in docs/architecture.md. It is run in the directory of go.mod:
//
//	go run ./tools/arrows >docs/architecture.svg
//
// A package stands above all packages that it imports. An import that follows from
// two or more drawn lines is not drawn. The same tree gives the same picture.
package main

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const module = "pingline"

// way are the packages that a ping passes, in this order.
var way = []string{"ingest/server", "ingest/phone/native", "ingest", "dedupe", "partition", "queue", "sink", "sink/influx"}

// contracts are the packages that define the contract of their leaves.
var contracts = []string{"ingest/phone", "sink/store"}

func main() {
	imports, err := read(".")
	if err != nil {
		fmt.Fprintln(os.Stderr, "arrows:", err)
		os.Exit(1)
	}
	draw(os.Stdout, imports)
}

// read returns the packages of the module in dir, each with its imports from
// the module. Tools and packages for tests are left out. It reads the files
// itself, not by go list, so that go test knows when its results are stale.
func read(dir string) (map[string][]string, error) {
	imports := make(map[string][]string)
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && file != dir && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go"):
			return nil
		}
		in, err := filepath.Rel(dir, filepath.Dir(file))
		if err != nil {
			return err
		}
		name, ok := short(path.Join(module, filepath.ToSlash(in)))
		if !ok {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if to, ok := short(imp); ok && !slices.Contains(imports[name], to) {
				imports[name] = append(imports[name], to)
			}
		}
		if imports[name] == nil {
			imports[name] = []string{}
		}
		return nil
	})
	return imports, err
}

// short returns a package's name in the picture, or false if it is left out.
func short(importPath string) (string, bool) {
	if importPath == module {
		return module, true
	}
	name, ours := strings.CutPrefix(importPath, module+"/")
	return name, ours && !strings.HasPrefix(name, "tools/") && !strings.HasSuffix(path.Base(name), "test")
}

// reaches reports whether from imports to, directly or not.
func reaches(imports map[string][]string, from, to string) bool {
	return slices.ContainsFunc(imports[from], func(p string) bool { return p == to || reaches(imports, p, to) })
}

// reduce leaves out each import that is also reached through another.
func reduce(imports map[string][]string) map[string][]string {
	kept := make(map[string][]string)
	for name, list := range imports {
		kept[name] = []string{}
		for _, to := range list {
			if !slices.ContainsFunc(list, func(by string) bool { return by != to && reaches(imports, by, to) }) {
				kept[name] = append(kept[name], to)
			}
		}
		slices.Sort(kept[name])
	}
	return kept
}
