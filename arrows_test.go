package pingline_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// arrows says which packages of ours each may import; tests may import more.
// cmd wires all.
var arrows = map[string][]string{
	"pingline":                                   {},
	"pingline/dedupe":                            {"pingline", "pingline/dedupe/plane", "pingline/dedupe/slab", "pingline/dedupe/vertices"},
	"pingline/dedupe/plane":                      {"pingline"},
	"pingline/dedupe/slab":                       {},
	"pingline/dedupe/study":                      {"pingline", "pingline/dedupe", "pingline/internal/unit", "pingline/partition", "pingline/track", "pingline/track/picture"},
	"pingline/dedupe/vertices":                   {"pingline/dedupe/plane", "pingline/dedupe/slab"},
	"pingline/ingest":                            {"pingline", "pingline/dedupe", "pingline/internal/unit", "pingline/partition", "pingline/queue"},
	"pingline/ingest/phone":                      {"pingline"},
	"pingline/ingest/server":                     {"pingline", "pingline/ingest", "pingline/ingest/phone", "pingline/ingest/server/clocks", "pingline/ingest/server/conns", "pingline/ingest/server/framing", "pingline/ingest/server/inflate", "pingline/ingest/server/rate", "pingline/ingest/server/top", "pingline/internal/meridian", "pingline/partition", "pingline/query", "pingline/sink/store"},
	"pingline/ingest/server/conns":               {"pingline/ingest/server/framing"},
	"pingline/ingest/server/framing":             {},
	"pingline/ingest/server/framing/framingtest": {},
	"pingline/ingest/server/clocks":              {},
	"pingline/ingest/server/rate":                {},
	"pingline/ingest/server/top":                 {"pingline", "pingline/internal/unit"},
	"pingline/ingest/server/inflate":             {"pingline/ingest/phone"},
	"pingline/internal/influxd":                  {},
	"pingline/internal/node": {
		"pingline", "pingline/dedupe", "pingline/ingest", "pingline/ingest/phone", "pingline/ingest/server", "pingline/internal/ops",
		"pingline/internal/unit", "pingline/partition", "pingline/query", "pingline/queue", "pingline/queue/disk", "pingline/rollup", "pingline/sink", "pingline/sink/deadletter", "pingline/sink/store",
	},
	"pingline/internal/ops": {
		"pingline", "pingline/ingest", "pingline/ingest/server", "pingline/partition", "pingline/queue", "pingline/rollup", "pingline/sink",
	},
	"pingline/internal/terminal": {},

	"pingline/internal/plan":     {"pingline/dedupe", "pingline/internal/unit", "pingline/queue"},
	"pingline/internal/meridian": {"pingline"},
	"pingline/internal/pause":    {},
	"pingline/internal/unit":     {},
	"pingline/partition":         {"pingline"},
	"pingline/query":             {"pingline", "pingline/ingest", "pingline/partition", "pingline/sink/store"},
	"pingline/queue":             {"pingline/queue/disk", "pingline/queue/jetstream", "pingline/queue/record", "pingline/queue/scan"},
	"pingline/queue/disk":        {},
	"pingline/queue/embedded":    {"pingline/queue/disk"},
	"pingline/queue/jetstream":   {"pingline/queue/embedded"},
	"pingline/queue/record":      {},
	"pingline/queue/scan":        {"pingline/queue/record"},
	"pingline/rollup":            {"pingline", "pingline/partition", "pingline/queue"},
	"pingline/sim":               {"pingline", "pingline/internal/pause", "pingline/sim/audit", "pingline/track"},
	"pingline/sim/audit":         {"pingline", "pingline/sink/store"},
	"pingline/sink":              {"pingline", "pingline/internal/pause", "pingline/internal/unit", "pingline/partition", "pingline/queue", "pingline/sink/batch", "pingline/sink/deadletter", "pingline/sink/health", "pingline/sink/limit", "pingline/sink/resume", "pingline/sink/route", "pingline/sink/store"},
	"pingline/sink/batch":        {"pingline", "pingline/partition", "pingline/queue", "pingline/sink/route", "pingline/sink/store"},
	"pingline/sink/deadletter":   {"pingline", "pingline/internal/pause", "pingline/sink/store"},
	"pingline/sink/health":       {"pingline/sink/deadletter", "pingline/sink/limit", "pingline/sink/route", "pingline/sink/store"},
	"pingline/sink/limit":        {"pingline/sink/store"},
	"pingline/sink/resume":       {"pingline/queue", "pingline/sink/route"},
	"pingline/sink/route":        {"pingline", "pingline/partition", "pingline/queue", "pingline/sink/limit"},
	"pingline/sink/store":        {"pingline"},
	"pingline/tools/arrows":      {},
	"pingline/tools/skips":       {},
	"pingline/tools/upgrade":     {"pingline/internal/influxd", "pingline/internal/pause"},
	"pingline/track":             {"pingline", "pingline/internal/meridian", "pingline/track/output"},
	"pingline/track/output":      {},
	"pingline/track/picture":     {"pingline", "pingline/internal/unit", "pingline/track"},
	"pingline/track/tracktest":   {},
}

// leaves are the folders of contracts: each folder in one is a leaf, a way in or a
// place for pings, unless it is in arrows. A leaf imports the root and its contract.
// So does the suite for all leaves of a contract, and what helps to test one leaf
// stands in a folder …test below it and may import more.
var leaves = map[string]string{
	"pingline/ingest/phone/": "pingline/ingest/phone",
	"pingline/sink/":         "pingline/sink/store",
}

// leafOf returns the leaf that a package is, or is below of, and its contract.
func leafOf(path string) (leaf, contract string) {
	if _, known := arrows[path]; known {
		return "", ""
	}
	for folder, contract := range leaves {
		if rest, ok := strings.CutPrefix(path, folder); ok && path != contract {
			name, _, _ := strings.Cut(rest, "/")
			if name == "store" || name == "phonetest" { // the suites
				return "", contract
			}
			return folder + name, contract
		}
	}
	return "", ""
}

// homes says in which packages the modules of others are imported, std and
// golang.org/x aside: each in one, or there is a reason.
var homes = map[string][]string{
	"github.com/HdrHistogram/hdrhistogram-go":     {"pingline/internal/ops"},
	"github.com/KimMachineGun/automemlimit":       {"pingline/internal/node"},
	"github.com/alecthomas/kong":                  {"pingline/cmd/pingline"},
	"github.com/axiomhq/hyperloglog":              {"pingline/rollup"},
	"github.com/cheggaaa/pb/v3":                   {"pingline/internal/terminal"},
	"github.com/dustin/go-humanize":               {"pingline/internal/unit"},
	"github.com/gofiber/fiber/v2":                 {"pingline/ingest/server"},
	"github.com/influxdata/influxdb-client-go/v2": {"pingline/sink/influx"},
	"github.com/influxdata/line-protocol/v2":      {"pingline/sink/deadletter"},
	"github.com/nats-io/nats-server/v2":           {"pingline/queue/embedded"},
	"github.com/nats-io/nats.go":                  {"pingline/queue/jetstream"},
	"github.com/prometheus/client_golang":         {"pingline/internal/ops"},
	"github.com/sony/gobreaker/v2":                {"pingline/sink/limit"},
	"github.com/uber/h3-go/v4":                    {"pingline/partition"},
	"github.com/valyala/fasthttp":                 {"pingline/ingest/server"},
	"go.yaml.in/yaml/v3":                          {"pingline/cmd/pingline"},

	// Both ends speak gzip: requests of clients, and writes to the store. They share
	// nothing else.
	"github.com/klauspost/compress": {"pingline/ingest/server/inflate", "pingline/sink/influx"},
}

// listed is a package as go list tells of it.
type listed struct {
	ImportPath, Doc string
	Imports         []string
	Module          *struct {
		Path string
		Main bool
	}
}

func list(t *testing.T, args ...string) (all []listed) {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list", "-json=ImportPath,Doc,Imports,Module"}, args...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var pkg listed
		if err := dec.Decode(&pkg); err != nil {
			t.Fatal(err)
		}
		all = append(all, pkg)
	}
	return all
}

func ours(path string) bool { return path == "pingline" || strings.HasPrefix(path, "pingline/") }

func TestArrowsBetweenPackages(t *testing.T) {
	for _, pkg := range list(t, "./...") {
		if pkg.Doc == "" {
			t.Errorf("%s has no package doc", pkg.ImportPath)
		}
		allowed, known := arrows[pkg.ImportPath]
		leaf, contract := leafOf(pkg.ImportPath)
		if !known && contract != "" {
			allowed, known = []string{"pingline", contract}, true
		}
		below := leaf != "" && strings.HasSuffix(pkg.ImportPath, "test")
		main := strings.HasPrefix(pkg.ImportPath, "pingline/cmd/")
		if !known && !main {
			t.Errorf("%s is not in the list of arrows", pkg.ImportPath)
		}
		for _, imp := range pkg.Imports {
			if !ours(imp) {
				continue
			}
			if named, _ := leafOf(imp); named != "" {
				if pkg.ImportPath != "pingline/internal/node" && leaf != named {
					t.Errorf("%s imports %s: only internal/node names leaves", pkg.ImportPath, imp)
				}
				continue
			}
			if !main && !below && !slices.Contains(allowed, imp) {
				t.Errorf("%s imports %s", pkg.ImportPath, imp)
			}
		}
	}
}

// impure is what a protocol does without: it is a pure function of its request.
var impure = []string{"crypto/rand", "log", "log/slog", "math/rand", "math/rand/v2", "net", "os", "os/exec", "os/signal", "path/filepath", "syscall"}

// clock is what a protocol does not call: the time is that of the request.
var clock = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

func TestProtocolsArePure(t *testing.T) {
	seen := 0
	for _, s := range sources(t) {
		if _, contract := leafOf("pingline/" + s.dir); contract != "pingline/ingest/phone" || strings.HasSuffix(s.dir, "test") {
			continue
		}
		for i, file := range s.files {
			seen++
			for _, wrong := range impurities(file) {
				t.Errorf("%s/%s %s", s.dir, s.names[i], wrong)
			}
		}
	}
	if seen == 0 {
		t.Error("no protocol was looked at")
	}
	file, err := parser.ParseFile(fset, "x.go", `package x
import ("net/http"; "os"; clock "time")
var a, b, c, d = os.Args, clock.Now(), http.Get, http.StatusOK
func f() { go f(); clock.UnixMilli(0) }`, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"imports os", "uses time.Now", "uses net/http.Get", "starts a goroutine"}
	if got := impurities(file); !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}

// impurities returns how a file of a protocol depends on more than a request, or
// does more than answer it. Of net/http it may use constants.
func impurities(file *ast.File) (all []string) {
	known := make(map[string]string)
	for _, spec := range file.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		if slices.Contains(impure, path) {
			all = append(all, "imports "+path)
		}
		name := path[strings.LastIndexByte(path, '/')+1:]
		if spec.Name != nil {
			name = spec.Name.Name
		}
		if name == "." && (path == "time" || path == "net/http") {
			all = append(all, "imports the names of "+path)
		}
		known[name] = path
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			all = append(all, "starts a goroutine")
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			if !ok {
				break
			}
			name := n.Sel.Name
			switch path := known[x.Name]; {
			case path == "time" && slices.Contains(clock, name),
				path == "net/http" && !strings.HasPrefix(name, "Status") && !strings.HasPrefix(name, "Method"):
				all = append(all, "uses "+path+"."+name)
			}
		}
		return true
	})
	return all
}

// A foreign dependency is met in one package, so that it can be replaced there.
func TestForeignDependenciesHaveAHome(t *testing.T) {
	module, met := make(map[string]string), make(map[string][]string)
	all := list(t, "-deps", "./...")
	for _, pkg := range all {
		if pkg.Module != nil && !pkg.Module.Main && !strings.HasPrefix(pkg.Module.Path, "golang.org/x/") {
			module[pkg.ImportPath] = pkg.Module.Path
		}
	}
	for _, pkg := range all {
		if !ours(pkg.ImportPath) {
			continue
		}
		for _, imp := range pkg.Imports {
			if m := module[imp]; m != "" && !slices.Contains(met[m], pkg.ImportPath) {
				met[m] = append(met[m], pkg.ImportPath)
			}
		}
	}
	for m, in := range met {
		slices.Sort(in)
		if !slices.Equal(in, homes[m]) {
			t.Errorf("%s is imported by %v, its home is %v", m, in, homes[m])
		}
	}
	for m := range homes {
		if met[m] == nil {
			t.Errorf("%s has a home and is not imported", m)
		}
	}
}

// The writer does not depend on what speaks HTTP, not even through another package.
func TestWriterKnowsNoHTTP(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "./ingest").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dep := range strings.FieldsSeq(string(out)) {
		if strings.HasPrefix(dep, "github.com/gofiber/") || strings.HasPrefix(dep, "github.com/valyala/") || strings.HasPrefix(dep, "pingline/ingest/") {
			t.Errorf("pingline/ingest depends on %s", dep)
		}
	}
}
