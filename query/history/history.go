// Package history answers how busy places were at an earlier time, from the totals of the
// roll-up that stores keep.
//
// It reads as much as a question needs and keeps only what is in the answer. It promises
// that a total is counted once, though two stores hold it; riders who were in several
// cells, or were seen by several nodes, count in each.
package history

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"pingline"
	"pingline/partition"
	"pingline/query/fleet"
	"pingline/rollup"
	"pingline/sink/store"
)

// Limits of an answer, which bound its memory.
const (
	MostSteps   = 1000
	mostWindows = 50_000  // windows in all steps
	mostTotals  = 100_000 // totals in the box, if they may be in two stores; and cells of the globe that are remembered

	MostBytes = 16 << 20 // about the most memory of a question
)

// oldest is the first time that stores know, ms since 1970.
const oldest = math.MinInt64 / pingline.NanosPerMilli

// Config sets up a History.
type Config struct {
	Stores []store.PointReader // stores that totals may be in

	Changing    func() []store.PointReader // the same at the moment of each question, instead of Stores
	Resolutions []int                      // of the roll-up, finest first
	Windows     []time.Duration            // of the roll-up, shortest first
}

// History answers from stores. It is safe for concurrent use.
type History struct{ cfg Config }

// New returns a History of the stores.
func New(cfg Config) *History { return &History{cfg} }

// ErrNotKept is wrapped by the refusal of a question about what the roll-up does not keep.
var ErrNotKept = errors.New("not kept by the roll-up")

// errTooMany ends a question whose answer has too many cells.
var errTooMany = errors.New("too many cells")

// ErrTooMuch is the refusal of a question that would take too much memory.
var ErrTooMuch = fmt.Errorf("more than %d totals: take a smaller box, a coarser res, a longer step or a shorter time", mostTotals)

// Resolution returns res, or the finest resolution if it is below 0; or an error wrapping
// ErrNotKept.
func (h *History) Resolution(res int) (int, error) {
	switch {
	case res < 0:
		return h.cfg.Resolutions[0], nil
	case !slices.Contains(h.cfg.Resolutions, res):
		return 0, fmt.Errorf("resolution %d is none of %v: %w", res, h.cfg.Resolutions, ErrNotKept)
	}
	return res, nil
}

// Cells returns the activity in the cells of a box at a time, ms since 1970, in order of
// cells and at most most of them: in the shortest windows around the time of which stores
// have totals. Partial tells that some store did not answer.
func (h *History) Cells(ctx context.Context, box partition.Box, res int, at int64, most int) (list []fleet.Activity, partial bool, err error) {
	if res, err = h.Resolution(res); err != nil {
		return nil, false, err
	}
	for _, window := range h.cfg.Windows {
		from := max(floor(at, window.Milliseconds()), oldest)
		cells := make(map[uint64]*sum)
		partial, err = h.read(ctx, box, res, window, from, from+1, func(a *rollup.CellActivity) error {
			if cells[a.Cell] == nil {
				if len(cells) == most {
					return errTooMany
				}
				cells[a.Cell] = new(sum)
			}
			cells[a.Cell].add(a)
			return nil
		})
		if err != nil && !errors.Is(err, errTooMany) {
			return nil, false, err
		}
		for cell, s := range cells {
			list = append(list, fleet.Activity{
				Cell: cell, Res: res, From: from, WindowS: int64(window / time.Second), Pings: s.Pings, Riders: s.Riders,
				Moving: s.Moving, Waiting: s.Waiting, SpeedMean: s.SpeedMean, SpeedMax: s.SpeedMax,
			})
		}
		if len(list) > 0 {
			break
		}
	}
	slices.SortFunc(list, func(a, b fleet.Activity) int { return int(min(1, max(-1, int64(a.Cell)-int64(b.Cell)))) })
	return list, partial, nil
}

// Period asks for the activity in a box from one time to another.
type Period struct {
	Box      partition.Box // valid
	Res      int           // of the cells that are counted; below 0: the finest
	From, To int64         // ms since 1970
	Step     time.Duration
}

// Steps is the activity in a box, step after step.
type Steps struct {
	Res     int    `json:"res"`
	WindowS int64  `json:"window_s"` // of the totals that were counted
	StepS   int64  `json:"step_s"`
	Steps   []Step `json:"steps"`
	Partial bool   `json:"partial"` // some store did not answer
}

// Step is the activity in a box during a step.
type Step struct {
	From      int64   `json:"from"` // ms since 1970
	Pings     uint64  `json:"pings"`
	Riders    uint64  `json:"riders"` // in the window with most of them, as the next two
	Moving    uint64  `json:"moving"`
	Waiting   uint64  `json:"waiting"`
	SpeedMean float64 `json:"speed_mean"` // m/s
	SpeedMax  float64 `json:"speed_max"`
}

// Check returns an error wrapping ErrNotKept if a period cannot be answered: it has more
// than MostSteps steps, or they are shorter than the shortest windows.
func (h *History) Check(q *Period) error {
	shortest := h.cfg.Windows[0]
	if q.Step < shortest {
		return fmt.Errorf("steps of %v, shorter than windows of %v: %w", q.Step, shortest, ErrNotKept)
	}
	switch span := q.To - q.first(); {
	case span/q.Step.Milliseconds() > MostSteps:
		return fmt.Errorf("more than %d steps of %v: %w", MostSteps, q.Step, ErrNotKept)
	case span/h.window(q.Step).Milliseconds() > mostWindows:
		return fmt.Errorf("more than %d windows of %v: %w", mostWindows, h.window(q.Step), ErrNotKept)
	}
	_, err := h.Resolution(q.Res)
	return err
}

// first returns when the first step begins, ms since 1970.
func (q *Period) first() int64 { return max(floor(q.From, q.Step.Milliseconds()), oldest) }

// window returns the longest window that fits into a step.
func (h *History) window(step time.Duration) time.Duration {
	window := h.cfg.Windows[0]
	for _, w := range h.cfg.Windows {
		if w <= step {
			window = w
		}
	}
	return window
}

// Steps returns the activity in a period that Check has passed. It counts the longest windows
// that fit into a step; a window belongs to the step in which it begins.
func (h *History) Steps(ctx context.Context, q *Period) (Steps, error) {
	window := h.window(q.Step)
	step := q.Step.Milliseconds()
	s := Steps{WindowS: int64(window / time.Second), StepS: int64(q.Step / time.Second)}
	var err error
	if s.Res, err = h.Resolution(q.Res); err != nil {
		return s, err
	}
	windows := make(map[int64]*sum)
	first := q.first()
	s.Partial, err = h.read(ctx, q.Box, s.Res, window, first, q.To, func(a *rollup.CellActivity) error {
		if windows[a.From] == nil {
			windows[a.From] = new(sum)
		}
		windows[a.From].add(a)
		return nil
	})
	if err != nil {
		return s, err
	}
	s.Steps = make([]Step, 0, (q.To-first)/step+1)
	weights := make([]uint64, cap(s.Steps))
	for at := first; at < q.To; at += step {
		s.Steps = append(s.Steps, Step{From: at})
	}
	for at, w := range windows {
		i := (at - first) / step
		t := &s.Steps[i]
		t.Pings += w.Pings
		if w.Riders > t.Riders {
			t.Riders, t.Moving, t.Waiting = w.Riders, w.Moving, w.Waiting
		}
		if w.timed > 0 {
			weights[i] += w.timed
			t.SpeedMean += (w.SpeedMean - t.SpeedMean) * float64(w.timed) / float64(weights[i])
			t.SpeedMax = max(t.SpeedMax, w.SpeedMax)
		}
	}
	return s, nil
}

// sum is several totals together.
type sum struct {
	rollup.CellActivity
	timed uint64 // pings of totals with a speed
}

func (s *sum) add(a *rollup.CellActivity) {
	s.Pings += a.Pings
	s.Riders += a.Riders
	s.Moving += a.Moving
	s.Waiting += a.Waiting
	if a.HasSpeed {
		s.timed += a.Pings
		s.SpeedMean += (a.SpeedMean - s.SpeedMean) * float64(a.Pings) / float64(s.timed)
		s.SpeedMax = max(s.SpeedMax, a.SpeedMax)
	}
}

// totalKey tells a total from others of the same resolution and window.
type totalKey struct {
	cell uint64
	from int64
	node string
}

// read calls each for every total in the cells of a box, once, of windows that begin in
// [from, to). It returns an error if no store answers, or each's.
func (h *History) read(ctx context.Context, box partition.Box, res int, window time.Duration, from, to int64, each func(a *rollup.CellActivity) error) (partial bool, err error) {
	tags := []pingline.Tag{{Key: "res", Value: strconv.Itoa(res)}, {Key: "window", Value: rollup.Tidy(window)}}
	var mu sync.Mutex
	inside, seen := make(map[uint64]bool), make(map[totalKey]bool)
	stores := h.cfg.Stores
	if h.cfg.Changing != nil {
		stores = h.cfg.Changing()
	}
	errs := make([]error, len(stores))
	var wg sync.WaitGroup
	for i, s := range stores {
		wg.Go(func() {
			errs[i] = s.PointsNamed(ctx, rollup.Measurement, from, to, func(p *pingline.Point) error {
				a, node, ok := rollup.ActivityOf(p)
				if !ok || a.Res != res || a.Window != window {
					return nil
				}
				mu.Lock()
				defer mu.Unlock()
				in, known := inside[a.Cell]
				if !known {
					in = box.Touches(partition.Around(a.Cell))
					if len(inside) < mostTotals {
						inside[a.Cell] = in
					}
				}
				key := totalKey{a.Cell, a.From, node}
				if !in || seen[key] {
					return nil
				}
				if len(stores) > 1 {
					if len(seen) == mostTotals {
						return ErrTooMuch
					}
					seen[key] = true
				}
				return each(&a)
			}, tags...)
		})
	}
	wg.Wait()
	failed := 0
	for _, e := range errs {
		if errors.Is(e, errTooMany) || errors.Is(e, ErrTooMuch) {
			return false, e
		}
		if e != nil {
			failed++
		}
	}
	if failed == len(errs) {
		return false, errors.Join(append(errs, errNoStore)...)
	}
	return failed > 0, nil
}

var errNoStore = errors.New("no store with totals answers")

func floor(at, length int64) int64 {
	if rest := at % length; rest < 0 {
		return at - rest - length
	} else {
		return at - rest
	}
}
