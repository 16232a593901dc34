package audit

import (
	"slices"
	"sync"

	"pingline"
)

// Ledger remembers every ping sent and the answer to it. It takes 48 bytes a ping and about 200 bytes a track. Safe for
// concurrent use.
//
// A ping answered more than once is recorded once, with the first verdict
// that reached its sender; one that was never answered may be stored or not.
type Ledger struct {
	mu       sync.Mutex
	tracks   map[trackID]uint32
	events   map[string]uint16
	pings    records
	widest   float32 // largest max_error of any answer
	verdicts [pingline.Verdicts]uint64
}

// trackID names a track; it is what of a point the identity has besides At.
type trackID struct{ rider, device string }

const maxEvents = 1<<16 - 1

// NewLedger returns an empty ledger.
func NewLedger() *Ledger {
	return &Ledger{tracks: make(map[trackID]uint32), events: make(map[string]uint16)}
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

// Record adds pings and their verdicts, nil if no answer came. A nil ledger
// remembers nothing.
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
	name := trackID{p.Rider, p.Device}
	track, ok := l.tracks[name]
	if !ok {
		track = uint32(len(l.tracks))
		l.tracks[name] = track
	}
	bound := maxError
	if p.Has(pingline.HasAccuracy) {
		bound = max(maxError, min(p.Accuracy, accuracyCap))
	}
	r := l.recordOf(p)
	r.track, r.bound, r.verdict = track, bound, v
	l.pings.add(r)
	l.widest = max(l.widest, maxError)
	l.verdicts[v]++
}

func (l *Ledger) recordOf(p *pingline.Ping) auditRecord {
	return auditRecord{
		at: p.At, lat: p.LatE7, lon: p.LonE7, known: p.Known, event: l.eventID(p.Event),
		numbers: *p.Numbers(),
	}
}

// eventID returns a number for the name of an event. Names beyond the first
// 65,534 share one: an audit cannot tell those apart.
func (l *Ledger) eventID(name string) uint16 {
	if name == "" {
		return 0
	}
	id, ok := l.events[name]
	if !ok {
		if len(l.events) >= maxEvents-1 {
			return maxEvents
		}
		id = uint16(len(l.events) + 1)
		l.events[name] = id
	}
	return id
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
	return l.pings.span()
}
