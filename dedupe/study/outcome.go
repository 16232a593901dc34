package study

import (
	"math"
	"time"
)

// outcome counts verdicts of the filter, and measures how far the dropped pings are from
// the track that a reader draws through the kept pings.
type outcome struct {
	tracks, pings, refused int
	kept, duplicates, late int
	conflicts, forgotten   uint64
	outOfBound             int
	off                    distances // of dropped pings, metres
	longestGap             int64     // ms
	busy                   time.Duration
}

func (o *outcome) add(p *outcome) {
	o.tracks += p.tracks
	o.pings += p.pings
	o.refused += p.refused
	o.kept += p.kept
	o.duplicates += p.duplicates
	o.late += p.late
	o.conflicts += p.conflicts
	o.forgotten += p.forgotten
	o.outOfBound += p.outOfBound
	o.off.merge(&p.off)
	o.longestGap = max(o.longestGap, p.longestGap)
	o.busy += p.busy
}

func (o *outcome) keptPercent() float64 {
	return 100 * float64(o.kept) / float64(max(o.pings, 1))
}

// speed returns the number of pings that the filter judged in a second.
func (o *outcome) speed() float64 {
	return float64(o.pings) / max(o.busy, 1).Seconds()
}

// outcomeJSON is an outcome for programs to read.
type outcomeJSON struct {
	Tracks     int           `json:"tracks"`
	Pings      int           `json:"pings"`
	Refused    int           `json:"refused"`
	Kept       int           `json:"kept"`
	KeptPct    float64       `json:"kept_pct"`
	Duplicates int           `json:"duplicates"`
	Late       int           `json:"late"`
	Conflicts  uint64        `json:"conflicts"`
	Forgotten  uint64        `json:"forgotten"`
	OutOfBound int           `json:"out_of_bound"`
	Off        distancesJSON `json:"error_m"`
	LongestGap float64       `json:"longest_gap_s"`
	Speed      float64       `json:"pings_per_s"`
}

type distancesJSON struct {
	Max float64 `json:"max"`
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
}

func (o *outcome) json() *outcomeJSON {
	return &outcomeJSON{
		o.tracks, o.pings, o.refused, o.kept, o.keptPercent(), o.duplicates, o.late, o.conflicts, o.forgotten, o.outOfBound,
		distancesJSON{math.Round(o.off.max*1000) / 1000, o.off.quantile(0.5), o.off.quantile(0.95), o.off.quantile(0.99)},
		float64(o.longestGap) / 1000, math.Round(o.speed()),
	}
}
