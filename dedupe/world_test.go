package dedupe

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/dedupe/vertices"
)

var worlds = flag.Int("worlds", 0, "seeded worlds of 20,000 pings to run; 0 means 60, or 4 with -short")

// A walker makes the pings of one track, with all that phones and networks do
// to them.
type walker struct {
	rng           *rand.Rand
	rider, device string
	lat, lon      float64
	speed, course float64 // m/s, radians
	noise         float64 // metres
	at            int64
	every         int64 // ms
	ahead         int64 // ms its clock is off
	sent          []pingline.Ping
	delayed       []pingline.Ping
	hole          []pingline.Ping
	inHole        int
	holeDue       int
	trips         int                                               // kind of trip ids
	arrange       func([]pingline.Ping, *rand.Rand) []pingline.Ping // the hole, once it is over
}

var homes = [][2]float64{{0.01, 0.02}, {41.15, -8.62}, {48.1, 11.5}, {-33.9, 151.2}, {-17.5, 179.9995}, {65.1, -179.9998},
	{84.998, 20}, {-84.9, 60}, {89.9995, 170}, {-89.99, 0}, {70, 25}}

func newWalker(rng *rand.Rand, n int) *walker {
	home := homes[rng.IntN(len(homes))]
	w := &walker{
		rng:   rng,
		rider: fmt.Sprintf("r-%d", n/2),
		lat:   home[0] + rng.Float64()*0.01,
		lon:   home[1] + rng.Float64()*0.001,
		at:    1_760_000_000_000 + rng.Int64N(600_000),
		every: []int64{1000, 1000, 5000, 20_000, 1 + rng.Int64N(500)}[rng.IntN(5)],
		noise: []float64{0, 0.5, 3, 10}[rng.IntN(4)],
	}
	if n%2 == 1 {
		w.device = "phone-2"
	}
	w.trips = rng.IntN(5)
	if w.chance(0.5) { // a first upload, after the newest
		w.lose(300)
	}
	return w
}

// lose begins a hole of up to so many pings, which come later in some order.
func (w *walker) lose(most int) {
	w.inHole, w.holeDue = 10+w.rng.IntN(most), 1+w.rng.IntN(40)
	w.arrange = arrivalOrders[w.rng.IntN(len(arrivalOrders))].order
}

func (w *walker) chance(p float64) bool { return w.rng.Float64() < p }

// move goes on for dt ms.
func (w *walker) move(dt int64) {
	const metre = 180 / math.Pi / 6371008.8
	d := w.speed * float64(dt) / 1000
	w.lat += d * math.Cos(w.course) * metre
	w.lon += d * math.Sin(w.course) * metre / max(math.Cos(w.lat*math.Pi/180), 1e-4)
	switch {
	case w.chance(0.0005): // teleported
		w.lat += w.rng.NormFloat64()
		w.lon += 90 * w.rng.NormFloat64()
	case w.chance(0.02):
		w.speed = []float64{0, 0, 1.5, 12, 30, 250, 900}[w.rng.IntN(7)]
	case w.chance(0.1):
		w.course += w.rng.NormFloat64()
	}
	w.lat = min(max(w.lat, -90), 90)
	for w.lon > 180 {
		w.lon -= 360
	}
	for w.lon < -180 {
		w.lon += 360
	}
}

// ping is the next one the receiver makes.
func (w *walker) ping() pingline.Ping {
	dt := w.every
	switch {
	case w.chance(0.003):
		dt = w.rng.Int64N(3_600_000)
	case w.chance(0.1):
		dt += w.rng.Int64N(w.every)
	}
	w.move(dt)
	w.at += dt
	switch {
	case w.chance(0.002):
		w.ahead = w.rng.Int64N(120_000)
	case w.chance(0.1):
		w.ahead = 0
	}
	p := pingline.Ping{Rider: w.rider, Device: w.device}
	p.At = w.at + w.ahead
	w.place(&p, w.noise)
	if w.chance(0.3) {
		p.SetOptional(pingline.HasAccuracy, w.rng.Float64()*100)
	}
	if w.chance(0.01) {
		p.Event = []string{"sos", "trip_start", "trip_end"}[w.rng.IntN(3)]
	}
	switch w.trips {
	case 0:
		p.Trip = fmt.Sprintf("trip-%d", w.at/600_000)
	case 1: // of few pings each
		p.Trip = fmt.Sprintf("trip-%d", w.at/w.every/int64(1+w.rng.IntN(4)))
	case 2: // and none between trips
		if n := w.at / 60_000; n%3 > 0 {
			p.Trip = fmt.Sprintf("trip-%d", n)
		}
	case 3: // to and fro
		if w.chance(0.05) {
			p.Trip = fmt.Sprintf("trip-%d", w.rng.IntN(4))
		}
	}
	return p
}

// place sets p's position to where w is, within about so many metres.
func (w *walker) place(p *pingline.Ping, noise float64) {
	lat := min(max(w.lat+w.rng.NormFloat64()*noise/111e3, -90), 90)
	lon := w.lon + w.rng.NormFloat64()*noise/111e3
	if lon > 180 {
		lon -= 360
	} else if lon < -180 {
		lon += 360
	}
	if err := p.SetPosition(lat, lon); err != nil {
		panic(err)
	}
}

// arrivals returns what arrives next: mostly one ping.
func (w *walker) arrivals() (out []pingline.Ping) {
	p := w.ping()
	switch {
	case w.inHole > 0:
		w.hole = append(w.hole, p)
		if w.inHole--; w.inHole == 0 {
			w.hole = w.arrange(w.hole, w.rng)
		}
		return nil
	case w.chance(0.03):
		w.delayed = append(w.delayed, p)
		return nil
	case w.chance(0.002) && len(w.hole) == 0:
		w.lose(200)
	}
	out = append(out, p)
	w.sent = append(w.sent, p)
	if w.chance(0.01) { // an event on a cached fix, or on one seen before
		q := w.sent[len(w.sent)-1-w.rng.IntN(min(len(w.sent), 5))]
		q.Event = "sos"
		if w.chance(0.3) {
			q.Trip = fmt.Sprintf("trip-%d", w.rng.IntN(1000))
		}
		out = append(out, q)
	}
	if w.chance(0.01) { // the same instant elsewhere
		q := w.sent[len(w.sent)-1-w.rng.IntN(min(len(w.sent), 3))]
		w.place(&q, 20)
		out = append(out, q)
	}
	if w.chance(0.005) { // the same fix in another trip
		q := w.sent[len(w.sent)-1-w.rng.IntN(min(len(w.sent), 3))]
		q.Trip = fmt.Sprintf("trip-%d", w.rng.IntN(1000))
		out = append(out, q)
	}
	if len(w.delayed) > 0 && w.chance(0.2) {
		out = append(out, w.delayed...)
		w.delayed = w.delayed[:0]
	}
	if len(w.hole) > 0 && w.inHole == 0 {
		if w.holeDue--; w.holeDue < 0 {
			n := min(len(w.hole), 1+w.rng.IntN(60))
			if w.chance(0.3) {
				n = 1 // each by itself, among the others
			}
			out = append(out, w.hole[:n]...)
			w.hole = w.hole[n:]
		}
	}
	if w.chance(0.003) { // a batch sent again
		out = append(out, w.sent[max(0, len(w.sent)-w.rng.IntN(100)):]...)
	}
	if len(w.sent) > 500 {
		w.sent = w.sent[300:]
	}
	return out
}

// commit is what a log holds.
type commit struct {
	bound   Bound
	at      int64 // ours
	entries []pingline.Entry
	since   int64 // of those that are stored
	lost    bool  // from the log, not from the store
}

// world is a run whose filter is thrown away now and then.
type world struct {
	*run
	rng     *rand.Rand
	cfg     Config
	walkers []*walker
	commits []commit // number is index + 1
	settled int
	evicted uint64
	exact   bool // memory for blocks suffices: a rebuilt filter is the same
	clocked bool // the filter is told the time
	flood   int  // riders who send once or twice, in a commit, at most
	flooded int  // so far
	newest  int64
	carriers
	back    int64 // ms that our clock is behind
	refused int64 // while it is: what is later than this is refused as ahead of it
}

func newWorld(t testing.TB, seed uint64) *world {
	rng := rand.New(rand.NewPCG(seed, 12))
	cfg := Config{
		LiveGap:     []time.Duration{0, 30 * time.Second}[rng.IntN(2)],
		MaxGap:      []time.Duration{0, 300 * time.Second}[rng.IntN(2)],
		IdleFlush:   []time.Duration{0, 60 * time.Second}[rng.IntN(2)],
		MaxRiders:   2 + rng.IntN(40),
		RecentBytes: []int{0, 4 * vertices.BlockBytes, 1 << 20, 1 << 20}[rng.IntN(4)],
	}
	cfg.Keep = [][]string{nil, {"door"}, {"fuel", "door"}}[seed%3]
	w := &world{run: newRun(t, cfg, Bound{MaxError: 10, AccuracyCap: 50}), rng: rng, cfg: cfg, exact: cfg.RecentBytes != 4*vertices.BlockBytes}
	w.clocked = rng.IntN(2) == 0
	w.carriers = newCarriers(seed, cfg.Keep)
	for n := range 2 + rng.IntN(60) {
		w.walkers = append(w.walkers, newWalker(rng, n))
	}
	if rng.IntN(4) == 0 { // devices of two riders
		for n, k := range w.walkers {
			k.rider, k.device = fmt.Sprint("r-", n%2), fmt.Sprint("d-", n)
		}
		w.exact = w.exact && cfg.MaxRiders > len(w.walkers)
	} else if rng.IntN(2) == 0 {
		w.flood = 1 + rng.IntN(20)
	}
	return w
}

// commit logs what some walkers send, all under one bound.
func (w *world) commit() (pings int) {
	if w.rng.IntN(50) == 0 {
		w.bound.MaxError = []float64{0, 0.1, 5, 10, 20, 40, 10, 10}[w.rng.IntN(8)]
		w.bound.AccuracyCap = []float64{0, 50, 50, 20}[w.rng.IntN(4)]
	}
	w.begin()
	if w.flood > 0 {
		pings += w.pour()
	}
	active := 1 + w.rng.IntN(len(w.walkers)) // the others are silent
	if w.rng.IntN(30) == 0 {
		w.rng.Shuffle(len(w.walkers), func(i, j int) { w.walkers[i], w.walkers[j] = w.walkers[j], w.walkers[i] })
		w.catchUp()
	}
	for range 1 + w.rng.IntN(30) {
		arrivals := w.walkers[w.rng.IntN(active)].arrivals()
		if w.rng.IntN(2) == 0 {
			w.Prefetch(arrivals[w.rng.IntN(len(arrivals)+1):]) // may be wrong
		}
		for _, p := range arrivals {
			w.send(p)
			pings++
		}
		w.now += time.Duration(w.rng.IntN(1000)) * time.Millisecond
		if w.rng.IntN(20) == 0 {
			w.now += time.Duration(w.rng.IntN(40)) * time.Second
			w.Idle(&w.batch, w.now, w.rng.IntN(5))
			w.take()
			w.forget(w.Filter)
		}
	}
	return pings
}

// pour lets riders come in that nobody has seen before, most of them never to be seen
// again.
func (w *world) pour() (pings int) {
	now := w.walkers[0].at
	for range w.rng.IntN(w.flood) {
		p := flooder(w.flooded, now-[]int64{0, 1000, -100_000, 3_600_000}[w.rng.IntN(4)])
		w.flooded++
		w.send(p)
		if pings++; w.rng.IntN(3) == 0 {
			p.At, p.Trip = now+w.rng.Int64N(2000)-1000, "t"
			w.send(p)
			pings++
		}
	}
	if w.rng.IntN(50) == 0 && len(w.walkers) < 100 {
		k := newWalker(w.rng, len(w.walkers))
		k.at = now - w.rng.Int64N(3000)
		w.walkers = append(w.walkers, k)
	}
	return pings
}

// begin begins a commit.
func (w *world) begin() {
	c := commit{bound: w.bound, at: math.MaxInt64, since: math.MaxInt64}
	if w.clocked {
		c.at = 0
		for _, k := range w.walkers {
			c.at = max(c.at, k.at-w.back)
		}
	}
	w.commits = append(w.commits, c)
	w.Clock(c.at)
}

// pardon notes what a track may have lost that was forgotten with pings ahead of the
// latest that our clock has been.
func (w *world) pardon(track string) {
	p := pardon{track: track, from: math.MinInt64}
	for _, e := range w.reader.stored[track] {
		if e.At <= w.latest {
			p.from = max(p.from, e.At)
		}
		p.to = max(p.to, e.At)
	}
	if p.to > w.latest {
		w.reader.pardons = append(w.reader.pardons, p)
	}
}

// setBack sets our clock back for some commits. When it is right again, of each track
// a ping comes in that was long on its way.
func (w *world) setBack() (pings int) {
	w.begin()
	w.back = 1 + w.rng.Int64N([]int64{1000, 60_000, 3_600_000}[w.rng.IntN(3)])
	w.refused = w.commits[len(w.commits)-1].at - w.back
	for range 1 + w.rng.IntN(5) {
		pings += w.commit()
	}
	w.back = 0
	w.begin()
	for _, k := range w.walkers {
		if len(k.sent) > 0 {
			p := k.sent[w.rng.IntN(len(k.sent))]
			p.At += w.rng.Int64N(k.every)
			k.place(&p, 50)
			w.send(p)
			pings++
		}
	}
	return pings
}

// send judges a ping and logs what comes of it.
func (w *world) send(p pingline.Ping) {
	if w.back > 0 && p.At > w.refused {
		return
	}
	w.dress(&p)
	e := pingline.Entry{Ping: p, Cell: uint64(p.At), SubKey: uint16(p.LatE7)}
	w.newest = max(w.newest, p.At)
	newest, duplicate := w.Look(&e)
	goes, evicted := w.goesFor(&p), w.Counts().Evicted
	v, _ := w.Judge(&w.batch, &e, w.bound, uint64(len(w.tokens)+1), w.now)
	w.checkLook(&e, v, newest, duplicate)
	w.tokens = append(w.tokens, v)
	w.verdict[v]++
	w.take()
	if w.Counts().Evicted > evicted {
		w.pardon(goes)
		w.forget(w.Filter)
	}
	w.shown(w.TB, &p, &e, v)
	w.answered(&p, v)
}

// goesFor returns the track that is forgotten if p is the first of another.
func (w *world) goesFor(p *pingline.Ping) string {
	i, _ := w.makeRoom(p)
	if i == 0 {
		return ""
	}
	rider, device := RiderDevice(w.names.At(i).key)
	return rider + "/" + device
}

// checkLook holds what a look said of e against what was then judged.
func (w *world) checkLook(e *pingline.Entry, v pingline.Verdict, newest int64, duplicate bool) {
	if e.Event == "" && duplicate != (v == pingline.Duplicate) {
		w.Fatalf("a look at %+v says duplicate: %v, and it is %v", e.Ping, duplicate, v)
	}
	if v == pingline.Held && e.At > newest || v == pingline.Accepted && !e.Late && e.State == first {
		newest = max(newest, e.At)
	}
	if after, _ := w.Look(e); after < newest {
		w.Fatalf("newest of the track is %d after %d", after, newest)
	}
}

// take logs the batch.
func (w *world) take() {
	c := &w.commits[len(w.commits)-1]
	for i := range w.batch.Entries {
		if w.batch.Entries[i].Stored() {
			c.since = min(c.since, w.batch.Since[i])
			w.attrsStored(w.TB, &w.batch.Entries[i])
		}
	}
	c.entries = append(c.entries, w.batch.Entries...)
	w.settled += len(w.batch.Settled)
	w.drain()
}

// checkComplete holds what is said to be complete of some track against what readers
// see while the newest commits are not yet written.
func (w *world) checkComplete() {
	k := w.walkers[w.rng.IntN(len(w.walkers))]
	written := len(w.commits) - w.rng.IntN(min(len(w.commits), 20)+1)
	complete := int64(math.MaxInt64)
	for _, known := range w.Known(nil, k.rider) {
		if known.Device == k.device {
			complete = known.Complete
		}
	}
	seen := newReader()
	for i := range w.commits {
		if i < written {
			seen.log(w.commits[i].entries)
		} else {
			complete = min(complete, w.commits[i].since)
		}
	}
	track := k.rider + "/" + k.device
	seen.sort()
	for _, a := range w.reader.answers {
		if a.track != track || a.ping.At >= complete || w.reader.pardoned(track, a.ping.At) || a.verdict == pingline.Duplicate {
			continue
		}
		off := seen.off(a)
		if off > a.eps && !seen.late[track][momentOf(&a.ping)] {
			w.Fatalf("%s is said to be complete up to %d, and what was %v at %d is %.1f m off", track, complete, a.verdict, a.ping.At, off)
		}
	}
}

// catchUp lets the silent ones go on at the time of the others.
func (w *world) catchUp() {
	now := w.walkers[0].at
	for _, k := range w.walkers {
		now = max(now, k.at)
	}
	for _, k := range w.walkers {
		k.at = max(k.at, now-w.rng.Int64N(100_000))
	}
}

func (w *world) number() uint64 { return uint64(len(w.commits)) }

func (w *world) replay(f *Filter, from uint64) {
	for n := from; n < w.number(); n++ {
		c := &w.commits[n]
		if c.lost {
			continue
		}
		if n > 0 && w.commits[n-1].lost && from < n {
			f.Damaged(w.commits[n-1].at)
		}
		f.Clock(c.at)
		if since := f.Replay(n+1, c.bound, c.entries); from == 0 && w.exact && since != c.since {
			w.Fatalf("commit %d changes what readers see since %d, replayed since %d", n+1, c.since, since)
		}
	}
	f.endLoad()
}

func (w *world) fresh() *Filter {
	f, err := New(w.cfg)
	if err != nil {
		w.Fatal(err)
	}
	f.ahead.least = 1
	return f
}

// rebuild replaces the filter by one made from the log, or from a checkpoint
// taken in pieces, and the log behind it. Between two pieces more is called.
func (w *world) rebuild(more func()) {
	f := w.fresh()
	if w.rng.IntN(3) == 0 {
		w.replay(f, 0)
	} else {
		s := w.Snapshot()
		s.tracks = 1 + uint32(w.rng.IntN(8))
		first := w.number()
		for left := true; left; more() {
			var piece []byte
			piece, left = s.Next(nil, w.number())
			if err := f.Load(piece); err != nil {
				w.Fatal(err)
			}
		}
		w.replay(f, first)
	}
	if w.exact {
		if err := sameState(w.Filter, f); err != nil {
			w.Fatalf("%d commits: %v", w.number(), err)
		}
	}
	for _, k := range w.walkers {
		if a, b := knownOf(w.Filter, k.rider), knownOf(f, k.rider); w.exact && a != b {
			w.Fatalf("known of %s: %s, by the rebuilt filter %s", k.rider, a, b)
		}
	}
	for _, f := range []*Filter{w.Filter, f} {
		if n := f.countText(); f.text != n {
			w.Fatalf("names and trips take %d bytes, and %d are counted", n, f.text)
		}
	}
	if f.Holding() != w.Holding() {
		w.Fatalf("%d pings are held, %d by the rebuilt filter", w.Holding(), f.Holding())
	}
	w.evicted += w.Counts().Evicted
	w.Filter = f
	w.forget(f)
	w.now = 0
}

// damage loses commits from the log: all is stored by then, and the filter is made
// from a checkpoint of before.
func (w *world) damage() (pings int) {
	w.flushAll()
	var pieces [][]byte
	for s, more := w.Snapshot(), true; more; {
		var piece []byte
		piece, more = s.Next(nil, w.number())
		pieces = append(pieces, piece)
	}
	before := len(w.commits)
	for range 1 + w.rng.IntN(20) {
		pings += w.commit()
	}
	w.flushAll()
	for i := range w.commits[before:] {
		c := &w.commits[before+i]
		c.lost, c.at = true, w.newest
	}
	f := w.fresh()
	for _, piece := range pieces {
		if err := f.Load(piece); err != nil {
			w.Fatal(err)
		}
	}
	f.Damaged(w.newest)
	w.evicted += w.Counts().Evicted
	w.Filter = f
	w.lost = true
	w.now = 0
	w.begin()
	return pings
}

// flushAll stores all that is held, in a commit of its own.
func (w *world) flushAll() {
	w.begin()
	for more := true; more; {
		more = w.Flush(&w.batch, 10)
		w.take()
	}
}

// knownOf returns what a filter knows of a rider, by device.
func knownOf(f *Filter, rider string) string {
	list := f.Known(nil, rider)
	slices.SortFunc(list, func(a, b NewestKnown) int { return strings.Compare(a.Device, b.Device) })
	return fmt.Sprintf("%+v", list)
}

// inOrder returns the tracks, list by list, the longest silent first.
func (f *Filter) inOrder() (tracks []uint32) {
	for _, l := range []list{f.order.once, f.order.often} {
		for i := l.oldest; i != 0; i = f.order.At(i).newer {
			tracks = append(tracks, i)
		}
	}
	return tracks
}

// sameState compares all that two filters know, but not where it lies.
func sameState(a, b *Filter) error {
	if a.riders != b.riders || a.holding != b.holding || a.forgot.Said > b.forgot.Said || a.order.stamp != b.order.stamp {
		return fmt.Errorf("riders %d and %d, holding %d and %d, forgot %d and %d, stamp %d and %d",
			a.riders, b.riders, a.holding, b.holding, a.forgot.Said, b.forgot.Said, a.order.stamp, b.order.stamp)
	}
	known := b.inOrder()
	for n, i := range a.inOrder() {
		j := known[n]
		if s, t := a.tracks.At(i), b.tracks.At(j); s.N == 0 && t.N == 0 {
			old := t.Base // a floor: as with forgot, that of one who was rebuilt may be higher
			t.Base = a.savedBase(s)
			defer func() { t.Base = old }()
		}
		if !bytes.Equal(a.appendTrack(nil, i), b.appendTrack(nil, j)) {
			return fmt.Errorf("track %q and %q differ:\n%+v\n%+v", a.names.At(i).key, b.names.At(j).key, *a.tracks.At(i), *b.tracks.At(j))
		}
	}
	return nil
}

// Whatever phones and networks do, and however often the filter is thrown away
// and rebuilt, no answer is off by more than its bound.
func TestEveryAnswerHolds(t *testing.T) {
	n := *worlds
	if n == 0 {
		n = 60
		if testing.Short() {
			n = 4
		}
	}
	for seed := range n {
		t.Run(fmt.Sprintf("world %d", seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, uint64(seed))
			pings := 0
			more := func() {
				for range w.rng.IntN(3) {
					pings += w.commit()
				}
			}
			for pings < 20_000 {
				pings += w.commit()
				if w.rng.IntN(200) == 0 {
					w.rebuild(more)
				}
				if w.rng.IntN(100) == 0 {
					w.checkComplete()
				}
				if !w.clocked && w.rng.IntN(300) == 0 {
					pings += w.damage()
				}
			}
			w.rebuild(more)
			held := w.verdict[pingline.Held]
			if held != w.settled+w.Holding() {
				t.Errorf("%d held, but %d settled and %d holding", held, w.settled, w.Holding())
			}
			vertices, late, worst := w.finish()
			t.Logf("%+v: %v, %d vertices, %d late, %d evicted, worst %.4f", w.cfg, w.verdict, vertices, late, w.evicted+w.Counts().Evicted, worst)
		})
	}
}

// Nor is one off if our clock goes back now and then, and forward again.
func TestEveryAnswerHoldsThoughOurClockGoesBack(t *testing.T) {
	n := max(*worlds/3, 10)
	if testing.Short() {
		n = 3
	}
	for seed := range n {
		t.Run(fmt.Sprintf("world %d", seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, uint64(1000+seed))
			w.clocked = true
			w.cfg.MaxRiders = min(w.cfg.MaxRiders, max(2, len(w.walkers)*3/4)) // so that tracks are forgotten
			w.Filter = w.fresh()
			pings := 0
			more := func() { pings += w.commit() }
			for pings < 20_000 {
				pings += w.commit()
				if w.rng.IntN(20) == 0 {
					pings += w.setBack()
				}
				if w.rng.IntN(200) == 0 {
					w.rebuild(more)
				}
			}
			w.rebuild(more)
			vertices, late, worst := w.finish()
			t.Logf("%+v: %v, %d vertices, %d late, %d evicted, worst %.4f", w.cfg, w.verdict, vertices, late, w.evicted+w.Counts().Evicted, worst)
		})
	}
}
