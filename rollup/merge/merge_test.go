package merge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"pingline"
	"pingline/partition"
	"pingline/rollup"
)

// memoryFeed has Publications in memory.
type memoryFeed struct {
	messages [][]byte
	first    uint64 // number of messages[0], less one
	away     bool
}

var errFeedAway = errors.New("the feed is away")

func (f *memoryFeed) Append(_ context.Context, b []byte) (uint64, error) {
	if f.away {
		return 0, errFeedAway
	}
	f.messages = append(f.messages, b)
	return f.first + uint64(len(f.messages)), nil
}

func (f *memoryFeed) Read(_ context.Context, from uint64, each func(uint64, int64, []byte) error) error {
	if f.away {
		return errFeedAway
	}
	from = max(from, f.first+1)
	for i := 0; i < 7 && from-f.first <= uint64(len(f.messages)); i++ { // a few at a time
		if err := each(from, began+10_000, f.messages[from-f.first-1]); err != nil {
			return err
		}
		from++
	}
	return nil
}

func (f *memoryFeed) Whole(context.Context) (bool, error) { return f.first == 0, nil }

// drop has the feed let go its first n messages.
func (f *memoryFeed) drop(n int) { f.messages, f.first = f.messages[n:], f.first+uint64(n) }

const began = 1_760_000_000_000 // ms since 1970, a whole minute

// rig is a store of rows, and what the Mergers share.
type rig struct {
	t      *testing.T
	feed   memoryFeed
	note   string
	now    int64
	owner  *Merger // whose rows are taken
	broken bool    // none are
	rows   map[string]rollup.CellActivity
	policy int
	cfg    Config
}

func newRig(t *testing.T, parts int) *rig {
	r := &rig{t: t, now: began + 3600_000, rows: map[string]rollup.CellActivity{}}
	r.cfg = Config{Feed: &r.feed, Parts: parts, Logger: slog.New(slog.DiscardHandler)}
	return r
}

var errDeposed = errors.New("the log is another's")

// start returns a Merger to which the rows belong from now on.
func (r *rig) start() *Merger {
	cfg := r.cfg
	var m *Merger
	cfg.Load = func() string { return r.note }
	cfg.Keep = func(note string) {
		if m == r.owner {
			r.note = note
		}
	}
	cfg.Policy = func() pingline.Policy { return pingline.PolicyAt(r.policy) }
	cfg.Emit = func(_ context.Context, rows []pingline.Entry) error {
		if m != r.owner || r.broken {
			return errDeposed
		}
		for i := range rows {
			r.take(rows[i].Point)
		}
		return nil
	}
	m, err := New(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	m.now = func() int64 { return r.now }
	r.owner = m
	return m
}

// take stores a row: it must not be smaller than the row that it replaces.
func (r *rig) take(p *pingline.Point) {
	a, node, ok := rollup.ActivityOf(p)
	if !ok || node != "" {
		r.t.Fatalf("a row %+v of node %q", p, node)
	}
	k := keyOf(a.Cell, a.Window, a.From)
	if was := r.rows[k]; was.Pings > a.Pings || was.Riders > a.Riders || was.Moving > a.Moving {
		r.t.Fatalf("%s was %+v, and is overwritten by %+v", k, was, a)
	}
	r.rows[k] = a
}

func keyOf(cell uint64, window time.Duration, from int64) string {
	return fmt.Sprintf("%x %v %d", cell, window, from)
}

// run lets m take all messages.
func (r *rig) run(m *Merger) {
	for {
		n, err := m.step(r.t.Context(), false)
		r.now += 1000
		if err != nil {
			r.t.Fatal(err)
		}
		if n == 0 {
			return
		}
	}
}

var lengths = []time.Duration{10 * time.Second, time.Minute}

// sighted is a ping of a part's log.
type sighted struct {
	at    int64
	cell  uint64 // of resolution 8
	rider int
	speed float32
}

// count returns the totals of pings as a roll-up has them, by key.
func count(pings []sighted) map[string]rollup.Sums {
	all, riders := map[string]rollup.Sums{}, map[string]map[int]bool{}
	for _, p := range pings {
		for _, res := range []int{8, 6} {
			for _, length := range lengths {
				from := p.at - p.at%length.Milliseconds()
				cell := partition.Parent(p.cell, res)
				k := keyOf(cell, length, from)
				s := all[k]
				s.Cell, s.Res, s.From, s.Window = cell, res, from, length
				s.Pings++
				s.Speeds++
				s.SpeedSum += uint64(p.speed * 1000)
				s.SpeedMax = max(s.SpeedMax, p.speed)
				if riders[k] == nil {
					riders[k] = map[int]bool{}
				}
				riders[k][p.rider] = riders[k][p.rider] || p.speed >= 0.5
				s.Riders, s.Moving = uint64(len(riders[k])), 0
				for _, moves := range riders[k] {
					if moves {
						s.Moving++
					}
				}
				all[k] = s
			}
		}
	}
	return all
}

// counter is a process that counts the log of a part.
type counter struct {
	part, read int
	pings      []sighted
	told       map[string]rollup.Sums
}

// publish appends the totals that have changed since it did so last.
func (c *counter) publish(t *testing.T, rng *rand.Rand, f *memoryFeed, closed int64) {
	p := Publication{Part: c.part, Reach: rollup.Reach{Commit: uint64(c.read), Settled: closed}}
	for _, length := range lengths {
		p.Reach.Windows = append(p.Reach.Windows, rollup.WindowReach{Window: length, Closed: began})
	}
	say := func() {
		b := p.Append(nil)
		for range 1 + rng.IntN(2) { // an append without an answer is made again
			if _, err := f.Append(t.Context(), b); err != nil {
				t.Fatal(err)
			}
		}
		p.Sums = nil
	}
	for k, s := range count(c.pings[:c.read]) {
		if c.told[k] != s {
			if c.told[k], p.Sums = s, append(p.Sums, s); len(p.Sums) == 20 {
				say()
			}
		}
	}
	say()
	for i := range p.Reach.Windows {
		p.Reach.Windows[i].Closed = closed
	}
	say()
}

func someCells(t *testing.T) []uint64 {
	cells, err := partition.NewCells(8)
	if err != nil {
		t.Fatal(err)
	}
	var list []uint64
	for i := range 9 {
		var f pingline.Fix
		if err := f.SetPosition(41+float64(i%3)/100, -8+float64(i/3)/10); err != nil {
			t.Fatal(err)
		}
		list = append(list, cells.Exact(&f))
	}
	return list
}

// check compares the stored rows with the sums of all pings.
func (r *rig) check(pings []sighted, parts uint64) {
	r.t.Helper()
	want := map[string]rollup.CellActivity{}
	for k, s := range count(pings) {
		if s.Riders < r.cfg.MinRiders {
			continue
		}
		a := s.Activity()
		a.Parts = parts
		p := a.Point("")
		want[k], _, _ = rollup.ActivityOf(p)
	}
	if !maps.Equal(r.rows, want) {
		for k, a := range want {
			if r.rows[k] != a {
				r.t.Errorf("%s is %+v, want %+v", k, r.rows[k], a)
			}
		}
		r.t.Fatalf("%d rows, want %d", len(r.rows), len(want))
	}
}

// Whatever processes count a part, whenever they are deposed and however late they publish,
// whichever Merger adds up and from where it goes on: in the end each row is the sum of all pings,
// and no row was ever larger before.
func TestSumsAreThoseOfAllPings(t *testing.T) {
	cells := someCells(t)
	for seed := range uint64(150) {
		rng := rand.New(rand.NewPCG(seed, 1))
		parts := 1 << rng.IntN(4)
		r := newRig(t, parts)
		r.cfg.MinRiders = rng.Uint64N(3)
		var all []sighted
		logs := make([][]sighted, parts)
		for range 20 + rng.IntN(400) {
			p := sighted{began + rng.Int64N(90_000), cells[rng.IntN(len(cells))], rng.IntN(40), float32(rng.IntN(20)) / 4}
			all = append(all, p)
			logs[p.rider%parts] = append(logs[p.rider%parts], p)
		}
		owners := make([]*counter, parts)
		var counters []*counter
		take := func(part int) { // a new process has the part, and reads all that the one before can have read
			c := &counter{part: part, pings: logs[part], told: map[string]rollup.Sums{}}
			if was := owners[part]; was != nil {
				c.read = was.read
			}
			owners[part], counters = c, append(counters, c)
		}
		for part := range parts {
			take(part)
		}
		mergers := []*Merger{r.start()}
		for range 60 {
			switch rng.IntN(6) {
			case 0:
				take(rng.IntN(parts))
			case 1:
				mergers = append(mergers, r.start())
			case 2, 3: // maybe of one that does not know that it is deposed
				c := counters[rng.IntN(len(counters))]
				c.read += rng.IntN(len(c.pings) - c.read + 1)
				c.publish(t, rng, &r.feed, began)
			default:
				m := mergers[rng.IntN(len(mergers))]
				_, _ = m.step(t.Context(), false)
				r.now += rng.Int64N(5000)
			}
		}
		for _, c := range owners {
			c.read = len(c.pings)
			c.publish(t, rng, &r.feed, began+120_000)
		}
		last := r.start()
		r.run(last)
		r.run(last)
		r.check(all, uint64(parts))
		if n := len(last.windows); n > 0 {
			t.Errorf("%d windows are open", n)
		}
		if s := last.Stats(); s.Bytes != 0 || s.Lost+s.LeftOut+s.Gone+s.Unreadable+s.Early > 0 {
			t.Errorf("%+v", s)
		}
	}
}
