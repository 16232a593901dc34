package ingest

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"

	"pingline"
	"pingline/queue"
)

// OverloadConfig sets up an Overload. Log is required.
type OverloadConfig struct {
	Log      *queue.Log
	Signals  func() Signals // nil: nobody reads the log
	MaxError float64        // of dropped pings, as configured, metres: advice may be to raise it
	Hold     time.Duration  // time for which a lower level must be enough before a level is left; 0 means 30 s
	Logger   *slog.Logger   // nil means slog.Default()
}

// Signals are reports of the readers of the log. A shard that gets only the node's own
// rows does not count, because shedding pings would not help it.
type Signals struct {
	Waiting int64  // bytes of the log that a reader has not passed
	Written uint64 // pings that have left the log, in all
	Open    bool   // a shard of pings takes nothing: its breaker is not closed, or it refuses all
	Shards  int    // number of shards that get pings
}

// Overload decides how much is given up, by how full the log is and will soon be, by
// open breakers and by the memory in use. It is safe for concurrent use; a nil
// Overload stays at level 0.
type Overload struct {
	cfg   OverloadConfig
	level atomic.Int32
	tight atomic.Bool // memory is the reason for the level

	reading func() int64 // bytes that reads take, which are no reason to refuse pings; nil: there are no reads

	mu     sync.Mutex // guards the fields below; never taken together with Writer.mu
	ladder ladder
	flow   flow
	opened time.Time // time since which Signals.Open is set; zero if it is not
	advice string
	said   time.Time // time at which advice was logged last
}

// NewOverload returns an Overload at level 0; Run keeps it up to date.
func NewOverload(cfg OverloadConfig) *Overload {
	cfg.Hold = cmp.Or(cfg.Hold, 30*time.Second)
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	if cfg.Signals == nil {
		cfg.Signals = func() Signals { return Signals{} }
	}
	return &Overload{cfg: cfg, ladder: ladder{hold: cfg.Hold}, flow: flow{full: never}}
}

// lookEvery is short against the time in which a burst fills a small log.
const lookEvery = 200 * time.Millisecond

// Run looks at the load until ctx is cancelled, and returns nil.
func (o *Overload) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		o.look(time.Now())
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// LeaveOut sets a function whose bytes, taken by reads, do not count as memory in use.
// Call it before Run.
func (o *Overload) LeaveOut(reading func() int64) {
	if o != nil {
		o.reading = reading
	}
}

// Level returns the shed level, 0 to 4.
func (o *Overload) Level() int {
	if o == nil {
		return 0
	}
	return int(o.level.Load())
}

// Force sets the level, whether memory is short, and the reason, until Run looks at
// the load again. Drills and tests use it; without Run the level stays.
func (o *Overload) Force(level int, tight bool, reason string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ladder.level, o.ladder.reason = level, reason
	o.level.Store(int32(level))
	o.tight.Store(tight)
}

// Reason returns why the level is as it is, "" if it has been 0 throughout.
func (o *Overload) Reason() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ladder.reason
}

// Policy returns the policy of the level.
func (o *Overload) Policy() pingline.Policy { return pingline.PolicyAt(o.Level()) }

// Tight reports whether memory is short, so that not even a body is to be read.
func (o *Overload) Tight() bool { return o != nil && o.tight.Load() }

// Notes returns sentences that an operator must read: the level and its reason, and the
// remedy if the overload will not end by itself.
func (o *Overload) Notes() []string {
	if o == nil {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	var notes []string
	if o.ladder.level > 0 {
		notes = append(notes, fmt.Sprintf("level %d: %s", o.ladder.level, o.ladder.reason))
	}
	if o.advice != "" {
		notes = append(notes, o.advice)
	}
	return notes
}

// Full returns the time until the log is full at this rate, and false if it is not
// filling up.
func (o *Overload) Full() (time.Duration, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.flow.full, o.flow.full < never
}

// someRoom is the room, in bytes, that a request of a few pings may need: a log with
// less room counts as full.
const someRoom = 64 << 10

// look brings the level up to date.
func (o *Overload) look(now time.Time) {
	log, s := o.cfg.Log, o.cfg.Signals()
	bytes, limit := log.Bytes(), log.Limit()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.flow.update(now, log.LastTotals()[pingline.TotalStored], s.Written, s.Waiting, max(limit-bytes, 0))
	switch {
	case !s.Open:
		o.opened = time.Time{}
	case o.opened.IsZero():
		o.opened = now
	}
	l := load{fill: float64(bytes) / float64(limit), full: o.flow.full, memory: o.memory()}
	if log.Room() < someRoom {
		l.fill = max(l.fill, pingline.PolicyAt(pingline.MaxLevel).Fill)
	}
	if !o.opened.IsZero() {
		l.breaker = now.Sub(o.opened)
	}
	was := o.ladder.level
	level := o.ladder.update(now, &l)
	o.level.Store(int32(level))
	mark := pingline.PolicyAt(level).Memory
	o.tight.Store(mark > 0 && l.memory >= mark-ease)
	o.advice = ""
	if log.Trouble() == nil { // else the log takes nothing, and the remedy is to mend it
		o.advice = o.flow.advice(now, level, s.Shards, o.cfg.MaxError)
	}
	o.report(now, was)
}

// reportEvery is how often a lasting overload is logged.
const reportEvery = time.Minute

// report logs each change of the level, and advice once a minute.
func (o *Overload) report(now time.Time, was int) {
	log, level := o.cfg.Logger, o.ladder.level
	switch {
	case level > was:
		log.Warn("overload: giving up more", "level", level, "was", was, "reason", o.ladder.reason)
	case level < was && level == 0:
		log.Info("overload is over: nothing is given up any more", "level", level, "was", was)
	case level < was:
		log.Info("overload: giving up less", "level", level, "was", was, "reason", o.ladder.reason)
	}
	if o.advice != "" && now.Sub(o.said) >= reportEvery {
		o.said = now
		log.Warn("more pings come in than the stores take", "advice", o.advice)
	}
}

// memory returns the part of the memory limit in use, without the memory of reads,
// which has a limit of its own.
func (o *Overload) memory() float64 {
	used, limit := memoryInUse()
	if limit == math.MaxInt64 {
		return 0
	}
	if o.reading != nil {
		used -= min(used, o.reading())
	}
	return float64(used) / float64(limit)
}

// memoryInUse returns the memory that would be in use right after a garbage collection,
// and the limit, in bytes. Garbage does not count, because near the limit the collector
// frees it.
func memoryInUse() (used, limit int64) {
	limit = debug.SetMemoryLimit(-1) // returns the limit and keeps it
	if limit == math.MaxInt64 {
		return 0, limit
	}
	s := [...]metrics.Sample{
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/gc/heap/live:bytes"},
	}
	metrics.Read(s[:])
	all := s[0].Value.Uint64()
	for _, free := range s[1:5] {
		all -= min(all, free.Value.Uint64())
	}
	return int64(all + s[5].Value.Uint64()), limit
}
