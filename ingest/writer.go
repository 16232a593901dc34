package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"pingline"
	"pingline/dedupe"
	"pingline/partition"
	"pingline/queue"
)

// ErrUnavailable is wrapped by the answer to a request of which nothing was
// kept and that should be sent again: the log is full, or its disk is failing
// or slower than Patience.
var ErrUnavailable = errors.New("not stored, send again")

// ErrTooLarge is the answer to a request that no commit can hold.
var ErrTooLarge = errors.New("request is too large for one commit: send it in parts")

// WriterConfig sets up a Writer. Log is required.
type WriterConfig struct {
	Log       *queue.Log
	Filter    dedupe.Config
	Bound     dedupe.Bound    // in force for every ping at level 0
	Overload  *Overload       // says how much is given up; nil: nothing ever is
	Keys      *partition.Keys // choose sub-keys; nil: there are none
	Written   func() uint64   // number of the first commit that is not all stored; nil: not known
	Node      string          // written into each commit
	Dir       string          // where checkpoints of the filter live; "" keeps none
	MaxCommit int             // bytes after which a commit takes no more requests; 0 means 1 MiB
	Patience  time.Duration   // how long a request may wait to be judged; 0 means 10 s
	Logger    *slog.Logger    // nil means slog.Default()

	// ObserveCommit, if set, is told of each commit: how long the append took
	// and how many pings it answered for.
	ObserveCommit func(took time.Duration, pings int)

	// CheckpointEvery and CheckpointEntries say how often the filter's state is
	// saved; 0 means 5 minutes and 10 million entries.
	CheckpointEvery   time.Duration
	CheckpointEntries int
}

// Writer judges every ping, in one order, and that order is the log's. Submit
// is safe for concurrent use; everything else happens on Run's goroutine, so
// the filter needs no locks.
//
// One commit is on its way at a time: the writer takes the requests that wait,
// judges them, appends, answers them, and only then looks at the next. Requests
// that arrive meanwhile wait unjudged and make up the next commit, so that its
// size follows the load with no timer.
type Writer struct {
	cfg    WriterConfig
	log    *queue.Log
	filter *dedupe.Filter
	start  time.Time // of the monotonic clock the filter sees

	jobs    chan *Job
	urgent  chan *Job     // looked at first
	stopped chan struct{} // closed when Run returns
	failing atomic.Bool   // between a failed append and the end of the reload
	busy    atomic.Int64  // nanoseconds spent judging and appending

	// What the commit being built holds.
	buf       []byte
	at        int64
	entries   uint32
	totals    queue.Totals
	batch     dedupe.Batch
	taken     []*Job
	counts    PingCounts
	policy    pingline.Policy
	trouble   error        // why nothing can be stored, or nil
	bound     dedupe.Bound // in force
	corrected bool         // the commit has an entry whose time was corrected
	reserve   bool         // the commit may use what the log keeps back
	oldest    int64        // before this time, ms, readers see the same without it
	putOff    *Job         // did not fit the last commit
	lastJob   uint64

	idleMore bool   // held pings are left that have waited long enough
	evicted  uint64 // by filters before the last reload

	checkpoint *checkpointer
	watermark  watermark

	mu    sync.Mutex // guards stats; taken apart from Overload.mu
	stats WriterStats
}

// PingCounts are numbers of pings.
type PingCounts struct {
	Verdicts  [pingline.Verdicts]uint64 // by verdict, as of the end of their request
	Promoted  uint64                    // held by an earlier request, now stored
	Covered   uint64                    // held by an earlier request, now within the bound
	Replayed  uint64                    // refused by the store before, put back into the log
	Lines     uint64                    // points: of the roll-up, and counts of the node itself
	Late      uint64                    // stored out of order
	New       uint64                    // tracks that were not known
	Conflicts uint64                    // another position at an instant already known
}

func (c *PingCounts) add(d *PingCounts) {
	for i := range c.Verdicts {
		c.Verdicts[i] += d.Verdicts[i]
	}
	c.Promoted += d.Promoted
	c.Covered += d.Covered
	c.Replayed += d.Replayed
	c.Lines += d.Lines
	c.Late += d.Late
	c.New += d.New
	c.Conflicts += d.Conflicts
}

// WriterStats says what the writer has done since the start of the process.
type WriterStats struct {
	PingCounts
	Commits uint64
	Holding int           // pings held now
	Riders  int           // tracks the filter knows
	Evicted uint64        // tracks forgotten for lack of room
	Reloads uint64        // times the state was read from the log anew
	Busy    time.Duration // time spent on commits

	FilterBytes int64 // what the filter takes

	// StartHolding and StartTotals are what the log held at the start, plus what
	// a reload found that no answer had counted.
	StartHolding int64
	StartTotals  queue.Totals
	Totals       queue.Totals // as of the last commit
}

// Job is one request's pings, or entries that need no judging, on their way through the writer.
// After Submit returned it may be used again.
type Job struct {
	Pings   []pingline.Ping  // in: valid; their strings are the caller's until Submit returns
	Cells   []uint64         // in: the cell of each
	Entries []pingline.Entry // in: what is not to be judged, of any kind but Judged; it goes behind the pings

	Urgent    bool      // in: goes before all that wait
	Allowance Allowance // in: of new tracks; nil: no limit

	Verdicts []pingline.Verdict // out: one for each ping
	Bound    dedupe.Bound       // out: in force when they were judged
	New      int                // out: tracks that the filter did not know
	Over     []int32            // out: positions of pings shed, as their track was beyond Allowance; in order

	asks   *RiderState // to be filled in behind the pings
	order  timeOrder   // in which they are judged
	queued *Job        // stands for this one in the queue
	id     uint64
	size   int // most bytes its entries can take in a commit
	events int // of those, of pings with events
	state  atomic.Uint32
	done   chan error

	patience *time.Timer // of the last time it was queued; nil before the first
}

// States of a Job: the writer takes what waits, the one who waits withdraws it.
const (
	jobWaiting = iota
	jobTaken
	jobWithdrawn
)

// maxJobPings is how many pings a token can number.
const maxJobPings = 1 << 16

// ErrOnlyEvents is the refusal of all that has no event, when nothing else is taken.
var ErrOnlyEvents = fmt.Errorf("overloaded, only pings with events are taken: %w", ErrUnavailable)

// errWithdrawn is the refusal of a job that the writer did not take in time.
var errWithdrawn = fmt.Errorf("waited too long for the log: %w", ErrUnavailable)

// errStopped is the refusal of a job that the writer will not take any more.
var errStopped = fmt.Errorf("shutting down: %w", ErrUnavailable)

// OpenWriter returns a writer whose filter knows all that the log and the last
// checkpoint tell, so that every bound answered so far still holds.
func OpenWriter(ctx context.Context, cfg WriterConfig) (*Writer, error) {
	cfg.MaxCommit = cmp.Or(cfg.MaxCommit, 1<<20)
	cfg.Patience = cmp.Or(cfg.Patience, 10*time.Second)
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	cfg.CheckpointEvery = cmp.Or(cfg.CheckpointEvery, 5*time.Minute)
	cfg.CheckpointEntries = cmp.Or(cfg.CheckpointEntries, 10_000_000)
	w := &Writer{
		cfg:     cfg,
		log:     cfg.Log,
		start:   time.Now(),
		jobs:    make(chan *Job, 1024),
		urgent:  make(chan *Job, 64),
		stopped: make(chan struct{}),
	}
	w.checkpoint = newCheckpointer(checkpointConfig{cfg.Dir, cfg.CheckpointEvery, cfg.CheckpointEntries, cfg.Logger})
	if err := w.reload(ctx); err != nil {
		return nil, err
	}
	if err := removeUnfinished(cfg.Dir); err != nil {
		cfg.Logger.Warn("half a checkpoint stays where a crash has left it", "error", err)
	}
	return w, nil
}

// Overload returns what decides how much the writer gives up; nil if nothing does.
func (w *Writer) Overload() *Overload { return w.cfg.Overload }

// Submit hands j to the writer and waits until its verdicts are durable, or the
// request is refused with an error wrapping ErrUnavailable or ErrTooLarge.
//
// The writer's queue holds a stand-in for j. When j is withdrawn the stand-in is
// emptied, so that what waits in the queue never keeps memory that its owner
// has given back.
func (w *Writer) Submit(j *Job) error {
	j.Bound = w.boundAt(w.cfg.Overload.Policy())
	j.New, j.Over = 0, j.Over[:0]
	if len(j.Pings)+len(j.Entries) == 0 && j.asks == nil {
		return nil
	}
	if j.queued == nil {
		j.queued = new(Job)
	}
	q := j.queued
	q.Pings, q.Cells, q.Entries, q.Verdicts, q.order, q.asks = j.Pings, j.Cells, j.Entries, j.Verdicts, j.order, j.asks
	q.Allowance, q.New, q.Over = j.Allowance, j.New, j.Over
	if err := w.prepare(q); err != nil {
		return err
	}
	err := w.refusal(q)
	if err == nil {
		err = w.enqueue(q, j.Urgent)
	}
	j.Verdicts, j.order, j.New, j.Over = q.Verdicts, q.order, q.New, q.Over
	if err == nil {
		j.Bound = q.Bound
	}
	q.Pings, q.Cells, q.Entries, q.Verdicts, q.order, q.asks = nil, nil, nil, nil, nil, nil
	q.Allowance, q.Over = nil, nil
	if q.state.Load() == jobWithdrawn {
		j.queued = nil // the writer has yet to pass it over
	}
	return err
}

// Waiting returns how many requests are in the queue, withdrawn ones included.
func (w *Writer) Waiting() int { return len(w.jobs) + len(w.urgent) }

// Memory returns how many bytes j's own lists take, besides Pings and Entries.
func (j *Job) Memory() int64 {
	return int64(8*cap(j.Cells) + 8*cap(j.order) + cap(j.Verdicts) + 4*cap(j.Over))
}

// refusal is the answer to a job while the log has trouble: the commit would not
// stand. A look needs no commit, only a filter.
func (w *Writer) refusal(q *Job) error {
	if cause := w.log.Trouble(); cause != nil && (q.size > 0 || w.failing.Load()) {
		return fmt.Errorf("%w: %w", cause, ErrUnavailable)
	}
	return nil
}

// enqueue returns when the writer is done with q or q is withdrawn.
func (w *Writer) enqueue(q *Job, urgent bool) error {
	jobs := w.jobs
	if urgent {
		jobs = w.urgent
	}
	patience := q.timer(w.cfg.Patience)
	defer patience.Stop()
	select {
	case jobs <- q: // there is room: the select of four is slow
	default:
		select {
		case jobs <- q:
		case <-w.troubled(q):
			return w.refusalNow()
		case <-patience.C:
			return fmt.Errorf("too many requests wait for the log: %w", ErrUnavailable)
		case <-w.stopped:
			return errStopped
		}
	}
	select {
	case err := <-q.done:
		return err
	case <-w.troubled(q):
		if q.state.CompareAndSwap(jobWaiting, jobWithdrawn) {
			return w.refusalNow()
		}
	case <-patience.C:
	case <-w.stopped:
		if q.state.CompareAndSwap(jobWaiting, jobWithdrawn) {
			return errStopped
		}
	}
	if q.state.CompareAndSwap(jobWaiting, jobWithdrawn) {
		return errWithdrawn
	}
	return <-q.done // it is being written: its fate is known within the append's limit
}

// timer returns j's timer, which fires after d.
func (j *Job) timer(d time.Duration) *time.Timer {
	if j.patience == nil {
		j.patience = time.NewTimer(d)
	} else {
		j.patience.Reset(d)
	}
	return j.patience
}

// troubled is closed when q need not wait any longer.
func (w *Writer) troubled(q *Job) <-chan struct{} {
	if q.size == 0 {
		return nil
	}
	return w.log.Troubled()
}

// refusalNow is the answer to those who waited when the trouble began.
func (w *Writer) refusalNow() error {
	if cause := w.log.Trouble(); cause != nil {
		return fmt.Errorf("%w: %w", cause, ErrUnavailable)
	}
	return fmt.Errorf("the log does not answer: %w", ErrUnavailable)
}

func (w *Writer) prepare(j *Job) error {
	j.size, j.events = 0, 0
	for i := range j.Pings {
		n := maxLogged(&j.Pings[i])
		j.size += n
		if j.Pings[i].Event != "" {
			j.events += n
		}
	}
	for i := range j.Entries {
		n, err := sizeOf(&j.Entries[i])
		if err != nil {
			return err
		}
		j.size += maxEntryOverhead + n
	}
	if len(j.Pings) > maxJobPings || j.size > w.log.MaxPayload()-commitSlack {
		return ErrTooLarge
	}
	if j.done == nil {
		j.done = make(chan error, 1)
	}
	j.Verdicts = append(j.Verdicts[:0], make([]pingline.Verdict, len(j.Pings))...)
	j.order = j.order.inTime(j.Pings)
	j.state.Store(jobWaiting)
	return nil
}

// commitSlack is room for a commit's header and the log's own.
const commitSlack = 1024

// maxEntryOverhead bounds the bytes of an entry's kind, shard and length.
const maxEntryOverhead = 1 + 1 + pingline.MaxName + 2

// sizeOf bounds the bytes of an entry that needs no judging, but for its kind and
// shard, or says why it cannot be logged.
func sizeOf(e *pingline.Entry) (int, error) {
	switch {
	case e.Kind == pingline.Judged:
		return 0, errors.New("a ping goes to the log by way of the filter")
	case len(e.To) > pingline.MaxName:
		return 0, fmt.Errorf("shard %.32q: a name of %d bytes, more than %d", e.To, len(e.To), pingline.MaxName)
	case e.Point != nil:
		return e.Point.Size(), e.Point.Validate()
	case e.Kind == pingline.Replayed && e.Line == "":
		return pingline.MaxEntrySize, e.Ping.Validate()
	}
	if n := len(e.Line); n == 0 || n > pingline.MaxReadyLine {
		return 0, fmt.Errorf("a ready line of %d bytes, not in [1, %d]", n, pingline.MaxReadyLine)
	}
	return len(e.Line), nil
}

// maxLogged bounds the bytes that judging p can add to a commit: itself, what
// is held in the two states of its track, or a ping of a track it displaces.
func maxLogged(p *pingline.Ping) int {
	const fixed = pingline.MaxEntrySize - 3*pingline.MaxID - pingline.MaxEvent
	names := len(p.Rider) + len(p.Device)
	held, displaced := 2*(fixed+names+pingline.MaxID), fixed+3*pingline.MaxID
	return fixed + names + len(p.Trip) + len(p.Event) + max(held, displaced)
}

// idleEvery is how often held pings are looked at, and how far a checkpoint may
// lag behind when no requests come.
const idleEvery = time.Second

// Run judges and appends until ctx is cancelled; then it stores what is held,
// saves the filter's state and returns nil. Stop whatever submits before.
//
// Between a failed append and the end of the reload there is no filter: the old
// one has judged a commit that may not stand. If Run ends there, nothing more is
// judged, stored or saved, and what is held stays in the log for the next start.
func (w *Writer) Run(ctx context.Context) error {
	defer close(w.stopped)
	idle := time.NewTicker(idleEvery)
	defer idle.Stop()
	for {
		job, flush, stop := w.wait(ctx, idle.C)
		if stop {
			return w.shutdown(context.WithoutCancel(ctx))
		}
		began := time.Now()
		err := w.commit(ctx, job, flush)
		if err != nil {
			err = w.recover(ctx, err)
		}
		w.busy.Add(int64(time.Since(began)))
		if err != nil {
			return w.giveUp(ctx, err)
		}
	}
}

// wait returns when there is something to do: ctx to obey before all, a job, held
// pings to look at, or a piece of a checkpoint to take.
func (w *Writer) wait(ctx context.Context, idle <-chan time.Time) (job *Job, flush, stop bool) {
	if ctx.Err() != nil {
		return nil, false, true
	}
	if w.putOff != nil {
		return w.nextJob(), false, false
	}
	if w.idleMore {
		return w.nextJob(), true, false
	}
	var piece <-chan time.Time
	if w.checkpoint.active() {
		piece = time.After(time.Millisecond)
	}
	select {
	case job = <-w.urgent:
	case job = <-w.jobs:
	case <-idle:
		flush = true
	case <-piece:
	case <-ctx.Done():
		stop = true
	}
	return job, flush, stop
}

// commit judges job and all that wait behind it, appends their entries, and
// answers them. An error means that the fate of the append is unclear.
func (w *Writer) commit(ctx context.Context, job *Job, flush bool) error {
	w.begin()
	if flush { // first: requests take the room that is left, and never all of it
		if w.idleMore = false; w.trouble == nil {
			w.mistrust()
			w.flush()
		}
		if w.cfg.Written != nil {
			w.watermark.advance(w.cfg.Written())
		}
	}
	for ; job != nil; job = w.nextJob() {
		if job.state.Load() == jobWithdrawn {
			continue
		}
		if w.entries > 0 && len(w.buf)+job.size > w.log.MaxPayload()-commitSlack {
			w.putOff = job // still waiting: it can be withdrawn
			break
		}
		only, err := w.admit(job)
		if !job.state.CompareAndSwap(jobWaiting, jobTaken) {
			continue
		}
		if err != nil {
			job.done <- err
			continue
		}
		w.judge(job, only)
		if len(w.buf) >= w.cfg.MaxCommit {
			break
		}
	}
	if err := w.append(ctx, w.reserve); err != nil {
		return err
	}
	w.answer(nil)
	w.checkpoint.step(w.filter, w.log, int(w.entries))
	return nil
}

// nextJob returns a job that waits, the one put off first, then an urgent one, or
// nil.
func (w *Writer) nextJob() *Job {
	if job := w.putOff; job != nil {
		w.putOff = nil
		return job
	}
	select {
	case j := <-w.urgent:
		return j
	default:
	}
	select {
	case j := <-w.jobs:
		return j
	default:
		return nil
	}
}

func (w *Writer) now() time.Duration { return time.Since(w.start) }

// admit decides whether job is taken, and whether only its events are.
func (w *Writer) admit(job *Job) (onlyEvents bool, err error) {
	switch size := int64(len(w.buf) + job.size); {
	case job.size > 0 && w.trouble != nil:
		return false, fmt.Errorf("%w: %w", w.trouble, ErrUnavailable)
	case job.size == 0, !w.policy.OnlyEvents && size <= w.log.Room():
		return false, nil
	case job.events == 0 && w.policy.OnlyEvents:
		return false, ErrOnlyEvents
	case job.events == 0 || int64(len(w.buf)+job.events) > w.spare()-w.log.Limit()/100: // flushes have the last of it
		return false, fmt.Errorf("the log is full: %w", ErrUnavailable)
	}
	w.reserve = true
	return true, nil
}

// spare returns how many bytes the log could take with its reserve.
func (w *Writer) spare() int64 { return w.log.Limit() - w.log.Bytes() - commitSlack }

// flush stores pings that were held for long enough; they may use the reserve.
// Where there is no room even there, they stay held in the log.
func (w *Writer) flush() {
	most := min(w.flushMost(), int((w.spare()-int64(len(w.buf)))/pingline.MaxEntrySize)-2) // Idle may go beyond
	if most <= 0 {
		w.idleMore = false
		return
	}
	w.reserve = true
	w.filter.Clock(w.at)
	w.idleMore = w.filter.Idle(&w.batch, w.now(), most)
	w.logBatch(0, nil)
}

// boundAt returns the bound in force under a policy. A MaxError of 0 stays 0 at every
// level.
func (w *Writer) boundAt(p pingline.Policy) dedupe.Bound {
	b := w.cfg.Bound
	b.MaxError *= p.Widen
	return b
}

// begin opens a commit. The policy is taken once: a commit has one bound.
func (w *Writer) begin() {
	w.policy, w.reserve, w.corrected = w.cfg.Overload.Policy(), false, false
	w.trouble = w.log.Check()
	w.bound = w.boundAt(w.policy)
	w.at = time.Now().UnixMilli()
	w.buf = pingline.AppendCommitHeader(w.buf[:0], &pingline.CommitHeader{
		Node:        w.cfg.Node,
		At:          w.at,
		MaxError:    float32(w.bound.MaxError),
		AccuracyCap: float32(w.bound.AccuracyCap),
	})
	w.entries, w.counts, w.oldest = 0, PingCounts{}, math.MaxInt64
	w.totals = w.log.LastTotals()
	clear(w.taken)
	w.taken = w.taken[:0]
}
