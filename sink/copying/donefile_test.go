package copying_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pingline/sink/copying"
)

const day = 24 * 60 * 60 * 1000

// Of a job of which units are done, the state is read back, but for a line that broke off;
// another job's is refused, and so is a line that is damaged.
func TestDoneFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	job := copying.CopyJob{From: "a", To: "b", Rider: "r"}
	units := []copying.Unit{{From: 0, To: day}, {From: -day, To: 0, InCell: true}, {From: -day, To: 0, InCell: true, Cell: 0x85392ec7fffffff}, {Name: "p q", From: 0, To: day}}
	s, err := copying.OpenDone(path, job)
	if err != nil || !s.Fresh() {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("before Begin: %v", err)
	}
	if err := s.Begin(); err != nil {
		t.Fatal(err)
	}
	for i, u := range units {
		x := copying.Done{Unit: u, State: copying.UnitCopied, Copied: copying.Copied{Rows: uint64(i), Refused: 1}, Hash: 1<<63 + uint64(i), Took: 9}
		if err := s.Append(int64(10*i), x); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(s.Append(30, copying.Done{Unit: units[1], State: copying.UnitDeleted}), s.Close()); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, torn := range []string{"", `{"from":5,"to"`, `{"from":5,"to":6,"state":"copied"}`} {
		if err := os.WriteFile(path, append(whole, torn...), 0o600); err != nil {
			t.Fatal(err)
		}
		again, err := copying.OpenDone(path, job)
		if err == nil {
			err = again.Begin()
		}
		if err != nil || again.Fresh() || again.RefusedBytes() != 30 {
			t.Fatalf("%+v, %v", again, err)
		}
		for i, u := range units {
			x, ok := again.Get(u)
			if want := (copying.Done{Unit: u, State: copying.UnitCopied, Copied: copying.Copied{Rows: uint64(i), Refused: 1}, Hash: 1<<63 + uint64(i), Took: 9}); i != 1 && x != want || !ok {
				t.Errorf("unit %d is %+v, want %+v", i, x, want)
			} else if i == 1 && x.State != copying.UnitDeleted {
				t.Errorf("the last line does not count: %+v", x)
			}
		}
		if x, ok := again.Get(copying.Unit{From: 5, To: 6}); ok {
			t.Errorf("a line that broke off counts: %+v", x)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != string(whole) {
			t.Errorf("the file is %q, want %q: %v", got, whole, err)
		}
	}
	lines := strings.SplitAfter(string(whole), "\n")
	lines[2] = "{}}\n"
	if err := os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := copying.OpenDone(path, job); err == nil || !strings.Contains(err.Error(), "line 3 is damaged") {
		t.Errorf("of a damaged line: %v", err)
	}
	head, _, _ := strings.Cut(string(whole), "\n")
	if err := os.WriteFile(path, []byte(head+head+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := copying.OpenDone(path, job); err == nil || !strings.Contains(err.Error(), "line 1 is damaged") {
		t.Errorf("of two objects in the first line: %v", err)
	}
	job.Rider = ""
	if _, err := copying.OpenDone(path, job); !errors.Is(err, copying.ErrOtherJob) {
		t.Errorf("of another job: %v", err)
	}
}

// A file of form 1, whose units are days, is gone on with, and holds for the cells of its days.
func TestDoneFileOfForm1(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	const old = `{
	"form": 1,
	"job": {
		"from": "http://a:8086 mydb",
		"to": "clickhouse://b:8123/x"
	},
	"refused_bytes": 77,
	"done": {
		" -86400000-0": {
			"rows": 5,
			"refused": 1
		},
		"cell_activity 0-86400000": {
			"rows": 7
		}
	}
}
`
	if err := os.WriteFile(path, []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	job := copying.CopyJob{From: "http://a:8086 mydb", To: "clickhouse://b:8123/x"}
	for range 2 { // the second time it is of the new form
		s, err := copying.OpenDone(path, job)
		if err == nil {
			err = errors.Join(s.Begin(), s.Close())
		}
		if err != nil || s.RefusedBytes() != 77 {
			t.Fatalf("%v, %+v", err, s)
		}
		x, ok := s.Get(copying.Unit{From: -day, To: 0})
		if !ok || x.Copied != (copying.Copied{Rows: 5, Refused: 1}) {
			t.Errorf("%+v, %v", x, ok)
		}
		if x, ok := s.Get(copying.Unit{From: -day, To: 0, InCell: true, Cell: 5}); !ok || x.State != copying.UnitCopied || x.Rows != 0 {
			t.Errorf("a cell of the day: %+v, %v", x, ok)
		}
		if x, ok := s.Get(copying.Unit{Name: "cell_activity", From: 0, To: day}); !ok || x.Rows != 7 {
			t.Errorf("%+v, %v", x, ok)
		}
		if x, ok := s.Get(copying.Unit{From: 0, To: day}); ok {
			t.Errorf("%+v is done", x)
		}
	}
}

// FuzzDoneFile: whatever is in the file, it is read or refused, and once begun it is read again.
func FuzzDoneFile(f *testing.F) {
	f.Add([]byte(`{"form":2,"job":{"from":"","to":""}}` + "\n" + `{"from":5,"to":6,"cell":"8f","state":"copied","rows":3,"sum":"ff"}` + "\n"))
	f.Add([]byte(`{"form":1,"job":{"from":"","to":""},"done":{" 5-6":{"rows":1},"x -5--3":{}}}`))
	f.Add([]byte(`{"form":2,"job":{"from":"","to":""}}`)) // a line without an end
	f.Add([]byte(`{"form":2,"job":{"from":"","to":""}}{"from":5,"to":6,"state":"copied"}` + "\n"))
	f.Add([]byte("{\n\"form\":2}\n" + `{"from":5,"to":6,"state":"copied"}` + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "state")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := copying.OpenDone(path, copying.CopyJob{})
		if err != nil {
			return
		}
		if err := errors.Join(s.Begin(), s.Append(5, copying.Done{Unit: copying.Unit{From: 1, To: 2}, State: copying.UnitCopied}), s.Close()); err != nil {
			t.Fatal(err)
		}
		if s, err = copying.OpenDone(path, copying.CopyJob{}); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if x, ok := s.Get(copying.Unit{From: 1, To: 2}); !ok || x.State != copying.UnitCopied {
			t.Errorf("%+v", x)
		}
	})
}
