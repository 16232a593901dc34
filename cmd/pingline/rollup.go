package main

import (
	"context"
	"fmt"
	"math"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pingline"
	"pingline/ingest"
	"pingline/ingest/server"
	"pingline/partition"
	"pingline/rollup"
)

// resolutions are those of the roll-up, written 8,6,4; none is off.
type resolutions struct{ list []int }

func (r *resolutions) UnmarshalText(text []byte) error {
	r.list = nil
	if string(text) == "off" {
		return nil
	}
	for part := range strings.SplitSeq(string(text), ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil {
			return fmt.Errorf("%q is neither off nor resolutions such as 8,6,4", text)
		}
		r.list = append(r.list, n)
	}
	return rollup.CheckResolutions(r.list)
}

func (r resolutions) String() string { return join(r.list, "off") }

// windows are those of the roll-up, written 10s,1m.
type windows struct{ list []time.Duration }

func (w *windows) UnmarshalText(text []byte) error {
	w.list = nil
	for part := range strings.SplitSeq(string(text), ",") {
		d, err := time.ParseDuration(strings.TrimSpace(part))
		if err != nil {
			return fmt.Errorf("%q is not windows such as 10s,1m", text)
		}
		w.list = append(w.list, d)
	}
	return rollup.CheckWindows(w.list)
}

func (w windows) String() string { return join(w.list, "") }

func join[T any](list []T, none string) string {
	if len(list) == 0 {
		return none
	}
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(list), "[]"), " ", ",")
}

// openRollup returns what counts activity, or nil if that is off.
func (s *service) openRollup(node string) (*rollup.Rollup, error) {
	c := s.cfg
	if len(c.Rollup.list) == 0 {
		rollup.Forget(s.log)
		return nil, nil
	}
	return rollup.New(rollup.Config{
		Log:         s.log,
		Node:        node,
		Resolutions: c.Rollup.list,
		Windows:     c.RollupWindows.list,
		Lateness:    c.RollupLateness,
		MaxAhead:    c.MaxAhead,
		MaxBytes:    rollupMemory(),
		Emit:        s.submitPoints,
		Level:       s.over.Level,
		Logger:      s.logger,
	})
}

// rollupMemory is what the roll-up may take: an eighth of the memory limit at
// most.
func rollupMemory() int64 {
	const most = 128 << 20
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
		return max(1<<20, min(most, limit/8))
	}
	return most
}

// submitPoints makes points durable.
func (s *service) submitPoints(_ context.Context, points []pingline.Entry) error {
	return s.writer.Submit(&ingest.Job{Entries: points})
}

// cells are the live activity, of at most most cells; resolution -1 is the finest.
func (s *service) cells(box partition.Box, res, most int) ([]server.Activity, error) {
	if res < 0 {
		res = s.cfg.Rollup.list[0]
	}
	list, err := s.rollup.Cells(box, res, most)
	activity := make([]server.Activity, len(list))
	for i := range list {
		a := &list[i]
		activity[i] = server.Activity{
			Cell: a.Cell, Res: a.Res, From: a.From, WindowS: int64(a.Window / time.Second),
			Pings: a.Pings, Riders: a.Riders, Moving: a.Moving, Waiting: a.Waiting,
			SpeedMean: a.SpeedMean, SpeedMax: a.SpeedMax,
		}
	}
	return activity, err
}

var (
	descRollPings     = desc("rollup_pings_total", "Pings counted in cell_activity.")
	descRollLate      = desc("rollup_late_total", "Pings that came after their window had closed.")
	descRollLeftOut   = desc("rollup_left_out_total", "Pings not counted for lack of memory, or because their window began before the log does.")
	descRollDamaged   = desc("rollup_damaged_total", "Pings the log has lost: the totals of their windows are too small.")
	descRollEarly     = desc("rollup_closed_early_total", "Windows closed before their time, as they held back too much of the log.")
	descRollHidden    = desc("rollup_view_left_out_total", "Windows of a resolution that the live view left out for lack of memory.")
	descRollCoarsened = desc("rollup_coarsened_total", "Windows that went on in coarser cells for lack of memory.")
	descRollBehind    = desc("rollup_behind_commits", "Commits not counted yet.")
	descRollBytes     = desc("rollup_bytes", "Memory that open windows, the live view, and tracks without speed take.")
	descRollPoints    = desc("rollup_points_total", "Totals written, rewritten ones among them.", "res", "window")
	descRollRewrites  = desc("rollup_rewrites_total", "Totals written again, with more pings.", "res", "window")
	descRollWithheld  = desc("rollup_withheld_total", "Totals not written for overload.", "res", "window")
	descRollLost      = desc("rollup_lost_total", "Totals not written as their window closed early and the log took no lines.", "res", "window")
	descRollGain      = desc("rollup_pings_per_point", "Pings counted ÷ totals written.", "res", "window")
)

func collectRollup(st rollup.Stats, counter func(*prometheus.Desc, uint64, ...string), gauge func(*prometheus.Desc, float64, ...string)) {
	counter(descRollPings, st.Pings)
	counter(descRollLate, st.Late)
	counter(descRollLeftOut, st.LeftOut)
	counter(descRollDamaged, st.Damaged)
	counter(descRollEarly, st.Early)
	counter(descRollCoarsened, st.Coarsened)
	counter(descRollHidden, st.Hidden)
	gauge(descRollBehind, float64(st.Behind))
	gauge(descRollBytes, float64(st.Bytes))
	for i := range st.Stages {
		s := &st.Stages[i]
		labels := []string{strconv.Itoa(s.Res), rollup.Tidy(s.Window)}
		counter(descRollPoints, s.Points, labels...)
		counter(descRollRewrites, s.Rewrites, labels...)
		counter(descRollWithheld, s.Withheld, labels...)
		counter(descRollLost, s.Lost, labels...)
		gauge(descRollGain, st.PingsPerPoint(i), labels...)
	}
}
