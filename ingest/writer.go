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
	"pingline/dedupe/carried"
	"pingline/dedupe/intime"
	"pingline/internal/statefile"
	"pingline/internal/watermark"
	"pingline/partition"
	"pingline/queue"
)

// ErrUnavailable is wrapped by the refusal of a request that left nothing behind and
// should be sent again: the log is full, or its disk is failing or slower than
// Patience.
var ErrUnavailable = errors.New("not stored, send again")

// ErrTooLarge is the refusal of a request that no commit can hold.
var ErrTooLarge = errors.New("request is too large for one commit: send it in parts")

// WriterConfig sets up a Writer. Log is required.
type WriterConfig struct {
	Log       *queue.Log
	Filter    dedupe.Config
	Bound     dedupe.Bound    // bound of every ping at level 0
	Overload  *Overload       // decides how much is given up; nil: always nothing
	Keys      *partition.Keys // choose sub-keys; nil: every sub-key is 0
	Written   func() uint64   // number of the first commit that the stores which are read may lack a part of; nil: not known
	Behind    func() uint64   // the least of Written for all stores, of which any may be read; nil: Written
	Past      *Past           // state that was read along while another node had the log; nil: it is read from a checkpoint
	Node      string          // written into each commit
	Dir       string          // directory of the filter's checkpoints; "" keeps none
	MaxCommit int             // bytes after which a commit takes no more requests; 0 means 1 MiB
	Patience  time.Duration   // longest time for which a request waits to be judged; 0 means 10 s
	Logger    *slog.Logger    // nil means slog.Default()

	// Erasures, if set, returns the erasures of riders that the log or a checkpoint may
	// still have pings of: see Erase.
	Erasures func() []Erasure

	// ObserveCommit, if set, is called for each commit, with the time that the append
	// took and the number of pings that are answered with it.
	ObserveCommit func(took time.Duration, pings int)

	// CheckpointEvery and CheckpointEntries are the time and the number of entries
	// after which the filter's state is saved; 0 means 5 minutes and 10 million entries.
	CheckpointEvery   time.Duration
	CheckpointEntries int
}

// Writer judges every ping, in the order of the log. Submit is safe for concurrent use;
// the pings are judged on Run's goroutine, so the filter needs no locks.
//
// A single commit is on its way at a time: the writer takes the requests that wait,
// judges them, appends, answers them, and only then takes the next. Requests that
// arrive meanwhile wait unjudged and make up the next commit, so that the size of a
// commit follows the load without a timer.
type Writer struct {
	cfg    WriterConfig
	log    *queue.Log
	filter *dedupe.Filter
	start  time.Time // of the monotonic clock the filter sees

	waiting *waiting
	failing atomic.Bool  // between a failed append and the end of the reload
	busy    atomic.Int64 // ns spent on judging and appending

	// The commit being built.
	buf     []byte
	at      int64
	entries uint32
	totals  queue.Totals
	batch   dedupe.Batch
	taken   []*Job
	counts  PingCounts
	policy  pingline.Policy
	trouble error        // why nothing can be stored, or nil
	bound   dedupe.Bound // bound in force
	form    pingline.CommitForm
	reserve bool  // the commit may use the log's reserve
	oldest  int64 // before this time, ms, readers see the same without it
	putOff  bool  // a job did not fit into the last commit
	lastJob uint64

	filters  uint64 // filters made so far
	idleMore bool   // held pings are left that have waited long enough
	evicted  uint64 // tracks evicted by filters before the last reload

	checkpoint *checkpointer
	keepsHeld  atomic.Bool // at the end: see KeepHeld
	fetched    bool        // checkpoints that lie beside the log on servers are in cfg.Dir
	watermark  watermark.Earliest

	mu    sync.Mutex // guards stats; never taken together with Overload.mu
	stats WriterStats
}

// PingCounts are numbers of pings.
type PingCounts struct {
	Verdicts  [pingline.Verdicts]uint64 // pings by verdict, as of the end of their request
	Promoted  uint64                    // held by an earlier request, now stored
	Covered   uint64                    // held by an earlier request, now within the bound
	Replayed  uint64                    // refused by the store before, put back into the log
	Lines     uint64                    // points: of the roll-up, and counts of the node itself
	Late      uint64                    // stored out of order
	New       uint64                    // tracks that the filter did not know
	Conflicts uint64                    // pings stored with another position at an instant already known
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

// WriterStats are the writer's counts since the start of the process.
type WriterStats struct {
	PingCounts
	Commits uint64
	Holding int           // pings held now
	Riders  int           // tracks the filter knows
	Evicted uint64        // tracks forgotten for lack of room
	Reloads uint64        // times the state was read from the log anew
	Busy    time.Duration // time spent on commits

	FilterBytes int64 // memory of the filter, bytes

	// StartHolding and StartTotals are the counts of the log at the start, plus the
	// entries that a reload found and no answer had counted.
	StartHolding int64
	StartTotals  queue.Totals
	Totals       queue.Totals // as of the last commit
}

// Job holds a request's pings, or entries that need no judging, on their way through the
// writer. After Submit returned it may be used again.
type Job struct {
	Pings   []pingline.Ping  // in: valid; their strings are the caller's until Submit returns
	Cells   []uint64         // in: the cell of each
	Entries []pingline.Entry // in: entries that need no judging, of any kind but Judged; logged behind the pings

	Urgent    bool          // in: taken before all jobs that wait
	Allowance Allowance     // in: limits new tracks; nil: no limit
	Patience  time.Duration // in: longest time for which it waits to be judged; 0: as WriterConfig has it
	Partial   bool          // in: where several nodes judge the pings, those of a node that is away may be left out

	Verdicts []pingline.Verdict // out: the verdict of each ping; 0: left out
	Away     error              // out: why pings were left out; nil: none was
	Bound    dedupe.Bound       // out: the bound in force when the pings were judged
	New      int                // out: number of tracks that the filter did not know
	Over     []int32            // out: positions, in order, of pings shed because their track was beyond Allowance

	asks   question         // answered when the pings are judged
	order  intime.TimeOrder // order in which the pings are judged
	id     uint64
	size   int        // most bytes that its entries can take in a commit
	held   int        // most bytes of attributes of pings held before that it can take besides
	events int        // most bytes that its pings with events can take
	until  time.Time  // when it runs out of patience
	done   chan error // takes the answer to a job that waits or was taken
}

// maxJobPings is the most pings of a job that a token can number.
const maxJobPings = 1 << 16

// ErrOnlyEvents is the refusal of a request without events when only events are taken.
var ErrOnlyEvents = fmt.Errorf("overloaded, only pings with events are taken: %w", ErrUnavailable)

// OpenWriter returns a writer whose filter has the state of the last checkpoint and the
// log behind it, so that the bound of every answered ping still holds.
func OpenWriter(ctx context.Context, cfg WriterConfig) (*Writer, error) {
	cfg.MaxCommit = cmp.Or(cfg.MaxCommit, 1<<20)
	cfg.Patience = cmp.Or(cfg.Patience, 10*time.Second)
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	cfg.CheckpointEvery = cmp.Or(cfg.CheckpointEvery, 5*time.Minute)
	cfg.CheckpointEntries = cmp.Or(cfg.CheckpointEntries, 10_000_000)
	if cfg.Behind == nil {
		cfg.Behind = cfg.Written
	}
	w := &Writer{
		cfg:     cfg,
		log:     cfg.Log,
		start:   time.Now(),
		waiting: newWaiting(cfg.Patience),
	}
	w.checkpoint = newCheckpointer(checkpointConfig{cfg.Dir, cfg.CheckpointEvery, cfg.CheckpointEntries, cfg.Logger})
	if err := w.reload(ctx); err != nil {
		return nil, err
	}
	if err := statefile.RemoveUnfinished(cfg.Dir); err != nil {
		cfg.Logger.Warn("unfinished checkpoint of an earlier crash could not be removed", "error", err)
	}
	return w, nil
}

// Overload returns the Overload of the writer's configuration, or nil.
func (w *Writer) Overload() *Overload { return w.cfg.Overload }

// Submit hands j to the writer and waits until its verdicts are durable, or the
// request is refused with an error wrapping ErrUnavailable or ErrTooLarge.
func (w *Writer) Submit(j *Job) error {
	bound := w.boundAt(w.cfg.Overload.Policy())
	j.Bound, j.New, j.Over = bound, 0, j.Over[:0]
	if len(j.Pings)+len(j.Entries) == 0 && j.asks == nil {
		return nil
	}
	if err := w.prepare(j); err != nil {
		return err
	}
	if err := w.waiting.add(j, w.refusal); err != nil {
		return err
	}
	err := <-j.done
	if err != nil {
		j.Bound = bound
	}
	return err
}

// Waiting returns how many requests wait for the writer.
func (w *Writer) Waiting() int { return w.waiting.len() }

// Memory returns the bytes of j's lists other than Pings and Entries.
func (j *Job) Memory() int64 {
	return int64(8*cap(j.Cells) + 8*cap(j.order) + cap(j.Verdicts) + 4*cap(j.Over))
}

// Watches reports whether a ping may be kept because an attribute changed.
func (w *Writer) Watches(p pingline.Ping) bool { return carried.Watches(w.cfg.Filter.Keep, p.Attrs) }

// refusal is the answer to a job while the log has trouble. A job that only asks for a
// RiderState is not refused as long as there is a filter, because it needs no commit.
func (w *Writer) refusal(q *Job) error {
	if cause := w.log.Trouble(); cause != nil && (q.size > 0 || w.failing.Load()) {
		return fmt.Errorf("%w: %w", cause, ErrUnavailable)
	}
	return nil
}

// withdraw refuses the jobs that wait when the log begins to have trouble, until done.
func (w *Writer) withdraw(done <-chan struct{}) {
	for {
		select {
		case <-w.log.Troubled(): // it stays closed while the trouble lasts
			w.waiting.withdraw(w.refusal)
		case <-done:
			return
		}
		select {
		case <-time.After(troublePoll):
		case <-done:
			return
		}
	}
}

// troublePoll is the time between two looks at a log in trouble.
const troublePoll = 50 * time.Millisecond

// refusalNow is the answer to jobs that waited when the trouble began.
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
		if p := &j.Pings[i]; p.Event != "" || p.Attrs != "" && w.Watches(*p) {
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
	j.order = j.order.InTime(j.Pings)
	return nil
}

// commitSlack is room, in bytes, for a commit's header and the log's own header.
const commitSlack = 1024

// maxEntryOverhead bounds the bytes of an entry's kind, shard and length.
const maxEntryOverhead = 1 + 1 + pingline.MaxName + 2

// sizeOf bounds the bytes of an entry that needs no judging, without its kind and
// shard, or returns why it cannot be logged.
func sizeOf(e *pingline.Entry) (int, error) {
	switch {
	case e.Kind == pingline.Judged:
		return 0, errors.New("a ping goes to the log by way of the filter")
	case len(e.To) > pingline.MaxName:
		return 0, fmt.Errorf("shard %.32q: a name of %d bytes, more than %d", e.To, len(e.To), pingline.MaxName)
	case e.Point != nil:
		return e.Point.Size(), e.Point.Validate()
	case e.Kind == pingline.Replayed && e.Line == "":
		return pingline.MaxEntrySize + 2 + len(e.Attrs), e.Ping.Validate()
	}
	if n := len(e.Line); n == 0 || n > pingline.MaxReadyLine {
		return 0, fmt.Errorf("a ready line of %d bytes, not in [1, %d]", n, pingline.MaxReadyLine)
	}
	return len(e.Line), nil
}

// maxLogged bounds the bytes that judging p can add to a commit: p itself, and either
// the two pings that its track can hold, or a ping of a track that it displaces, without
// the attributes that these have.
func maxLogged(p *pingline.Ping) int {
	const fixed = pingline.MaxEntrySize - 3*pingline.MaxID - pingline.MaxEvent
	names := len(p.Rider) + len(p.Device)
	held, displaced := 2*(fixed+names+pingline.MaxID), fixed+3*pingline.MaxID
	return fixed + names + len(p.Trip) + len(p.Event) + 2*(2+len(p.Attrs)) + max(held, displaced)
}

// idleEvery is the time between two looks at held pings, and the longest delay of a
// checkpoint when no requests come.
const idleEvery = time.Second

// Run judges and appends until ctx is cancelled; then it stores the held pings, saves
// the filter's state and returns nil. Stop all callers of Submit before.
//
// Between a failed append and the end of the reload there is no filter, because the
// old filter has judged a commit that may be lost. If Run ends there, nothing more is
// judged, stored or saved, and held pings stay in the log for the next start.
func (w *Writer) Run(ctx context.Context) error {
	done := make(chan struct{})
	go w.withdraw(done)
	defer close(done)
	defer w.waiting.stop()
	idle := time.NewTicker(idleEvery)
	defer idle.Stop()
	for {
		flush, stop := w.wait(ctx, idle.C)
		if stop {
			return w.shutdown(context.WithoutCancel(ctx))
		}
		began := time.Now()
		err := w.commit(ctx, flush)
		if err != nil {
			err = w.recover(ctx, err)
		}
		w.busy.Add(int64(time.Since(began)))
		if err != nil {
			return w.giveUp(ctx, err)
		}
	}
}

// wait returns when ctx is cancelled, which comes before all else, or when there is a
// job, held pings to look at (flush), or a piece of a checkpoint to take.
func (w *Writer) wait(ctx context.Context, idle <-chan time.Time) (flush, stop bool) {
	if ctx.Err() != nil {
		return false, true
	}
	if w.putOff { // it goes before a flush, which could fill the next commit, too
		return false, false
	}
	select {
	case <-idle:
		return true, false
	default:
	}
	if w.idleMore || w.waiting.len() > 0 {
		return w.idleMore, false
	}
	var piece <-chan time.Time
	if w.checkpoint.active() {
		piece = time.After(time.Millisecond)
	}
	select {
	case <-w.waiting.came:
	case <-idle:
		flush = true
	case <-piece:
	case <-ctx.Done():
		stop = true
	}
	return flush, stop
}

// commit judges the jobs that wait, appends their entries, and answers them. An error
// means that the fate of the append is unclear.
func (w *Writer) commit(ctx context.Context, flush bool) error {
	w.begin()
	if flush { // before the requests, which take the room that is left, and never all of it
		if w.idleMore = false; w.trouble == nil {
			w.mistrust()
			w.flush()
		}
		if w.cfg.Written != nil {
			w.watermark.Advance(w.cfg.Written(), w.cfg.Behind())
		}
	}
	for {
		room := math.MaxInt
		if w.entries > 0 {
			room = w.log.MaxPayload() - commitSlack - len(w.buf)
		}
		job, putOff := w.waiting.next(room, w.filter.HeldAttrs)
		if w.putOff = putOff; job == nil {
			break
		}
		only, err := w.admit(job)
		if err != nil {
			job.done <- err
			continue
		}
		w.judge(job, only)
		if len(w.buf) >= w.cfg.MaxCommit || job.closes() {
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

func (w *Writer) now() time.Duration { return time.Since(w.start) }

// admit decides whether job is taken, and whether only its pings with events are.
func (w *Writer) admit(job *Job) (onlyEvents bool, err error) {
	switch size := int64(len(w.buf) + job.size + job.held); {
	case job.size+job.held > w.log.MaxPayload()-commitSlack:
		return false, ErrTooLarge
	case job.size > 0 && w.trouble != nil:
		return false, fmt.Errorf("%w: %w", w.trouble, ErrUnavailable)
	case job.size == 0, !w.policy.OnlyEvents && size <= w.log.Room():
		return false, nil
	case job.events == 0 && w.policy.OnlyEvents:
		return false, ErrOnlyEvents
	case job.events == 0 || int64(len(w.buf)+job.events+job.held) > w.spare()-w.log.Limit()/100: // the last hundredth is for flushes
		return false, fmt.Errorf("the log is full: %w", ErrUnavailable)
	}
	w.reserve = true
	return true, nil
}

// spare returns the bytes that the log could take with its reserve.
func (w *Writer) spare() int64 { return w.log.Limit() - w.log.Bytes() - commitSlack }

// flush stores pings that were held for long enough; they may use the log's reserve.
// Without room even in the reserve they stay held in the log.
func (w *Writer) flush() {
	most := min(w.flushMost(), int(w.spare()-int64(len(w.buf)))/w.maxHeld()-2) // Idle may exceed its limit a little
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

// begin opens a commit. The policy is read once, because a commit has a single bound.
func (w *Writer) begin() {
	w.policy, w.reserve, w.form = w.cfg.Overload.Policy(), false, 0
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
