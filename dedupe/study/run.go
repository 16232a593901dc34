package study

import (
	"time"

	"pingline"
	"pingline/dedupe"
	"pingline/track"
)

// run is the filter at work on a recording under a bound.
type run struct {
	bound  dedupe.Bound
	filter *dedupe.Filter
	batch  dedupe.Batch
	fates  []fate        // by number of the ping
	paths  []*track.Path // by number of the track: the path through its kept pings
	outcome
}

// fate says whether a ping was kept.
type fate byte

const (
	dropped  fate = iota // or held, until it is settled
	kept                 // as a vertex
	keptLate             // as a point that readers leave out of the line
)

// arrival is a ping, the number of its track and the time at which it came.
type arrival struct {
	pingline.Ping
	track int
	now   time.Duration
}

func newRun(cfg dedupe.Config, bound dedupe.Bound) (*run, error) {
	f, err := dedupe.New(cfg)
	return &run{bound: bound, filter: f}, err
}

// judge lets the filter judge pings, the first of which is the recording's
// ping of that number, from 0.
func (r *run) judge(pings []arrival, first int, tracks *trackIndex) {
	verdicts := make([]pingline.Verdict, len(pings))
	late := make([]bool, len(pings))
	began := time.Now()
	for i := range pings {
		p := &pings[i]
		for r.filter.Idle(&r.batch, p.now, 1000) {
		}
		e := pingline.Entry{Ping: p.Ping}
		verdicts[i], _ = r.filter.Judge(&r.batch, &e, r.bound, uint64(first+i+1), p.now)
		late[i] = e.Late
	}
	r.busy += time.Since(began)
	for i, v := range verdicts {
		switch {
		case v == pingline.Accepted && late[i]:
			r.fates = append(r.fates, keptLate)
		case v == pingline.Accepted:
			r.fates = append(r.fates, kept)
		default:
			r.fates = append(r.fates, dropped)
		}
		if v == pingline.Duplicate {
			r.duplicates++
		}
	}
	r.settle(tracks)
}

// flush stores the held pings, as the ingester does when it stops.
func (r *run) flush(tracks *trackIndex) {
	for more := true; more; {
		began := time.Now()
		more = r.filter.Flush(&r.batch, 1000)
		r.busy += time.Since(began)
		r.settle(tracks)
	}
	c := r.filter.Counts()
	r.conflicts, r.forgotten = c.Conflicts, c.Evicted
	r.filter = nil // frees its memory
	for _, p := range r.paths {
		r.longestGap = max(r.longestGap, p.LongestGap())
	}
}

// settle notes the fates of the pings in the batch.
func (r *run) settle(tracks *trackIndex) {
	for i := range r.batch.Entries {
		e := &r.batch.Entries[i]
		if !e.Stored() {
			continue
		}
		r.kept++
		if e.Late {
			r.late++
			continue
		}
		r.path(tracks.number(&e.Ping)).Add(&e.Fix)
	}
	for _, s := range r.batch.Settled {
		if s.Stored {
			r.fates[s.Token-1] = kept
		}
	}
	clear(r.batch.Entries)
	r.batch.Reset()
}

// path returns the path through the kept pings of a track.
func (r *run) path(n int) *track.Path {
	for n >= len(r.paths) {
		r.paths = append(r.paths, new(track.Path))
	}
	return r.paths[n]
}

// measure compares the recording's ping of that number, from 0, with the track that
// a reader draws through the kept pings.
func (r *run) measure(p *arrival, number int) (f fate, off float64) {
	if f = r.fates[number]; f != dropped {
		return f, 0
	}
	off = r.path(p.track).Off(&p.Fix)
	r.off.add(off)
	if off > r.bound.Of(&p.Fix) {
		r.outOfBound++
	}
	return f, off
}

// trackIndex numbers the tracks of a recording from 0. The zero value has no tracks.
type trackIndex struct {
	numbers map[trackName]int
	names   []trackName
	clocks  []trackClock
}

type trackName struct{ rider, device string }

// number returns the number of p's track, a new number for a new track.
func (x *trackIndex) number(p *pingline.Ping) int {
	name := trackName{p.Rider, p.Device}
	n, ok := x.numbers[name]
	if x.numbers == nil {
		x.numbers = make(map[trackName]int)
	}
	if !ok {
		n = len(x.names)
		x.numbers[name] = n
		x.names = append(x.names, name)
		x.clocks = append(x.clocks, trackClock{})
	}
	return n
}
