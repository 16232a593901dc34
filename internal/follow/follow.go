// Package follow has a node that waits for the log of another read it along, so that at a takeover the
// filter's state is there but for the newest commits. Nothing is written to the servers.
//
// A reader begins with the newest checkpoint beside the log, and goes on behind it. Where records are
// gone, as when it came too late, it begins anew with a newer checkpoint. While it has no state, it says
// why, and a takeover reads the checkpoint as if nothing was read along.
package follow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"pingline"
	"pingline/dedupe"
	"pingline/ingest"
	"pingline/internal/pause"
	"pingline/internal/statefile"
	"pingline/queue/jetstream"
)

// Config says how logs are read along. All of it is required.
type Config struct {
	URL    string        // of the servers, as in queue.Config
	Dir    string        // for checkpoints while they are read; what is in it is removed
	Filter dedupe.Config // as the writer has it
	Logger *slog.Logger
}

const (
	lookEvery  = 100 * time.Millisecond // between two looks for new records
	lookSoon   = 10 * time.Millisecond  // where some came at the last look, and not a batch: a look is as dear to the servers as an append
	againLeast = time.Second            // after a failure; twice as long after each that follows
	againMost  = 5 * time.Minute        // a checkpoint is large
	batchBytes = 1 << 20                // of records that are asked for at a time
)

// Reader reads a log along from Begin on. It is safe for concurrent use.
type Reader struct {
	cfg    Config
	stream string
	stop   context.CancelFunc

	mu    sync.Mutex // guards the fields below; held while a record is replayed; taken after a Spare's
	past  *ingest.Past
	taken bool
	why   string // that there is no state
}

// Begin begins to read the log in a stream.
func Begin(cfg Config, stream string) *Reader {
	ctx, stop := context.WithCancel(context.Background())
	r := &Reader{cfg: cfg, stream: stream, stop: stop, why: "begins"}
	r.cfg.Dir = filepath.Join(cfg.Dir, stream)
	go r.run(ctx)
	return r
}

// Take ends the reading, and returns the state as far as it has come, nil if there is none.
func (r *Reader) Take() *ingest.Past {
	r.stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.past
	r.past, r.taken, r.why = nil, true, "has ended"
	return p
}

// State returns whether the state is there, in a sentence.
func (r *Reader) State() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.past == nil {
		return fmt.Sprintf("cold: the log %s is not read along: %s", r.stream, r.why)
	}
	return fmt.Sprintf("warm: the log %s is read along, up to record %d: %d tracks", r.stream, r.past.Next()-1, r.past.Riders())
}

// run reads until ctx ends.
func (r *Reader) run(ctx context.Context) {
	defer func() { _ = os.RemoveAll(r.cfg.Dir) }() // it is in the way of nothing
	again := againLeast
	for said := ""; ; again = min(2*again, againMost) {
		err := r.follow(ctx, func() { again = againLeast })
		if ctx.Err() != nil {
			return
		}
		r.cold(err.Error())
		if text := err.Error(); text != said {
			said = text
			r.cfg.Logger.Warn("the log is not read along for now: a takeover would read the filter's state", "stream", r.stream, "error", err)
		}
		if pause.For(ctx, again) != nil {
			return
		}
	}
}

// cold lets go of the state.
func (r *Reader) cold(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.past, r.why = nil, why
}

// follow reads until something fails. It calls well when it has come to the end of the log.
func (r *Reader) follow(ctx context.Context, well func()) error {
	s, err := jetstream.Open(ctx, jetstream.Config{URL: r.cfg.URL, Stream: r.stream, ReadOnly: true, Logger: r.cfg.Logger})
	if err != nil {
		return err
	}
	defer s.Close()
	past, err := r.load(ctx, s)
	if err != nil {
		return err
	}
	r.cfg.Logger.Info("the log is read along", "stream", r.stream, "from", past.Next())
	return r.tail(ctx, s, past, well)
}

// load returns the state of the newest checkpoint that can be read, or of the beginning of the log if there is no checkpoint:
// without the commits that were trimmed the state would be another than that of the next owner, who may read a checkpoint
// that we cannot.
func (r *Reader) load(ctx context.Context, s *jetstream.Session) (*ingest.Past, error) {
	files, err := s.Files(ctx)
	if err != nil {
		return nil, err
	}
	there, err := files.Names(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for name := range there {
		if strings.HasSuffix(name, statefile.Suffix) {
			names = append(names, filepath.Base(name))
		}
	}
	slices.Sort(names)
	var unread error
	for _, name := range slices.Backward(names) {
		past, err := r.open(ctx, files.Get, name)
		if err == nil {
			return past, nil
		}
		if ctx.Err() != nil || errors.Is(err, pingline.ErrNewer) {
			return nil, err
		}
		unread = cmp.Or(unread, fmt.Errorf("checkpoint %s: %w", name, err))
	}
	v, err := r.survey(ctx, s)
	switch {
	case err != nil:
		return nil, err
	case v.First.Number > 1:
		return nil, cmp.Or(unread, errors.New("no checkpoint is beside it"))
	}
	return ingest.NewPast(r.cfg.Filter, v.First.Number)
}
