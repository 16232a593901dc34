package main

import (
	"time"

	"pingline"
	"pingline/ingest"
	"pingline/ingest/server"
	"pingline/sink"
)

// books are the accounts of one moment: what came in and what became of it.
type books struct {
	server  server.Stats
	writer  ingest.WriterStats
	shards  []sink.Stats
	sink    sink.Account
	damaged uint64 // commits
	uptime  time.Duration
}

// books reads the sink first and the server last: what moves on meanwhile then
// shows as not yet written rather than as written without having been received.
func (s *service) books() books {
	b := books{sink: s.sink.Account(), shards: s.sink.Stats(), uptime: time.Since(s.began)}
	b.writer, b.server = s.writer.Stats(), s.server.Stats()
	for _, d := range s.log.Damage() {
		b.damaged += d.To - d.From + 1
	}
	return b
}

// verdict returns how many pings were answered v.
func (b *books) verdict(v pingline.Verdict) uint64 {
	switch v {
	case pingline.Rejected:
		return b.server.Rejected
	case pingline.Shed:
		return b.server.Shed + b.writer.Verdicts[v]
	}
	return b.writer.Verdicts[v]
}

// gaps returns what each equation of the accounts lacks; each is 0 when no
// request is in work:
//
//	verdicts: received = accepted + held + redundant + duplicate + shed + rejected
//	held:     holding at start + held = promoted + covered + holding
//	stored:   queued at start + accepted + promoted + replayed = written + dead-lettered + damaged + queued
//	lines:    the same for our own lines
func (b *books) gaps() map[string]int64 {
	verdicts := int64(b.server.Received)
	for v := pingline.Accepted; int(v) < pingline.Verdicts; v++ {
		verdicts -= int64(b.verdict(v))
	}
	w := &b.writer
	held := w.StartHolding + int64(w.Verdicts[pingline.Held]) - int64(w.Promoted) - int64(w.Covered) - int64(w.Holding)
	stored := lack(w.StartTotals[pingline.TotalStored], w.Verdicts[pingline.Accepted]+w.Promoted+w.Replayed, &b.sink.Pings)
	lines := lack(w.StartTotals[pingline.TotalLines], w.Lines, &b.sink.Lines)
	return map[string]int64{"verdicts": verdicts, "held": held, "stored": stored, "lines": lines}
}

// lack returns how many of the entries in the log at the start, and of those that
// came since, are neither passed nor queued.
func lack(start, came uint64, y *sink.Tally) int64 {
	return int64(start + came - y.Start - y.Written - y.DeadLettered - y.Damaged - y.Queued)
}

// kept returns which part of the valid pings is stored, so far.
func (b *books) kept() float64 {
	valid := b.server.Received - b.server.Rejected
	if valid == 0 {
		return 0
	}
	return float64(b.verdict(pingline.Accepted)+b.writer.Promoted) / float64(valid)
}
