package top

import (
	"errors"
	"fmt"
	"math"
	"time"

	"pingline/internal/unit"
	"pingline/query/status"
)

// lookout is what is known of the ingester, and since when nothing is.
type lookout struct {
	name  string
	every time.Duration

	last  *look     // the newest answer; nil before the first
	moved time.Time // when the ingester's own time in an answer moved on: an answer that somebody kept is not new
	away  time.Time // since when there is no answer; zero if there is one
	err   error     // why
}

func newLookout(name string, every time.Duration) *lookout { return &lookout{name: name, every: every} }

// slack is how much later than due an answer may be.
const slack = 2 * time.Second

// took takes the result of a look.
func (l *lookout) took(now time.Time, a *look, err error) {
	switch {
	case err != nil:
		if l.away.IsZero() {
			l.away = now
		}
		l.err = err
		return
	case l.last == nil || a.At != l.last.At:
		l.moved = now
	}
	l.last, l.away, l.err = a, time.Time{}, nil
}

// stale reports whether the newest answer is not of now.
func (l *lookout) stale(now time.Time) bool {
	return !l.away.IsZero() || now.Sub(l.moved) > l.every+slack
}

// why says why numbers are not of now, and since when.
func (l *lookout) why() string {
	if !l.away.IsZero() {
		reason, failure := l.err.Error(), new(lookError)
		if errors.As(l.err, &failure) {
			reason = failure.reason
		}
		return fmt.Sprintf("no answer since %s: %s", l.away.Format(time.TimeOnly), printable(reason))
	}
	return fmt.Sprintf("no new answer since %s", l.moved.Format(time.TimeOnly))
}

// topRow is a row of the screen.
type topRow struct {
	name string
	of   status.Quantity
	unit string
	most float64 // of the scale of its history; 0: the largest value
	text func(v float64) string
}

var rows = []topRow{
	{"received", status.Received, " pings/s", 0, count},
	{"stored", status.Stored, " pings/s", 0, count},
	{"kept", status.Kept, " %", 1, percent},
	{"shed", status.Shed, " pings/s", 0, count},
	{"freshness p50", status.FreshnessP50, "", 0, span},
	{"freshness p99", status.FreshnessP99, "", 0, span},
	{"queue", status.Queued, " pings", 0, count},
	{"oldest waits", status.QueueAge, "", 0, span},
	{"level", status.Level, "", 4, count},
	{"breakers open", status.BreakersOpen, "", 0, count},
	{"riders", status.Riders, "", 0, count},
	{"streams", status.Streams, "", 0, count},
}

// count writes a number; below 10 with a decimal, if it is no whole number.
func count(v float64) string {
	if v < 10 && v != math.Trunc(v) {
		return fmt.Sprintf("%.1f", v)
	}
	if math.Abs(v) >= senseless {
		return fmt.Sprintf("%.1e", v)
	}
	return unit.Comma(math.Round(v))
}

// senseless is a number that no node has: from there on its size is told, and not its digits.
const senseless = 1e12

func percent(v float64) string {
	if math.Abs(v) >= senseless {
		return fmt.Sprintf("%.1e", 100*v)
	}
	return fmt.Sprintf("%.1f", 100*v)
}

// span writes seconds in three digits or so.
func span(v float64) string {
	switch {
	case v < 0.001:
		return "0 s"
	case v < 1:
		return fmt.Sprintf("%.0f ms", 1000*v)
	case v < 10:
		return fmt.Sprintf("%.1f s", v)
	case v < 120:
		return fmt.Sprintf("%.0f s", v)
	case v < 2*3600:
		return fmt.Sprintf("%.0f min", v/60)
	case v < 48*3600:
		return fmt.Sprintf("%.0f h", v/3600)
	}
	return count(v/86400) + " d"
}

// dash stands for a number that is not known.
const dash = "–"

// lineHead is above the lines in a pipe.
const lineHead = "time                 received/s  stored/s   kept      p50      p99      queue   oldest  level  state"

// line is a look on a line, for a pipe.
func (l *lookout) line(now time.Time) string {
	at := now.Format("2006-01-02T15:04:05")
	if l.last == nil || l.stale(now) {
		return at + "  " + l.why()
	}
	of := func(q status.Quantity) string {
		for i := range rows {
			if rows[i].of == q {
				if n, known := l.last.Now.Of(q); known {
					return rows[i].text(n)
				}
			}
		}
		return dash
	}
	kept := of(status.Kept)
	if kept != dash {
		kept += "%"
	}
	return fmt.Sprintf("%s  %10s  %8s  %5s  %7s  %7s  %9s  %7s  %5s  %s", at, of(status.Received), of(status.Stored), kept,
		of(status.FreshnessP50), of(status.FreshnessP99), of(status.Queued), of(status.QueueAge), of(status.Level), l.last.state())
}

// state describes the ingester in a sentence.
func (a *look) state() string {
	switch {
	case !a.Ready:
		return "not taking pings: " + printable(a.Reason)
	case a.Level > 0:
		text := fmt.Sprintf("taking pings; level %d, %s", a.Level, printable(a.LevelName))
		if a.LevelReason != "" {
			text += ", since " + printable(a.LevelReason)
		}
		return text
	}
	return "taking pings; nothing is given up"
}
