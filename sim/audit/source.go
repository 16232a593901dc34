package audit

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"math"
	"unsafe"

	"pingline"
	"pingline/sim/audit/spill"
	"pingline/sim/audit/tally"
)

// Acks are answered pings that can be held against a store: a [Ledger], or [AckFiles].
type Acks interface {
	// gather reads all pings and says what they are. The points of a store are then
	// added to them, and what it returned is closed in the end.
	gather(ctx context.Context, cfg *Config) (gathered, *ackTotals, error)
}

// gathered are pings and points, in parts: a track is in one.
type gathered interface {
	// addPoint adds a point of which all is set but its track.
	addPoint(id trackID, event string, p *auditRecord) error
	// each calls f for every part, which is good for one call.
	each(f func(*part) error) error
	close() error
}

// part is all pings and points of some tracks. Points that are of none are only counted.
type part struct {
	summary       *ackTotals
	tracks        trackIDs
	pings, points records
	others        uint64
}

func (p *part) addPoint(id trackID, r *auditRecord) {
	track, ok := p.tracks[id]
	if !ok {
		if p.summary.spans(r.at) {
			p.others++
		}
		return
	}
	r.track = track
	p.points.add(*r)
}

// ackTotals are facts of all pings together.
type ackTotals struct {
	pings    uint64
	verdicts [pingline.Verdicts]uint64
	widest   float32 // largest max_error of any answer
	first    int64   // ts of pings whose clock is not known to be wrong
	last     int64
	times    times // at which points of these pings may be

	until  int64  // when a log broke off, by its last answer; MaxInt64: none did
	broken uint64 // logs that broke off
	torn   int64  // bytes of logs that could not be read
	events eventIDs
	strain tally.Strain
}

func newTotals() *ackTotals {
	return &ackTotals{first: math.MaxInt64, last: math.MinInt64, until: math.MaxInt64}
}

const (
	dayMilli  = 24 * 3600 * 1000
	hourMilli = 3600 * 1000
)

// add takes a ping into account.
func (s *ackTotals) add(r *auditRecord) {
	s.pings++
	s.verdicts[r.verdict]++
	s.times.add(r.at)
	off := int64(0)
	if r.answered != 0 {
		came := int64(r.answered) * 1000
		if off = max(r.at-came, came-r.at); off > hourMilli || r.at > came+1000 {
			s.times.add(came) // where it is, should its time be corrected
			s.times.add(unrolled(r.at, came))
		}
	}
	if off <= dayMilli {
		s.first, s.last = min(s.first, r.at), max(s.last, r.at)
	}
}

// spans reports whether at is within the time of the pings.
func (s *ackTotals) spans(at int64) bool { return at >= s.first && at <= s.last }

// gather implements Acks: all is one part, in memory.
func (l *Ledger) gather(context.Context, *Config) (gathered, *ackTotals, error) {
	l.mu.Lock()
	s := newTotals()
	for _, c := range l.pings.chunks {
		for i := range c {
			s.add(&c[i])
		}
	}
	s.widest, s.events = l.widest, l.eventIDs
	return &ledgerPart{l, part{summary: s, tracks: l.tracks, pings: l.pings}}, s, nil
}

// ledgerPart is a ledger, locked, and points.
type ledgerPart struct {
	ledger *Ledger
	part
}

func (p *ledgerPart) addPoint(id trackID, event string, r *auditRecord) error {
	r.event = p.ledger.eventID(event)
	p.part.addPoint(id, r)
	return nil
}

func (p *ledgerPart) each(f func(*part) error) error { return f(&p.part) }

func (p *ledgerPart) close() error {
	p.ledger.mu.Unlock()
	return nil
}

// AckFiles are the paths of ack logs, such as those of several generators, which are
// audited together. Their pings and the points are put into files, and are in memory a
// sixty-fourth of them at a time, 56 bytes each; a track is never divided.
type AckFiles []string

// spillParts is how many parts the pings of ack logs are in.
const spillParts = 64

func (list AckFiles) gather(ctx context.Context, cfg *Config) (gathered, *ackTotals, error) {
	to, err := spill.New(cfg.Dir, spillParts)
	if err != nil {
		return nil, nil, err
	}
	s := &spilled{PartFiles: to, summary: newTotals(), ids: make(eventIDs), seed: maphash.MakeSeed()}
	s.summary.events = s.ids
	for _, path := range list {
		if err := s.read(ctx, path, cfg); err != nil {
			return nil, nil, errors.Join(err, to.Close())
		}
	}
	return s, s.summary, nil
}

// spilled is the pings of ack logs, and points, in files.
type spilled struct {
	*spill.PartFiles
	summary *ackTotals
	ids     eventIDs
	seed    maphash.Seed
	record  []byte
}

// read reads an ack log.
func (s *spilled) read(ctx context.Context, path string, cfg *Config) error {
	var r auditRecord
	latest := int64(math.MinInt64)
	var last, stored string
	told, err := ReadAckFile(path, func(a *Acked) error {
		r = newRecord(&a.Ping, s.ids.eventID(a.Event))
		r.bound, r.verdict = boundOf(&a.Ping, a.MaxError, a.AccuracyCap), a.Verdict
		r.answered = uint32(min(max(a.Answered/1000, 0), math.MaxUint32))
		latest = max(latest, a.Answered)
		s.summary.add(&r)
		s.summary.widest = max(s.summary.widest, a.MaxError)
		s.summary.strain.Add(a.Answered, a.Verdict, a.MaxError)
		if s.summary.pings%progressEvery == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			cfg.progress(Reached{Pings: s.summary.pings})
		}
		if cfg.StoredAs != nil {
			if a.Rider != last {
				last, stored = a.Rider, cfg.StoredAs(a.Rider)
			}
			return s.store(false, trackID{stored, a.Device}, &r)
		}
		return s.store(false, trackID{a.Rider, a.Device}, &r)
	})
	if err != nil {
		return err
	}
	if !told.Ended {
		if latest == math.MinInt64 {
			latest = told.Began.UnixMilli()
		}
		s.summary.until, s.summary.torn = min(s.summary.until, latest), s.summary.torn+told.Torn
		s.summary.broken++
	}
	return nil
}

func (s *spilled) close() error { return s.PartFiles.Close() }

func (s *spilled) store(point bool, id trackID, r *auditRecord) error {
	s.record = appendSpilled(s.record[:0], point, id, r)
	part := maphash.Comparable(s.seed, id) % spillParts
	return s.Put(int(part), s.record)
}

func (s *spilled) addPoint(id trackID, event string, r *auditRecord) error {
	if len(id.rider) > math.MaxUint8 || len(id.device) > math.MaxUint8 {
		id.rider, id.device = id.rider[:min(len(id.rider), 200)], "?" // of somebody else
	}
	r.event = s.ids.eventID(event)
	return s.store(true, id, r)
}

func (s *spilled) each(f func(*part) error) error {
	p := part{summary: s.summary}
	for i := range spillParts {
		p.tracks, p.others = make(trackIDs, len(p.tracks)), 0
		p.pings.clear()
		p.points.clear()
		if err := s.load(i, &p); err != nil {
			return fmt.Errorf("read back part %d of %d: %w", i, spillParts, err)
		}
		if err := s.Drop(i); err != nil {
			return err
		}
		if err := f(&p); err != nil {
			return err
		}
	}
	return nil
}

// load reads part i; its pings come before its points.
func (s *spilled) load(i int, p *part) error {
	in, err := s.PartFiles.Read(i)
	if err != nil {
		return err
	}
	from := spilledReader{in: in}
	var r auditRecord
	for {
		point, err := from.next(&r)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		// A name that is known is not copied.
		text := unsafe.String(unsafe.SliceData(from.id), len(from.id))
		id := trackID{text[:from.rider], text[from.rider:]}
		if point {
			p.addPoint(id, &r)
			continue
		}
		n, ok := p.tracks[id]
		if !ok {
			name := string(from.id)
			n = p.tracks.number(trackID{name[:from.rider], name[from.rider:]})
		}
		r.track = n
		p.pings.add(r)
	}
}
