package merge

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/partition"
	"pingline/rollup"
)

// total is a total of 10 s with some pings of as many riders.
func total(cell uint64, at int64, pings uint64) rollup.Sums {
	return rollup.Sums{Cell: cell, Res: partition.Res(cell), From: began + at, Window: 10 * time.Second, Pings: pings, Riders: pings, SpeedMax: 0}
}

// tell appends a publication: settled and closed are ms from began.
func (r *rig) tell(part int, commit uint64, settled, closed int64, list ...rollup.Sums) {
	p := Publication{Part: part, Sums: list, Reach: rollup.Reach{
		Commit: commit, Settled: began + settled, Windows: []rollup.WindowReach{{Window: 10 * time.Second, Closed: began + closed}},
	}}
	if _, err := r.feed.Append(r.t.Context(), p.Append(nil)); err != nil {
		r.t.Fatal(err)
	}
}

// row returns the pings of a row, and how many parts are in it.
func (r *rig) row(cell uint64, at int64) [2]uint64 {
	a := r.rows[keyOf(cell, 10*time.Second, began+at)]
	return [2]uint64{a.Pings, a.Parts}
}

// soon lets m take all messages, and write what has changed.
func (r *rig) soon(m *Merger) {
	r.run(m)
	r.now += 4000
	r.run(m)
}

func (r *rig) expects(cell uint64, at int64, pings, parts uint64) {
	r.t.Helper()
	if got := r.row(cell, at); got != [2]uint64{pings, parts} {
		r.t.Errorf("a row has %d pings of %d parts, want %d of %d", got[0], got[1], pings, parts)
	}
}

// A row is written without a part that does not come, and says so; it is written again with it.
func TestRowsWithoutAPart(t *testing.T) {
	r, cell := newRig(t, 2), someCells(t)[0]
	m := r.start()
	r.now = began + 11_000
	r.tell(0, 1, 10_000, 0, total(cell, 0, 3))
	r.run(m)
	r.expects(cell, 0, 0, 0)
	r.now = began + 20_000
	r.run(m)
	r.expects(cell, 0, 3, 1)
	r.tell(1, 1, 10_000, 10_000, total(cell, 0, 4))
	r.run(m)
	r.expects(cell, 0, 7, 2)
	r.tell(1, 0, 0, 0, total(cell, 0, 1)) // a process that had counted less
	r.tell(0, 2, 20_000, 10_000, total(cell, 0, 5))
	r.run(m)
	r.expects(cell, 0, 9, 2)
	if s := m.Stats(); s.Points != 3 || s.Rewrites != 2 || s.Open != 0 || s.Early != 0 {
		t.Errorf("%+v", s)
	}
	r.tell(0, 3, 20_000, 20_000, total(cell, 0, 6))
	r.run(m)
	r.expects(cell, 0, 9, 2)
	if s := m.Stats(); s.Late != 1 {
		t.Errorf("%d totals are late", s.Late)
	}
}

// A part that stays away is not waited for for ever, nor is a log that takes no rows.
func TestWindowsAreLetGo(t *testing.T) {
	r, cell := newRig(t, 2), someCells(t)[0]
	m := r.start()
	r.tell(0, 1, 10_000, 10_000, total(cell, 0, 3))
	r.soon(m)
	r.expects(cell, 0, 3, 1)
	r.now += 20 * 60_000
	r.run(m)
	if s := m.Stats(); s.Early != 1 || s.Open != 0 || s.Lost != 0 {
		t.Errorf("%+v", s)
	}
	r.broken = true
	r.tell(0, 2, 20_000, 20_000, total(cell, 10_000, 3))
	r.soon(m)
	if s := m.Stats(); s.Failures == 0 || s.Open != 1 {
		t.Errorf("%+v", s)
	}
	r.now += 20 * 60_000
	r.run(m)
	if s := m.Stats(); s.Early != 2 || s.Lost != 1 {
		t.Errorf("%+v", s)
	}
}

// Memory is bounded: totals without room are left out, and the row says that their part is not in it.
func TestMemoryOfTotals(t *testing.T) {
	r, cells := newRig(t, 1), someCells(t)
	r.cfg.MaxBytes = 3 * (cellBytes + sumsBytes)
	m := r.start()
	var list []rollup.Sums
	for _, cell := range cells[:5] {
		list = append(list, total(cell, 0, 1))
	}
	r.tell(0, 1, 10_000, 0, list...)
	r.run(m)
	if s := m.Stats(); s.LeftOut != 2 || s.Early != 1 || s.Bytes != 0 || len(r.rows) != 3 {
		t.Errorf("%d rows, %+v", len(r.rows), s)
	}
	for _, a := range r.rows {
		if a.Parts != 0 {
			t.Errorf("%+v", a)
		}
	}
}

// Under overload rows of fine cells are withheld, and written once it is over.
func TestRowsAreWithheld(t *testing.T) {
	r, cells := newRig(t, 1), someCells(t)
	m := r.start()
	fine, coarse := cells[0], partition.Parent(cells[0], 4)
	r.policy = 1
	r.tell(0, 1, 10_000, 0, total(fine, 0, 3), total(coarse, 0, 3))
	r.run(m)
	r.expects(fine, 0, 0, 0)
	r.expects(coarse, 0, 3, 1)
	r.policy = 0
	r.now += 5000
	r.run(m)
	r.expects(fine, 0, 3, 1)
	r.policy = 2
	r.tell(0, 2, 20_000, 10_000, total(fine, 0, 4), total(coarse, 0, 4))
	r.run(m)
	r.expects(coarse, 0, 3, 1)
	if s := m.Stats(); s.Withheld != 2 || s.Lost != 0 || s.Open != 0 {
		t.Errorf("%+v", s)
	}
}

// Messages that are gone, or are none, are counted. Behind a gap no row is made smaller, whether the Merger
// knew what was in it or not.
func TestGoneMessages(t *testing.T) {
	r, cells := newRig(t, 2), someCells(t)
	m := r.start()
	r.tell(0, 1, 10_000, 0, total(cells[0], 0, 3))
	r.tell(1, 1, 10_000, 0, total(cells[0], 0, 4))
	r.soon(m) // its note is kept
	r.expects(cells[0], 0, 7, 2)
	r.tell(1, 2, 10_000, 0, total(cells[1], 0, 5))
	r.feed.drop(len(r.feed.messages))
	r.tell(1, 3, 10_000, 0, total(cells[0], 0, 6))
	r.soon(m)
	r.expects(cells[0], 0, 9, 2)
	if s := m.Stats(); s.Gone != 1 {
		t.Errorf("%+v", s)
	}
	r.feed.drop(len(r.feed.messages))
	m = r.start()
	r.tell(1, 4, 40_000, 0, total(cells[0], 0, 7), total(cells[0], 30_000, 2))
	if _, err := r.feed.Append(t.Context(), []byte("\x00no message")); err != nil {
		t.Fatal(err)
	}
	r.soon(m)
	r.expects(cells[0], 0, 9, 2)
	r.expects(cells[0], 30_000, 2, 1)
	if s := m.Stats(); s.Gone == 0 || s.Unreadable != 1 {
		t.Errorf("%+v", s)
	}
}

// While the feed is away nothing happens, and it is told of; a message of a newer version is not
// passed over.
func TestFeedIsAway(t *testing.T) {
	r, cell := newRig(t, 1), someCells(t)[0]
	r.feed.away = true
	m := r.start()
	if _, err := m.step(t.Context(), false); !errors.Is(err, errFeedAway) {
		t.Error(err)
	}
	m.say(errFeedAway)
	if len(m.Notes()) != 1 {
		t.Errorf("notes: %q", m.Notes())
	}
	m.say(nil)
	r.feed.away = false
	r.tell(0, 1, 10_000, 0, total(cell, 0, 3))
	if _, err := r.feed.Append(t.Context(), []byte{form + 1}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := m.step(t.Context(), false); !errors.Is(err, pingline.ErrNewer) {
			t.Error(err)
		}
	}
	m.say(pingline.ErrNewer)
	if len(m.Notes()) != 1 {
		t.Errorf("notes: %q", m.Notes())
	}
}

func TestMessages(t *testing.T) {
	cells := someCells(t)
	for _, p := range []Publication{
		{Part: -1},
		{Part: 63, Reach: rollup.Reach{Commit: 1 << 60, Settled: -5, Windows: []rollup.WindowReach{{Window: time.Hour, Closed: began}, {Window: time.Second, Closed: -began}}}},
		{Part: 0, Sums: []rollup.Sums{
			total(cells[0], 0, 1),
			{Cell: cells[1], Res: 8, From: -10_000, Window: 10 * time.Second, Pings: 9, Riders: 5, Moving: 4, Speeds: 3, SpeedSum: 12_345, SpeedMax: 19.4},
		}},
	} {
		got, err := Decode(p.Append(nil))
		if p.Sums == nil {
			p.Sums = []rollup.Sums{}
		}
		if err != nil || !reflect.DeepEqual(*got, p) {
			t.Errorf("%+v is read as %+v, %v", p, got, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	p := Publication{Part: 3, Reach: rollup.Reach{Commit: 7, Settled: began, Windows: []rollup.WindowReach{{Window: time.Minute, Closed: began}}}}
	f.Add(p.Append(nil))
	p.Sums = []rollup.Sums{{Cell: 0x8839220f09fffff, Res: 8, From: began, Window: time.Minute, Pings: 2, Riders: 2, Moving: 1, Speeds: 2, SpeedSum: 9000, SpeedMax: 6}}
	f.Add(p.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Decode(b)
		if err != nil {
			return
		}
		if got := p.Append(nil); string(got) != string(b) {
			t.Errorf("%x is read, and written as %x", b, got)
		}
	})
}

// An operator is told which parts rows lack, and of nodes with other windows.
func TestNotesOfParts(t *testing.T) {
	r := newRig(t, 4)
	r.now = began
	m := r.start()
	says := func(want string) {
		t.Helper()
		if got := strings.Join(m.Notes(), "; "); got != want {
			t.Errorf("notes %q, want %q", got, want)
		}
	}
	r.run(m)
	says("")
	r.now = began + 70_000
	r.run(m)
	says("roll-up: rows of the last minute lack riders: no totals have come of part 0, 1, 2, 3")
	r.tell(0, 1, 70_000, 0)
	r.tell(2, 1, 70_000, 0)
	r.run(m)
	says("roll-up: rows of the last minute lack riders: no totals have come of part 1, 3")
	for _, part := range []int{1, 3} {
		r.tell(part, 1, 70_000, 0)
	}
	r.run(m)
	says("")
	p := Publication{Part: 3, Reach: rollup.Reach{Commit: 2, Settled: began + 75_000, Windows: []rollup.WindowReach{{Window: 30 * time.Second, Closed: began}}}}
	if _, err := r.feed.Append(t.Context(), p.Append(nil)); err != nil {
		t.Fatal(err)
	}
	r.run(m)
	says("roll-up: other windows than of part 0 are counted in part 3: start all nodes with the same --rollup-windows")
}

// A feed that was made anew with lower numbers is read from its beginning, by a Merger that runs and by the
// next; rows of windows that had begun are left as they are.
func TestFeedBeginsAnew(t *testing.T) {
	for _, restart := range []bool{false, true} {
		r, cell := newRig(t, 1), someCells(t)[0]
		r.now, r.feed.first = began, 5000
		m := r.start()
		r.tell(0, 1, 50_000, 0, total(cell, 40_000, 3))
		r.run(m)
		r.expects(cell, 40_000, 3, 1)
		r.now += 2000
		r.run(m) // it keeps its note
		r.feed.messages, r.feed.first = nil, 0
		r.tell(0, 2, 50_000, 0, total(cell, 40_000, 2))
		r.now = began + 100_000
		if restart {
			m = r.start()
		}
		r.run(m)
		r.tell(0, 3, 200_000, 0, total(cell, 190_000, 4))
		r.soon(m)
		r.expects(cell, 40_000, 3, 1)
		r.expects(cell, 190_000, 4, 1)
		if s := m.Stats(); s.Gone == 0 || s.Late != 1 {
			t.Errorf("%+v", s)
		}
	}
}
