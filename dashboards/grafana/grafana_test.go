package grafana

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

var update = flag.Bool("update", false, "write the generated files")

func generated(t *testing.T) []Generated {
	t.Helper()
	files, err := Files()
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// The files in the tree are those that the code makes, and there are no others;
// go generate writes them.
func TestGenerated(t *testing.T) {
	known := map[string]bool{}
	for _, f := range generated(t) {
		known[filepath.FromSlash(f.Path)] = true
		if *update {
			if err := os.MkdirAll(filepath.Dir(f.Path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(f.Path, f.Text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		is, err := os.ReadFile(f.Path)
		if err != nil || !bytes.Equal(is, f.Text) {
			t.Errorf("%s is not as the code makes it: go generate ./dashboards/grafana (%v)", f.Path, err)
		}
	}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if ext := filepath.Ext(path); err == nil && !strings.HasPrefix(path, "testdata") && (ext == ".json" || ext == ".yaml") && !known[path] {
			t.Errorf("%s is made by nobody", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// strict returns what Grafana's SDK finds wrong with a board: a field that it does not
// know, one that is missing, one of another type.
func strict(text []byte) error {
	plugins.RegisterDefaultPlugins()
	// Of a Mixed panel the SDK takes each query for one of its own kind.
	for _, kind := range []string{influxType, "datasource"} {
		cog.NewRuntime().RegisterDataqueryVariant(variants.DataqueryConfig{Identifier: kind, DataqueryUnmarshaler: readInflux, StrictDataqueryUnmarshaler: readInflux})
	}
	b := new(dashboard.Dashboard)
	for _, err := range []error{b.UnmarshalJSONStrict(text), b.Validate()} {
		// Of a good board it returns an error without any entry.
		if faults := cog.BuildErrors(nil); err != nil && (!errors.As(err, &faults) || len(faults) > 0) {
			return err
		}
	}
	return nil
}

// The strict reading finds faults, so that it is worth something.
func TestStrictReadingFindsFaults(t *testing.T) {
	var text string
	for _, f := range generated(t) {
		if f.Path == "boards/ingest.json" {
			text = string(f.Text)
		}
	}
	for of, by := range map[string]string{`"rawQuery"`: `"rawQueries"`, `"gridPos"`: `"gridPosition"`, `"graphMode"`: `"mode"`, `"fillOpacity": 10`: `"fillOpacity": "10"`, `"schemaVersion"`: `"schema"`} {
		if bad := strings.Replace(text, of, by, 1); bad == text || strict([]byte(bad)) == nil {
			t.Errorf("%s instead of %s is taken", by, of)
		}
	}
}

// board reads a generated board. The strict reading leaves panels out.
func board(t *testing.T, f Generated) *dashboard.Dashboard {
	t.Helper()
	if err := strict(f.Text); err != nil {
		t.Fatalf("%s: %v", f.Path, err)
	}
	b := new(dashboard.Dashboard)
	if err := json.Unmarshal(f.Text, b); err != nil {
		t.Fatalf("%s: %v", f.Path, err)
	}
	return b
}

func readInflux(raw []byte) (variants.Dataquery, error) {
	var q InfluxQuery
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	err := dec.Decode(&q)
	return q, err
}

// boards returns all generated boards, by path.
func boards(t *testing.T, files []Generated) map[string]*dashboard.Dashboard {
	t.Helper()
	all := map[string]*dashboard.Dashboard{}
	for _, f := range files {
		if strings.HasPrefix(f.Path, "boards/") {
			all[f.Path] = board(t, f)
		}
	}
	return all
}

// panels returns all panels of a board but rows.
func panels(b *dashboard.Dashboard) (list []*dashboard.Panel) {
	for _, p := range b.Panels {
		if p.Panel != nil {
			list = append(list, p.Panel)
		}
	}
	return list
}

// Every panel says how it is read, has a unit and a query, and lies on the grid beside
// the others; every board has a UID of its own, links and variables for its data sources.
func TestBoardsAreWhole(t *testing.T) {
	uids := map[string]string{}
	for path, b := range boards(t, generated(t)) {
		if b.Uid == nil || *b.Uid == "" || uids[*b.Uid] != "" {
			t.Fatalf("%s: its UID is missing or that of %s", path, uids[*b.Uid])
		}
		uids[*b.Uid] = path
		if len(b.Links) < 2 || len(b.Tags) != 1 || b.Description == nil {
			t.Errorf("%s: links, tag or description are missing", path)
		}
		titles, taken := map[string]bool{}, map[[2]uint32]string{}
		for _, p := range panels(b) {
			title := *p.Title
			switch {
			case titles[title]:
				t.Errorf("%s: %q is there twice", path, title)
			case p.Description == nil || len(*p.Description) < 20:
				t.Errorf("%s: %q does not say how it is read", path, title)
			case len(p.Targets) == 0:
				t.Errorf("%s: %q asks nothing", path, title)
			case p.FieldConfig == nil || p.FieldConfig.Defaults.Unit == nil:
				t.Errorf("%s: %q has no unit", path, title)
			}
			titles[title] = true
			g := p.GridPos
			for x := g.X; x < g.X+g.W; x++ {
				for y := g.Y; y < g.Y+g.H; y++ {
					if other := taken[[2]uint32{x, y}]; other != "" || x >= 24 {
						t.Fatalf("%s: %q lies on %q or outside", path, title, other)
					}
					taken[[2]uint32{x, y}] = title
				}
			}
		}
		if len(titles) < 5 {
			t.Errorf("%s has %d panels", path, len(titles))
		}
	}
}

// No board names a data source: each panel, query and variable goes by a variable.
func TestNoDataSourceIsNamed(t *testing.T) {
	for path, b := range boards(t, generated(t)) {
		variables := map[string]bool{mixed: true}
		for _, v := range b.Templating.List {
			if v.Type == dashboard.VariableTypeDatasource {
				variables["${"+v.Name+"}"] = true
			}
		}
		var walk func(v any)
		walk = func(v any) {
			switch v := v.(type) {
			case map[string]any:
				if ds, ok := v["datasource"].(map[string]any); ok {
					if uid, _ := ds["uid"].(string); !variables[uid] {
						t.Errorf("%s: data source %q", path, uid)
					}
				}
				for _, inner := range v {
					walk(inner)
				}
			case []any:
				for _, inner := range v {
					walk(inner)
				}
			}
		}
		text, err := json.Marshal(b.Panels)
		if err != nil {
			t.Fatal(err)
		}
		var tree any
		if err := json.Unmarshal(text, &tree); err != nil {
			t.Fatal(err)
		}
		walk(tree)
	}
}

// A name that no node writes is refused where the board is built.
func TestNamesAreThoseThatAreWritten(t *testing.T) {
	for name, build := range map[string]func(){
		"measurement": func() { of("pinglines") },
		"tag":         func() { of("pingline_shard").tag("lane") },
		"field":       func() { of("pingline_shard").field("breakers") },
		"metric":      func() { metric("pingline_breaker") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a %s that is not there is taken", name)
				}
			}()
			build()
		}()
	}
}
