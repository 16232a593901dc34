package client

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"pingline"
	"pingline/queue/disk"
)

// content returns the file of a queue.
func content(t *testing.T, dir string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, queueFile))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// ats returns the times of the pings that wait.
func (o *Outbox) ats() (list []int64) {
	for i := range o.queue[o.head:] {
		list = append(list, o.queue[o.head+i].ping.At)
	}
	return list
}

// Pings without a verdict are there again when the queue is opened again, and those with one
// are not, wherever a crash has cut the file.
func TestQueueSurvives(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		o := open(t, Config{Dir: dir, Batch: 2, Transport: &script{t: t, answers: []answer{{status: 200}, {status: 401}}}})
		if err := o.Add(pingsAt(5)...); err != nil {
			t.Fatal(err)
		}
		if _, ok := errors.AsType[*Refused](drain(t, o)); !ok {
			t.Error("Run did not end by the 401")
		}
		if _, err := Open(Config{URL: "http://x", Dir: dir}); !errors.Is(err, disk.ErrLocked) {
			t.Errorf("the queue is in use: %v", err)
		}
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
	})
	whole := content(t, dir)
	if bytes.Count(whole, []byte("\n")) != 6 {
		t.Fatalf("the file is\n%s", whole)
	}
	for cut := range len(whole) + 1 {
		if cut%9 > 0 && cut < len(whole)-20 && whole[cut] != '\n' && (cut == 0 || whole[cut-1] != '\n') {
			continue // each takes six fsyncs
		}
		at := filepath.Join(t.TempDir(), "q")
		if err := errors.Join(os.Mkdir(at, 0o700), os.WriteFile(filepath.Join(at, queueFile), whole[:cut], 0o600)); err != nil {
			t.Fatal(err)
		}
		o := open(t, Config{Dir: at})
		lines := bytes.Count(whole[:cut], []byte("\n"))
		want := []int64{1, 2, 3, 4, 5}[:min(lines, 5)]
		if lines == 6 {
			want = []int64{3, 4, 5}
		}
		torn := 0
		if cut > 0 && whole[cut-1] != '\n' {
			torn = 1
		}
		if got := o.ats(); !slices.Equal(got, want) || o.Stats().Damaged != torn {
			t.Fatalf("cut at %d: %v wait, %d damaged, want %v, %d", cut, got, o.Stats().Damaged, want, torn)
		}
		if err := o.Add(pingAt(9)); err != nil {
			t.Fatal(err)
		}
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
		if again := open(t, Config{Dir: at}); !slices.Equal(again.ats(), append(slices.Clone(want), 9)) || again.Stats().Damaged != 0 {
			t.Fatalf("cut at %d, and added to: %v wait", cut, again.ats())
		}
	}
}

// A line that is damaged takes no other with it; one of a later version is not dropped.
func TestQueueDamage(t *testing.T) {
	var text []byte
	for i := range pingsAt(3) {
		text = appendPing(text, &queuedPing{pingAt(int64(i + 1)), uint64(i + 1)})
	}
	dir := t.TempDir()
	damaged := bytes.Replace(text, []byte(`"ts":2,`), []byte(`"ts":7,`), 1)
	if err := os.WriteFile(filepath.Join(dir, queueFile), damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	o := open(t, Config{Dir: dir})
	if got := o.ats(); !slices.Equal(got, []int64{1, 3}) || o.Stats().Damaged != 1 {
		t.Errorf("%v wait, %+v", got, o.Stats())
	}
	for _, line := range []string{"4 [1]", "x", "4 {\"rider_id\":5}", `4 {"rider_id":"a","lat":91,"lon":0}`} {
		later := seal(append([]byte("00000000 "), line...), 0)
		other := t.TempDir()
		if err := os.WriteFile(filepath.Join(other, queueFile), append(slices.Clone(text), later...), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(Config{URL: "http://x", Dir: other}); !errors.Is(err, pingline.ErrNewer) {
			t.Errorf("%s: %v", line, err)
		}
		if got := content(t, other); !bytes.HasPrefix(got, text) {
			t.Errorf("%s: the file is now %s", line, got)
		}
	}
}

// The file of a queue that is sent does not grow without end.
func TestQueueShrinks(t *testing.T) {
	dir := t.TempDir()
	o := open(t, Config{Dir: dir, Batch: 5000, Transport: &script{t: t}})
	most := 0
	for range 6 {
		if err := o.Add(pingsAt(5000)...); err != nil {
			t.Fatal(err)
		}
		most = max(most, len(content(t, dir)))
		if err := drain(t, o); err != nil {
			t.Fatal(err)
		}
	}
	if rest := len(content(t, dir)); most < rewriteAt/2 || most > 3*rewriteAt || rest > rewriteAt {
		t.Errorf("the file had %d bytes at most, and has %d with nothing in it", most, rest)
	}
}

// A disk that is full refuses a ping, and takes the next when there is room.
func TestQueueOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	o := open(t, Config{Dir: dir})
	if err := o.Add(pingAt(1)); err != nil {
		t.Fatal(err)
	}
	file := o.journal.file
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Skip("there is no /dev/full")
	}
	o.journal.file = full
	if err := o.Add(pingAt(2)); err == nil || !strings.Contains(err.Error(), "no space") || o.Stats().Queued != 1 {
		t.Errorf("%v, %+v", err, o.Stats())
	}
	o.journal.file = file
	if err := errors.Join(full.Close(), o.Add(pingAt(3)), o.Close()); err != nil {
		t.Fatal(err)
	}
	if again := open(t, Config{Dir: dir}); !slices.Equal(again.ats(), []int64{1, 3}) {
		t.Errorf("%v wait", again.ats())
	}
}

func FuzzParsePings(f *testing.F) {
	line := appendPing(nil, &queuedPing{pingAt(1), 1})
	f.Add(line)
	f.Add(append(slices.Clone(line), seal([]byte("00000000 1"), 0)...))
	f.Add([]byte("00000000 \n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		pings, damaged, err := parsePings(text)
		if err != nil {
			return
		}
		if lines := bytes.Count(text, []byte("\n")) + 1; len(pings)+damaged > lines {
			t.Errorf("%d pings and %d damaged lines of %d", len(pings), damaged, lines)
		}
		var again []byte
		for i := range pings {
			again = appendPing(again, &pings[i])
		}
		if got, damaged, err := parsePings(again); err != nil || damaged != 0 || !slices.Equal(got, pings) {
			t.Errorf("%q is read back as %v, %d, %v", again, got, damaged, err)
		}
	})
}
