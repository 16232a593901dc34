package logview

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pingline"
	"pingline/queue"
	"pingline/queue/backup"
)

func open(t *testing.T, dir string) *queue.Log {
	t.Helper()
	l, err := queue.Open(t.Context(), queue.Config{Dir: filepath.Join(dir, backup.LogDir), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // a test that minds has closed it
	return l
}

// add appends a commit.
func add(t *testing.T, l *queue.Log, at int64, entries ...pingline.Entry) {
	t.Helper()
	b := pingline.AppendCommitHeader(nil, &pingline.CommitHeader{Entries: uint32(len(entries)), At: at, Node: "n"})
	totals := l.LastTotals()
	for i := range entries {
		b = pingline.AppendEntry(b, &entries[i], at)
		switch e := &entries[i]; {
		case e.Stored():
			totals[pingline.TotalStored]++
		case e.Point != nil:
			totals[pingline.TotalLines]++
		}
	}
	if _, err := l.Append(t.Context(), b, totals, false); err != nil {
		t.Fatal(err)
	}
}

func ping(rider string, verdict pingline.Verdict) pingline.Entry {
	p := pingline.Ping{Rider: rider, Fix: pingline.Fix{At: 1_772_352_000_123}}
	if err := p.SetPosition(41.5, -8.5); err != nil {
		panic(err)
	}
	return pingline.Entry{Ping: p, Verdict: verdict}
}

// lines returns the lines of a selection, and the number from which to go on.
func lines(t *testing.T, l *queue.Log, s Selection) (list []string, next uint64) {
	t.Helper()
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	next, err := Entries(t.Context(), l, s, func(line []byte) error {
		if !json.Valid(line) {
			t.Errorf("no JSON: %s", line)
		}
		list = append(list, strings.TrimSuffix(string(line), "\n"))
		return nil
	}, func() error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	return list, next
}

// Each kind of entry has its own keys.
func TestEntriesOfEachKind(t *testing.T) {
	l := open(t, t.TempDir())
	promoted, replayed := ping("a", pingline.Accepted), ping("b", pingline.Accepted)
	promoted.Promoted, promoted.Apart, promoted.SubKey = true, true, 3
	replayed.Kind, replayed.To = pingline.Replayed, "s1"
	add(t, l, 1_772_352_000_500, promoted, ping("q\"", pingline.Held), replayed,
		pingline.Entry{Kind: pingline.Self, Point: &pingline.Point{Name: "p", At: 5, Tags: []pingline.Tag{{Key: "k", Value: "v"}}, Fields: []pingline.PointField{pingline.Int("i", -7), pingline.Float("f", 0.5), pingline.Text("t", "<"), pingline.Bool("b", true)}}},
		pingline.Entry{Kind: pingline.Activity, Line: "m f=1 9"})
	got, next := lines(t, l, Selection{})
	const of = `,"written":1772352000500,"node":"n","kind":`
	want := []string{
		`{"commit":1,"entry":0` + of + `"ping","verdict":"accepted","promoted":true,"apart":true,"sub_key":3,"rider_id":"a","ts":1772352000123,"lat":41.5,"lon":-8.5}`,
		`{"commit":1,"entry":1` + of + `"ping","verdict":"held","rider_id":"q\"","ts":1772352000123,"lat":41.5,"lon":-8.5}`,
		`{"commit":1,"entry":2` + of + `"replayed","to":"s1","verdict":"accepted","rider_id":"b","ts":1772352000123,"lat":41.5,"lon":-8.5}`,
		`{"commit":1,"entry":3` + of + `"self","name":"p","ts":5,"tags":{"k":"v"},"fields":{"b":true,"f":0.5,"i":-7,"t":"<"}}`,
		`{"commit":1,"entry":4` + of + `"activity","line":"m f=1 9"}`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") || next != 2 {
		t.Errorf("next %d, got\n%s\nwant\n%s", next, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// The newest lines take a bounded part of memory, however many are asked for.
func TestMemoryOfTheNewest(t *testing.T) {
	r := ring{most: MostNewest}
	const lines = 10_000
	for i := range lines {
		if err := r.put(fmt.Appendf(nil, "%04d%s", i, strings.Repeat("x", pingline.MaxReadyLine))); err != nil {
			t.Fatal(err)
		}
	}
	var first, last string
	sum := 0
	err := r.each(func(line []byte) error {
		if sum += len(line); first == "" {
			first = string(line[:4])
		}
		last = string(line[:4])
		return nil
	})
	if err != nil || sum > newestBytes || sum < newestBytes-2*pingline.MaxReadyLine || last != "9999" || first == "0000" {
		t.Errorf("%d bytes, lines %s to %s, %v", sum, first, last, err)
	}
}

// numbers returns the riders of lines.
func riders(list []string) (names string) {
	for _, line := range list {
		_, rest, _ := strings.Cut(line, `"rider_id":"`)
		name, _, _ := strings.Cut(rest, `"`)
		if name == "" {
			name = line
		}
		names += name + " "
	}
	return strings.TrimSpace(names)
}

func TestSelections(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	for i := range 5 {
		add(t, l, int64(1000*(i+1)), ping(fmt.Sprint("a", i+1), pingline.Accepted), ping(fmt.Sprint("b", i+1), pingline.Redundant))
	}
	add(t, l, 6000)
	last := l.LastTotals()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	last[pingline.TotalStored] += 4
	if err := queue.Begin(filepath.Join(dir, backup.LogDir), queue.Cursor{Next: 9, Totals: last}); err != nil { // 7 and 8 are lost
		t.Fatal(err)
	}
	l = open(t, dir)
	add(t, l, 9000, ping("z", pingline.Accepted))
	const gap = `{"commit":7,"lost_to":8,"lost_pings":4,"lost_lines":0}`
	for _, tt := range []struct {
		s    Selection
		want string
		next uint64
	}{
		{Selection{}, "a1 b1 a2 b2 a3 b3 a4 b4 a5 b5 " + gap + " z", 10},
		{Selection{From: 4}, "a4 b4 a5 b5 " + gap + " z", 10},
		{Selection{From: 2, To: 4}, "a2 b2 a3 b3", 4},
		{Selection{From: 8}, strings.Replace(gap, ":7,", ":8,", 1) + " z", 10},
		{Selection{From: 12}, "", 12},
		{Selection{Since: 2500, Until: 5000}, "a3 b3 a4 b4", 5},
		{Selection{Since: 4000, To: 5}, "a4 b4", 5},
		{Selection{Newest: 1}, "z", 10},
		{Selection{Newest: 100}, "a1 b1 a2 b2 a3 b3 a4 b4 a5 b5 " + gap + " z", 10},
	} {
		got, next := lines(t, l, tt.s)
		names := riders(got)
		if tt.s.From == 8 { // how much of a gap is behind its middle is not known
			names = strings.Replace(names, `"lost_pings":0`, `"lost_pings":4`, 1)
		}
		if names != tt.want || next != tt.next {
			t.Errorf("%+v: %s, next %d, want %s, next %d", tt.s, names, next, tt.want, tt.next)
		}
	}
}

// With Follow each entry comes as it is appended, behind the newest.
func TestFollowingTheLog(t *testing.T) {
	l := open(t, t.TempDir())
	add(t, l, 1, ping("a", pingline.Accepted), ping("b", pingline.Accepted), ping("c", pingline.Accepted))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	came, caught := make(chan string), make(chan bool)
	done := make(chan error, 1)
	go func() {
		_, err := Entries(ctx, l, Selection{Newest: 2, Follow: true},
			func(line []byte) error { came <- riders([]string{string(line)}); return nil },
			func() error { caught <- true; return nil })
		done <- err
	}()
	expect := func(names ...string) {
		t.Helper()
		for _, want := range names {
			if got := <-came; got != want {
				t.Errorf("%s came, want %s", got, want)
			}
		}
		<-caught
	}
	expect("b", "c")
	add(t, l, 2, ping("d", pingline.Accepted))
	expect("d")
	add(t, l, 3, ping("e", pingline.Accepted), ping("f", pingline.Accepted))
	expect("e", "f")
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
}

// What waits is told by set, shard and lane, of sets, holes and other readers.
func TestInspect(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	for i := range 10 {
		add(t, l, int64(1000*(i+1)), ping("a", pingline.Accepted), ping("b", pingline.Accepted))
	}
	at := func(next, passed uint64) queue.Cursor {
		return queue.Cursor{Next: next, Totals: queue.Totals{2 * (next - 1)}, Passed: passed}
	}
	l.Change(queue.Change{Set: map[string]queue.Cursor{
		"sink-x-live": at(9, 9), "sink-x-critical": at(11, 1), "sink-x-backfill": at(11, 0), "sink-x-own": at(11, 0), "sink-x-hole-6": at(4, 2),
		"sink-archive/y-live": at(11, 20), "filter": at(3, 0),
	}})
	for name, size := range map[string]int{"filter/00000000000000000003.checkpoint": 7, "filter/00000000000000000011.checkpoint": 9, "filter/x.tmp": 1, "deadletter/a/1": 5} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, make([]byte, size), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Inspect(t.Context(), l, dir)
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, s := range r.Sets {
		said = append(said, fmt.Sprint(s.Set, " ", s.Pings, " ", s.Lines))
		for _, w := range s.Lanes {
			said = append(said, fmt.Sprint(w.Shard, " ", w.Lane, " ", w.Next, " ", w.Commits, " ", w.End, " ", w.Since))
		}
	}
	want := "main 8 0, x critical 11 0 0 0, x live 9 2 0 9000, x backfill 11 0 0 0, x own 11 0 0 0, x hole 4 2 6 4000, archive 0 0, y live 11 0 0 0"
	if got := strings.Join(said, ", "); got != want {
		t.Errorf("waiting: %s, want %s", got, want)
	}
	if len(r.Readers) != 1 || r.Readers[0].Name != "filter" || r.Readers[0].Commits != 8 || r.Readers[0].Since != 3000 || r.Readers[0].Bytes <= 0 {
		t.Errorf("readers: %+v", r.Readers)
	}
	if len(r.Checkpoints) != 2 || r.Checkpoints[0].Next != 11 || r.Checkpoints[0].Bytes != 9 || r.DeadLetters != (FileCount{1, 5}) || r.First != 1 || r.Last != 10 {
		t.Errorf("inspection: %+v", r)
	}
}

func FuzzParseSelection(f *testing.F) {
	f.Add("from=3&to=9&since=0&until=5&follow=true")
	f.Add("newest=5&newest=6")
	f.Fuzz(func(t *testing.T, text string) {
		q, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		s, err := ParseSelection(q)
		if err != nil {
			if err.Error() == "" || strings.Contains(err.Error(), "%!") {
				t.Errorf("error %q", err)
			}
			return
		}
		if again, err := ParseSelection(s.Query()); err != nil || again != s {
			t.Errorf("%+v is read back as %+v, %v", s, again, err)
		}
	})
}
