package audit

import (
	"slices"
	"sync"

	"pingline"
)

// Ledger is a Recorder in memory. It takes 56 bytes a ping and about 200 bytes a track.
// Safe for concurrent use.
//
// A ping that is sent again until it is answered is recorded once, with the verdict
// that reached its sender; one that was never answered may be stored or not.
type Ledger struct {
	// Now says when answers come, ms since 1970. nil: that is not known, and neither is
	// which pings had a wrong clock. It is set before the ledger is used.
	Now func() int64

	mu       sync.Mutex // guards what follows; nothing else is locked under it
	tracks   trackIDs
	eventIDs // of pings, and of the points that they are compared with
	pings    records
	widest   float32 // largest max_error of any answer
	verdicts [pingline.Verdicts]uint64
}

// trackID names a track; it is what of a point the identity has besides At.
type trackID struct{ rider, device string }

// trackIDs are numbers for tracks.
type trackIDs map[trackID]uint32

// number returns the number of a track, a new one if it had none.
func (ids trackIDs) number(id trackID) uint32 {
	n, ok := ids[id]
	if !ok {
		n = uint32(len(ids))
		ids[id] = n
	}
	return n
}

// NewLedger returns an empty ledger.
func NewLedger() *Ledger {
	return &Ledger{tracks: make(trackIDs), eventIDs: make(eventIDs)}
}

// Riders returns each rider of whom a ping was sent, in order of name.
func (l *Ledger) Riders() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]string, 0, len(l.tracks))
	for name := range l.tracks {
		list = append(list, name.rider)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Add records that p was sent and answered by v, with the bound that was in
// force, in metres; v is 0 if no answer came.
func (l *Ledger) Add(p *pingline.Ping, v pingline.Verdict, maxError, accuracyCap float32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(p, v, maxError, accuracyCap)
}

// Record implements Recorder. A nil ledger remembers nothing.
func (l *Ledger) Record(pings []pingline.Ping, verdicts []pingline.Verdict, maxError, accuracyCap float32) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range pings {
		var v pingline.Verdict
		if verdicts != nil {
			v = verdicts[i]
		}
		l.add(&pings[i], v, maxError, accuracyCap)
	}
}

func (l *Ledger) add(p *pingline.Ping, v pingline.Verdict, maxError, accuracyCap float32) {
	r := newRecord(p, l.eventID(p.Event))
	r.track, r.bound, r.verdict = l.tracks.number(trackID{p.Rider, p.Device}), boundOf(p, maxError, accuracyCap), v
	if l.Now != nil {
		r.answered = uint32(l.Now() / 1000)
	}
	l.pings.add(r)
	l.widest = max(l.widest, maxError)
	l.verdicts[v]++
}

// Len returns how many pings are recorded.
func (l *Ledger) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pings.len()
}

// Count returns how many pings were answered by v, or not at all if v is 0.
func (l *Ledger) Count(v pingline.Verdict) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.verdicts[v]
}

// Span returns the first and the last ts recorded, ms since 1970; 0, -1 if the
// ledger is empty.
func (l *Ledger) Span() (first, last int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last = -1
	for i, c := range l.pings.chunks {
		for j := range c {
			if i+j == 0 {
				first, last = c[0].at, c[0].at
			}
			first, last = min(first, c[j].at), max(last, c[j].at)
		}
	}
	return first, last
}
