package main

import (
	"bytes"
	"os"
	"reflect"
	"slices"
	"testing"
)

// The picture in the documents is that of the imports there are.
func TestPictureIsOfToday(t *testing.T) {
	imports, err := read("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Concat(way, contracts) {
		if imports[name] == nil {
			t.Errorf("there is no package %s", name)
		}
	}
	var b bytes.Buffer
	draw(&b, imports)
	is, err := os.ReadFile("../../docs/architecture.svg")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(is, b.Bytes()) {
		t.Error("docs/architecture.svg is of other imports: go run ./tools/arrows >docs/architecture.svg")
	}
}

// The two halves of the way meet in the log: the half that leads into it knows
// nothing of the one that leads out, nor that of judging and answering.
func TestHalvesMeetInTheLog(t *testing.T) {
	imports, err := read("../..")
	if err != nil {
		t.Fatal(err)
	}
	log := slices.Index(way, "queue")
	for _, out := range way[log+1:] {
		for i, in := range way[:log] {
			if reaches(imports, in, out) {
				t.Errorf("%s imports %s, if only through others", in, out)
			}
			if way[i] != "partition" && reaches(imports, out, in) {
				t.Errorf("%s imports %s, if only through others", out, in)
			}
		}
	}
}

func TestReduce(t *testing.T) {
	got := reduce(map[string][]string{"a": {"b", "c", "d"}, "b": {"c"}, "c": {"d"}, "d": {}, "e": {"d"}})
	want := map[string][]string{"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": {}, "e": {"d"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("reduced to %v, want %v", got, want)
	}
}

// Each package is in a row above all that it imports, and boxes of a row lie apart.
func TestArrange(t *testing.T) {
	rows := arrange(map[string][]string{"a": {"b", "d"}, "b": {"c"}, "c": {"d"}, "d": {}, "e": {"d"}})
	var names []string
	for i, row := range rows {
		for j, n := range row {
			if n.row != i || j > 0 && n.x-row[j-1].x < apart(row[j-1], n)-1e-6 {
				t.Errorf("%q is in row %d at %g, place %d of row %d", n.name, n.row, n.x, j, i)
			}
			if n.name != "" {
				names = append(names, n.name)
			}
			for _, to := range n.down {
				if to.row != i+1 {
					t.Errorf("a line goes from row %d to row %d", i, to.row)
				}
			}
		}
	}
	if slices.Sort(names); !slices.Equal(names, []string{"a", "b", "c", "d", "e"}) || len(rows) != 4 {
		t.Errorf("%d rows have %v", len(rows), names)
	}
}
