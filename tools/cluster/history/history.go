// Package history reads the logs of parts along, record by record, and holds them against the
// answers to pings.
//
// It promises to find a number that is missing or was given twice, an epoch that goes back, a
// record that is another later on, and a ping that was answered and is not in the log exactly once.
// It reads with the sequences of the servers, and not by the reader of package queue. Records that
// are trimmed before it comes to them are counted.
package history

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/maphash"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"pingline"
	"pingline/internal/pause"
	"pingline/partition"
	"pingline/queue/jetstream"
	"pingline/queue/record"
)

// Archive is all that is known of the logs, and of the answers. It is a Recorder of package audit,
// and safe for concurrent use.
type Archive struct {
	parts int
	logs  []*partLog
	seed  maphash.Seed

	mu    sync.Mutex // guards what follows; nothing else is locked under it
	pings map[uint64]pingTrace
	again int // further entries of a ping
	tell  TellAgain
	twice map[uint64]furtherEntry // of each ping that has some, the first
	wrong []string                // at most mostWrong
	count int                     // of them
}

// pingTrace is where a ping was seen.
type pingTrace struct {
	answers  uint8  // a bit for each verdict
	verdicts uint8  // of its entries, likewise
	judged   uint8  // entries with its verdict
	promoted uint8  // entries that it is stored after all, as it had been held
	number   uint32 // of the record of the first
}

// furtherEntry is as TellAgain is told of it.
type furtherEntry struct {
	ping                  pingline.Ping
	verdict               pingline.Verdict
	maxError, accuracyCap float32
}

// counted are the bits of the verdicts that are answered where an entry is made.
const counted = 1<<pingline.Accepted | 1<<pingline.Held | 1<<pingline.Redundant

// partLog is the log of a part, as far as it was read. It belongs to the goroutine that reads it,
// and to Check afterwards.
type partLog struct {
	part    int
	session *jetstream.Session
	next    uint64 // sequence
	last    record.Record
	sums    []uint32 // of the records from number first on
	first   uint64   // number
	trimmed uint64   // number before which records may be trimmed, when a gap was met
	missed  uint64   // records that were trimmed before they were read
	owners  int      // epochs
	at      int64    // time of the newest commit, ms since 1970
	back    int64    // furthest that a commit is behind an earlier one, ms
	readErr error
}

const (
	mostWrong = 10
	lookEvery = 200 * time.Millisecond
	batch     = 1 << 20 // bytes
)

// New returns an Archive of parts whose logs are on the servers of a URL. A single part is the log
// of nodes that share nothing.
func New(url string, parts int) (*Archive, error) {
	a := &Archive{parts: parts, seed: maphash.MakeSeed(), pings: make(map[uint64]pingTrace), twice: make(map[uint64]furtherEntry)}
	for part := range parts {
		stream := "PINGLINE"
		if parts > 1 {
			stream = fmt.Sprint("PINGLINE-p", part)
		}
		session, err := jetstream.Connect(jetstream.Config{URL: url, Stream: stream, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			a.Close()
			return nil, err
		}
		a.logs = append(a.logs, &partLog{part: part, session: session, next: 1})
	}
	return a, nil
}

// Close ends the connections.
func (a *Archive) Close() {
	for _, l := range a.logs {
		l.session.Close()
	}
}

// TellAgain is told of a further entry of a ping, in the form of a Recorder of package audit. If no entry of the ping was
// answered, as each answer was lost until the ping was a duplicate, it is told once more, by Check.
type TellAgain func(pings []pingline.Ping, verdicts []pingline.Verdict, maxError, accuracyCap float32)

// Tell has tell called for each further entry from now on.
func (a *Archive) Tell(tell TellAgain) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tell = tell
}

// Record takes an answer down: see audit.Recorder.
func (a *Archive) Record(pings []pingline.Ping, verdicts []pingline.Verdict, _, _ float32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range pings {
		v := pingline.Verdict(0)
		if verdicts != nil {
			v = verdicts[i]
		}
		id := a.id(&pings[i])
		s := a.pings[id]
		s.answers |= 1 << v
		a.pings[id] = s
	}
}

// id is the number of a ping: two that differ have the same once in 2⁶⁴.
func (a *Archive) id(p *pingline.Ping) uint64 {
	return maphash.Comparable(a.seed, struct {
		rider, device string
		at            int64
	}{p.Rider, p.Device, p.At})
}

// complain takes a fault down.
func (a *Archive) complain(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.count++; len(a.wrong) < mostWrong {
		a.wrong = append(a.wrong, fmt.Sprintf(format, args...))
	}
}

// Follow reads the logs until ctx ends.
func (a *Archive) Follow(ctx context.Context) {
	var all sync.WaitGroup
	for _, l := range a.logs {
		all.Go(func() {
			for pause.For(ctx, lookEvery) == nil {
				l.readErr = a.readOn(ctx, l)
			}
		})
	}
	all.Wait()
}

// readOn reads a log to its end. An error says that the servers do not answer now.
func (a *Archive) readOn(ctx context.Context, l *partLog) error {
	for {
		// The leader of the stream says whether there is a record, and at which sequence.
		seq, data, err := l.session.Next(ctx, l.next)
		if err != nil || seq == 0 {
			return err
		}
		if l.last.Number > 0 && seq != l.next { // it was long that we could not read
			if l.trimmed, err = l.trims(ctx); err != nil {
				return err
			}
		}
		a.take(l, seq, data)
		list, err := l.session.Fetch(ctx, l.next, batch)
		for _, data := range list {
			r, derr := record.Decode(data)
			if derr != nil || r.Number != l.last.Number+1 {
				break // the leader is asked about it
			}
			a.takeRecord(l, l.next, &r)
		}
		if err != nil {
			return err
		}
	}
}

// trims returns the number before which records may be trimmed.
func (l *partLog) trims(ctx context.Context) (uint64, error) {
	_, data, err := l.session.Last(ctx)
	if err != nil {
		return 0, err
	}
	r, err := record.Decode(data)
	return r.Trimmed, err
}

// take takes in the message at a sequence.
func (a *Archive) take(l *partLog, seq uint64, data []byte) {
	r, err := record.Decode(data)
	if err != nil {
		a.complain("part %d: sequence %d: %v", l.part, seq, err)
		l.next = seq + 1
		return
	}
	a.takeRecord(l, seq, &r)
}

func (a *Archive) takeRecord(l *partLog, seq uint64, r *record.Record) {
	switch was := &l.last; {
	case was.Number == 0:
		l.first, l.missed = r.Number, r.Number-1
	case r.Number <= was.Number:
		a.complain("part %d: sequence %d: record %d follows record %d", l.part, seq, r.Number, was.Number)
	case r.Number > was.Number+1:
		if l.trimmed < r.Number {
			a.complain("part %d: sequence %d: record %d follows record %d, and only records before %d are trimmed", l.part, seq, r.Number, was.Number, l.trimmed)
		}
		l.missed += r.Number - was.Number - 1
		l.sums = append(l.sums, make([]uint32, r.Number-was.Number-1)...)
	case seq != l.next:
		a.complain("part %d: record %d is at sequence %d, not %d", l.part, r.Number, seq, l.next)
	case r.Epoch < was.Epoch:
		a.complain("part %d: record %d is of epoch %d, and the record before of %d", l.part, r.Number, r.Epoch, was.Epoch)
	case r.Before != was.Totals:
		a.complain("part %d: record %d begins at totals %v, and the record before ends at %v", l.part, r.Number, r.Before, was.Totals)
	}
	if r.Epoch != l.last.Epoch {
		l.owners++
	}
	l.next = seq + 1
	if r.Number <= l.last.Number {
		return
	}
	l.last, l.last.Payload = *r, nil
	l.sums = append(l.sums, sumOf(r))
	a.takeCommit(l, r)
}

// sumOf is a checksum of all of a record.
func sumOf(r *record.Record) uint32 {
	return cmp.Or(crc32.ChecksumIEEE(record.Encode(r)), 1) // 0: it was not read
}

// takeCommit counts the pings of a record.
func (a *Archive) takeCommit(l *partLog, r *record.Record) {
	h, entries, err := pingline.DecodeCommit(r.Payload)
	if err != nil {
		a.complain("part %d: record %d: %v", l.part, r.Number, err)
		return
	}
	l.back = max(l.back, l.at-h.At)
	l.at = max(l.at, h.At)
	var e pingline.Entry
	for {
		ok, err := entries.Next(&e)
		if err != nil {
			a.complain("part %d: record %d: %v", l.part, r.Number, err)
		}
		if !ok || err != nil {
			return
		}
		if e.Kind == pingline.Judged && !e.IsLine() && e.Point == nil {
			a.takeEntry(l, r.Number, &h, &e)
		}
	}
}

func (a *Archive) takeEntry(l *partLog, number uint64, h *pingline.CommitHeader, e *pingline.Entry) {
	if a.parts > 1 && partition.Part(e.Rider, a.parts) != l.part {
		a.complain("part %d: record %d has a ping of rider %s, who is of part %d", l.part, number, e.Rider, partition.Part(e.Rider, a.parts))
	}
	a.mu.Lock()
	id := a.id(&e.Ping)
	s := a.pings[id]
	twice := false
	if e.Promoted {
		s.promoted++
	} else if s.judged++; s.judged == 1 {
		s.number = uint32(number) // #nosec G115: to be read by people
	} else {
		// A ping that was dropped, or is held, is not known again: it is dropped again. So are pings that
		// are forgotten, unless they do not fit the line.
		a.again++
		twice = e.Verdict != pingline.Redundant && !e.Late
	}
	if s.judged > 1 && !e.Promoted && a.tell != nil {
		f := furtherEntry{e.Ping, e.Verdict, h.MaxError, h.AccuracyCap}
		f.ping.Rider, f.ping.Device, f.ping.Event = strings.Clone(e.Rider), strings.Clone(e.Device), strings.Clone(e.Event)
		a.tellOf(&f)
		if _, known := a.twice[id]; !known {
			a.twice[id] = f
		}
	}
	if !e.Promoted {
		s.verdicts |= 1 << e.Verdict
	}
	a.pings[id] = s
	a.mu.Unlock()
	if twice {
		a.complain("part %d: record %d of epoch %d has the ping of rider %s at %d as %v, and record %d had it already", l.part, number, l.last.Epoch, e.Rider, e.At, e.Verdict, s.number)
	}
}

// tellOf tells of a further entry. The caller holds mu.
func (a *Archive) tellOf(f *furtherEntry) {
	a.tell([]pingline.Ping{f.ping}, []pingline.Verdict{f.verdict}, f.maxError, f.accuracyCap)
}

// tellUnanswered tells of the first entries of pings whose answers were all lost.
func (a *Archive) tellUnanswered() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, f := range a.twice {
		if a.pings[id].answers&counted == 0 {
			a.tellOf(&f)
		}
	}
	clear(a.twice)
}

// LogReport is how the logs are.
type LogReport struct {
	Records, Missed uint64 // records that were read; and that were trimmed before
	Owners          int    // epochs, of all parts
	Again           uint64 // records that were there at the end, and were read again
	Pings           uint64 // of which the log has an entry
	Twice           int    // further entries of such a ping: it was sent again, as the answer was lost or the request refused
	Back            time.Duration
	Wrong           int
	Examples        []string // of what is wrong
}

// Sentence tells it.
func (r *LogReport) Sentence() string {
	return fmt.Sprintf("the log by number: %d records of %d owners with %d pings; %d records read again at the end, %d trimmed before they were read; pings dropped again, as their first answer was lost: %d; a commit's time is at most %v before an earlier one's; wrong: %d",
		r.Records, r.Owners, r.Pings, r.Again, r.Missed, r.Twice, r.Back, r.Wrong)
}

// Err returns nil if all is right.
func (r *LogReport) Err() error {
	if r.Wrong == 0 {
		return nil
	}
	return fmt.Errorf("the log by number: %d faults, such as %s", r.Wrong, r.Examples[0])
}

// Check reads the rest of the logs, and all that is still in them once more. It holds the pings in
// them against the answers. Follow has ended, and the log is at rest.
func (a *Archive) Check(ctx context.Context) (*LogReport, error) {
	r := new(LogReport)
	for _, l := range a.logs {
		err := a.readOn(ctx, l)
		if err == nil {
			err = a.compare(ctx, l, r)
		}
		if err != nil {
			return nil, fmt.Errorf("read the log of part %d: %w", l.part, errors.Join(err, l.readErr))
		}
		r.Records, r.Missed, r.Owners = r.Records+uint64(len(l.sums)), r.Missed+l.missed, r.Owners+l.owners
		r.Back = max(r.Back, time.Duration(l.back)*time.Millisecond)
	}
	a.tellUnanswered()
	a.judge(r)
	r.Wrong, r.Examples, r.Twice = a.count, slices.Clone(a.wrong), a.again
	return r, nil
}

// compare reads a log once more.
func (a *Archive) compare(ctx context.Context, l *partLog, r *LogReport) error {
	for seq := uint64(1); seq < l.next; {
		at, data, err := l.session.Next(ctx, seq)
		if err != nil {
			return err
		}
		if at == 0 {
			break
		}
		if at >= l.next {
			break
		}
		seq = at + 1
		rec, err := record.Decode(data)
		if err != nil || rec.Number < l.first || rec.Number >= l.first+uint64(len(l.sums)) {
			a.complain("part %d: sequence %d has record %d now: %v", l.part, at, rec.Number, err)
			continue
		}
		if was := l.sums[rec.Number-l.first]; was != 0 && was != sumOf(&rec) {
			a.complain("part %d: record %d is another one than before", l.part, rec.Number)
		}
		r.Again++
	}
	return nil
}

// judge holds the pings in the logs against the answers.
func (a *Archive) judge(r *LogReport) {
	missed := uint64(0)
	for _, l := range a.logs {
		missed += l.missed
	}
	tell := map[string]int{}
	a.mu.Lock()
	for _, s := range a.pings {
		if s.judged > 0 {
			r.Pings++
		}
		if why := s.fault(missed > 0); why != "" {
			tell[why]++
		}
	}
	a.mu.Unlock()
	for why, n := range tell {
		a.complain("%d pings: %s", n, why)
	}
}

const taken = 1<<pingline.Accepted | 1<<pingline.Held | 1<<pingline.Redundant | 1<<pingline.Duplicate

// fault returns what is wrong with a ping, or "". Records may be missed.
func (s *pingTrace) fault(missed bool) string {
	has := func(v pingline.Verdict) bool { return s.answers&(1<<v) != 0 }
	logged := func(v pingline.Verdict) bool { return s.verdicts&(1<<v) != 0 }
	switch {
	case s.judged == 0 && s.promoted == 0 && (missed || s.answers&taken == 0):
		return ""
	case s.judged == 0 && !missed:
		return fmt.Sprintf("in no record of the log, and were answered (verdicts %08b)", s.answers)
	case s.answers == 0:
		return "in the log, and never sent"
	case s.promoted > 1:
		return fmt.Sprintf("promoted %d times", s.promoted)
	case s.judged == 0:
		return "" // its first record was missed
	case has(pingline.Accepted) && !logged(pingline.Accepted) && s.promoted == 0:
		return "answered accepted, and not in the log"
	case has(pingline.Held) && !logged(pingline.Held):
		return "answered held, and not in the log"
	case has(pingline.Redundant) && s.verdicts == 1<<pingline.Accepted:
		return "answered redundant, and accepted in the log"
	}
	return ""
}
