package ops

import (
	"math"

	"pingline/query/stream"
	"pingline/rollup"
	"pingline/rollup/merge"
)

// snapshot is the state of all parts of a node at a moment.
type snapshot struct {
	Books
	rollup   *rollup.Stats // nil if it is off
	merged   *merge.Stats  // nil unless this node adds up the totals of all parts
	streams  stream.Stats
	accounts []account
	recent   *latest // times since the last point; only for points, else nil

	level     int
	full      float64 // seconds until the log is full
	logBytes  int64
	logMost   int64
	trouble   bool
	sinkBytes int64
	deadBytes int64 // -1 if it is not known
	deadMost  int64
	diskFree  int64 // -1 if it is not known
	skipped   uint64
}

func (p *Parts) snapshot(m *Metrics) *snapshot {
	s := &snapshot{
		Books:     p.Books(),
		level:     p.Overload.Level(),
		full:      math.Inf(1),
		logBytes:  p.Log.Bytes(),
		logMost:   p.Log.Limit(),
		trouble:   p.Log.Trouble() != nil,
		sinkBytes: p.Sink.Memory(),
		deadBytes: -1,
		deadMost:  p.DeadLetters,
		streams:   p.Streams.Stats(),
		diskFree:  -1,
		skipped:   m.skipped.Load(),
	}
	if d, ok := p.Overload.Full(); ok {
		s.full = d.Seconds()
	}
	if n, err := p.Sink.DeadLetters().Bytes(); err == nil {
		s.deadBytes = n
	}
	if n, err := p.DiskFree(); err == nil {
		s.diskFree = n
	}
	if p.Rollup != nil {
		st := p.Rollup.Stats()
		s.rollup = &st
	}
	if p.Merged != nil {
		s.merged = p.Merged()
	}
	s.accounts = p.accounts(&s.Books)
	return s
}
