package rollup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/influxdata/line-protocol/v2/lineprotocol"

	"pingline"
	"pingline/partition"
	"pingline/queue"
	"pingline/sink/influx"
)

// patience is how long a test waits for what must happen: no case depends on
// how long it takes.
const patience = 10 * time.Minute

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func openLog(t testing.TB, cfg queue.Config) *queue.Log {
	t.Helper()
	cfg.Dir = cmp.Or(cfg.Dir, t.TempDir())
	cfg.Logger = quiet()
	l, err := queue.Open(testContext(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// commit is what the tests append at once.
type commit struct {
	at      int64
	entries []pingline.Entry
}

// appender appends commits of any goroutine, one at a time, as the writer does.
type appender struct {
	mu  sync.Mutex
	log *queue.Log
	buf []byte
	at  int64 // time of the last one with pings
}

func (a *appender) append(ctx context.Context, c commit) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	totals := a.log.LastTotals()
	totals[countCommits]++
	a.at = c.at
	return a.put(ctx, c, totals)
}

// countCommits is which of the totals counts commits that are not emitted.
const countCommits = 3

func (a *appender) put(ctx context.Context, c commit, totals queue.Totals) error {
	a.buf = pingline.AppendCommitHeader(a.buf[:0], &pingline.CommitHeader{Node: "n", At: c.at, Entries: uint32(len(c.entries))})
	for i := range c.entries {
		e := &c.entries[i]
		a.buf = pingline.AppendEntry(a.buf, e, c.at)
		switch {
		case e.Kind != pingline.Judged:
			totals[pingline.TotalLines]++
		case !e.Promoted:
			totals[pingline.TotalPings]++
		}
	}
	// Broken off, an append would have to be settled.
	_, err := a.log.Append(context.WithoutCancel(ctx), a.buf, totals, false)
	return err
}

// emit appends lines with the time of the last commit.
func (a *appender) emit(ctx context.Context, lines []pingline.Entry) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.put(ctx, commit{a.at, lines}, a.log.LastTotals())
}

func (a *appender) now() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.at
}

// key names a total.
type key struct {
	cell, window string
	res          int
	from         int64
}

// point is what a total says.
type point struct {
	pings, riders, moving, waiting int64
	mean, max                      float64 // -1 if unknown
}

// store is what a store of lines would hold: of two of a key the later one.
type store struct {
	t       testing.TB
	points  map[key]point
	writes  int
	smaller bool // a total may become smaller: the log has lost pings
}

func newStore(t testing.TB) *store { return &store{t: t, points: map[key]point{}} }

// put takes lines and checks that no total is written over one that counts more.
func (s *store) put(lines []pingline.Entry) {
	s.t.Helper()
	for i := range lines {
		k, p := parse(s.t, string(influx.AppendPoint(nil, lines[i].Point)))
		if had, ok := s.points[k]; ok && had.pings > p.pings && !s.smaller {
			s.t.Fatalf("%v of %d pings was written over one of %d", k, p.pings, had.pings)
		}
		s.points[k] = p
		s.writes++
	}
}

// parse reads a line with the decoder of the makers of InfluxDB.
func parse(t testing.TB, line string) (k key, p point) {
	t.Helper()
	d := lineprotocol.NewDecoderWithBytes([]byte(line))
	if !d.Next() {
		t.Fatalf("no point in %q", line)
	}
	if m, err := d.Measurement(); err != nil || string(m) != Measurement {
		t.Fatalf("measurement %q of %q: %v", m, line, err)
	}
	last := ""
	for {
		tag, v, err := d.NextTag()
		if err != nil {
			t.Fatalf("tags of %q: %v", line, err)
		}
		if tag == nil {
			break
		}
		if string(tag) <= last {
			t.Errorf("tags are not in order: %q", line)
		}
		switch last = string(tag); last {
		case "cell":
			k.cell = string(v)
		case "res":
			fmt.Sscan(string(v), &k.res)
		case "window":
			k.window = string(v)
		case "node":
			if string(v) != "a node, of=ours" {
				t.Errorf("node %q in %q", v, line)
			}
		default:
			t.Errorf("tag %q in %q", tag, line)
		}
	}
	p.mean, p.max = -1, -1
	for {
		field, v, err := d.NextField()
		if err != nil {
			t.Fatalf("fields of %q: %v", line, err)
		}
		if field == nil {
			break
		}
		switch string(field) {
		case "pings":
			p.pings = v.IntV()
		case "riders":
			p.riders = v.IntV()
		case "moving":
			p.moving = v.IntV()
		case "waiting":
			p.waiting = v.IntV()
		case "speed_mean":
			p.mean = v.FloatV()
		case "speed_max":
			p.max = v.FloatV()
		default:
			t.Errorf("field %q in %q", field, line)
		}
	}
	at, err := d.Time(lineprotocol.Nanosecond, time.Time{})
	if err != nil {
		t.Fatalf("time of %q: %v", line, err)
	}
	k.from = at.UnixMilli()
	return k, p
}

// rules are what a recount goes by.
type rules struct {
	resolutions []int
	windows     []time.Duration
	lateness    time.Duration
}

var defaults = rules{[]int{8, 6, 4}, []time.Duration{10 * time.Second, time.Minute}, 2 * time.Minute}

// naive is one total, counted from pings.
type naive struct {
	pings, speeds int64
	sum           int64
	max           float64
	riders        map[string]bool // whether it was seen moving
}

// recount counts the commits' pings one by one, each in every resolution and
// window, and returns how many came too late.
func (r rules) recount(t testing.TB, commits []commit) (totals map[key]point, late uint64) {
	t.Helper()
	cells, err := partition.NewCells(r.resolutions[0])
	if err != nil {
		t.Fatal(err)
	}
	type seen struct {
		clock int64
		fix   pingline.Fix
	}
	tracks, counts := map[string]seen{}, map[key]*naive{}
	clock := int64(0)
	for _, c := range commits {
		clock = max(clock, c.at)
		for i := range c.entries {
			e := &c.entries[i]
			if e.Kind != pingline.Judged || e.Promoted {
				continue
			}
			moving := e.Speed >= 0.5
			if !e.Has(pingline.HasSpeed) {
				name := e.Rider + "/" + e.Device
				was, known := tracks[name]
				tracks[name] = seen{clock, e.Fix}
				took := math.Abs(float64(e.At-was.fix.At)) / 1000
				moving = known && clock-was.clock <= 60_000 && took > 0 && took <= 60 && haversine(&was.fix, &e.Fix)/took >= 0.5
			}
			base := r.windows[0].Milliseconds()
			if e.At-e.At%base+base+r.lateness.Milliseconds() <= clock {
				late++
				continue
			}
			cell := cells.Exact(&e.Fix)
			for _, res := range r.resolutions {
				for _, w := range r.windows {
					k := key{fmt.Sprintf("%x", partition.Parent(cell, res)), Tidy(w), res, e.At - e.At%w.Milliseconds()}
					n := counts[k]
					if n == nil {
						n = &naive{riders: map[string]bool{}, max: -1}
						counts[k] = n
					}
					n.pings++
					n.riders[e.Rider] = n.riders[e.Rider] || moving
					if e.Has(pingline.HasSpeed) {
						n.speeds++
						n.sum += int64(math.Round(float64(e.Speed) * 1000))
						n.max = max(n.max, float64(e.Speed))
					}
				}
			}
		}
	}
	totals = map[key]point{}
	for k, n := range counts {
		p := point{pings: n.pings, riders: int64(len(n.riders)), mean: -1, max: -1}
		for _, moving := range n.riders {
			if moving {
				p.moving++
			}
		}
		p.waiting = p.riders - p.moving
		if n.speeds > 0 {
			p.mean, p.max = math.Round(float64(n.sum)/float64(n.speeds))/1000, n.max
		}
		totals[k] = p
	}
	return totals, late
}

func haversine(a, b *pingline.Fix) float64 {
	const radian = math.Pi / 180
	lat, lon := math.Sin((b.Lat()-a.Lat())*radian/2), math.Sin((b.Lon()-a.Lon())*radian/2)
	return 2 * 6371008.8 * math.Asin(math.Sqrt(lat*lat+math.Cos(a.Lat()*radian)*math.Cos(b.Lat()*radian)*lon*lon))
}

// equal checks that a store holds these totals: all of them, and no others.
func (s *store) equal(want map[key]point) {
	s.t.Helper()
	wrong := 0
	for k, p := range want {
		if got := s.points[k]; !same(got, p) {
			if wrong++; wrong <= 5 {
				s.t.Errorf("%v is %+v, want %+v", k, got, p)
			}
		}
	}
	for k := range s.points {
		if _, ok := want[k]; !ok {
			if wrong++; wrong <= 5 {
				s.t.Errorf("%v is there and should not be", k)
			}
		}
	}
	if wrong > 5 {
		s.t.Errorf("%d of %d totals are wrong", wrong, len(want))
	}
}

// same compares exactly, but for riders beyond what is counted exactly.
func same(got, want point) bool {
	for _, n := range [...][2]*int64{{&got.riders, &want.riders}, {&got.moving, &want.moving}, {&got.waiting, &want.waiting}} {
		if want.riders > exactRiders && math.Abs(float64(*n[0]-*n[1])) <= 0.02*float64(want.riders) {
			*n[0] = *n[1]
		}
	}
	if math.Abs(got.max-want.max) < 1e-6*want.max {
		got.max = want.max // it is written as the float32 it is
	}
	return got == want
}

// start is when the tests' pings begin.
const start = 1_760_000_000_000

// city is a random crowd whose pings come in commits.
type city struct {
	rng     *rand.Rand
	riders  int
	seconds int
	every   int     // seconds between a rider's pings, about
	late    float64 // part of the pings that come late
	spread  float64 // degrees
}

// commits returns what the city sends: about one commit a second, some pings late
// by up to four minutes, some ahead of their commit, some without a speed, some
// promoted again later, and between them points, ready lines and replayed pings.
func (c city) commits() []commit {
	type rider struct {
		name, device string
		lat, lon     float64
		north, east  float64 // degrees a second
		speed        bool
	}
	rng := c.rng
	riders := make([]rider, c.riders)
	for i := range riders {
		r := &riders[i]
		r.name, r.speed = fmt.Sprintf("r-%d", i/2*2), rng.IntN(3) > 0
		if i%2 == 1 {
			r.device = "second"
		}
		r.lat, r.lon = 41+c.spread*rng.Float64(), -8.6+c.spread*rng.Float64()
		if rng.IntN(2) == 0 {
			r.north, r.east = 1e-4*rng.NormFloat64(), 1e-4*rng.NormFloat64()
		}
	}
	list := make([]commit, c.seconds+250)
	for s := range c.seconds {
		for i := range riders {
			r := &riders[i]
			if rng.IntN(c.every) > 0 {
				continue
			}
			var e pingline.Entry
			e.Rider, e.Device = r.name, r.device
			e.At = start + int64(s)*1000 + rng.Int64N(1000)
			if rng.IntN(50) == 0 {
				e.At += rng.Int64N(20_000)
			}
			if err := e.SetPosition(r.lat+r.north*float64(s), r.lon+r.east*float64(s)); err != nil {
				panic(err)
			}
			if r.speed && rng.IntN(10) > 0 {
				e.SetOptional(pingline.HasSpeed, math.Hypot(r.north, r.east)*111_000)
			}
			e.Verdict = pingline.Verdict(1 + rng.IntN(3))
			after := rng.IntN(2)
			if rng.Float64() < c.late {
				after = rng.IntN(250)
			}
			list[s+after].entries = append(list[s+after].entries, e)
			if e.Verdict == pingline.Held && after+5 < 250 {
				e.Verdict, e.Promoted = pingline.Accepted, true
				list[s+after+5].entries = append(list[s+after+5].entries, e)
			}
		}
		if len(list[s].entries) > 0 {
			e := list[s].entries[0]
			e.Kind, e.To, e.Verdict = pingline.Replayed, "a", pingline.Accepted
			list[s].entries = append(list[s].entries, e)
		}
		list[s].entries = append(list[s].entries,
			pingline.Entry{Kind: pingline.Self, Line: "pingline,node=n received=1i 1"},
			pingline.Entry{Kind: pingline.Self, Point: &pingline.Point{Name: "pingline", Fields: []pingline.PointField{pingline.Int("received", 1)}}},
		)
	}
	commits := list[:0]
	for s := range list {
		if len(list[s].entries) > 0 {
			list[s].at = start + int64(s)*1000 + 900 + rng.Int64N(300) - 150
			commits = append(commits, list[s])
		}
	}
	return commits
}

// newRollup returns a roll-up of a log that writes into s.
func newRollup(t testing.TB, log *queue.Log, r rules, s *store, edit func(*Config)) *Rollup {
	t.Helper()
	cfg := Config{
		Log: log, Node: "a node, of=ours", Resolutions: r.resolutions, Windows: r.windows, Lateness: r.lateness, Logger: quiet(),
		Emit: func(_ context.Context, lines []pingline.Entry) error {
			s.put(lines)
			return nil
		},
	}
	if edit != nil {
		edit(&cfg)
	}
	ru, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ru.now = func() int64 { return max(ru.clock, start) }
	return ru
}

// feeder gives a roll-up what a log holds, a commit at a time, as Run does.
type feeder struct {
	t      testing.TB
	r      *Rollup
	reader *queue.Reader
}

func feed(t testing.TB, r *Rollup) *feeder {
	f := &feeder{t, r, r.cfg.Log.Read(r.next.Next)}
	t.Cleanup(f.reader.Close)
	return f
}

// all gives it everything there is.
func (f *feeder) all() {
	f.t.Helper()
	for end := f.r.cfg.Log.Last(); f.r.next.Next <= end; {
		if err := f.r.read(testContext(f.t), f.reader, end); err != nil {
			f.t.Fatal(err)
		}
	}
}

// copyDir copies the files of a log, as a crash at this moment would leave them.
func copyDir(t testing.TB, from, to string) {
	t.Helper()
	for {
		err := os.CopyFS(to, os.DirFS(from))
		if err == nil {
			return
		}
		// A file that is renamed after it was listed makes the copy one of no moment at all.
		if _, gone := os.Stat(from); gone != nil || !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if err := os.RemoveAll(to); err != nil {
			t.Fatal(err)
		}
	}
}
