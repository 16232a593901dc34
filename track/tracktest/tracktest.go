// Package tracktest finds the tracks that tests read.
//
// Every clone has the simulated tracks of testdata/gps. Where a larger set of
// recorded tracks lies beside the repository, in ../shared/data/gps, tests read
// that set instead. The package never copies or changes a file.
package tracktest

import (
	"os"
	"path/filepath"
	"testing"
)

// Habit is the way in which the phones of a set send pings.
type Habit string

// The four kinds; every clone has a set of each.
const (
	EverySecond Habit = "a ping a second"
	EveryFew    Habit = "a ping in 5 s or more"
	Sparse      Habit = "a ping in 27 s"
	Disordered  Habit = "a ping a second, sent again, late or out of order"
)

// Kinds lists all kinds.
var Kinds = []Habit{EverySecond, EveryFew, Sparse, Disordered}

// Set is a file of tracks: NDJSON, compressed with gzip.
type Set struct {
	Path     string // relative to the test's directory, or absolute
	Recorded bool   // by riders' receivers; otherwise simulated
}

// Name returns the file's name without its directory.
func (s Set) Name() string { return filepath.Base(s.Path) }

var files = map[Habit]struct{ simulated, recorded string }{
	EverySecond: {"city_1s.ndjson.gz", "dev_1hz_mixed.ndjson.gz"},
	EveryFew:    {"city_5s.ndjson.gz", "dev_gotrack_5s_bus20s.ndjson.gz"},
	Sparse:      {"city_27s.ndjson.gz", "dev_phone_android.ndjson.gz"},
	Disordered:  {"city_arrival_faults.ndjson.gz", "dev_arrival_faults.ndjson.gz"},
}

// Find returns the recorded set of a kind if it is present, otherwise the simulated set
// of the tree.
func Find(t testing.TB, kind Habit) Set {
	t.Helper()
	if path, ok := recorded(t, kind); ok {
		return Set{path, true}
	}
	return InTree(t, kind)
}

// InTree returns the simulated set of a kind, which every clone has.
func InTree(t testing.TB, kind Habit) Set {
	t.Helper()
	return Set{filepath.Join(Root(t), "testdata", "gps", files[kind].simulated), false}
}

// Recorded returns the recorded set of a kind, and skips the test where it is absent.
func Recorded(t testing.TB, kind Habit) Set {
	t.Helper()
	path, ok := recorded(t, kind)
	if !ok {
		t.Skip("the larger set of recorded tracks is not in ../shared/data/gps")
	}
	return Set{path, true}
}

func recorded(t testing.TB, kind Habit) (path string, ok bool) {
	t.Helper()
	path = filepath.Join(Root(t), "..", "shared", "data", "gps", files[kind].recorded)
	_, err := os.Stat(path)
	return path, err == nil
}

// Root returns the repository's directory, seen from that of the running test.
func Root(t testing.TB) string {
	t.Helper()
	for dir := "."; len(dir) < 100; dir = filepath.Join(dir, "..") {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
	}
	t.Fatal("no go.mod in the test's directory or above")
	return ""
}
