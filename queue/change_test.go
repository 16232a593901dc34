package queue

import (
	"fmt"
	"testing"
)

func TestChangeIsKept(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Config{Dir: dir})
	fill(t, l, 5, 100)
	l.SetCursor("old", Cursor{Next: 2, Totals: totals(1)})
	want := Cursor{Next: 4, Totals: totals(3), Passed: 2}
	l.Change(Change{Set: map[string]Cursor{"new": want}, Drop: []string{"old"}, Notes: map[string]string{"set": "a b", "gone": "x"}})
	l.Change(Change{Notes: map[string]string{"gone": ""}})
	if err := l.KeepCursors(); err != nil {
		t.Fatal(err)
	}
	shut(t, l)
	l = open(t, Config{Dir: dir})
	if got := l.Cursors(); len(got) != 1 || got["new"] != want {
		t.Errorf("the cursors are %+v, want only %+v", got, want)
	}
	if l.Note("set") != "a b" || l.Note("gone") != "" {
		t.Errorf("the notes are %q and %q", l.Note("set"), l.Note("gone"))
	}
	if got, want := l.Head(), (Cursor{Next: 6, Totals: totals(5)}); got != want {
		t.Errorf("Head = %+v, want %+v", got, want)
	}
}

// Whenever the file is written, a change is in it whole or not at all.
func TestChangeIsKeptWhole(t *testing.T) {
	l := open(t, Config{})
	l.SetCursor("a", Cursor{})
	l.SetCursor("b0", Cursor{})
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := uint64(1); ; i++ {
			l.Change(Change{
				Set:  map[string]Cursor{"a": {Next: i}, fmt.Sprint("b", i): {Next: i}},
				Drop: []string{fmt.Sprint("b", i-1)},
			})
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	for range 100 {
		if err := l.KeepCursors(); err != nil {
			t.Fatal(err)
		}
		list, err := l.cursorsFile().Read()
		if err != nil {
			t.Fatal(err)
		}
		if a := list.Named["a"]; len(list.Named) != 2 || list.Named[fmt.Sprint("b", a.Next)] != a {
			t.Fatalf("half a change is kept: %+v", list.Named)
		}
	}
	close(stop)
	<-done
}
