package ingest

import (
	"slices"
	"time"

	"pingline"
	"pingline/dedupe"
)

// judge asks the filter about each of the job's pings, in order of time, and encodes
// the entries for the log. If a ping is held and then settled by a later ping of the
// same request, its answer is the verdict by which it was settled.
func (w *Writer) judge(j *Job, onlyEvents bool) {
	w.taken = append(w.taken, j)
	w.lastJob++
	j.id, j.Bound = w.lastJob, w.bound
	now, at := w.now(), time.UnixMilli(w.at)
	known, room := w.tracks(), j.room()
	w.filter.Clock(w.at)
	var e pingline.Entry
	for n := range j.Pings {
		if n%dedupe.Ahead == 0 {
			w.filter.PrefetchFunc(len(j.Pings)-n, func(k int) *pingline.Ping { return &j.Pings[j.order.At(n+k)] })
		}
		i := j.order.At(n)
		e.Ping, e.Cell, e.SubKey = j.Pings[i], j.Cells[i], 0 // the rest is Judge's
		if w.sheds(&e, onlyEvents) {
			j.Verdicts[i] = pingline.Shed
			continue
		}
		if w.tracks()-known >= room && !w.filter.Has(&e.Ping) {
			j.Verdicts[i] = pingline.Shed
			j.Over = append(j.Over, int32(i))
			continue
		}
		if w.cfg.Keys != nil {
			e.SubKey = w.cfg.Keys.Of(e.Cell, e.Rider, at)
		}
		verdict, conflict := w.filter.Judge(&w.batch, &e, j.Bound, j.id*maxJobPings+uint64(i), now)
		j.Verdicts[i] = verdict
		if conflict {
			w.counts.Conflicts++
		}
		w.logBatch(j.id, j)
	}
	slices.Sort(j.Over)
	if err := j.refused(); err != nil { // no ping was judged: the job leaves no trace
		w.taken = w.taken[:len(w.taken)-1]
		j.done <- err
		return
	}
	j.brought(w.tracks() - known)
	w.counts.New += uint64(j.New)
	for _, v := range j.Verdicts {
		w.counts.Verdicts[v]++
	}
	for i := range j.Entries {
		w.logEntry(&j.Entries[i])
	}
	if j.asks != nil {
		j.asks.fill(w)
	}
}

// tracks is the number of tracks that the filter has made.
func (w *Writer) tracks() int { return w.filter.Riders() + int(w.filter.Counts().Evicted) }

// sheds reports whether e is shed unjudged: it has no event, is no duplicate, shows no
// change of an attribute that is watched, and
// either only events are taken, or it is less than the policy's spacing behind the
// newest ping of its track.
func (w *Writer) sheds(e *pingline.Entry, onlyEvents bool) bool {
	if !onlyEvents && w.policy.Spacing == 0 || e.Event != "" {
		return false
	}
	newest, duplicate := w.filter.Look(e)
	return !duplicate && (onlyEvents || e.At < newest+w.policy.Spacing.Milliseconds()) && !w.filter.Changed(e)
}

// logEntry encodes an entry that needs no judging.
func (w *Writer) logEntry(e *pingline.Entry) {
	w.buf = pingline.AppendEntry(w.buf, e, w.at)
	w.entries++
	w.form = max(w.form, e.Form())
	if e.Stored() {
		w.totals[pingline.TotalStored]++
		w.counts.Replayed++
		w.oldest = min(w.oldest, storedAt(e))
	} else {
		w.totals[pingline.TotalLines]++
		w.counts.Lines++
	}
}

// logBatch encodes the filter's entries and notes the settlements: of pings of job j
// (numbered id) in its verdicts, of all other pings in the counts.
func (w *Writer) logBatch(id uint64, j *Job) {
	for i := range w.batch.Entries {
		e := &w.batch.Entries[i]
		w.buf = pingline.AppendEntry(w.buf, e, w.at)
		w.form = max(w.form, e.Form())
		w.entries++
		if e.Stored() {
			w.totals[pingline.TotalStored]++
			w.oldest = min(w.oldest, w.batch.Since[i])
		}
		if !e.Promoted {
			w.totals[pingline.TotalPings]++
		}
		if e.Late {
			w.counts.Late++
		}
	}
	for _, s := range w.batch.Settled {
		switch own := j != nil && s.Token/maxJobPings == id; {
		case own && s.Stored:
			j.Verdicts[s.Token%maxJobPings] = pingline.Accepted
		case own:
			j.Verdicts[s.Token%maxJobPings] = pingline.Redundant
		case s.Stored:
			w.counts.Promoted++
		default:
			w.counts.Covered++
		}
	}
	w.batch.Reset()
}
