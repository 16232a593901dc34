package ingest

import (
	"fmt"
	"math"
	"time"

	"pingline"
	"pingline/internal/unit"
)

// A level is left only when a lower level has been enough for some time, by marks that
// are lower by ease and times that are longer by half.
const (
	ease     = 0.10
	easeTime = 1.5
)

// load holds the figures that the level depends on, at a moment.
type load struct {
	fill    float64       // of the log: bytes ÷ limit
	full    time.Duration // until the log is full at this rate, or never
	breaker time.Duration // time for which a shard has taken nothing; 0 if all take pings
	memory  float64       // live ÷ limit; 0 without a limit
}

// never is the time to full of a log that is not filling up.
const never = time.Duration(math.MaxInt64)

// asks returns the level that l asks for, and the reason, by marks that are lower by
// ease and times that are longer by the factor more.
func (l *load) asks(ease, more float64) (level int, reason string) {
	for level = pingline.MaxLevel; level > 0; level-- {
		p := pingline.PolicyAt(level)
		soon := time.Duration(float64(p.Full) * more)
		switch {
		case p.Memory > 0 && l.memory >= p.Memory-ease:
			return level, fmt.Sprintf("%.0f %% of the memory limit is in use", 100*l.memory)
		case l.fill >= p.Fill-ease:
			return level, fmt.Sprintf("the log is %.0f %% full", 100*l.fill)
		case l.fill >= p.Fill/2 && l.full < soon:
			return level, fmt.Sprintf("the log is %.0f %% full, and full in %s at this rate", 100*l.fill, about(l.full))
		case p.Down > 0 && l.breaker >= p.Down:
			return level, "a shard has taken nothing for " + about(l.breaker)
		}
	}
	return 0, ""
}

// ladder goes up at once and down a level at a time.
type ladder struct {
	hold   time.Duration // time for which a lower level must be enough before a level is left
	level  int
	reason string
	less   time.Time // time since which a lower level is enough; zero if it is not
}

// update returns the level at now.
func (l *ladder) update(now time.Time, at *load) int {
	asked, why := at.asks(0, 1)
	eased, reason := at.asks(ease, easeTime)
	switch {
	case asked > l.level:
		l.level, l.reason, l.less = asked, why, time.Time{}
	case l.level == 0:
	case eased >= l.level:
		l.reason, l.less = reason, time.Time{}
	case l.less.IsZero():
		l.less = now
	case now.Sub(l.less) >= l.hold:
		l.level, l.less = l.level-1, now
		if l.reason = reason; eased < l.level {
			l.reason = "there is more room; a level is left every " + about(l.hold)
		}
	}
	return l.level
}

// flow measures the pings that come in and go out, and when the log will be full.
type flow struct {
	at              time.Time
	stored, written uint64
	waiting         int64
	arrival, drain  rate      // pings/s
	growth          rate      // bytes/s of the log that no reader has passed
	since           time.Time // time since which more comes in than goes out; zero if it does not
	full            time.Duration
	sight           float64 // part of a full average measured so far, [0, 1]
}

// flowTime is the time constant of rates: long against a sink's batches and the
// ticks of trimming, short against the times to full that ask for a level.
const flowTime = 30 * time.Second

// rate is a decayed average; it starts from 0 and follows slowly.
type rate float64

func (r *rate) add(amount float64, dt time.Duration) {
	a := 1 - math.Exp(-dt.Seconds()/flowTime.Seconds())
	*r += rate(a * (amount/dt.Seconds() - float64(*r)))
}

// excess is the ratio of arrival to drain from which on more comes in than goes out. It
// is more than 1 because the two counts are not taken at the same instant.
const excess = 1.05

// update takes the counts at now: all pings ever stored in the log and written from
// it, its bytes that wait to be read, and its free bytes.
func (f *flow) update(now time.Time, stored, written uint64, waiting, free int64) {
	dt := now.Sub(f.at)
	if f.at.IsZero() || dt <= 0 {
		f.at, f.stored, f.written, f.waiting, f.full = now, stored, written, waiting, never
		return
	}
	f.arrival.add(float64(stored-min(stored, f.stored)), dt)
	f.drain.add(float64(written-min(written, f.written)), dt)
	f.growth.add(float64(waiting-f.waiting), dt)
	f.sight += (1 - math.Exp(-dt.Seconds()/flowTime.Seconds())) * (1 - f.sight)
	f.at, f.stored, f.written, f.waiting = now, stored, written, waiting
	f.full = never
	if seconds := float64(free) / float64(f.growth); f.growth > 0 && seconds < never.Seconds()/2 {
		f.full = time.Duration(seconds * float64(time.Second))
	}
	switch {
	case f.growth <= 0 || float64(f.arrival) <= excess*float64(f.drain):
		f.since = time.Time{}
	case f.since.IsZero():
		f.since = now
	}
}

// outOfSight is a time to full too long to be worth telling.
const outOfSight = 30 * 24 * time.Hour

// lastingAfter is the time after which an excess of arrivals is no longer a burst.
const lastingAfter = time.Minute

// advice returns a sentence that tells an operator the remedy for an overload that will
// not end by itself, or "" for a burst. At a level above 0 it does not wait.
func (f *flow) advice(now time.Time, level, shards int, maxError float64) string {
	if f.since.IsZero() || level == 0 && now.Sub(f.since) < lastingAfter {
		return ""
	}
	arrival, drain := float64(f.arrival)/f.sight, float64(f.drain)/f.sight
	text := fmt.Sprintf("InfluxDB takes %s/s, %s/s are kept for %s", count(drain), count(arrival), about(now.Sub(f.since)))
	if f.full < outOfSight {
		text += ", and the log is full in " + about(f.full)
	}
	if drain < arrival/100 {
		return text + ": InfluxDB must take pings again"
	}
	shard := "a second shard"
	if shards > 1 {
		shard = "another shard"
	}
	wider := 2 * maxError
	if wider == 0 {
		wider = 10
	}
	return text + fmt.Sprintf(": %s, or --max-error %g", shard, wider)
}

func count(v float64) string { return unit.Comma(math.Round(v)) }

// about rounds a duration to seconds, minutes or hours, for people.
func about(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	}
	return fmt.Sprintf("%.0f h", d.Hours())
}
