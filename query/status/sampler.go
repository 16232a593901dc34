package status

import (
	"context"
	"math"
	"sync"
	"time"

	"pingline"
)

// Step is the length of a step of the history.
const Step = 5 * time.Second

const (
	steps   = 120         // of the history
	shareOf = time.Second // in which all who ask get the same answer
)

// State is a node at a moment. Its counts begin at the start of the process.
type State struct {
	Received uint64 // pings of requests that were answered verdict by verdict
	Valid    uint64 // of those, the pings that were not rejected
	Kept     uint64 // of those, the pings that are stored, or on their way
	Shed     uint64 // pings
	Stored   uint64 // pings that stores took

	Queued   uint64        // pings that wait for their store
	QueueAge time.Duration // of the oldest of the slowest lane
	LogBytes int64         // size of the log
	LogMost  int64         // its limit
	Riders   int64
	Streams  int
	Level    int
	Breakers []ShardBreaker
	Unready  string // why no pings are taken, or ""

	LevelReason string // "" at level 0

	Reshard []ShardChange // changes of shards that go on
}

// Config sets up a Sampler. State and Freshness are required.
type Config struct {
	State func() State
	// Freshness returns quantiles of the age, in seconds, of the pings stored since it was
	// called last; NaN if there were none. Nobody else calls it.
	Freshness func() (p50, p99 float64)
	Version   string           // of the program
	Now       func() time.Time // the node's clock, which may be set; nil means time.Now
}

// Sampler keeps what a node does, step by step, for ten minutes. Its memory is that of 120
// Values, and of an answer. It is safe for concurrent use.
type Sampler struct {
	cfg Config

	mu     sync.Mutex // guards the fields below; State and Freshness are called under it
	began  time.Time  // start of step 1, for its monotonic clock; zero before Run
	done   int64      // number of the step that ended last
	end    int64      // when it ended, ms since 1970 by the node's clock
	read   time.Time  // when before was read
	before State
	ring   [steps]Values // oldest first, the newest at the end; NaN throughout for a step without a reading
	filled int           // steps in ring

	body []byte
	made time.Time
}

// New returns a Sampler without a history; Run fills it.
func New(cfg Config) *Sampler {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Sampler{cfg: cfg}
}

// Run reads the node at the end of each step, until ctx is cancelled, and returns nil.
func (s *Sampler) Run(ctx context.Context) error {
	s.begin()
	tick := time.NewTicker(Step)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.sample()
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *Sampler) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = s.cfg.State()
	s.began = time.Now()
	s.read, s.end = s.began, s.cfg.Now().UnixMilli()
	s.cfg.Freshness() // of pings before the first step
}

// sample takes the values of the step that has just ended. Steps that nobody read, since
// the process stood still or the clock was set ahead, have none. After a clock was set back,
// the steps before keep their distance from now.
func (s *Sampler) sample() {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := s.cfg.State()
	now, clock := time.Now(), s.cfg.Now() // after State, which may have had to wait
	number := int64(now.Sub(s.began) / Step)
	since := number - s.done
	if since <= 0 {
		return
	}
	late := now.Sub(s.began) % Step
	end := clock.Add(-late).UnixMilli()
	jump := time.Duration(end-s.end)*time.Millisecond - time.Duration(since)*Step
	took := now.Sub(s.read)
	v := s.values(&state, took)
	if took < Step/2 || took > Step*3/2 || jump.Abs() > Step/2 {
		for q := range Queued { // rates and times
			v[q] = math.NaN()
		}
	}
	missed := since - 1
	if jump > Step/2 {
		missed += int64((jump + Step/2) / Step)
	}
	for range min(missed, steps) {
		s.push(unknown())
	}
	s.push(v)
	s.done, s.end, s.read, s.before = number, end, now, state
}

func (s *Sampler) push(v Values) {
	copy(s.ring[:], s.ring[1:])
	s.ring[steps-1] = v
	s.filled = min(s.filled+1, steps)
}

// values returns the values of a step that took that long, of which state is the end.
func (s *Sampler) values(state *State, took time.Duration) Values {
	v, was := state.values(), &s.before
	per := func(q Quantity, now, was uint64) {
		if now >= was {
			v[q] = float64(now-was) / took.Seconds()
		}
	}
	per(Received, state.Received, was.Received)
	per(Stored, state.Stored, was.Stored)
	per(Shed, state.Shed, was.Shed)
	if state.Valid > was.Valid && state.Kept >= was.Kept {
		v[Kept] = min(float64(state.Kept-was.Kept)/float64(state.Valid-was.Valid), 1)
	}
	v[FreshnessP50], v[FreshnessP99] = s.cfg.Freshness()
	return v
}

// values returns the values that do not need an earlier state.
func (s *State) values() Values {
	v := unknown()
	v[Queued] = float64(s.Queued)
	if s.Queued > 0 { // a lane may not have looked yet at a commit without pings for it
		v[QueueAge] = s.QueueAge.Seconds()
	}
	v[Riders], v[Streams], v[Level] = float64(s.Riders), float64(s.Streams), float64(s.Level)
	v[BreakersOpen] = 0
	for i := range s.Breakers {
		if s.Breakers[i].State != Closed {
			v[BreakersOpen]++
		}
	}
	return v
}

// Closed is the state of the breaker of a shard that takes writes.
const Closed = "closed"

// JSON returns the answer to a request, which the caller does not change. It is made once a
// second at most, for all who ask.
func (s *Sampler) JSON() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.body != nil && now.Sub(s.made) < shareOf {
		return s.body, nil
	}
	body, err := s.answer(now).text()
	if err != nil {
		return nil, err
	}
	s.body, s.made = body, now
	return body, nil
}

// answer returns the answer of now. The caller holds mu.
func (s *Sampler) answer(now time.Time) *Answer {
	state := s.cfg.State()
	policy := pingline.PolicyAt(state.Level)
	a := &Answer{
		At: s.cfg.Now().UnixMilli(), Version: s.cfg.Version,
		Ready: state.Unready == "", Reason: state.Unready,
		Level: state.Level, LevelName: policy.Name, LevelReason: state.LevelReason, GivingUp: policy.GivingUp(),
		Breakers: state.Breakers, Now: state.values(), StepS: int(Step / time.Second),
		Reshard: state.Reshard,
	}
	if a.Breakers == nil {
		a.Breakers = []ShardBreaker{}
	}
	list := s.ring[steps-s.filled:]
	ended := a.At // the newest step, by the clock of now
	if !s.began.IsZero() {
		since := now.Sub(s.began) - time.Duration(s.done)*Step
		ended -= since.Milliseconds()
		if len(list) > 0 && since < 2*Step {
			copy(a.Now[:Queued], list[len(list)-1][:Queued])
		}
	}
	a.From = ended - int64(max(len(list)-1, 0))*Step.Milliseconds()
	for q := range a.History {
		a.History[q] = make([]float64, len(list))
		for i := range list {
			a.History[q][i] = list[i][q]
		}
	}
	return a
}
