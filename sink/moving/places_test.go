package moving

import (
	"os"
	"slices"
	"strings"
	"testing"

	"pingline"
	"pingline/partition"
	"pingline/sink/reshard"
	"pingline/sink/store"
)

func spread(names ...string) (s reshard.Spread) {
	for _, name := range names {
		s = append(s, partition.Shard{Name: name, Weight: 1})
	}
	return s
}

func free(string) bool { return false }

// Between any two layouts a row goes from where the old one has it to where the new one has it; a
// row that is elsewhere for another reason stays, unless its shard goes.
func TestRowsGoWhereTheNewLayoutHasThem(t *testing.T) {
	for _, tt := range []struct{ old, next reshard.Spread }{
		{spread("a", "b"), spread("a", "b", "c")},
		{spread("a", "b", "c"), spread("b", "c")},
		{spread("a", "b"), spread("c", "b")},
		{spread("a", "b"), reshard.Spread{{Name: "a", Weight: 1}, {Name: "b", Weight: 3}}},
	} {
		for _, byRider := range []bool{false, true} {
			moves := 0
			for _, from := range tt.old.Names() {
				p, err := newPlaces(from, tt.old, tt.next, byRider, free)
				if err != nil {
					t.Fatal(err)
				}
				for i := range uint64(500) {
					e := pingline.Entry{Verdict: pingline.Accepted, Cell: i + 1, Ping: pingline.Ping{Rider: "r-" + string(rune('a'+i%26)) + string(rune('a'+i/26))}}
					key := partition.CellKey(e.Cell, 0)
					if byRider {
						key = partition.RiderKey(e.Rider)
					}
					was, is := p.old.At(p.old.OfKey(key)).Name, p.new.At(p.new.OfKey(key)).Name
					want := is
					if is == from || was != from && slices.Contains(tt.next.Names(), from) {
						want = ""
					}
					got := p.of(&e)
					if got != want {
						t.Fatalf("%v to %v: a row of %s, which belonged to %s and belongs to %s, goes to %q", tt.old, tt.next, from, was, is, got)
					}
					if got != "" {
						moves++
					}
					u := store.Unit{InCell: true, Cell: e.Cell}
					if any := p.any(&u); any != (got != "") && !byRider || !any && byRider {
						t.Fatalf("%v to %v: something of %v moves: %v", tt.old, tt.next, u, any)
					}
				}
			}
			if moves == 0 {
				t.Errorf("%v to %v: nothing moves", tt.old, tt.next)
			}
		}
	}
}

// Points of nodes go with the first shard, and kinds with a route of their own stay.
func TestPointsAndRoutedKinds(t *testing.T) {
	point, event, plain := pingline.Entry{Point: &pingline.Point{}}, pingline.Entry{Cell: 1, Ping: pingline.Ping{Event: "e"}}, pingline.Entry{Cell: 1}
	at := func(from string, next reshard.Spread, routed func(string) bool) *places {
		p, err := newPlaces(from, spread("a", "b"), next, false, routed)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if got := at("a", spread("b", "c"), free).of(&point); got != "b" {
		t.Errorf("points of the first shard, which goes, go to %q", got)
	}
	for _, from := range []string{"a", "b"} {
		if got := at(from, spread("a", "b", "c"), free).of(&point); got != "" {
			t.Errorf("points of %s, of which the first stays, go to %q", from, got)
		}
	}
	events := at("a", spread("b"), func(kind string) bool { return kind == "event" })
	if got := events.of(&event); got != "" {
		t.Errorf("events have a place of their own, and go to %q", got)
	}
	if got := events.of(&plain); got != "b" {
		t.Errorf("a plain ping goes to %q", got)
	}
}

func TestJobFiles(t *testing.T) {
	m := &Mover{cfg: Config{Set: "main", Dir: t.TempDir()}}
	path := m.path()
	if j, err := m.load(); j != nil || err != nil {
		t.Errorf("no file: %v, %v", j, err)
	}
	want := moveJob{Form: jobForm, ID: "r-1", Old: spread("a"), New: spread("b"), Rate: 5, Stage: Comparing, Paused: true, Share: 1}
	if err := m.save(&want); err != nil {
		t.Fatal(err)
	}
	if got, err := m.load(); err != nil || got.Stage != Comparing || !got.Paused || got.New.String() != "b=1" || got.Rate != 5 {
		t.Errorf("%+v, %v", got, err)
	}
	for text, says := range map[string]string{
		"{":                         path,
		`{"form":2}`:                "run the newer version",
		`{"form":1,"id":"r-1"}`:     "is not whole",
		`{"form":1,"stage":"moved"`: path,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := m.load(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
