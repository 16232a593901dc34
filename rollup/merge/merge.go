// Package merge adds up the totals of the roll-ups of several parts of the riders: of each cell
// and window one row, in which each ping counts once.
//
// A part publishes its totals in a feed, the newest in place of those before. The Merger keeps the
// newest of each part, and writes their sums: once all parts have a window or do not come in time,
// and again when a total, or the number of parts, has changed. A row says how many parts are in
// it. Sums are of whole numbers, so that they equal those of a single node which had all pings.
//
// Publications may come twice, late or in any order, and of a process that does not know yet that
// its part is another's: the one which had counted more of the part's log counts. A Merger that
// starts reads the feed again from the first window that is not final, and writes nothing before
// it has read all that a Merger before it can have read: so no row is ever written over by a
// smaller one. That the process before it writes no more is up to the caller's Emit.
//
// Memory is bounded; at the bound, and after a time, windows that lack a part are closed as they
// are, and that is counted. The package does not promise that the feed has kept a message.
package merge

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"pingline"
	"pingline/rollup"
)

// Publications keeps messages for a time, in the order in which they came.
type Publications interface {
	// Append makes b durable behind all messages that Append was acknowledged for, and returns its
	// number. An error leaves open whether it is there.
	Append(ctx context.Context, b []byte) (number uint64, err error)

	// Read calls each for messages from a number on, in order, for some if there are any; at is
	// when they came, ms since 1970. It passes on each's error. A number left out is gone.
	Read(ctx context.Context, from uint64, each func(number uint64, at int64, b []byte) error) error

	// Whole reports whether no message is gone yet.
	Whole(ctx context.Context) (bool, error)
}

// Config sets up a Merger. Feed, Emit and Parts are required; the zero value of all else takes its
// default.
type Config struct {
	Feed        Publications
	Parts       int                    // of the riders
	Resolutions []int                  // as rollup.Config has them
	Lateness    time.Duration          // of the roll-ups of all parts; 0 means 2 min
	MinRiders   uint64                 // sums of fewer riders are not written
	MaxBytes    int64                  // of the totals of windows that are not final; 0 means 64 MiB
	Policy      func() pingline.Policy // in force; nil means that of level 0
	Load        func() string          // returns the note that a Merger kept last; nil: there is none
	Keep        func(note string)      // keeps a note for the next Merger
	Logger      *slog.Logger           // nil means slog.Default()

	// Emit makes rows durable; any error means that they may not be, and they are given again. It
	// fails for ever once another process has become the Merger. It may keep the slice.
	Emit func(ctx context.Context, rows []pingline.Entry) error
}

func (c *Config) complete() error {
	if c.Feed == nil || c.Emit == nil || c.Parts < 1 {
		return errors.New("merge: Config has no Feed, no Emit or no Parts")
	}
	if c.Resolutions == nil {
		c.Resolutions = []int{8, 6, 4}
	}
	c.Lateness = cmp.Or(c.Lateness, 2*time.Minute)
	c.MaxBytes = cmp.Or(c.MaxBytes, 64<<20)
	c.Logger = cmp.Or(c.Logger, slog.Default())
	if c.Policy == nil {
		c.Policy = func() pingline.Policy { return pingline.PolicyAt(0) }
	}
	if c.Load == nil {
		c.Load = func() string { return "" }
	}
	if c.Keep == nil {
		c.Keep = func(string) {}
	}
	return nil
}

// patience is how long after its time a part may be that holds back a window's closing.
const patience = 15 * time.Minute

// KeepFor is how long a feed must keep messages for Mergers of that lateness.
func KeepFor(lateness time.Duration) time.Duration { return lateness + 2*patience }

// Merger adds up totals. Run is for one caller; everything else is safe for concurrent use.
type Merger struct {
	cfg   Config
	now   func() int64 // our own clock, ms since 1970
	retry int64        // by now(): nothing is emitted before
	kept  int64        // by now(): when the note was last kept
	heard int64        // by now(): when the newest message came, or the feed was last looked at
	begun bool         // the note is loaded, and the feed looked at
	whole bool         // nothing that was published before our first message is gone
	mark  uint64       // number of our mark: rows are written from there on

	mu       sync.Mutex // guards the fields below: Run's goroutine holds it to change them
	first    int64      // by now(): when the first step began
	next     uint64     // message to be read
	seen     uint64     // messages below were read by a Merger before us: they count as late no more
	missed   int64      // ms: windows that end by then may lack totals, and are left as they are
	parts    []partReach
	closed   map[time.Duration]int64 // by length of windows: those that end by then are closed, ms
	windows  []*openWindow           // open ones, in order
	bytes    int64
	stats    Stats
	failures int   // of Emit, in a row
	trouble  error // of the last step
}

// partReach is how far a part is.
type partReach struct {
	Commit  uint64                  `json:"commit"`
	Settled int64                   `json:"settled"`
	Closed  map[time.Duration]int64 `json:"closed"`
}

// New returns a Merger.
func New(cfg Config) (*Merger, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	return &Merger{
		cfg: cfg, now: func() int64 { return time.Now().UnixMilli() },
		missed: math.MinInt64, parts: make([]partReach, cfg.Parts), closed: make(map[time.Duration]int64),
	}, nil
}

// note is what the next Merger needs to know.
type note struct {
	Form   int                     `json:"form"`
	Next   uint64                  `json:"next"` // the first message of a window that is not closed
	Seen   uint64                  `json:"seen"`
	Missed int64                   `json:"missed"`
	Closed map[time.Duration]int64 `json:"closed"`
	Parts  []partReach             `json:"parts"`
}

const noteForm = 1

// slack is by how many ms clocks of parts and of the feed may differ.
const slack = 10_000

// poll is the time between two looks for new messages.
const poll = 250 * time.Millisecond

// Run merges until ctx is cancelled; then it reads to the end of the feed, writes what has changed,
// within 5 s, and returns nil.
func (m *Merger) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		n, err := m.step(ctx, false)
		if err != nil || n == 0 {
			m.say(err)
			select {
			case <-time.After(poll):
			case <-ctx.Done():
			}
		}
	}
	const grace = 5 * time.Second
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	for m.marked() {
		if n, err := m.step(ctx, true); err != nil || n == 0 {
			break
		}
	}
	if m.caughtUp() {
		m.keep()
	}
	return nil
}

func (m *Merger) marked() bool { return m.begun && m.mark > 0 }

// caughtUp reports whether all messages are read that a Merger before us can have read.
func (m *Merger) caughtUp() bool { return m.mark > 0 && m.next > m.mark }

// step reads some messages, and writes what is due; at the end all that has changed. It returns
// how many messages there were.
func (m *Merger) step(ctx context.Context, end bool) (n int, err error) {
	if err := m.begin(ctx); err != nil {
		return 0, err
	}
	err = m.cfg.Feed.Read(ctx, m.next, func(number uint64, at int64, b []byte) error {
		n++
		return m.take(number, at, b)
	})
	if n > 0 {
		m.heard = m.now()
	} else if err == nil && !end && m.now() > m.heard+quiet {
		err = m.setMark(ctx)
	}
	m.turn(ctx, end && n == 0)
	return n, err
}

// quiet is after how long without a message a Merger looks whether the feed has begun anew, ms.
const quiet = 60_000

// setMark appends a mark, and sees by its number whether the numbers of the feed have gone back.
func (m *Merger) setMark(ctx context.Context) error {
	p := Publication{Part: -1}
	number, err := m.cfg.Feed.Append(ctx, p.Append(nil))
	if err != nil {
		return err
	}
	m.heard = m.now()
	if number < m.next {
		m.anew()
		m.mark = number
	}
	m.mark = cmp.Or(m.mark, number)
	return nil
}

// anew goes on with the first message of a feed that was made anew with lower numbers, as by a clock
// that is behind. Totals of windows that have begun are gone: their rows are left as they are.
func (m *Merger) anew() {
	m.mu.Lock()
	defer m.mu.Unlock()
	var longest time.Duration
	for i := range m.parts {
		for length := range m.parts[i].Closed {
			longest = max(longest, length)
		}
	}
	m.cfg.Logger.Warn("the totals of parts have begun anew, with lower numbers: totals before are gone")
	m.next, m.seen, m.missed = 1, 0, max(m.missed, m.now()+slack+longest.Milliseconds())
	m.stats.Gone++
}

// begin loads the note, and marks the feed.
func (m *Merger) begin(ctx context.Context) (err error) {
	if !m.begun {
		m.mu.Lock()
		m.first = cmp.Or(m.first, m.now())
		m.mu.Unlock()
		if err := m.load(); err != nil {
			return err
		}
		if m.next == 0 {
			if m.whole, err = m.cfg.Feed.Whole(ctx); err != nil {
				return err
			}
		}
		m.begun = true
	}
	if m.mark == 0 {
		return m.setMark(ctx)
	}
	return nil
}

func (m *Merger) load() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	text := m.cfg.Load()
	if text == "" {
		return nil
	}
	var n note
	switch err := json.Unmarshal([]byte(text), &n); {
	case err != nil:
		m.cfg.Logger.Warn("where sums of parts were is not known, and they begin anew", "error", err)
		return nil
	case n.Form > noteForm:
		return fmt.Errorf("sums of parts: a note of form %d: %w", n.Form, pingline.ErrNewer)
	}
	m.next, m.seen, m.missed = n.Next, n.Seen, n.Missed
	if n.Closed != nil {
		m.closed = n.Closed
	}
	copy(m.parts, n.Parts)
	return nil
}

// keep has the note say where the next Merger begins.
func (m *Merger) keep() {
	m.mu.Lock()
	n := note{Form: noteForm, Next: m.next, Seen: max(m.seen, m.next), Missed: m.missed, Closed: m.closed, Parts: m.parts}
	for _, w := range m.windows {
		n.Next = min(n.Next, w.first)
	}
	text, err := json.Marshal(&n)
	m.mu.Unlock()
	if err != nil {
		panic(err) // cannot happen: numbers
	}
	m.cfg.Keep(string(text))
	m.kept = m.now()
}

// take takes a message. It passes over none of a newer version.
func (m *Merger) take(number uint64, at int64, b []byte) error {
	p, err := Decode(b)
	if errors.Is(err, pingline.ErrNewer) {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if gap := number - m.next; m.next > 0 && gap > 0 {
		m.cfg.Logger.Warn("totals of parts are gone before they were added up", "messages", gap)
		if gap > 1e9 { // the feed was deleted, and made anew
			gap = 1
		}
		m.stats.Gone += gap
		if m.seen > m.next {
			// The Merger before us knew totals that are gone.
			m.missed = max(m.missed, at+slack)
		}
	} else if m.next == 0 && !m.whole {
		m.missed = at + slack
	}
	m.next, m.stats.at = number+1, at
	if err != nil || p.Part >= len(m.parts) {
		m.stats.Unreadable++
		return nil
	}
	if p.Part >= 0 {
		m.reaches(p)
		for i := range p.Sums {
			m.put(p, &p.Sums[i], number)
		}
	}
	return nil
}

// reaches takes note of how far a part is. The caller holds mu.
func (m *Merger) reaches(p *Publication) {
	at := &m.parts[p.Part]
	if p.Reach.Commit < at.Commit {
		return // of a process that had counted less of the log
	}
	at.Commit, at.Settled = p.Reach.Commit, max(at.Settled, p.Reach.Settled)
	at.Closed = make(map[time.Duration]int64)
	for _, w := range p.Reach.Windows {
		at.Closed[w.Window] = w.Closed
	}
}

// put takes a total of a part. The caller holds mu.
func (m *Merger) put(p *Publication, s *rollup.Sums, number uint64) {
	if until := s.From + s.Window.Milliseconds(); until <= m.missed || until <= m.closedTo(s.Window) {
		if number >= m.seen {
			m.stats.Late++
		}
		return
	}
	used, room := m.window(s, number).put(p.Part, p.Reach.Commit, s, m.cfg.MaxBytes-m.bytes, m.now())
	if !room {
		m.stats.LeftOut++
	}
	m.bytes += used
}

func (m *Merger) closedTo(length time.Duration) int64 {
	if at, known := m.closed[length]; known {
		return at
	}
	return math.MinInt64
}

// window returns the open window of s. The caller holds mu.
func (m *Merger) window(s *rollup.Sums, number uint64) *openWindow {
	i, found := slices.BinarySearchFunc(m.windows, s, func(w *openWindow, s *rollup.Sums) int {
		return cmp.Or(cmp.Compare(w.until(), s.From+s.Window.Milliseconds()), cmp.Compare(w.length, s.Window))
	})
	if !found {
		w := &openWindow{from: s.From, length: s.Window, first: number, opened: m.now(), cells: make(map[uint64]*cellParts)}
		m.windows = slices.Insert(m.windows, i, w)
	}
	w := m.windows[i]
	w.first = min(w.first, number)
	return w
}
