// Package param reads the parameters of queries. Its errors name the parameter and its
// limits.
package param

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"pingline"
	"pingline/ingest/server/refusal"
	"pingline/partition"
	"pingline/query/history"
	"pingline/sink/store"
)

// ErrBad is wrapped by the refusal of a request for its parameters.
var ErrBad = errors.New("bad query")

// Bad refuses the parameter of that name.
func Bad(name, format string, args ...any) error {
	return &refusal.Reason{Kind: ErrBad, Text: name + ": " + fmt.Sprintf(format, args...)}
}

// Because refuses a parameter for an error that names it.
func Because(err error) error { return &refusal.Reason{Kind: ErrBad, Text: err.Error()} }

// Params are the parameters of a request, "" for a parameter that is not there.
type Params interface {
	Query(name string, otherwise ...string) string
}

// Time sets at to the parameter of that name, ms or RFC 3339, if it is there, and
// nano to the ns behind the ms. If nano is nil, at is rounded up to a whole ms.
func Time(q Params, name string, at, nano *int64) error {
	v := q.Query(name)
	if v == "" {
		return nil
	}
	ms, ns, ok := parseInstant(v)
	if !ok {
		t, err := time.Parse(time.RFC3339, strings.ReplaceAll(v, " ", "+")) // a + that was not escaped
		if err != nil {
			return Bad(name, "%q is neither ms since 1970 nor RFC 3339", v)
		}
		ms, ns = t.UnixMilli(), int64(t.Nanosecond())%pingline.NanosPerMilli
	}
	if unit := pingline.UnitOf(ms); unit != "ms" {
		return Bad(name, "%d looks like %s since 1970; send ms", ms, unit)
	}
	const most = math.MaxInt64 / 1_000_000 // the range of InfluxDB's ns
	if ms < -most || ms > most {
		return Bad(name, "%d is not in [%d, %d]", ms, -most, most)
	}
	switch *at = ms; {
	case nano != nil:
		*nano = ns
	case ns > 0:
		*at++
	}
	return nil
}

// nanoDigits is the number of digits of the ns within a ms.
const nanoDigits = 6

// FormatInstant writes ms, with the ns behind them as decimals if there are any:
// 1760000000123.000457.
func FormatInstant(ms, nano int64) string {
	if nano == 0 {
		return strconv.FormatInt(ms, 10)
	}
	return fmt.Sprintf("%d.%0*d", ms, nanoDigits, nano)
}

// parseInstant reads the text of FormatInstant, and any other fraction of a ms; digits
// finer than a ns are cut off.
func parseInstant(v string) (ms, nano int64, ok bool) {
	whole, part, apart := strings.Cut(v, ".")
	ms, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || !apart {
		return ms, 0, err == nil
	}
	if part == "" || strings.Trim(part, "0123456789") != "" {
		return ms, 0, false
	}
	ns, err := strconv.ParseUint((part + "000000")[:nanoDigits], 10, 64)
	return ms, int64(ns), err == nil
}

// Int returns the parameter of that name, in [lo, hi], or def if it is not there.
func Int(q Params, name string, def, lo, hi int) (int, error) {
	v := q.Query(name)
	if v == "" {
		return def, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < lo || n > hi {
		return 0, Bad(name, "%q is not a number in [%d, %d]", v, lo, hi)
	}
	return n, nil
}

// Box returns the parameter of that name, west,south,east,north in degrees.
func Box(q Params, name string) (box partition.Box, err error) {
	v := q.Query(name)
	parts := strings.Split(v, ",")
	to := [...]*float64{&box.West, &box.South, &box.East, &box.North}
	if len(parts) != len(to) {
		return box, Bad(name, "%q is not of the form west,south,east,north in degrees", v)
	}
	for i, p := range parts {
		if *to[i], err = strconv.ParseFloat(strings.TrimSpace(p), 64); err != nil {
			return box, Bad(name, "%q is not a number", p)
		}
	}
	if err := box.Check(); err != nil {
		return box, Bad(name, "%v", err)
	}
	return box, nil
}

// Limits of the points of a page and of the time of a track.
const (
	PageLimit = 1000   // points of a page by default
	PageMost  = 10_000 // points of a page
	SeenMost  = 25_000 // riders of an answer about an earlier time

	trackSpan     = 24 * time.Hour
	trackSpanMost = 31 * 24 * time.Hour
)

// Track returns the parameters from, to, limit and device; to is end by default.
func Track(p Params, end time.Time) (q store.Query, err error) {
	q.To = end.UnixMilli() + 1
	if err := Time(p, "to", &q.To, nil); err != nil {
		return q, err
	}
	q.From = q.To - trackSpan.Milliseconds()
	if err := Time(p, "from", &q.From, &q.FromNano); err != nil {
		return q, err
	}
	if q.From > q.To {
		return q, Bad("from", "%d is after to, %d", q.From, q.To)
	}
	if q.To-q.From > trackSpanMost.Milliseconds() {
		return q, Bad("from", "%d is more than %v before to, %d: ask for one part after the other", q.From, trackSpanMost, q.To)
	}
	if q.Limit, err = Int(p, "limit", PageLimit, 1, PageMost); err != nil {
		return q, err
	}
	if v := p.Query("device"); v != "" {
		q.Device = strings.Clone(v)
		if err := pingline.CheckID("device", q.Device); err != nil {
			return q, Because(err)
		}
	}
	return q, nil
}

// Period returns the parameters bbox, res, from, to and step; to is now by default, from an
// hour before, and a step a minute.
func Period(p Params, now time.Time) (q history.Period, err error) {
	if q.Box, err = Box(p, "bbox"); err != nil {
		return q, err
	}
	if q.Res, err = Int(p, "res", -1, 0, partition.MaxRes); err != nil {
		return q, err
	}
	q.To = now.UnixMilli()
	if err := Time(p, "to", &q.To, nil); err != nil {
		return q, err
	}
	q.From = q.To - time.Hour.Milliseconds()
	if err := Time(p, "from", &q.From, nil); err != nil {
		return q, err
	}
	if q.From >= q.To {
		return q, Bad("from", "%d is not before to, %d", q.From, q.To)
	}
	step := p.Query("step", "1m")
	if q.Step, err = time.ParseDuration(step); err != nil || q.Step < time.Second || q.Step%time.Second != 0 {
		return q, Bad("step", "%q is not a time in whole seconds, such as 10s or 5m", step)
	}
	return q, nil
}
