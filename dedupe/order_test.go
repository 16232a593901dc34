package dedupe

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pingline"
	"pingline/track/tracktest"
)

// drive returns the pings of a rider who drives through a city for so many
// seconds, one a second.
func drive(seed uint64, seconds int) (pings []pingline.Ping) {
	rng := rand.New(rand.NewPCG(seed, 9))
	lat, lon, course, speed, turn := 41.15, -8.62, 6*rng.Float64(), 10.0, 0.0
	for i := range seconds {
		switch rng.IntN(20) {
		case 0:
			turn = []float64{0, 0, 0.2, -0.2}[rng.IntN(4)]
		case 1:
			speed = []float64{0, 5, 10, 15}[rng.IntN(4)]
		}
		course += turn
		lat += speed * math.Cos(course) / 111e3
		lon += speed * math.Sin(course) / 84e3
		p := pingline.Ping{Rider: "r-1", Fix: pingline.Fix{At: 1_760_000_000_000 + int64(i)*1000}}
		if err := p.SetPosition(lat+rng.NormFloat64()/111e3, lon+rng.NormFloat64()/84e3); err != nil {
			panic(err)
		}
		pings = append(pings, p)
	}
	return pings
}

// A backlog's pings in the order in which they are judged.
var arrivalOrders = []struct {
	name  string
	more  float64 // per cent of points that it may cost, hardly any of them late; 0: what it costs is not looked at
	order func(pings []pingline.Ping, rng *rand.Rand) []pingline.Ping
}{
	{"oldest first", 1, func(p []pingline.Ping, _ *rand.Rand) []pingline.Ping { return p }},
	{"newest first", 1, func(p []pingline.Ping, _ *rand.Rand) []pingline.Ping { slices.Reverse(p); return p }},
	{"blocks of 100, newest block first", 1.5, func(p []pingline.Ping, _ *rand.Rand) []pingline.Ping { return inBlocks(p, 100, slices.Reverse) }},
	{"blocks of 10, newest block first", 9, func(p []pingline.Ping, _ *rand.Rand) []pingline.Ping { return inBlocks(p, 10, slices.Reverse) }},
	{"blocks of 50, shuffled", 3, func(p []pingline.Ping, rng *rand.Rand) []pingline.Ping {
		return inBlocks(p, 50, func(b [][]pingline.Ping) { rng.Shuffle(len(b), func(i, j int) { b[i], b[j] = b[j], b[i] }) })
	}},
	{"every other one, then the rest", 0, func(p []pingline.Ping, _ *rand.Rand) (out []pingline.Ping) {
		for k := range 2 {
			for i := k; i < len(p); i += 2 {
				out = append(out, p[i])
			}
		}
		return out
	}},
	{"newest first, neighbours swapped", 0, func(p []pingline.Ping, rng *rand.Rand) []pingline.Ping {
		slices.Reverse(p)
		for i := 1; i < len(p); i += 2 {
			if rng.IntN(4) == 0 {
				p[i-1], p[i] = p[i], p[i-1]
			}
		}
		return p
	}},
	{"shuffled", 0, func(p []pingline.Ping, rng *rand.Rand) []pingline.Ping {
		rng.Shuffle(len(p), func(i, j int) { p[i], p[j] = p[j], p[i] })
		return p
	}},
}

func inBlocks(pings []pingline.Ping, n int, arrange func([][]pingline.Ping)) (out []pingline.Ping) {
	blocks := slices.Collect(slices.Chunk(pings, n))
	arrange(blocks)
	for _, b := range blocks {
		out = append(out, b...)
	}
	return out
}

// madeUpTracks are drives of 25 minutes.
func madeUpTracks() (tracks [][]pingline.Ping) {
	for seed := range uint64(6) {
		tracks = append(tracks, drive(seed, 1500))
	}
	return tracks
}

// byRider splits recorded pings into tracks, each in order of time.
func byRider(pings []pingline.Ping) (tracks [][]pingline.Ping) {
	number := map[string]int{}
	for _, p := range pings {
		n, ok := number[p.Rider]
		if !ok {
			n = len(tracks)
			number[p.Rider] = n
			tracks = append(tracks, nil)
		}
		tracks[n] = append(tracks[n], p)
	}
	for _, tr := range tracks {
		slices.SortStableFunc(tr, func(a, b pingline.Ping) int { return cmp.Compare(a.At, b.At) })
	}
	return tracks
}

// scenes are what an outage of ten minutes in the middle of a track, or a first
// upload, looks like: the order in which pings are judged.
var scenes = []struct {
	name string
	play func(track []pingline.Ping, order func([]pingline.Ping) []pingline.Ping) []pingline.Ping
}{
	{"an outage, after some live pings", func(tr []pingline.Ping, order func([]pingline.Ping) []pingline.Ping) []pingline.Ping {
		from, to := outage(tr)
		live := min(to+20, len(tr))
		return slices.Concat(tr[:from], tr[to:live], order(slices.Clone(tr[from:to])), tr[live:])
	}},
	{"an outage, between live pings", func(tr []pingline.Ping, order func([]pingline.Ping) []pingline.Ping) []pingline.Ping {
		from, to := outage(tr)
		out, live := slices.Clone(tr[:from]), tr[to:]
		for _, p := range order(slices.Clone(tr[from:to])) {
			if len(live) > 0 {
				out, live = append(out, live[0]), live[1:]
			}
			out = append(out, p)
		}
		return append(out, live...)
	}},
	{"a first upload", func(tr []pingline.Ping, order func([]pingline.Ping) []pingline.Ping) []pingline.Ping {
		return order(slices.Clone(tr))
	}},
	{"a first upload, after the newest", func(tr []pingline.Ping, order func([]pingline.Ping) []pingline.Ping) []pingline.Ping {
		last := len(tr) - 1
		return append([]pingline.Ping{tr[last]}, order(slices.Clone(tr[:last]))...)
	}},
}

// outage returns the part of a track's pings that come later.
func outage(tr []pingline.Ping) (from, to int) {
	from = len(tr) / 3
	for to = from; to < len(tr) && tr[to].At < tr[from].At+600_000; to++ {
	}
	return from, to
}

// In whatever order a backlog comes, each ping is on the line, and none is late
// where nothing was dropped. Oldest first, newest first, or in blocks, it keeps
// about as little as if it had come in time.
func TestBacklogBecomesOneLine(t *testing.T) {
	for _, source := range []tracktest.Habit{"made up", tracktest.EverySecond, tracktest.EveryFew} {
		t.Run(string(source), func(t *testing.T) {
			tracks := madeUpTracks()
			if source != "made up" {
				set := tracktest.Find(t, source)
				if source == tracktest.EveryFew { // the limits below were set for recorded ones
					set = tracktest.Recorded(t, source)
				}
				tracks = byRider(pingsIn(t, set.Path))
			}
			inTime, _ := tally(t, tracks, func(tr []pingline.Ping, _ int) []pingline.Ping { return tr })
			for _, scene := range scenes {
				for _, o := range arrivalOrders {
					kept, late := tally(t, tracks, func(tr []pingline.Ping, n int) []pingline.Ping {
						rng := rand.New(rand.NewPCG(uint64(n), 3))
						return scene.play(tr, func(p []pingline.Ping) []pingline.Ping { return o.order(p, rng) })
					})
					t.Logf("%s, %s: kept %.2f %% instead of %.2f, late %.2f %%", scene.name, o.name, kept, inTime, late)
					if o.more > 0 && (late > 0.3 || kept > inTime+o.more) {
						t.Errorf("%s, %s: kept %.2f %% instead of %.2f, late %.2f %%", scene.name, o.name, kept, inTime, late)
					}
				}
			}
		})
	}
}

// tally lets pings of each track be judged in some order and returns how many per
// cent of all are kept, and how many late.
func tally(t *testing.T, tracks [][]pingline.Ping, arrange func(tr []pingline.Ping, n int) []pingline.Ping) (kept, late float64) {
	t.Helper()
	pings := 0
	for n, tr := range tracks {
		r := newRun(t, DefaultConfig(), Bound{MaxError: 10})
		r.judgeStrictly(arrange(tr, n))
		v, l, _ := r.finish()
		kept, late, pings = kept+float64(v+l), late+float64(l), pings+len(tr)
	}
	return 100 * kept / float64(pings), 100 * late / float64(pings)
}

// judgeStrictly judges pings of one track and fails if one is late although no
// ping was dropped between the stored ones around it.
func (r *run) judgeStrictly(pings []pingline.Ping) {
	r.Helper()
	for n, p := range pings {
		before := r.Counts().Late
		if r.judge(p); r.Counts().Late == before || r.sameInstant(pings[:n], p.At) {
			continue
		}
		from, to := int64(math.MinInt64), int64(math.MaxInt64)
		for _, e := range r.reader.stored[trackOf(&p)] {
			if e.At < p.At {
				from = max(from, e.At)
			} else {
				to = min(to, e.At)
			}
		}
		if !slices.ContainsFunc(r.dropped(pings[:n]), func(q pingline.Ping) bool { return from < q.At && q.At < to }) {
			r.Errorf("ping %d at %d is late, and nothing was dropped between %d and %d", n, p.At, from, to)
		}
	}
}

// sameInstant reports whether one of the pings is of that instant.
func (r *run) sameInstant(pings []pingline.Ping, at int64) bool {
	return slices.ContainsFunc(pings, func(p pingline.Ping) bool { return p.At == at })
}

// dropped returns those of the first pings of the run that are dropped by now.
func (r *run) dropped(pings []pingline.Ping) (out []pingline.Ping) {
	for i, p := range pings {
		if r.tokens[i] == pingline.Redundant {
			out = append(out, p)
		}
	}
	return out
}

// The line of a backlog may be drawn before its newest ping has come.
func TestOlderPingIsAVertexWhereNothingWasDropped(t *testing.T) {
	at := func(ms int64, lat, lon float64) pingline.Ping {
		p := pingline.Ping{Rider: "r-1", Fix: pingline.Fix{At: 1_760_000_000_000 + ms}}
		if err := p.SetPosition(lat, lon); err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, cfg := range []Config{DefaultConfig(), bare()} {
		r := newRun(t, cfg, Bound{MaxError: 10})
		r.judgeStrictly([]pingline.Ping{at(0, 41, -8), at(90_000, 41.03, -8), at(60_000, 41.02, -7.99), at(30_000, 41.01, -8.01)})
		if v, l, _ := r.finish(); v != 4 || l != 0 {
			t.Errorf("%d vertices and %d late, want 4 and 0", v, l)
		}
	}
}
