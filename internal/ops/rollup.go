package ops

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"pingline/rollup"
)

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
