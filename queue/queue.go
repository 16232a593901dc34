package queue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"pingline/queue/cache"
	"pingline/queue/cursor"
	"pingline/queue/disk"
	"pingline/queue/driver"
	"pingline/queue/mark"
	"pingline/queue/record"
	"pingline/queue/scan"
	"pingline/queue/trouble"
)

// Files in Config.Dir, beside the files of package disk and the folder "jetstream" of
// the embedded server.
const (
	cursorsFile   = "cursors" // unless the log is on servers: see ownership
	highWaterFile = "high-water"
)

// Log is an open log. Append and Settle are for a single caller, a call at a
// time; everything else is safe for concurrent use.
type Log struct {
	cfg       Config
	lock      *os.File
	highWater *mark.HighWater
	cursors   cursor.Cursors

	life context.Context // until Close
	end  context.CancelCauseFunc
	work sync.WaitGroup

	owner   *owner           // nil if the log is embedded
	objects driver.FileStore // files for the next owner; nil if owner is
	trouble trouble.Causes
	watched disk.Watched
	margin  int64 // diskMargin; tests make it less

	trimming  sync.Mutex // held during a Trim and while Settle looks at the stream; taken before all other locks of the package
	triedRoom uint64     // number before which Settle last trimmed for room

	mu        sync.Mutex    // guards the fields below; taken before cursors.mu
	stream    driver.Stream // the present session: replaced by Settle
	closed    bool
	unclear   bool   // an append may be stored or not: Settle comes next
	epoch     uint64 // of our records; 0 if the log is embedded
	appended  bool   // a record of our epoch is durable
	markFails bool
	numbering scan.Numbering
	seq       uint64 // last sequence of the stream: the next append follows it
	first     uint64 // number of the first record, or last+1
	kept      uint64 // number of the last record that can be read: it is never trimmed
	last      uint64 // number given last; records behind kept, up to it, are lost
	totals    Totals // after last
	bytes     int64  // bytes of the stream up to counted
	counted   uint64 // sequence up to which bytes counts
	limit     int64
	reserve   int64
	filling   int64 // bytes of padding that appends are to add
	cache     cache.Records
	grown     chan struct{} // closed when last moves on; nil if nobody waits
	damage    []damaged     // in order, without overlap
}

// Open opens the log in cfg.Dir, or creates it. Records that it finds to be lost are
// reported to cfg.Logger and through Damage.
func Open(ctx context.Context, cfg Config) (_ *Log, err error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	if err := disk.MakeDir(cfg.Dir); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	l := &Log{cfg: cfg, margin: diskMargin}
	_, _ = l.trouble.Set(&l.trouble.Full, nil)
	l.life, l.end = context.WithCancelCause(context.Background())
	l.cache.Most = cfg.CacheBytes
	if l.lock, err = disk.Lock(cfg.Dir); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("open log in %s: %w", cfg.Dir, errors.Join(err, l.release()))
		}
	}()
	if err := l.firstLimit(); err != nil {
		return nil, err
	}
	if err := l.openCursors(); err != nil {
		return nil, err
	}
	var known Cursor
	if l.highWater, known.Next, known.Totals, err = mark.Open(filepath.Join(cfg.Dir, highWaterFile)); err != nil {
		return nil, err
	}
	known.Next++
	if l.stream, err = connect(&cfg); err != nil {
		return nil, err
	}
	if err := l.takeOver(ctx); err != nil {
		return nil, err
	}
	if l.owner != nil {
		l.work.Go(l.keepHold)
	}
	if c := l.cursors.Furthest(); c.Next > known.Next {
		known = c
	}
	if err := l.stream.Ready(ctx); err != nil {
		return nil, err
	}
	if l.owner != nil {
		if l.objects, err = l.stream.Files(ctx); err != nil {
			return nil, err
		}
	}
	v, next, err := l.survey(ctx, l.stream, known)
	if err != nil {
		return nil, err
	}
	if err := l.outrank(ctx, v); err != nil {
		return nil, err
	}
	if err := l.heed(ctx, v); err != nil {
		return nil, err
	}
	l.assume(v, next)
	if err := l.reportLost(ctx, l.stream, v, next); err != nil {
		return nil, err
	}
	if cfg.embedded() {
		if err := disk.KeepSpare(cfg.Dir); err != nil {
			cfg.Logger.Warn("the disk of the log is full", "error", err)
		}
	}
	if err := l.watchFiles(); err != nil {
		cfg.Logger.Warn("the cursors of the log cannot be kept", "error", err)
	}
	l.work.Go(l.upkeep)
	return l, nil
}

// openCursors takes the cursors from the log's directory. If there are none and no other
// node can have had the log, nothing was ever trimmed; if the file is damaged, the extent of
// trimming is not known.
func (l *Log) openCursors() error {
	file := l.cursorsFile()
	list, err := file.Read()
	if errors.Is(err, ErrNewer) {
		return err
	}
	if err != nil {
		l.cfg.Logger.Warn("the cursors of the log are lost: its readers start again, and what was trimmed is not known", "error", err)
	} else if there, err := file.Exists(); l.cfg.embedded() && err == nil && !there {
		list.Trimmed.Next = 1
	}
	l.cursors.Open(file, list)
	return nil
}

func (l *Log) cursorsFile() cursor.DiskFile {
	return cursor.DiskFile(filepath.Join(l.cfg.Dir, cursorsFile))
}

// survey has the records that a stream holds, and the stream's last sequence.
type survey struct {
	*driver.Bounds
	*scan.Survey
}

// survey asks the stream for its records, and returns them with the next number to
// give and the totals there. known has the next number and the totals from other
// sources, such as the high-water mark.
func (l *Log) survey(ctx context.Context, st driver.Stream, known Cursor) (v survey, next Cursor, err error) {
	if v.Bounds, err = st.Bounds(ctx); err != nil {
		return v, next, err
	}
	if v.Survey, err = scan.Look(ctx, st.Next, v.FirstSeq, v.LastSeq, v.Missing); err != nil {
		return v, next, err
	}
	next = known
	if v.Last == nil {
		next.Next = max(next.Next, v.LastSeq+1)
		v.Numbering = scan.NewNumbering(next.Next, v.LastSeq+1)
		return v, next, nil
	}
	if v.Last.Number >= next.Next {
		next.Totals = v.Last.Totals
	}
	next.Next = max(next.Next, v.Last.Number+1, v.LastSeq+1+v.Last.Offset())
	return v, next, nil
}

// assume sets the state of the log to v. The caller holds mu.
func (l *Log) assume(v survey, next Cursor) {
	l.numbering, l.seq = v.Numbering, v.LastSeq
	l.bytes, l.counted = v.Bytes, v.LastSeq
	l.first, l.kept = next.Next, next.Next-1
	if v.Last != nil {
		l.first, l.kept = v.First.Number, v.Last.Number
	}
	if l.owner != nil { // an earlier owner may still delete records before it
		l.first = max(l.first, min(l.cursors.Trimmed().Next, l.kept))
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
	l.trimming.Lock() // nothing is written once another process has the directory
	defer l.trimming.Unlock()
	kept := l.cursors.Close()
	if errors.Is(kept, ErrOwned) { // they are the next owner's
		kept = nil
	}
	if err := errors.Join(kept, l.release()); err != nil {
		return fmt.Errorf("close log in %s: %w", l.cfg.Dir, err)
	}
	return nil
}

// release gives back the lock, the files and the hold on the servers.
func (l *Log) release() (err error) {
	l.end(ErrClosed)
	l.work.Wait()
	if l.owner != nil {
		if err := l.owner.release(); err != nil {
			l.cfg.Logger.Warn("the log is not released: other nodes must wait for the lease", "lease", l.cfg.Lease, "error", err)
		}
	}
	if st := l.session(); st != nil {
		st.Close()
	}
	if l.highWater != nil {
		err = l.highWater.Close()
	}
	return errors.Join(err, l.lock.Close())
}

// session returns the session with the stream that there is now.
func (l *Log) session() driver.Stream {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stream
}

// adopt makes st the session, unless the log is closed.
func (l *Log) adopt(st driver.Stream) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	l.stream = st
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

// CacheBytes returns how much memory the newest records take.
func (l *Log) CacheBytes() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cache.Bytes()
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

// Limit returns how large the log may grow, its reserve included. It may rise.
func (l *Log) Limit() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.limit
}

// Room returns how many bytes are left for appends that may not use the reserve,
// 0 if there are none.
func (l *Log) Room() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(0, l.limit-l.reserve-l.bytes)
}

// MaxPayload returns how many bytes a record may hold.
func (l *Log) MaxPayload() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stream.MaxData() - record.Header(l.epoch)
}
