package queue

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// After any damage to its files, the log opens, says exactly which records are
// gone, reads all other records, gives no number twice, and holds on to all
// that over the next start.
func TestDamage(t *testing.T) {
	t.Parallel()
	const records, size = 420, 64 << 10
	clean, crashed := t.TempDir(), t.TempDir()
	l := open(t, Config{Dir: clean})
	fill(t, l, records, size)
	l.SetCursor("half", Cursor{Next: records/2 + 1, Totals: totals(records / 2)})
	if err := l.KeepCursors(); err != nil {
		t.Fatal(err)
	}
	copyDir(t, clean, crashed)
	shut(t, l)
	list := blocks(t, clean)
	if len(list) != 4 {
		t.Fatalf("%d blocks, the cases below are made for 4", len(list))
	}
	middle, tail := &list[1], &list[3]
	hit := middle.first + 50  // a record in the middle of a block
	hitTail := tail.first + 5 // and one in the last block
	at := func(b *block, seq uint64) int64 { return b.offsets[seq-b.first] }

	for _, tt := range []struct {
		name   string
		damage func(t *testing.T, dir string)
		clean  [2]uint64 // lost after a close in order, from and to, at most
		crash  [2]uint64 // lost after a crash
	}{
		{"none", func(*testing.T, string) {}, [2]uint64{}, [2]uint64{}},
		{"a byte of a payload", func(t *testing.T, dir string) {
			change(t, in(dir, middle), at(middle, hit)+5000, flip)
		}, [2]uint64{hit, hit}, [2]uint64{hit, middle.last()}},
		{"a byte of a length", func(t *testing.T, dir string) {
			change(t, in(dir, middle), at(middle, hit)+1, flip)
		}, [2]uint64{hit, middle.last()}, [2]uint64{hit, middle.last()}},
		{"a byte of a payload in the last block", func(t *testing.T, dir string) {
			change(t, in(dir, tail), at(tail, hitTail)+5000, flip)
		}, [2]uint64{hitTail, hitTail}, [2]uint64{hitTail, records}},
		{"a byte of the first record", func(t *testing.T, dir string) {
			change(t, in(dir, &list[0]), 5000, flip)
		}, [2]uint64{1, 1}, [2]uint64{1, list[0].last()}},
		{"a byte of the last record", func(t *testing.T, dir string) {
			change(t, in(dir, tail), at(tail, records)+5000, flip)
		}, [2]uint64{records, records}, [2]uint64{records, records}},
		{"the first block is gone", func(t *testing.T, dir string) {
			remove(t, in(dir, &list[0]))
		}, [2]uint64{1, list[0].last()}, [2]uint64{1, list[0].last()}},
		{"a block is gone", func(t *testing.T, dir string) {
			remove(t, in(dir, middle))
		}, [2]uint64{middle.first, middle.last()}, [2]uint64{middle.first, middle.last()}},
		{"the last block is gone", func(t *testing.T, dir string) {
			remove(t, in(dir, tail))
		}, [2]uint64{tail.first, records}, [2]uint64{tail.first, records}},
		{"two blocks are gone", func(t *testing.T, dir string) {
			remove(t, in(dir, middle))
			remove(t, in(dir, &list[2]))
		}, [2]uint64{middle.first, list[2].last()}, [2]uint64{middle.first, list[2].last()}},
		{"all blocks are gone", func(t *testing.T, dir string) {
			for i := range list {
				remove(t, in(dir, &list[i]))
			}
		}, [2]uint64{1, records}, [2]uint64{1, records}},
		{"the tail is torn within a record", func(t *testing.T, dir string) {
			cutTo(t, in(dir, tail), at(tail, records)+3000)
		}, [2]uint64{records, records}, [2]uint64{records, records}},
		{"the tail is torn far back", func(t *testing.T, dir string) {
			cutTo(t, in(dir, tail), at(tail, hitTail)+3000)
		}, [2]uint64{hitTail, records}, [2]uint64{hitTail, records}},
		{"the tail is zeros", func(t *testing.T, dir string) {
			cutTo(t, in(dir, tail), at(tail, hitTail)+3000)
			cutTo(t, in(dir, tail), tail.end)
		}, [2]uint64{hitTail, records}, [2]uint64{hitTail, records}},
		{"a block in the middle is cut short", func(t *testing.T, dir string) {
			cutTo(t, in(dir, middle), at(middle, hit)+3000)
		}, [2]uint64{hit, middle.last()}, [2]uint64{hit, middle.last()}},
		{"the index is gone", func(t *testing.T, dir string) {
			remove(t, filepath.Join(filepath.Dir(in(dir, tail)), "index.db"))
		}, [2]uint64{}, [2]uint64{}},
		{"the index is garbage", func(t *testing.T, dir string) {
			write(t, filepath.Join(filepath.Dir(in(dir, tail)), "index.db"))
		}, [2]uint64{}, [2]uint64{}},
		{"the description of the stream is gone", func(t *testing.T, dir string) {
			remove(t, filepath.Join(filepath.Dir(in(dir, tail)), "../meta.inf"))
		}, [2]uint64{}, [2]uint64{}},
		{"the high-water mark is gone", func(t *testing.T, dir string) {
			remove(t, filepath.Join(dir, highWaterFile))
		}, [2]uint64{}, [2]uint64{}},
		{"mark and cursors are garbage", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, highWaterFile))
			write(t, filepath.Join(dir, cursorsFile))
		}, [2]uint64{}, [2]uint64{}},
	} {
		for _, stop := range []struct {
			name string
			dir  string
			lost [2]uint64
		}{{"closed in order", clean, tt.clean}, {"after a crash", crashed, tt.crash}} {
			t.Run(tt.name+"/"+stop.name, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				copyDir(t, stop.dir, dir)
				tt.damage(t, dir)
				checkDamaged(t, dir, records, stop.lost)
			})
		}
	}
}

// checkDamaged opens the log in dir, which held records up to last and has lost
// at most those from lost[0] to lost[1], and at least the first of them.
func checkDamaged(t *testing.T, dir string, last uint64, lost [2]uint64) {
	l := open(t, Config{Dir: dir})
	if got := l.Last(); got != last {
		t.Fatalf("Last = %d, want %d", got, last)
	}
	if got, want := l.LastTotals(), totals(last); got != want {
		t.Fatalf("LastTotals = %v, want %v", got, want)
	}
	told := readTo(t, l, 1, last)
	var want []DamageError
	if lost[0] > 0 {
		if len(told) != 1 {
			t.Fatalf("told of %v, want one damage within %v", told, lost)
		}
		to := told[0].To
		want = append(want, DamageError{lost[0], to, totals(to).Sub(totals(lost[0] - 1))})
		if to < lost[0] || to > lost[1] {
			t.Errorf("lost are %v, want at most %v", told, lost)
		}
	}
	checkTold(t, "the reader was told", told, want)
	checkTold(t, "Damage", l.Damage(), want)

	// A second reader, one that starts within the damage, and life goes on.
	checkTold(t, "a second reader was told", readTo(t, l, 1, last), want)
	if len(want) > 0 && want[0].To > want[0].From {
		inside := want[0]
		inside.From++
		inside.Lost = totals(inside.To).Sub(totals(inside.From - 1))
		if got := readTo(t, l, inside.From, last); len(got) != 1 || got[0].From != inside.From || got[0].To != inside.To {
			t.Errorf("a reader from within was told %v, want %v", got, inside)
		}
		checkTold(t, "Damage after that", l.Damage(), want)
	}
	fill(t, l, 20, 64<<10)
	last += 20
	checkTold(t, "a reader was told after more appends", readTo(t, l, 1, last), want)

	shut(t, l)
	l = open(t, Config{Dir: dir})
	if got := l.Last(); got != last {
		t.Fatalf("Last = %d after the next start, want %d", got, last)
	}
	checkTold(t, "a reader was told after the next start", readTo(t, l, 1, last), want)
	checkTold(t, "Damage after the next start", l.Damage(), want)
}

// A log that loses its tail again and again gives no number twice, and knows
// all its life what is gone.
func TestDamageOfManyTails(t *testing.T) {
	dir := t.TempDir()
	var want []DamageError
	last := uint64(0)
	for round := range uint64(6) {
		l := open(t, Config{Dir: dir})
		checkTold(t, "Damage", l.Damage(), want)
		if got := l.Last(); got != last {
			t.Fatalf("Last = %d in round %d, want %d", got, round, last)
		}
		fill(t, l, 40, 1000)
		last += 40
		shut(t, l)
		list := blocks(t, dir)
		b := list[len(list)-1]
		cutTo(t, b.path, b.offsets[uint64(len(b.offsets))-1-round]+100)
		if round%2 == 1 { // the stream gives the sequences again
			remove(t, filepath.Join(filepath.Dir(b.path), "index.db"))
		}
		want = append(want, DamageError{last - round, last, totals(last).Sub(totals(last - round - 1))})
	}
	l := open(t, Config{Dir: dir})
	checkTold(t, "Damage", l.Damage(), want)
	checkTold(t, "a reader was told", readTo(t, l, 1, last), want)
	if n := len(l.numbering); n != 3 { // the last one has no record yet
		t.Errorf("numbers %v, want 3 spans", l.numbering)
	}
	fill(t, l, 10, 1000)
	checkTold(t, "a reader was told", readTo(t, l, 1, last+10), want)
	shut(t, l)

	// More of what was cut goes: it is one damage with what went before.
	list := blocks(t, dir)
	cutTo(t, list[0].path, list[0].offsets[29]+100)
	want[0] = DamageError{30, 40, totals(40).Sub(totals(29))}
	for range 2 {
		l = open(t, Config{Dir: dir})
		checkTold(t, "Damage", l.Damage(), want)
		checkTold(t, "a reader was told", readTo(t, l, 1, last+10), want)
		shut(t, l)
	}
}

func checkTold(t *testing.T, who string, got, want []DamageError) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", who, got, want)
	}
}

// in is where block b lies in a copy of its log.
func in(dir string, b *block) string {
	return filepath.Join(dir, "jetstream", "$G", "streams", "PINGLINE", "msgs", filepath.Base(b.path))
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
}

func cutTo(t *testing.T, path string, size int64) {
	t.Helper()
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, []byte("this is not what was here"), 0o600); err != nil {
		t.Fatal(err)
	}
}
