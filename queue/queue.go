// Package queue is the durable log: records of bytes, numbered, on NATS
// JetStream, in the process or on a cluster.
//
// A record whose Append returned nil is on disk, synced, or on most servers of a
// cluster; it keeps its number for good, no later one is put before it, and no
// number is given twice. A reader gets every record from its position on, in
// order, each once, or is told which are lost: a record that is missing or
// damaged is a DamageError, never silence and never the end. When the log is
// full it refuses; it drops only what Trim is told to.
//
// Memory is bounded: the newest records, within Config.CacheBytes, and for each
// reader that is behind two batches of about a mebibyte. Opening a log that was
// closed in order does not read it; after a crash the embedded server reads it
// once, a block at a time.
//
// The log does not look into what it stores, knows no readers, and keeps their
// cursors only lazily.
package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Errors that callers tell apart.
var (
	// ErrLocked is wrapped by Open when another process uses the directory.
	ErrLocked = errors.New("in use by another process")
	// ErrFull is wrapped by an Append that was refused for lack of room. Nothing
	// was stored.
	ErrFull = errors.New("the log is full")
	// ErrTooLarge is wrapped by an Append of more than MaxPayload bytes. Nothing
	// was stored.
	ErrTooLarge = errors.New("too large for the log")
	// ErrUnclear is wrapped by every other failure of an Append: the record may
	// be stored, now or later, until Settle returns nil.
	ErrUnclear = errors.New("may be stored or not")
	// ErrClosed is wrapped by what is asked of a closed Log or Reader.
	ErrClosed = errors.New("the log is closed")
)

// Embedded is the URL of a log in this process.
const Embedded = "embedded"

// Config sets up a Log. Dir is required; the zero value of everything else takes
// its default.
type Config struct {
	Dir           string        // of the embedded store, the cursors and the high-water mark; created if missing
	URL           string        // "" or Embedded: in this process; else servers with JetStream, nats://host,host
	Stream        string        // "" means PINGLINE
	Replicas      int           // of a stream on a cluster; 0 leaves what there is, and creates 3, or 1 on a single server
	MaxBytes      int64         // of the log; 0 means 8 GiB; embedded, at most half of the free disk
	Reserve       int64         // bytes of it that only an Append that says so may use; 0 means 5 %, negative none
	AppendTimeout time.Duration // after which the fate of an append is unclear; 0 means 10 s
	CacheBytes    int64         // of the newest records, held in memory; 0 means 32 MiB
	Logger        *slog.Logger  // nil means slog.Default()
}

func (c *Config) embedded() bool { return c.URL == "" || c.URL == Embedded }

func (c *Config) setDefaults() error {
	c.Stream = cmp.Or(c.Stream, "PINGLINE")
	c.MaxBytes = cmp.Or(c.MaxBytes, 8<<30)
	c.AppendTimeout = cmp.Or(c.AppendTimeout, 10*time.Second)
	c.CacheBytes = cmp.Or(c.CacheBytes, 32<<20)
	c.Logger = cmp.Or(c.Logger, slog.Default())
	switch {
	case c.Dir == "":
		return errors.New("queue: Config.Dir is empty")
	case c.MaxBytes < 0 || c.AppendTimeout < 0 || c.CacheBytes < 0 || c.Replicas < 0:
		return fmt.Errorf("queue: a limit is negative: MaxBytes %d, AppendTimeout %v, CacheBytes %d, Replicas %d",
			c.MaxBytes, c.AppendTimeout, c.CacheBytes, c.Replicas)
	case c.Reserve >= c.MaxBytes:
		return fmt.Errorf("queue: a Reserve of %d leaves nothing of MaxBytes, %d", c.Reserve, c.MaxBytes)
	}
	c.Dir = filepath.Clean(c.Dir)
	if !c.embedded() {
		if _, err := c.servers(); err != nil {
			return fmt.Errorf("queue: Config.URL: %w", err)
		}
	}
	return nil
}

// servers returns where the log is, fit to be shown: without what URL may hold
// of names and passwords.
func (c *Config) servers() (string, error) {
	if c.embedded() {
		return Embedded, nil
	}
	var list []string
	for part := range strings.SplitSeq(c.URL, ",") {
		if part = strings.TrimSpace(part); !strings.Contains(part, "://") {
			part = "nats://" + part
		}
		u, err := url.Parse(part)
		if err != nil || u.Host == "" {
			return "", errors.New("must be " + Embedded + " or a list like nats://host:4222,nats://host:4222")
		}
		list = append(list, u.Host)
	}
	return strings.Join(list, ","), nil
}

// Log is an open log. Append and Settle are for one caller, one call at a time;
// everything else is safe for concurrent use.
type Log struct {
	cfg     Config
	lock    *os.File
	mark    *mark
	cursors cursors

	life context.Context // until Close
	end  context.CancelCauseFunc
	work sync.WaitGroup

	trimming  sync.Mutex // held during a Trim and while Settle looks at the stream
	triedRoom uint64     // number before which Settle last trimmed for room

	mu        sync.Mutex
	store     *store
	closed    bool
	unclear   bool // an append's fate is open: Settle comes next
	markFails bool
	numbering numbering
	seq       uint64 // of the stream: the next append follows it
	first     uint64 // number of the first record, or last+1
	kept      uint64 // number of the last record there is: it is never trimmed
	last      uint64 // number given last; those behind kept are lost
	totals    Totals // after last
	bytes     int64  // of the stream up to counted
	counted   uint64 // sequence
	limit     int64
	reserve   int64
	recent    recent
	grown     chan struct{} // closed when last moves on; nil if nobody waits
	damage    []damaged     // in order, apart from one another
}

// Open opens the log in cfg.Dir, or creates it. What it finds to be lost it
// reports to cfg.Logger and through Damage.
func Open(ctx context.Context, cfg Config) (_ *Log, err error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	if err := makeDir(cfg.Dir); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	l := &Log{cfg: cfg}
	l.life, l.end = context.WithCancelCause(context.Background())
	l.recent.most = cfg.CacheBytes
	if l.lock, err = lockDir(cfg.Dir); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("open log in %s: %w", cfg.Dir, errors.Join(err, l.release()))
		}
	}()
	if err := l.limits(); err != nil {
		return nil, err
	}
	if err := l.cursors.load(filepath.Join(cfg.Dir, cursorsFile), cfg.embedded()); err != nil {
		cfg.Logger.Warn("the cursors of the log are lost: its readers start again, and what was trimmed is not known", "error", err)
	}
	var known Cursor
	if l.mark, known.Next, known.Totals, err = openMark(filepath.Join(cfg.Dir, markFile)); err != nil {
		return nil, err
	}
	known.Next++
	if c := l.cursors.furthest(); c.Next > known.Next {
		known = c
	}
	if l.store, err = openStore(ctx, &l.cfg); err != nil {
		return nil, err
	}
	v, next, err := l.survey(ctx, l.store, known)
	if err != nil {
		return nil, err
	}
	l.assume(v, next)
	if err := l.reportLost(ctx, l.store, v, next); err != nil {
		return nil, err
	}
	if cfg.embedded() {
		if err := keepSpare(cfg.Dir); err != nil {
			cfg.Logger.Warn("the disk of the log is full", "error", err)
		}
	}
	l.work.Go(l.keepCursors)
	return l, nil
}

// limits settles how large the log may grow.
func (l *Log) limits() error {
	if l.limit = l.cfg.MaxBytes; l.cfg.embedded() {
		free, err := freeBytes(l.cfg.Dir)
		if err != nil {
			return err
		}
		used, err := usedBytes(l.cfg.Dir)
		if err != nil {
			return fmt.Errorf("size of %s: %w", l.cfg.Dir, err)
		}
		if half := (free + used) / 2; half < l.limit {
			l.cfg.Logger.Warn("the log is limited to half of the free disk", "bytes", half, "configured", l.limit)
			l.limit = half
		}
	}
	if l.reserve = min(max(l.cfg.Reserve, 0), l.limit/2); l.cfg.Reserve == 0 {
		l.reserve = l.limit / 20
	}
	return nil
}

// survey asks the stream what it holds, and returns that with the next number to
// give and the totals there. known is the next number and the totals as known
// from elsewhere.
func (l *Log) survey(ctx context.Context, st *store, known Cursor) (v *survey, next Cursor, err error) {
	if v, err = st.survey(ctx); err != nil {
		return nil, next, err
	}
	next = known
	if v.last == nil {
		next.Next = max(next.Next, v.lastSeq+1)
		v.numbering = numbering{{next.Next, v.lastSeq + 1}}
		return v, next, nil
	}
	if v.last.Number >= next.Next {
		next.Totals = v.last.Totals
	}
	next.Next = max(next.Next, v.last.Number+1, v.lastSeq+1+v.last.span().offset())
	return v, next, nil
}

// assume makes the log's state what v says. The caller holds mu.
func (l *Log) assume(v *survey, next Cursor) {
	l.numbering, l.seq = v.numbering, v.lastSeq
	l.bytes, l.counted = v.bytes, v.lastSeq
	l.first, l.kept = next.Next, next.Next-1
	if v.last != nil {
		l.first, l.kept = v.first.Number, v.last.Number
	}
	l.last, l.totals = next.Next-1, next.Totals
}

// Close stops the readers, keeps the cursors and closes the log. An append or a
// Settle that is under way fails.
func (l *Log) Close() error {
	l.mu.Lock()
	was := l.closed
	l.closed = true
	l.mu.Unlock()
	if was {
		return nil
	}
	l.end(ErrClosed)
	l.work.Wait()
	l.trimming.Lock() // nothing is written when the directory is another's
	defer l.trimming.Unlock()
	if err := errors.Join(l.cursors.close(), l.release()); err != nil {
		return fmt.Errorf("close log in %s: %w", l.cfg.Dir, err)
	}
	return nil
}

// release gives back whatever is held.
func (l *Log) release() (err error) {
	l.end(ErrClosed)
	if st := l.session(); st != nil {
		st.close()
	}
	if l.mark != nil {
		err = l.mark.close()
	}
	return errors.Join(err, l.lock.Close())
}

// session is the store as it is now.
func (l *Log) session() *store {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.store
}

// adopt makes st the session, unless the log is closed.
func (l *Log) adopt(st *store) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	l.store = st
	return nil
}

// First returns the number of the first record there is, or Last+1.
func (l *Log) First() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first
}

// Last returns the number of the last durable record, 0 before the first.
func (l *Log) Last() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// LastTotals returns the totals after the last durable record.
func (l *Log) LastTotals() Totals {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.totals
}

// Bytes returns the size of the log.
func (l *Log) Bytes() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bytes
}

// BytesSince returns about how much of the log is behind the records before
// number next.
func (l *Log) BytesSince(next uint64) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if next <= l.first || l.kept < l.first {
		return l.bytes
	}
	if next > l.kept {
		return 0
	}
	return int64(float64(l.bytes) * float64(l.kept+1-next) / float64(l.kept+1-l.first))
}

// Limit returns how large the log may grow, its reserve included.
func (l *Log) Limit() int64 { return l.limit }

// Room returns how many bytes are left for appends that may not use the reserve,
// 0 if there are none.
func (l *Log) Room() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(0, l.limit-l.reserve-l.bytes)
}

// MaxPayload returns how many bytes a record may hold.
func (l *Log) MaxPayload() int { return l.session().maxData() - recordHeader }
