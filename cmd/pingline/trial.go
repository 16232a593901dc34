package main

import (
	"time"

	"pingline"
	"pingline/dedupe"
	"pingline/track"
)

// trial is the filter at work on one recording under one bound.
type trial struct {
	bound  dedupe.Bound
	filter *dedupe.Filter
	batch  dedupe.Batch
	fates  []fate        // by ping
	paths  []*track.Path // by track: what is kept of it
	tally
}

// fate is what became of a ping.
type fate byte

const (
	dropped  fate = iota // or held, until it is settled
	kept                 // as a vertex
	keptLate             // as a point that readers leave out of the line
)

// arrival is a ping, its track's number and when it came.
type arrival struct {
	pingline.Ping
	track int
	now   time.Duration
}

func newTrial(cfg dedupe.Config, bound dedupe.Bound) (*trial, error) {
	f, err := dedupe.New(cfg)
	return &trial{bound: bound, filter: f}, err
}

// judge lets the filter judge pings, the first of which is the recording's
// ping of that number, from 0.
func (t *trial) judge(pings []arrival, first int, tracks *roll) {
	verdicts := make([]pingline.Verdict, len(pings))
	late := make([]bool, len(pings))
	began := time.Now()
	for i := range pings {
		p := &pings[i]
		for t.filter.Idle(&t.batch, p.now, 1000) {
		}
		e := pingline.Entry{Ping: p.Ping}
		verdicts[i], _ = t.filter.Judge(&t.batch, &e, t.bound, uint64(first+i+1), p.now)
		late[i] = e.Late
	}
	t.busy += time.Since(began)
	for i, v := range verdicts {
		switch {
		case v == pingline.Accepted && late[i]:
			t.fates = append(t.fates, keptLate)
		case v == pingline.Accepted:
			t.fates = append(t.fates, kept)
		default:
			t.fates = append(t.fates, dropped)
		}
		if v == pingline.Duplicate {
			t.duplicates++
		}
	}
	t.settle(tracks)
}

// flush stores what is held, as the ingester does when it stops.
func (t *trial) flush(tracks *roll) {
	for more := true; more; {
		began := time.Now()
		more = t.filter.Flush(&t.batch, 1000)
		t.busy += time.Since(began)
		t.settle(tracks)
	}
	c := t.filter.Counts()
	t.conflicts, t.forgotten = c.Conflicts, c.Evicted
	t.filter = nil // its memory is wanted no longer
	for _, p := range t.paths {
		t.longestGap = max(t.longestGap, p.LongestGap())
	}
}

// settle takes over what the filter has put out.
func (t *trial) settle(tracks *roll) {
	for i := range t.batch.Entries {
		e := &t.batch.Entries[i]
		if !e.Stored() {
			continue
		}
		t.kept++
		if e.Late {
			t.late++
			continue
		}
		t.path(tracks.number(&e.Ping)).Add(&e.Fix)
	}
	for _, s := range t.batch.Settled {
		if s.Stored {
			t.fates[s.Token-1] = kept
		}
	}
	clear(t.batch.Entries)
	t.batch.Reset()
}

// path returns what is kept of a track.
func (t *trial) path(n int) *track.Path {
	for n >= len(t.paths) {
		t.paths = append(t.paths, new(track.Path))
	}
	return t.paths[n]
}

// measure compares the recording's ping of that number, from 0, with what a
// reader of the kept ones makes of it.
func (t *trial) measure(p *arrival, number int) (f fate, off float64) {
	if f = t.fates[number]; f != dropped {
		return f, 0
	}
	off = t.path(p.track).Off(&p.Fix)
	t.off.add(off)
	if off > t.bound.Of(&p.Fix) {
		t.outOfBound++
	}
	return f, off
}

// roll numbers the tracks of a recording from 0.
type roll struct {
	numbers  map[trackName]int
	names    []trackName
	progress []progress
}

type trackName struct{ rider, device string }

// number returns the number of p's track, a new one if it is not known.
func (r *roll) number(p *pingline.Ping) int {
	name := trackName{p.Rider, p.Device}
	n, ok := r.numbers[name]
	if !ok {
		n = len(r.names)
		r.numbers[name] = n
		r.names = append(r.names, name)
		r.progress = append(r.progress, progress{})
	}
	return n
}
