// Package rollup counts the pings of the log per cell and window: how many
// pings, of how many riders, how fast, and how many riders move or wait.
//
// It works in stages: pings are counted once, in the finest cells and shortest
// windows; every coarser cell and longer window is merged from the finer and
// shorter. Totals are rewritten whenever they have changed, never added to, so
// that a total written twice does no harm. A window stays open for pings that
// come late; which pings are too late follows from the log and its times alone,
// so that reading the log again counts the same.
//
// Neither a crash nor a late ping ever replaces a whole total by a part. Memory is
// bounded, and so is how much of the log is held back; at either bound windows
// become coarser or close early, and that is counted. The package does not promise
// that a total is complete when the log lost pings (it is too small then), or that
// it is there when the caller cannot take points for so long that the log would
// fill.
package rollup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math"
	"strings"
	"sync"
	"time"

	"pingline"
	"pingline/partition"
	"pingline/queue"
)

// Config sets up a Rollup. Log, and Emit or Share, are required; the zero value of
// everything else takes its default.
type Config struct {
	Log         *queue.Log
	Node        string          // tag of the points; "" leaves it out
	Resolutions []int           // of the cells, finest first; nil means 8, 6, 4
	Windows     []time.Duration // shortest first, each a multiple of its predecessor; nil means 10 s, 1 min
	Lateness    time.Duration   // how long a window stays open; 0 means 2 min
	MinRiders   uint64          // totals of fewer riders are neither written nor shown
	Apart       bool            // the riders are a part of all: see Rollup.Apart
	MaxAhead    time.Duration   // how far ahead of its commit a ping may be; 0 means 2 min
	MaxBytes    int64           // for everything that grows with the pings; 0 means 128 MiB
	Grace       time.Duration   // for the last points, once Run is told to stop; 0 means 5 s
	Logger      *slog.Logger    // nil means slog.Default()

	// Emit makes points durable. Any error means that they may not be durable,
	// and they are given again later. It may keep the slice.
	Emit func(ctx context.Context, points []pingline.Entry) error

	// Share, if set, takes the totals in place of Emit, to be added up with totals of other riders:
	// of any number of riders, and in every resolution whatever the Policy. at is how far the
	// log is counted; the list may be empty. Errors and the slice are as with Emit.
	Share func(ctx context.Context, at Reach, list []Sums) error

	// Policy returns the policy in force: how many resolutions are written. The live
	// view has every resolution all the same. nil means the policy of level 0.
	Policy func() pingline.Policy
}

func (c *Config) setDefaults() error {
	if c.Resolutions == nil {
		c.Resolutions = []int{8, 6, 4}
	}
	if c.Windows == nil {
		c.Windows = []time.Duration{10 * time.Second, time.Minute}
	}
	c.Lateness = cmp.Or(c.Lateness, 2*time.Minute)
	c.MaxAhead = cmp.Or(c.MaxAhead, 2*time.Minute)
	c.MaxBytes = cmp.Or(c.MaxBytes, 128<<20)
	c.Grace = cmp.Or(c.Grace, 5*time.Second)
	c.Logger = cmp.Or(c.Logger, slog.Default())
	if c.Policy == nil || c.Share != nil {
		c.Policy = func() pingline.Policy { return pingline.PolicyAt(0) }
	}
	if c.Log == nil || c.Emit == nil && c.Share == nil {
		return errors.New("rollup: Config has no Log, or no Emit and no Share")
	}
	return c.check()
}

func (c *Config) check() error {
	if err := CheckResolutions(c.Resolutions); err != nil {
		return fmt.Errorf("rollup: %w", err)
	}
	if err := CheckWindows(c.Windows); err != nil {
		return fmt.Errorf("rollup: %w", err)
	}
	switch {
	case c.Lateness < time.Second || c.Lateness > time.Hour:
		return fmt.Errorf("rollup: lateness %v not in [1s, 1h]", c.Lateness)
	case c.MaxAhead < 0 || c.Grace < 0 || c.MaxBytes < 1<<20:
		return fmt.Errorf("rollup: ahead %v, grace %v or %d bytes: negative, or less than %d", c.MaxAhead, c.Grace, c.MaxBytes, 1<<20)
	}
	if err := CheckNode(c.Node); err != nil {
		return fmt.Errorf("rollup: node: %w", err)
	}
	return nil
}

const maxNode = 255

// CheckNode returns an error unless a Config may have that Node.
func CheckNode(name string) error {
	if len(name) > maxNode || strings.HasSuffix(name, `\`) || strings.ContainsFunc(name, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return fmt.Errorf("%q has more than %d bytes, control characters, or a backslash at its end", name, maxNode)
	}
	return nil
}

// CheckResolutions returns an error unless list is a non-empty list of H3
// resolutions, each coarser than its predecessor.
func CheckResolutions(list []int) error {
	if len(list) == 0 {
		return errors.New("no resolution")
	}
	for i, res := range list {
		if res < 0 || res > partition.MaxRes {
			return fmt.Errorf("resolution %d not in [0, %d]", res, partition.MaxRes)
		}
		if i > 0 && res >= list[i-1] {
			return fmt.Errorf("resolution %d behind %d: the finest goes first", res, list[i-1])
		}
	}
	return nil
}

// CheckWindows returns an error unless list is a non-empty list of whole seconds
// up to an hour, each a multiple of its predecessor.
func CheckWindows(list []time.Duration) error {
	if len(list) == 0 {
		return errors.New("no window")
	}
	for i, w := range list {
		if w < time.Second || w > time.Hour || w%time.Second != 0 {
			return fmt.Errorf("window %v is not whole seconds in [1s, 1h]", w)
		}
		if i > 0 && (w == list[i-1] || w%list[i-1] != 0) {
			return fmt.Errorf("window %v is no multiple of %v, the window before it", w, list[i-1])
		}
	}
	return nil
}

// Rollup counts the pings of the log. Run is for one caller; everything else is
// safe for concurrent use.
type Rollup struct {
	cfg      Config
	cells    partition.Cells
	lengths  []int64 // of the windows, ms
	lateness int64
	seed     maphash.Seed
	now      func() int64 // our own clock, ms since 1970
	view     *cellView

	// The fields up to mu are used by Run's goroutine alone.
	next     queue.Cursor // of the log
	last     uint64       // last record when the log was opened: an earlier process may have read up to it
	began    uint64       // an earlier process had read up to it when it last wrote the record
	fresh    bool         // no record is valid, and the log has lost its beginning
	missed   int64        // windows that end by then began before this roll-up did, ms
	clock    int64        // the latest At of a commit, ms; 0 before the first
	marks    []position   // about a mark a second, for the last lookBack
	nextTurn int64        // clock
	retry    int64        // by now(): no points are given to Emit before
	settled  int64        // see Reach
	told     int64        // by now(): when Share was last told how far we are
	entry    pingline.Entry
	batch    [together]sighting
	touched  uint64 // uses the values that lookUp reads, so that the compiler keeps the reads
	list     []ref
	byRes    []aggregate // an aggregate for each resolution
	scratch  memory      // of byRes
	pass     pass

	mu       sync.Mutex  // guards the fields below: Run's goroutine holds it to change them, all other goroutines to read them; taken before view.mu
	windows  [][]*window // open windows by level, in order
	hot      *window     // of the last ping
	room     int64       // bytes that open windows may take
	full     bool        // windows take all of room, and no window can be made coarser
	memory   memory
	work     int64 // bytes of the buffers that writing a window needs and that are kept
	tracks   tracks
	record   closedWindows
	stats    Stats
	noted    noted
	failures int // of Emit, in a row
}

// New returns a Rollup that goes on where its record in the log stands. From
// then on the log keeps the commits that the Rollup has not read.
func New(cfg Config) (*Rollup, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	cells, err := partition.NewCells(cfg.Resolutions[0])
	if err != nil {
		return nil, fmt.Errorf("rollup: %w", err)
	}
	r := &Rollup{
		cfg:      cfg,
		cells:    cells,
		lateness: cfg.Lateness.Milliseconds(),
		memory:   newMemory(cfg.MaxBytes),
		scratch:  newMemory(cfg.MaxBytes),
		seed:     maphash.MakeSeed(),
		now:      func() int64 { return time.Now().UnixMilli() },
		windows:  make([][]*window, len(cfg.Windows)),
		tracks:   newTracks(cfg.MaxBytes / 4),
		byRes:    make([]aggregate, len(cfg.Resolutions)),
	}
	for _, w := range cfg.Windows {
		r.lengths = append(r.lengths, w.Milliseconds())
	}
	r.view = newView(len(cfg.Resolutions), r.lengths[0], cfg.MaxBytes/4)
	r.stats.Stages = r.stages()
	r.pass.counts = make([]Stage, len(cfg.Resolutions))
	r.pass.shown, r.pass.apart = make([][]total, len(cfg.Resolutions)), make([][]total, len(cfg.Resolutions))
	r.load()
	return r, nil
}

// tickEvery is how often the roll-up looks for due windows when no pings come.
const tickEvery = time.Second

// Run counts until ctx is cancelled; then it reads to the end of the log, writes
// all changed totals, within Grace, and returns nil. Stop the writers of pings
// before it, and the receiver of Emit after it. Any other return means that the
// log cannot be read.
func (r *Rollup) Run(ctx context.Context) error {
	reader := r.cfg.Log.Read(r.next.Next)
	defer reader.Close()
	for {
		err := r.read(ctx, reader, math.MaxUint64)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			return err
		}
		now := r.clock
		if r.next.Next > r.cfg.Log.Last() {
			now = max(now, r.now()) // the log has no unread commit
		}
		r.turn(ctx, now)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.cfg.Grace)
	defer cancel()
	for end := r.cfg.Log.Last(); r.next.Next <= end && ctx.Err() == nil; {
		if err := r.read(ctx, reader, end); err != nil {
			return err
		}
	}
	r.retry = 0
	r.turn(ctx, math.MaxInt64) // windows that have not ended, too: they are rewritten
	return nil
}

// read counts the commits up to number end, until ctx ends or no commit has
// come for tickEvery.
func (r *Rollup) read(ctx context.Context, reader *queue.Reader, end uint64) error {
	wait, cancel := context.WithTimeout(ctx, tickEvery)
	defer cancel()
	for r.next.Next <= end && ctx.Err() == nil {
		rec, err := reader.Next(wait)
		var lost *queue.DamageError
		switch {
		case err == nil:
			if err := r.take(ctx, &rec); err != nil {
				return err
			}
		case errors.As(err, &lost):
			r.lost(lost)
		case wait.Err() != nil:
			return nil
		default:
			return fmt.Errorf("rollup: %w", err)
		}
	}
	return nil
}
