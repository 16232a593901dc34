package cursor_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"pingline/queue/cursor"
	"pingline/queue/record"
)

// place keeps the list in memory, or fails.
type place struct {
	list  cursor.Marks
	times int
	err   error
}

func (p *place) Keep(list *cursor.Marks) error {
	p.times++
	if p.err == nil {
		p.list = *list
	}
	return p.err
}

func at(next uint64) cursor.Cursor {
	return cursor.Cursor{Next: next, Totals: record.Totals{next - 1}}
}

// A crash would have a reader go on where its cursor was kept last: the records from there on
// are needed, though it has gone on in memory.
func TestNearestCountsWhatIsKept(t *testing.T) {
	var c cursor.Cursors
	var p place
	c.Open(&p, cursor.Marks{})
	if next, ok := c.Nearest(); ok {
		t.Errorf("nearest without cursors: %d", next)
	}
	c.Set("a", at(20))
	c.Set("b", at(30))
	if err := c.Keep(); err != nil {
		t.Fatal(err)
	}
	c.Set("a", at(40))
	pin, pinned := c.Pin(1, 100)
	if pinned.First != 20 || pinned.Cursors["a"] != at(40) {
		t.Errorf("pinned %+v, want from 20 on", pinned)
	}
	p.err = errors.New("no room")
	if err := c.Keep(); !errors.Is(err, p.err) {
		t.Errorf("Keep: %v", err)
	}
	if next, ok := c.Nearest(); next != 20 || !ok || c.Kept()["a"] != at(20) {
		t.Errorf("nearest = %d, %v before a is kept, want 20", next, ok)
	}
	p.err = nil
	if err := c.Keep(); err != nil || p.list.Named["a"] != at(40) {
		t.Errorf("kept %+v, %v", p.list, err)
	}
	if next, _ := c.Nearest(); next != 20 || pin.Holds() != true {
		t.Errorf("nearest = %d while records from 20 on are pinned", next)
	}
	pin.Move(25)
	if next, _ := c.Nearest(); next != 25 {
		t.Errorf("nearest = %d, want 25", next)
	}
	pin.Release()
	if next, _ := c.Nearest(); next != 30 {
		t.Errorf("nearest = %d, want 30", next)
	}
	if held := c.Held(func(name string) bool { return name == "b" }); held != 40 {
		t.Errorf("held without b: %d, want 40", held)
	}
	times := p.times
	if err := errors.Join(c.Keep(), c.Keep()); err != nil || p.times != times {
		t.Errorf("kept %d times though nothing changed, %v", p.times-times, err)
	}
	c.Drop("a")
	if err := c.Close(); err != nil || len(p.list.Named) != 1 {
		t.Errorf("at the end %+v is kept, %v", p.list, err)
	}
	c.Set("a", at(50))
	if err := c.Keep(); !errors.Is(err, cursor.ErrClosed) {
		t.Errorf("Keep after Close: %v", err)
	}
}

// What a place has been given never changes: it may be sent later.
func TestKeptListsStay(t *testing.T) {
	var c cursor.Cursors
	var p place
	first := cursor.Marks{Trimmed: at(5), Named: map[string]cursor.Cursor{"a": at(7)}, Notes: map[string]string{"n": "x"}}
	c.Open(&p, first)
	c.Change(cursor.Change{Set: map[string]cursor.Cursor{"b": at(9)}, Drop: []string{"a"}, Notes: map[string]string{"n": "", "m": "y"}})
	if len(first.Named) != 1 || first.Notes["n"] != "x" || c.Kept()["a"] != at(7) {
		t.Errorf("the list of the place became %+v", first)
	}
	if err := c.Keep(); err != nil {
		t.Fatal(err)
	}
	c.Set("b", at(11))
	c.SetTrimmed(at(6))
	want := cursor.Marks{Trimmed: at(5), Named: map[string]cursor.Cursor{"b": at(9)}, Notes: map[string]string{"m": "y"}}
	if !reflect.DeepEqual(p.list, want) {
		t.Errorf("kept %+v, want %+v", p.list, want)
	}
	if far := c.Furthest(); far != at(11) || c.Trimmed() != at(6) || c.Note("m") != "y" {
		t.Errorf("furthest %+v, trimmed %+v", far, c.Trimmed())
	}
}

func TestFile(t *testing.T) {
	file := cursor.DiskFile(filepath.Join(t.TempDir(), "cursors"))
	if there, err := file.Exists(); there || err != nil {
		t.Fatalf("there: %v, %v", there, err)
	}
	list, err := file.Read()
	if err != nil || !reflect.DeepEqual(list, cursor.Marks{}) {
		t.Errorf("without a file: %+v, %v", list, err)
	}
	want := cursor.Marks{Trimmed: at(5), Named: map[string]cursor.Cursor{"a": at(7)}, Notes: map[string]string{"n": "x\n"}}
	if err := file.Keep(&want); err != nil {
		t.Fatal(err)
	}
	if list, err = file.Read(); err != nil || !reflect.DeepEqual(list, want) {
		t.Errorf("read %+v, %v", list, err)
	}
	newer := []byte("pingline cursors 2 crc32c 00000000\n")
	if err := os.WriteFile(string(file), newer, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := file.Read(); !errors.Is(err, record.ErrNewer) {
		t.Errorf("of a newer version: %v", err)
	}
	if err := errors.Join(file.Remove(), file.Remove()); err != nil {
		t.Error(err)
	}
}
