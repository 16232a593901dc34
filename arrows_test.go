package pingline_test

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// arrows says which packages of ours each may import; tests may import more.
// cmd wires all.
var arrows = map[string][]string{
	"pingline":                  {},
	"pingline/dedupe":           {"pingline"},
	"pingline/dedupe/study":     {"pingline", "pingline/dedupe", "pingline/partition", "pingline/track"},
	"pingline/ingest":           {"pingline", "pingline/dedupe", "pingline/partition", "pingline/queue"},
	"pingline/ingest/phone":     {"pingline"},
	"pingline/ingest/server":    {"pingline", "pingline/ingest", "pingline/ingest/phone", "pingline/partition", "pingline/query", "pingline/sink/store"},
	"pingline/internal/influxd": {},
	"pingline/internal/node": {
		"pingline", "pingline/dedupe", "pingline/ingest", "pingline/ingest/phone", "pingline/ingest/server", "pingline/internal/ops",
		"pingline/partition", "pingline/query", "pingline/queue", "pingline/rollup", "pingline/sink", "pingline/sink/store",
	},
	"pingline/internal/ops": {
		"pingline", "pingline/ingest", "pingline/ingest/server", "pingline/partition", "pingline/queue", "pingline/rollup", "pingline/sink",
	},
	"pingline/internal/plan":          {"pingline/dedupe", "pingline/internal/unit", "pingline/queue"},
	"pingline/internal/unit":          {},
	"pingline/partition":              {"pingline"},
	"pingline/query":                  {"pingline", "pingline/ingest", "pingline/partition", "pingline/sink/store"},
	"pingline/queue":                  {},
	"pingline/rollup":                 {"pingline", "pingline/partition", "pingline/queue"},
	"pingline/sim":                    {"pingline", "pingline/sim/audit", "pingline/track"},
	"pingline/sim/audit":              {"pingline", "pingline/sink/store"},
	"pingline/sink":                   {"pingline", "pingline/partition", "pingline/queue", "pingline/sink/store"},
	"pingline/sink/store":             {"pingline"},
	"pingline/sink/influx/influxtest": {"pingline", "pingline/internal/influxd", "pingline/sink/influx", "pingline/sink/store"},
	"pingline/tools/skips":            {},
	"pingline/track":                  {"pingline"},
}

// phoneLeaf is what the folder of a protocol may import of ours, and so may the suite
// for all of them. Only the table in internal/node names the folders.
var phoneLeaf = []string{"pingline", "pingline/ingest/phone"}

// storeLeaf is what the folder of a store may import of ours, and so may the suite
// for all of them. Only the table in internal/node names the folders.
var storeLeaf = []string{"pingline", "pingline/sink/store"}

// homes says where a foreign dependency is met, and nowhere else.
var homes = map[string]string{
	"github.com/gofiber/fiber/":       "pingline/ingest/server",
	"github.com/influxdata/influxdb-": "pingline/sink/influx",
	"github.com/nats-io/":             "pingline/queue",
	"github.com/sony/gobreaker/":      "pingline/sink",
	"github.com/uber/h3-go/":          "pingline/partition",
	"github.com/alecthomas/kong":      "pingline/cmd/pingline",
	"github.com/axiomhq/hyperloglog":  "pingline/rollup",
	"github.com/KimMachineGun/":       "pingline/internal/node",
	"github.com/prometheus/":          "pingline/internal/ops",
	"github.com/HdrHistogram/":        "pingline/internal/ops",
}

func TestArrowsBetweenPackages(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Doc,Imports", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var pkg struct {
			ImportPath, Doc string
			Imports         []string
		}
		if err := dec.Decode(&pkg); err != nil {
			t.Fatal(err)
		}
		if pkg.Doc == "" {
			t.Errorf("%s has no package doc", pkg.ImportPath)
		}
		allowed, known := arrows[pkg.ImportPath]
		if name, ok := strings.CutPrefix(pkg.ImportPath, "pingline/ingest/phone/"); ok && !known && !strings.Contains(name, "/") {
			allowed, known = phoneLeaf, true
		}
		if name, ok := strings.CutPrefix(pkg.ImportPath, "pingline/sink/"); ok && !known && (!strings.Contains(name, "/") || name == "store/storetest") {
			allowed, known = storeLeaf, true
		}
		if !known && !strings.HasPrefix(pkg.ImportPath, "pingline/cmd/") {
			t.Errorf("%s is not in the list of arrows", pkg.ImportPath)
		}
		for _, imp := range pkg.Imports {
			ours := imp == "pingline" || strings.HasPrefix(imp, "pingline/")
			if pkg.ImportPath == "pingline/internal/node" && (strings.HasPrefix(imp, "pingline/ingest/phone/") || strings.HasPrefix(imp, "pingline/sink/")) {
				continue // one line in its tables
			}
			if known && ours && !slices.Contains(allowed, imp) {
				t.Errorf("%s imports %s", pkg.ImportPath, imp)
			}
			for prefix, home := range homes {
				if strings.HasPrefix(imp, prefix) && pkg.ImportPath != home {
					t.Errorf("%s imports %s, which belongs into %s", pkg.ImportPath, imp, home)
				}
			}
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
