package rights

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net/http"

	"pingline"
	"pingline/ingest"
	"pingline/internal/plainjson"
	"pingline/query"
	"pingline/queue"
	"pingline/sink/deadletter"
)

// StoredAs is the header of the answer with the pings of a rider that are in no store.
const StoredAs = "Pingline-Stored-As"

// unstored answers with the pings of a rider that are in no store yet, a JSON object a line:
// those that the filter holds and those in the log, with "waiting":true, and dead letters,
// with "refused" and the cause. A ping that is stored meanwhile is among them. The header
// StoredAs has the pseudonym by which the rider is stored, if that is not asked for itself.
func (r *Rights) unstored(w http.ResponseWriter, req *http.Request) {
	var known []*ingest.RiderState
	asked := req.PathValue("id")
	if r.misdirected(w, asked) {
		return
	}
	if r.cfg.Read != nil {
		r.cfg.Read(req, asked)
	}
	for _, rider := range r.cfg.Names.Names(asked) {
		state, err := r.cfg.Writer.RiderState(rider)
		if err != nil {
			refuse(w, http.StatusServiceUnavailable, err)
			return
		}
		known = append(known, state)
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	if stored := r.cfg.Names.Stored(asked); stored != asked {
		w.Header().Set(StoredAs, stored)
	}
	out := bufio.NewWriter(w)
	var line []byte
	put := func(e *pingline.Entry, more string) {
		line = query.AppendWhole(line[:0], e)
		line = append(append(line[:len(line)-1], more...), "}\n"...)
		_, _ = out.Write(line) // a client that is gone is found by Flush
	}
	var err error
	for _, of := range known {
		for i := range of.Tracks {
			if k := &of.Tracks[i]; k.Held {
				put(&pingline.Entry{Verdict: pingline.Held, Cell: k.Cell, Ping: pingline.Ping{Rider: of.Rider, Device: k.Device, Trip: k.Trip, Attrs: k.Attrs, Fix: k.Fix}}, "")
			}
		}
		err = errors.Join(err, r.waiting(req.Context(), of.Rider, func(e *pingline.Entry) {
			e.Verdict = pingline.Held
			put(e, "")
		}))
		refused(r.cfg.Letters, of.Rider, func(l *deadletter.Letter) {
			put(&l.Entry, string(plainjson.Append([]byte(`,"refused":`), l.Cause)))
		})
	}
	if err = errors.Join(err, out.Flush()); err != nil {
		panic(http.ErrAbortHandler) // the answer must not look complete
	}
}

// waiting calls each for the pings of a rider that are in the log and may not be in all
// stores yet.
func (r *Rights) waiting(ctx context.Context, rider string, each func(e *pingline.Entry)) error {
	return r.inLog(ctx, rider, r.cfg.Written(), r.cfg.Log.Last(), func(e *pingline.Entry) error {
		each(e)
		return nil
	})
}

// inLog calls each for the pings of a rider that the commits from first to last have
// stored. Commits that are lost, or cannot be read, are passed. The entry is valid during
// the call only.
func (r *Rights) inLog(ctx context.Context, rider string, first, last uint64, each func(e *pingline.Entry) error) error {
	if first > last {
		return nil
	}
	log := r.cfg.Log.Read(first)
	defer log.Close()
	var e pingline.Entry
	for next := first; next <= last; {
		rec, err := log.Next(ctx)
		if lost := new(queue.DamageError); errors.As(err, &lost) {
			next = lost.To + 1
			continue
		}
		if err != nil {
			return err
		}
		if next = rec.Number + 1; rec.Number > last {
			return nil
		}
		if !bytes.Contains(rec.Payload, []byte(rider)) {
			continue
		}
		_, entries, err := pingline.DecodeCommit(rec.Payload)
		for more := err == nil; more; {
			if more, err = entries.Next(&e); !more {
				break
			}
			if e.Rider == rider && e.Stored() {
				if err := each(&e); err != nil {
					return err
				}
			}
		}
		if errors.Is(err, pingline.ErrNewer) {
			return err
		}
	}
	return nil
}

// refused calls each for the dead letters of a rider; it passes lines that cannot be read.
func refused(letters *deadletter.Dir, rider string, each func(l *deadletter.Letter)) {
	for l, err := range letters.All() {
		if err == nil && l.Entry.Rider == rider {
			each(l)
		}
	}
}
