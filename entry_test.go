package pingline

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// everything is an entry that uses all there is, at the ends of the ranges.
var everything = Entry{
	Ping: Ping{Rider: "r:1", Device: "d@2", Event: "trip_start", Trip: "t.3", Fix: Fix{
		At: 1_759_999_999_000, LatE7: -1, LonE7: 1800000000,
		Speed: 0.1, Heading: 360, Accuracy: 1e6, Altitude: -1e5, Battery: 1, Known: knownMask,
	}},
	Cell: 0x8539220ffffffff, Skipped: math.MaxUint32, SubKey: math.MaxUint16,
	Verdict: Accepted, Promoted: true, Late: true, Apart: true, State: 255,
}

const commitAt = 1_760_000_000_123

// encode returns a commit of entries.
func encode(h CommitHeader, entries ...Entry) []byte {
	b := AppendCommitHeader(nil, &h)
	for i := range entries {
		b = AppendEntry(b, &entries[i], h.At)
	}
	SetCommitEntries(b, uint32(len(entries)))
	return b
}

// decode returns what a commit holds.
func decode(b []byte) (CommitHeader, []Entry, error) {
	h, r, err := DecodeCommit(b)
	if err != nil {
		return h, nil, err
	}
	entries := make([]Entry, 0, r.Len())
	for {
		var e Entry
		ok, err := r.Next(&e)
		if !ok {
			return h, entries, err
		}
		entries = append(entries, e)
	}
}

func TestCommitRoundTrip(t *testing.T) {
	h := CommitHeader{Node: "node-1", At: commitAt, MaxError: 10, AccuracyCap: 50}
	var want []Entry
	for bits := range 1 << 8 { // what an entry may leave out or set
		for known := range Known(knownMask + 1) {
			e := Entry{Ping: Ping{Rider: "r-1", Fix: Fix{At: commitAt - int64(bits), LatE7: 1, LonE7: -1, Known: known}}}
			e.Verdict = Verdict(1 + bits%3)
			on := func(bit int) bool { return bits&(1<<bit) != 0 }
			e.Promoted, e.Late, e.Apart = on(0), on(1), on(2)
			for bit, s := range []*string{&e.Device, &e.Event, &e.Trip} {
				if on(2 + bit) {
					*s = fmt.Sprintf("name_%d", bit)
				}
			}
			if on(5) {
				e.Cell = 0x8539220ffffffff
			}
			if on(6) {
				e.SubKey = uint16(bits)
			}
			if on(7) {
				e.Skipped = uint32(bits)
			}
			e.State = uint8(bits)
			for i, v := range []*float32{&e.Speed, &e.Heading, &e.Accuracy, &e.Altitude, &e.Battery} {
				if known&(1<<i) != 0 {
					*v = float32(i) / 3
				}
			}
			want = append(want, e)
		}
	}
	got, entries, err := decode(encode(h, want...))
	if err != nil {
		t.Fatal(err)
	}
	if h.Entries = uint32(len(want)); got != h {
		t.Errorf("header = %+v, want %+v", got, h)
	}
	for i := range want {
		if entries[i] != want[i] {
			t.Fatalf("entry %d = %+v, want %+v", i, entries[i], want[i])
		}
	}
}

func TestEntryRoundTripAtTheEnds(t *testing.T) {
	long := strings.Repeat("r", MaxID)
	for _, tt := range []struct {
		name string
		edit func(e *Entry)
	}{
		{"everything", func(*Entry) {}},
		{"the earliest", func(e *Entry) { e.At = math.MinInt64 }},
		{"the latest", func(e *Entry) { e.At = math.MaxInt64 }},
		{"ahead of the commit", func(e *Entry) { e.At = commitAt + 120_000 }},
		{"the south-west corner", func(e *Entry) { e.LatE7, e.LonE7 = -900000000, -1800000000 }},
		{"any position", func(e *Entry) { e.LatE7, e.LonE7 = math.MinInt32, math.MaxInt32 }},
		{"the longest names", func(e *Entry) {
			e.Rider, e.Device, e.Trip, e.Event = long, long, long, long[:MaxEvent]
			e.At, e.Cell = math.MinInt64, math.MaxUint64
		}},
		{"the smallest number", func(e *Entry) { e.Speed = math.SmallestNonzeroFloat32 }},
		{"skipped but not hot", func(e *Entry) { e.SubKey, e.Skipped = 0, 1 }},
		{"hot but not skipped", func(e *Entry) { e.SubKey, e.Skipped = 1, 0 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := everything
			tt.edit(&e)
			size := len(AppendEntry(nil, &e, commitAt))
			if size > MaxEntrySize {
				t.Errorf("%d bytes, want at most %d", size, MaxEntrySize)
			}
			_, entries, err := decode(encode(CommitHeader{At: commitAt}, e))
			if err != nil || len(entries) != 1 || entries[0] != e {
				t.Errorf("decoded %+v, %v, want %+v", entries, err, e)
			}
		})
	}
	least := Entry{Ping: Ping{Rider: "r", Fix: Fix{At: commitAt}}, Verdict: Held}
	if size := len(AppendEntry(nil, &least, commitAt)); size != minPingSize {
		t.Errorf("the least ping has %d bytes, want %d", size, minPingSize)
	}
}

// An entry is decoded from where Offset says it begins as it is in its turn.
func TestDecodeEntryByItself(t *testing.T) {
	plain := Entry{Ping: Ping{Rider: "r", Fix: Fix{At: commitAt - 5}}, Verdict: Held}
	line := Entry{Kind: Self, Line: "pingline n=1i 5"}
	b := encode(CommitHeader{Node: "n", At: commitAt, Entries: 4}, everything, plain, line, everything)
	h, r, err := DecodeCommit(b)
	if err != nil {
		t.Fatal(err)
	}
	for r.Len() > 0 {
		offset := r.Offset()
		var inTurn, byItself Entry
		if _, err := r.Next(&inTurn); err != nil {
			t.Fatal(err)
		}
		at := b[offset:]
		if _, err := DecodeEntry(&byItself, at, h.At); err != nil || byItself != inTurn {
			t.Errorf("at %d: %+v, %v, want %+v", offset, byItself, err, inTurn)
		}
		if _, err := DecodeEntry(&byItself, at[:r.Offset()-offset-1], h.At); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut short: %v", err)
		}
	}
	if r.Offset() != len(b) {
		t.Errorf("%d bytes are left", len(b)-r.Offset())
	}
}

// again is a ping that is put back, with all there is.
var again = func() Entry {
	e := everything
	e.Kind, e.To = Replayed, "a"
	return e
}()

// figures returns a point with a field of every type.
func figures() *Point {
	return &Point{
		Name: "a name", Tags: []Tag{{"cell", "8839220f09fffff"}, {"node", "a node, of=ours"}},
		Fields: []PointField{Int("n", math.MinInt64), Float("share", 0.1), Text("note", `say "so" \ é`), Bool("on", true), Bool("off", false), Int("m", 5), Float("whole", 3)},
		At:     commitAt - 10_000,
	}
}

func sameEntry(a, b Entry) bool { return a.Equal(&b) }

func TestReplayedPingRoundTrip(t *testing.T) {
	long, shard := strings.Repeat("s", MaxID), strings.Repeat("s", MaxName)
	any, plain, longest := again, again, again
	any.To = ""
	plain.Device, plain.Event, plain.Trip, plain.Cell, plain.Apart, plain.Late = "", "", "", 0, false, false
	longest.To, longest.Rider, longest.Device, longest.Trip, longest.Event = shard, long, long, long, long[:MaxEvent]
	longest.At, longest.Cell = math.MinInt64, math.MaxUint64
	want := []Entry{again, any, plain, longest, everything}
	_, got, err := decode(encode(CommitHeader{At: commitAt}, want...))
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("decoded %+v, %v, want %+v", got, err, want)
	}
	if size := len(AppendEntry(nil, &longest, commitAt)); size > MaxEntrySize+1+MaxName {
		t.Errorf("%d bytes, want at most %d", size, MaxEntrySize+1+MaxName)
	}
}

func TestPointRoundTrip(t *testing.T) {
	text := strings.Repeat("v", (MaxPoint-80)/2)
	var want []Entry
	for _, kind := range []EntryKind{Activity, Self} {
		for _, to := range []string{"", "a", strings.Repeat("s", MaxName)} {
			for _, p := range []*Point{
				figures(),
				{Name: "p", Fields: []PointField{Int("n", 0)}},
				{Name: "p", Fields: []PointField{Text("n", "")}, At: math.MinInt64},
				{Name: "p", Tags: []Tag{{"k", text}}, Fields: []PointField{Float("n", -math.MaxFloat64)}, At: math.MaxInt64},
			} {
				if err := p.Validate(); err != nil {
					t.Fatal(err)
				}
				e := Entry{Kind: kind, To: to, Point: p}
				want = append(want, e, everything, again)
				if n := len(AppendEntry(nil, &e, commitAt)) - 2 - len(to); n > p.Size() {
					t.Errorf("%d bytes, Size says %d", n, p.Size())
				}
			}
		}
	}
	_, got, err := decode(encode(CommitHeader{At: commitAt}, want...))
	if err != nil || !slices.EqualFunc(got, want, sameEntry) {
		t.Errorf("decoded %+v, %v, want %+v", got, err, want)
	}
}

// A point is decoded into the memory of the one before, and a ping between them
// does not show it.
func TestDecodingPointsAllocatesNothing(t *testing.T) {
	commit := encode(CommitHeader{At: commitAt}, Entry{Kind: Self, Point: figures()}, everything, Entry{Kind: Activity, Point: figures()}, again)
	var e Entry
	var kept *Point
	n := testing.AllocsPerRun(100, func() {
		_, r, err := DecodeCommit(commit)
		for ok := true; ok && err == nil; {
			if ok, err = r.Next(&e); ok && (e.Point != nil) != (e.Rider == "") {
				t.Fatalf("a point and a ping in one: %+v", e)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	if n > 0 {
		t.Errorf("%v allocations", n)
	}
	if _, err := DecodeEntry(&e, AppendEntry(nil, &Entry{Kind: Self, Point: figures()}, commitAt), commitAt); err != nil {
		t.Fatal(err)
	}
	kept = e.Point.Clone()
	if _, err := DecodeEntry(&e, AppendEntry(nil, &Entry{Kind: Self, Point: &Point{Name: "other", Fields: []PointField{Int("x", 1)}}}, commitAt), commitAt); err != nil {
		t.Fatal(err)
	}
	if !kept.Equal(figures()) {
		t.Errorf("a clone became %+v", kept)
	}
}

func TestReadyLineRoundTrip(t *testing.T) {
	var want []Entry
	for kind := Replayed; kind < lineKinds; kind++ {
		for _, to := range []string{"", "a", strings.Repeat("s", MaxName)} {
			for _, line := range []string{"l", strings.Repeat("l", MaxReadyLine)} {
				want = append(want, Entry{Kind: kind, To: to, Line: line}, everything)
			}
		}
	}
	_, entries, err := decode(encode(CommitHeader{At: commitAt}, want...))
	if err != nil || !slices.Equal(entries, want) {
		t.Errorf("decoded %d entries, %v, want %d as they were", len(entries), err, len(want))
	}
	if size := len(AppendEntry(nil, &Entry{Kind: Self, Line: "l"}, commitAt)); size != minEntrySize {
		t.Errorf("the least ready line has %d bytes, want %d", size, minEntrySize)
	}
}

func TestCommitHeaderRoundTrip(t *testing.T) {
	for _, h := range []CommitHeader{
		{},
		{Node: "a", At: math.MinInt64, MaxError: 0.5, AccuracyCap: math.MaxFloat32},
		{Node: strings.Repeat("n", 255), At: math.MaxInt64},
	} {
		got, entries, err := decode(encode(h))
		if err != nil || len(entries) != 0 || got != h {
			t.Errorf("decoded %+v, %d entries, %v, want %+v", got, len(entries), err, h)
		}
	}
	h, _, err := DecodeCommit(encode(CommitHeader{Node: strings.Repeat("n", 300)}))
	if err != nil || len(h.Node) != 255 {
		t.Errorf("a node of 300 bytes has %d afterwards, %v, want 255", len(h.Node), err)
	}
}

// h3 returns the cell of a resolution and base cell whose digits d gives.
func h3(res, base int, d func() int) uint64 {
	c := uint64(1)<<59 | uint64(res)<<52 | uint64(base)<<45
	for i := range 15 {
		digit := 7
		if i < res {
			digit = d()
		}
		c |= uint64(digit) << (42 - 3*i)
	}
	return c
}

func TestPackCellOfEveryResolution(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	if got := h3(0, 4, nil); got != 0x8009fffffffffff {
		t.Fatalf("h3 gives %x", got)
	}
	for res := range 16 {
		for i := range 1000 {
			base := i % 122
			digits := []func() int{func() int { return 0 }, func() int { return 6 }, func() int { return rng.IntN(7) }}
			cell := h3(res, base, digits[i%3])
			e := Entry{Ping: Ping{Rider: "r"}, Verdict: Accepted, Cell: cell}
			_, entries, err := decode(encode(CommitHeader{}, e))
			if err != nil || entries[0] != e {
				t.Fatalf("cell %x comes back as %+v, %v", cell, entries, err)
			}
			size := len(appendCell(nil, cell))
			if most := (4 + 7 + 3*res + 6) / 7; res < 15 && size > most || size > 9 {
				t.Errorf("cell %x takes %d bytes, want at most %d", cell, size, most)
			}
		}
	}
	if size := len(appendCell(nil, 0x8539220ffffffff)); size != 4 {
		t.Errorf("a cell of resolution 5 takes %d bytes, want 4", size)
	}
}

func TestPackCellKeepsWhatIsNoCell(t *testing.T) {
	for _, cell := range []uint64{
		1, 15, 0xff, math.MaxUint64, 1 << 63, 1 << 59, 8 << 56,
		0x1539220ffffffff, 0x8539220fffffffe, 0x8539220fffff000, 0xf539220ffffffff, 0x88539220ffffffff, 0x8f2834782b9261c,
	} {
		e := Entry{Ping: Ping{Rider: "r"}, Verdict: Accepted, Cell: cell}
		_, entries, err := decode(encode(CommitHeader{}, e))
		if err != nil || entries[0] != e {
			t.Errorf("cell %x comes back as %+v, %v", cell, entries, err)
		}
	}
}

func TestDecodeCommitRefuses(t *testing.T) {
	least := Entry{Ping: Ping{Rider: "r", Fix: Fix{At: commitAt}}, Verdict: Held}
	whole := encode(CommitHeader{Node: "n", At: commitAt}, everything, least)
	const header = commitHeaderSize + 1 // and the node's name
	// edit returns a commit of least whose bytes from i on are others.
	edit := func(i int, b ...byte) []byte {
		c := encode(CommitHeader{Node: "n", At: commitAt}, least)
		copy(c[i:], b)
		return c
	}
	// entry returns a commit of one entry of these bytes.
	entry := func(b ...byte) []byte {
		c := append(AppendCommitHeader(nil, &CommitHeader{Node: "n"}), b...)
		SetCommitEntries(c, 1)
		return c
	}
	fix := []byte{0, 1, 0, 0, 0, 2, 0, 0, 0} // behind a name: time and position
	for _, tt := range []struct {
		name string
		b    []byte
		want string
	}{
		{"nothing", nil, "commit of 0 bytes"},
		{"no version", append([]byte{0}, whole[1:]...), "commit of version 0, not in [1, 5]"},
		{"a name that is longer than the commit", encode(CommitHeader{Node: "node"})[:commitHeaderSize+3], "commit header"},
		{"more entries than there is room for", edit(1, 255, 255, 255, 255), "commit of 4294967295 entries in 14 bytes"},
		{"an entry too many", edit(1, 2), "entry, 1 before the end"},
		{"an entry too few", edit(1, 0), "14 bytes behind the last entry"},
		{"something behind the last entry", append(slices.Clone(whole), 0), "1 bytes behind the last entry"},
		{"neither verdict nor kind", edit(header, 0), "entry, 1 before the end"},
		{"a ready line of no kind we know", entry(lineKinds<<2, 0, 1, 'l'), "entry, 1 before the end"},
		{"an empty ready line", entry(byte(Self)<<2, 1, 'a', 0), "entry, 1 before the end"},
		{"a ready line that is too long", entry(slices.Concat([]byte{byte(Self) << 2, 0}, binary.AppendUvarint(nil, MaxReadyLine+1), make([]byte, MaxReadyLine+1))...), "entry, 1 before the end"},
		{"a replayed ping without shard", entry(slices.Concat([]byte{1, flagReplayed, 0, 1, 'r'}, fix)...), "entry, 1 before the end"},
		{"a point of no kind we know", entry(7<<2, 0, 1, 'p', 0, 0, 1, 1, 'b', byte(BoolField), 0), "entry, 1 before the end"},
		{"a field of no type we know", entry(6<<2, 0, 1, 'p', 0, 0, 1, 1, 'b', 5, 0), "entry, 1 before the end"},
		{"a bool of 2", entry(6<<2, 0, 1, 'p', 0, 0, 1, 1, 'b', byte(BoolField), 2), "entry, 1 before the end"},
		{"more tags than there are", entry(6<<2, 0, 1, 'p', 0, 200, 1, 'b', 1, 'v'), "entry, 1 before the end"},
		{"a text that is longer than the commit", entry(6<<2, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1), "entry, 1 before the end"},
		{"a point that is too long", entry(slices.Concat([]byte{6 << 2, 0}, binary.AppendUvarint(nil, MaxPoint), make([]byte, MaxPoint), []byte{0, 0, 0})...), "entry, 1 before the end"},
		{"no rider", entry(slices.Concat([]byte{1, 0, 0, 0}, fix, []byte{0})...), "entry, 1 before the end"},
		{"an empty device", entry(slices.Concat([]byte{1 | flagDevice, 0, 0, 1, 'r', 0}, fix)...), "entry, 1 before the end"},
		{"a time that is longer than need be", entry(slices.Concat([]byte{1, 0, 0, 1, 'r', 0x80, 0}, fix[1:])...), "entry, 1 before the end"},
		{"a time of more than 64 bits", entry(slices.Concat([]byte{1, 0, 0, 1, 'r'}, bytes.Repeat([]byte{0xff}, 10), fix)...), "entry, 1 before the end"},
		{"no cell where one is flagged", entry(slices.Concat([]byte{1, flagCell, 0, 1, 'r'}, fix, []byte{15, 0, 0, 0, 0, 0, 0, 0, 0})...), "entry, 1 before the end"},
		{"a packed cell that is too large", entry(slices.Concat([]byte{1, flagCell, 0, 1, 'r'}, fix, binary.AppendUvarint(nil, 1<<62))...), "entry, 1 before the end"},
		{"a cell that was not packed", entry(slices.Concat([]byte{1, flagCell, 0, 1, 'r'}, fix, []byte{15}, binary.LittleEndian.AppendUint64(nil, 0x8539220ffffffff))...), "entry, 1 before the end"},
		{"nothing where more is flagged", entry(slices.Concat([]byte{1 | flagExtra, 0, 0, 1, 'r'}, fix, []byte{0, 0})...), "entry, 1 before the end"},
		{"a sub-key of more than 16 bits", entry(slices.Concat([]byte{1 | flagExtra, 0, 0, 1, 'r'}, fix, binary.AppendUvarint(nil, 1<<16), []byte{0})...), "entry, 1 before the end"},
		{"skipped of more than 32 bits", entry(slices.Concat([]byte{1 | flagExtra, 0, 0, 1, 'r'}, fix, []byte{0}, binary.AppendUvarint(nil, 1<<32))...), "entry, 1 before the end"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := decode(tt.b)
			if want := tt.want + ": " + ErrCorrupt.Error(); !errors.Is(err, ErrCorrupt) || err.Error() != want {
				t.Errorf("error = %v, want %s", err, want)
			}
		})
	}
	for n := range whole {
		if _, _, err := decode(whole[:n]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut off at %d of %d bytes: error %v", n, len(whole), err)
		}
	}
}

func TestCommitOfANewerVersion(t *testing.T) {
	b := AppendCommitHeader(nil, &CommitHeader{})
	b[0] = newestVersion + 1
	if _, _, err := DecodeCommit(b); !errors.Is(err, ErrNewer) || errors.Is(err, ErrCorrupt) {
		t.Errorf("error = %v, want ErrNewer", err)
	}
}

// A time that was corrected is told in a commit of version 4, which a program that does
// not know it refuses whole. No other commit is of that version.
func TestCommitOfCorrectedTimes(t *testing.T) {
	corrected := everything
	corrected.Corrected = true
	bare := Entry{Ping: Ping{Rider: "r", Fix: Fix{Corrected: true}}, Verdict: Accepted}
	b := encode(CommitHeader{At: commitAt}, corrected, everything, bare)
	if b[0] != commitVersion {
		t.Fatalf("a commit is of version %d", b[0])
	}
	SetCommitForm(b, corrected.Form())
	_, got, err := decode(b)
	if err != nil || b[0] != 4 || len(got) != 3 || got[0] != corrected || got[1] != everything || got[2] != bare {
		t.Errorf("version %d: read %+v, %v", b[0], got, err)
	}
}

// golden returns what the golden files hold.
func golden() (CommitHeader, []Entry) {
	h := CommitHeader{Node: "node-1", At: commitAt, MaxError: 10, AccuracyCap: 50}
	usual := Entry{Ping: Ping{Rider: "r-000123", Fix: Fix{
		At: commitAt - 250, LatE7: 411578120, LonE7: -86291050, Speed: 7.42, Heading: 183.5, Accuracy: 5, Battery: 0.81,
		Known: HasSpeed | HasHeading | HasAccuracy | HasBattery,
	}}, Cell: 0x8539220ffffffff, Skipped: 7, Verdict: Accepted}
	held, redundant, ahead := usual, usual, everything
	held.Verdict, held.Skipped, held.State = Held, 0, 1
	redundant.Verdict, redundant.Known, redundant.Cell = Redundant, 0, 0
	redundant.Speed, redundant.Heading, redundant.Accuracy, redundant.Battery = 0, 0, 0, 0
	ahead.At, ahead.Cell = commitAt+1000, 0x8f2834782b9261c
	line := Entry{Kind: Activity, To: "a", Line: "cell_activity,cell=8839220f09fffff,node=a,res=8,window=10s pings=412i 1760000000000"}
	return h, []Entry{usual, held, redundant, everything, ahead, line}
}

// checkGolden decodes a golden file.
func checkGolden(t *testing.T, path string, h CommitHeader, want []Entry) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	commit, err := hex.DecodeString(strings.ReplaceAll(string(b), "\n", ""))
	if err != nil {
		t.Fatal(err)
	}
	h.Entries = uint32(len(want))
	got, entries, err := decode(commit)
	if err != nil || got != h || !slices.EqualFunc(entries, want, sameEntry) {
		t.Errorf("decoded %+v %+v, %v, want %+v %+v", got, entries, err, h, want)
	}
}

// goldenLines are the ready lines that version 2 holds and version 1 does not.
func goldenLines() []Entry {
	return []Entry{
		{Kind: ReplayedNano, To: "a", Line: "location,rider=r lat=1,lon=2 1760000000000000001"},
		{Kind: Replayed, To: "b", Line: "location,late=1,rider=r lat=1,lon=2,event=\"sos\" 1760000000000"},
		{Kind: Self, Line: "pingline,node=node-1 received=1i,level=0i 1760000000000"},
	}
}

// A log of version 2, here a commit with every kind of entry, is read as it was.
func TestCommitOfVersion2(t *testing.T) {
	h, want := golden()
	checkGolden(t, "testdata/commit-v2.golden", h, append(want, goldenLines()...))
}

// The form of version 3, byte by byte: logs on disk are written in it, so that a
// difference needs another version. One line for the header, one for each entry.
func TestCommitGolden(t *testing.T) {
	const path = "testdata/commit-v3.golden"
	h, want := golden()
	want = append(want, goldenLines()...)
	point := figures()
	want = append(want, again, Entry{Kind: Activity, Point: point}, Entry{Kind: Self, To: "b", Point: point})
	h.Entries = uint32(len(want))
	lines := []string{hex.EncodeToString(AppendCommitHeader(nil, &h))}
	for i := range want {
		lines = append(lines, hex.EncodeToString(AppendEntry(nil, &want[i], h.At)))
	}
	text := strings.Join(lines, "\n") + "\n"
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(b) != text {
		t.Errorf("encoded:\n%swant:\n%s", text, b)
	}
	checkGolden(t, path, h, want)
}

// A log of version 1 is read as it was, and stores the points it stored before.
func TestCommitOfVersion1(t *testing.T) {
	h, want := golden()
	for i := range want {
		want[i].Apart = false
		if ns := want[i].Nano(); ns != 0 {
			t.Errorf("a point at another instant than its ms: ns %d", ns)
		}
	}
	checkGolden(t, "testdata/commit-v1.golden", h, want)
}

func FuzzDecodeCommit(f *testing.F) {
	f.Add(encode(CommitHeader{}))
	f.Add(encode(CommitHeader{Node: "n", At: commitAt, MaxError: 10}, everything, sampleEntries(1)[0]))
	f.Add(encode(CommitHeader{}, Entry{Ping: Ping{Rider: "r"}, Verdict: Held, Cell: 0x8f2834782b9261c}))
	timed := encode(CommitHeader{}, Entry{Ping: Ping{Rider: "r", Fix: Fix{Corrected: true}}, Verdict: Accepted, SubKey: 7})
	SetCommitForm(timed, correctedVersion)
	f.Add(timed)
	named := encode(CommitHeader{}, Entry{Ping: Ping{Rider: "r", Attrs: sampleAttrs(f)}, Verdict: Held}, Entry{Ping: Ping{Rider: "r", Attrs: sampleAttrs(f)}, Verdict: Accepted, SubKey: 7})
	SetCommitForm(named, attrsVersion)
	f.Add(named)
	f.Add(encode(CommitHeader{}, Entry{Ping: Ping{Rider: "r"}, Verdict: Held, Cell: 0x8330303030303030})) // no cell of H3, its last byte looks like a varint that goes on
	f.Add(encode(CommitHeader{}, Entry{Kind: Replayed, To: "a", Line: "location lat=1 1"}))
	f.Add(encode(CommitHeader{}, Entry{Kind: Activity, To: "a", Point: figures()}, again))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, r, err := DecodeCommit(b)
		if err != nil {
			return
		}
		if r.Len() > len(b) {
			t.Fatalf("%d entries in %d bytes", r.Len(), len(b))
		}
		some := r
		var all []Entry
		again := AppendCommitHeader(nil, &h)
		for {
			var e Entry
			ok, err := r.Next(&e)
			if err != nil {
				return
			}
			if !ok {
				break
			}
			all = append(all, e)
			again = AppendEntry(again, &e, h.At)
		}
		checkPassing(t, some, h.At, all)
		again[0] = b[0] // an older version differs only by lacking some kinds of entries
		if !bytes.Equal(again, b) {
			t.Errorf("encoded again: %x, want %x", again, b)
		}
	})
}

// checkPassing reads entries of a commit of that At, but for pings that are not stored, and
// compares them, encoded, with all: a number that is NaN equals nothing.
func checkPassing(t *testing.T, r Entries, at int64, all []Entry) {
	t.Helper()
	for i := range all {
		e := &all[i]
		if e.Kind == Judged && !e.Stored() {
			continue
		}
		r.PassUnstored()
		var got Entry
		if ok, err := r.Next(&got); !ok || err != nil || !bytes.Equal(AppendEntry(nil, &got, at), AppendEntry(nil, e, at)) {
			t.Fatalf("entry %d: %+v %v %v, want %+v", i, got, ok, err, e)
		}
	}
	r.PassUnstored()
	if ok, err := r.Next(new(Entry)); ok || err != nil {
		t.Fatalf("at the end: %v, %v", ok, err)
	}
}

func TestPassUnstored(t *testing.T) {
	list := slices.Concat(sampleEntries(1000), []Entry{everything, again})
	for i := range list {
		if list[i].Kind == Judged {
			list[i].Verdict = Accepted + Verdict(i%3)
			list[i].Promoted = list[i].Promoted && list[i].Stored()
		}
		if i%2 == 1 {
			list[i].Attrs = sampleAttrs(t)
		}
	}
	longCell := list[0]
	longCell.Verdict, longCell.Cell = Held, 0x8f2834782b9261c
	list = append(list, longCell, Entry{Kind: Self, To: "a", Line: "pingline n=1i 5"}, Entry{Kind: Activity, To: "a", Point: figures()}, list[1])
	b := encode(CommitHeader{Node: "n", At: commitAt}, list...)
	SetCommitForm(b, attrsVersion)
	_, r, err := DecodeCommit(b)
	if err != nil {
		t.Fatal(err)
	}
	checkPassing(t, r, commitAt, list)
}

func TestVerdictString(t *testing.T) {
	var got []string
	for v := range Verdict(Verdicts + 1) {
		got = append(got, v.String())
	}
	if want := "none accepted held redundant duplicate shed rejected verdict 7"; strings.Join(got, " ") != want {
		t.Errorf("verdicts = %q, want %s", got, want)
	}
}

func TestEntryStored(t *testing.T) {
	for v, want := range map[Verdict]bool{Accepted: true, Held: false, Redundant: false} {
		if e := (Entry{Verdict: v}); e.Stored() != want || e.IsLine() {
			t.Errorf("%v is stored = %v, want %v; a line: %v", v, e.Stored(), want, e.IsLine())
		}
	}
	for kind, want := range map[EntryKind]bool{Replayed: true, Activity: false, Self: false, ReplayedNano: true} {
		if e := (Entry{Kind: kind, Line: "l"}); e.Stored() != want || !e.IsLine() {
			t.Errorf("a line of kind %d is stored = %v, want %v; a line: %v", kind, e.Stored(), want, e.IsLine())
		}
		if e := (Entry{Kind: kind}); e.Stored() != want || e.IsLine() {
			t.Errorf("an entry of kind %d is stored = %v, want %v; a line: %v", kind, e.Stored(), want, e.IsLine())
		}
	}
}

// sampleEntries returns n entries as a city makes them.
func sampleEntries(n int) []Entry {
	entries := make([]Entry, n)
	for i := range entries {
		e := &entries[i]
		e.Rider = fmt.Sprintf("r-%06d", i*977%1_000_000)
		e.Fix = Fix{
			At: commitAt - int64(i%5000), LatE7: 411578120 + int32(i*1373), LonE7: -86291050 - int32(i*2111),
			Speed: float32(i%191) / 10, Heading: float32(i%3600) / 10, Accuracy: float32(3 + i%20), Battery: float32(i%100) / 100,
			Known: HasSpeed | HasHeading | HasAccuracy | HasBattery,
		}
		e.Cell, e.Verdict, e.Skipped = 0x8539220ffffffff, Verdict(1+i%3), uint32(i%12)
	}
	return entries
}

// reportPings adds what a benchmark that did n pings in each turn took for one.
func reportPings(b *testing.B, n, bytes int) {
	pings := float64(b.N * n)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/pings, "ns/ping")
	b.ReportMetric(pings/b.Elapsed().Seconds(), "pings/s")
	b.ReportMetric(float64(bytes)/float64(n), "bytes/ping")
}

func BenchmarkAppendEntry(b *testing.B) {
	entries, buf := sampleEntries(1000), []byte(nil)
	b.ReportAllocs()
	for b.Loop() {
		buf = buf[:0]
		for i := range entries {
			buf = AppendEntry(buf, &entries[i], commitAt)
		}
	}
	reportPings(b, len(entries), len(buf))
}

func BenchmarkDecodeCommit(b *testing.B) {
	entries := sampleEntries(1000)
	commit := encode(CommitHeader{Node: "node-1", At: commitAt}, entries...)
	b.ReportAllocs()
	var e Entry
	for b.Loop() {
		_, r, err := DecodeCommit(commit)
		for ok := true; ok && err == nil; {
			ok, err = r.Next(&e)
		}
		if err != nil || r.Len() > 0 {
			b.Fatal(err)
		}
	}
	reportPings(b, len(entries), len(commit))
}
