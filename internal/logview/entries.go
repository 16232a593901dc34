package logview

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"

	"pingline"
	"pingline/internal/plainjson"
	"pingline/query"
	"pingline/queue"
)

// Selection selects commits of the log, in order of number. The zero value selects all.
type Selection struct {
	From, To     uint64 // numbers, From <= number < To; 0 is no limit
	Since, Until int64  // when a commit was written, ms since 1970, Since <= at < Until; 0 is no limit
	Newest       int    // only so many of the newest entries at first, and of these 16 MiB; 0 means all
	Follow       bool   // wait for commits to come
}

// MostNewest bounds Selection.Newest.
const MostNewest = 100_000

// Check returns an error that names a parameter.
func (s *Selection) Check() error {
	switch {
	case s.To != 0 && s.To <= s.From, s.Until != 0 && s.Until <= s.Since:
		return errors.New("to: is not after from")
	case s.Newest < 0 || s.Newest > MostNewest:
		return fmt.Errorf("newest: %d is not in [0, %d]", s.Newest, MostNewest)
	case s.Newest > 0 && (s.From != 0 || s.Since != 0):
		return errors.New("newest: goes without from")
	}
	return nil
}

// Entries calls put with each entry of the selected commits as a line of JSON, and with each
// run of lost commits; caught is called when all commits of the moment were put. It returns
// the number from which to go on. A line is valid during the call.
func Entries(ctx context.Context, log *queue.Log, s Selection, put func(line []byte) error, caught func() error) (next uint64, err error) {
	end := log.Last() + 1
	next = max(s.From, 1)
	if s.From == 0 {
		next = log.First()
	}
	newest := &ring{most: s.Newest}
	if s.Newest > 0 && end > uint64(s.Newest) { // a commit without entries is rare: then there are fewer
		next = max(next, end-uint64(s.Newest))
	}
	w := &entryWriter{put: put}
	if s.Newest > 0 {
		w.put = newest.put
	}
	r := log.Read(next)
	defer r.Close()
	for s.To == 0 || next < s.To {
		if next >= end {
			if s.Newest > 0 && w.put != nil {
				if err := newest.each(put); err != nil {
					return next, err
				}
				w.put, s.Newest = put, 0
			}
			if last := log.Last() + 1; s.Follow && last > end {
				end = last
				continue
			}
			if err := caught(); err != nil || !s.Follow {
				return next, err
			}
		}
		rec, err := r.Next(ctx)
		if gap := new(queue.DamageError); errors.As(err, &gap) {
			if err := w.lost(gap); err != nil {
				return next, err
			}
			next = gap.To + 1
			continue
		}
		if err != nil {
			return next, err
		}
		if s.To != 0 && rec.Number >= s.To {
			return next, caught()
		}
		more, err := w.commit(&rec, &s)
		if err != nil || !more {
			return next, errors.Join(err, caught())
		}
		next = rec.Number + 1
		end = max(end, next)
	}
	return next, caught()
}

// entryWriter turns commits into lines.
type entryWriter struct {
	put  func(line []byte) error
	line []byte
	e    pingline.Entry
}

// commit puts the entries of a commit, and reports false if it is behind the selection.
func (w *entryWriter) commit(rec *queue.Record, s *Selection) (more bool, err error) {
	h, entries, err := pingline.DecodeCommit(rec.Payload)
	if errors.Is(err, pingline.ErrNewer) {
		return false, fmt.Errorf("commit %d: %w", rec.Number, err)
	}
	if err != nil { // its checksum is right: it was appended so
		w.line = append(w.begin(rec.Number), `,"unreadable":`...)
		return true, w.put(append(plainjson.Append(w.line, err.Error()), "}\n"...))
	}
	if s.Until != 0 && h.At >= s.Until {
		return false, nil
	}
	if h.At < s.Since {
		return true, nil
	}
	for i := 0; ; i++ {
		ok, err := entries.Next(&w.e)
		if err != nil {
			return false, fmt.Errorf("commit %d: %w", rec.Number, err)
		}
		if !ok {
			return true, nil
		}
		w.line = append(strconv.AppendInt(append(w.begin(rec.Number), `,"entry":`...), int64(i), 10), `,"written":`...)
		w.line = append(strconv.AppendInt(w.line, h.At, 10), `,"node":`...)
		w.line = plainjson.Append(w.line, h.Node)
		if w.line, err = AppendEntry(w.line, &w.e); err != nil {
			return false, err
		}
		if err := w.put(append(w.line, "}\n"...)); err != nil {
			return false, err
		}
	}
}

func (w *entryWriter) begin(number uint64) []byte {
	return strconv.AppendUint(append(w.line[:0], `{"commit":`...), number, 10)
}

func (w *entryWriter) lost(gap *queue.DamageError) error {
	w.line = append(w.begin(gap.From), `,"lost_to":`...)
	w.line = append(strconv.AppendUint(w.line, gap.To, 10), `,"lost_pings":`...)
	w.line = append(strconv.AppendUint(w.line, gap.Lost[pingline.TotalStored], 10), `,"lost_lines":`...)
	return w.put(append(strconv.AppendUint(w.line, gap.Lost[pingline.TotalLines], 10), "}\n"...))
}

// kindNames are the kinds of entries in JSON.
var kindNames = map[pingline.EntryKind]string{
	pingline.Judged: "ping", pingline.Replayed: "replayed", pingline.ReplayedNano: "replayed", pingline.Activity: "activity", pingline.Self: "self",
}

// AppendEntry appends the keys of an entry as JSON behind other keys, and changes its verdict.
func AppendEntry(dst []byte, e *pingline.Entry) ([]byte, error) {
	dst = append(append(append(dst, `,"kind":"`...), kindNames[e.Kind]...), '"')
	if e.To != "" {
		dst = plainjson.Append(append(dst, `,"to":`...), e.To)
	}
	switch {
	case e.IsLine():
		return plainjson.Append(append(dst, `,"line":`...), e.Line), nil
	case e.Point != nil:
		p := e.Point
		tags, fields := make(map[string]string, len(p.Tags)), make(map[string]any, len(p.Fields))
		for _, t := range p.Tags {
			tags[t.Key] = t.Value
		}
		for i := range p.Fields {
			switch f := &p.Fields[i]; f.Type {
			case pingline.IntField:
				fields[f.Key] = f.Int()
			case pingline.FloatField:
				fields[f.Key] = f.Float()
			case pingline.TextField:
				fields[f.Key] = f.Text()
			case pingline.BoolField:
				fields[f.Key] = f.Bool()
			default:
				return dst, fmt.Errorf("point %s: field %s has no known type", p.Name, f.Key)
			}
		}
		more := plainjson.Append(nil, struct {
			Name   string            `json:"name"`
			At     int64             `json:"ts"`
			Tags   map[string]string `json:"tags"`
			Fields map[string]any    `json:"fields"`
		}{p.Name, p.At, tags, fields})
		return append(append(dst, ','), more[1:len(more)-1]...), nil
	}
	dst = append(append(append(dst, `,"verdict":"`...), e.Verdict.String()...), '"')
	for _, flag := range [...]struct {
		is   bool
		text string
	}{{e.Promoted, `,"promoted":true`}, {e.Apart, `,"apart":true`}} {
		if flag.is {
			dst = append(dst, flag.text...)
		}
	}
	if e.SubKey != 0 {
		dst = strconv.AppendUint(append(dst, `,"sub_key":`...), uint64(e.SubKey), 10)
	}
	e.Verdict = pingline.Accepted // it is told already
	at := len(dst)
	dst = query.AppendWhole(dst, e)
	dst[at] = ','
	return dst[:len(dst)-1], nil
}

// newestBytes is how much of the newest lines is kept in memory: an answer begins with fewer
// lines if they take more.
const newestBytes = 16 << 20

// ring keeps the newest lines.
type ring struct {
	most  int
	lines [][]byte
	bytes int // of lines
}

func (r *ring) put(line []byte) error {
	r.lines = append(r.lines, bytes.Clone(line))
	r.bytes += len(line)
	for len(r.lines) > r.most || r.bytes > newestBytes {
		r.bytes -= len(r.lines[0])
		r.lines[0], r.lines = nil, r.lines[1:]
	}
	return nil
}

func (r *ring) each(put func(line []byte) error) error {
	for _, line := range r.lines {
		if err := put(line); err != nil {
			return err
		}
	}
	r.lines, r.bytes = nil, 0
	return nil
}
