package ops

import (
	"time"

	"pingline"
	"pingline/ingest"
	"pingline/ingest/forward"
	"pingline/ingest/kafka"
	"pingline/ingest/mqtt"
	"pingline/ingest/server"
	"pingline/ingest/sqs"
	"pingline/internal/passing"
	"pingline/query/stream"
	"pingline/queue"
	"pingline/rollup"
	"pingline/rollup/merge"
	"pingline/sink"
	"pingline/sink/moving"
	"pingline/sink/reshard"
	"pingline/sink/sets"
)

// Parts are the parts of a node that have something to tell, and their limits. All
// are safe for concurrent use.
type Parts struct {
	Log      *queue.Log
	Writer   *ingest.Writer
	Server   *server.Server
	Overload *ingest.Overload
	Sink     *sets.Sets
	Moving   func() []moving.MoveStatus // history of changes of shards; nil: none
	Rollup   *rollup.Rollup             // nil if it is off
	Merged   func() *merge.Stats        // nil, or returns nil, unless this node adds up the totals of all parts
	Fleet    func() int64               // bytes that the newest pings of all riders take
	DiskFree func() (int64, error)      // bytes that may still be written to the disk of the data directory
	Streams  *stream.Hub
	MQTT     func() mqtt.Stats     // nil if it is off
	SQS      func() *sqs.Stats     // nil, or returns nil, if it is off
	Kafka    func() *kafka.Stats   // nil, or returns nil, if it is off
	Lines    func() *passing.Stats // nil, or returns nil, if none are passed on
	Peers    func() *forward.Stats // nil, or returns nil, if all riders are this node's

	Began       time.Time    // when the process began to count
	LogCache    int64        // bytes that the log's newest records may take
	FilterMost  int64        // bytes that the filter may take
	SinkMost    func() int64 // bytes that the sink may take
	RollupMost  int64        // bytes that the roll-up may take
	FleetMost   int64        // bytes that the newest pings of all riders, and their viewers, may take
	DeadLetters int64        // bytes of dead letters at which writing to the stores stops
}

// Books are the accounts of a moment: the pings that came in, and their fates.
type Books struct {
	Server  server.Stats
	MQTT    mqtt.Stats
	SQS     *sqs.Stats     // nil if it is off
	Kafka   *kafka.Stats   // nil if it is off
	Passed  *passing.Stats // nil if it is off
	Peers   *forward.Stats // nil if all riders are this node's
	Writer  ingest.WriterStats
	Shards  []sink.Stats
	Sink    sink.Account            // of the set that is read
	Sets    map[string]sink.Account // of each set, if there are several, by its name
	Mirrors map[string]sink.Account // of the mirrors of sets, by the name of the set
	Changes []reshard.SetStatus     // of the shards of each set
	Moving  []moving.MoveStatus     // history of changes of shards
	Damaged uint64                  // commits
	Uptime  time.Duration
}

// Books reads the sink first and the server last: a ping that moves on meanwhile
// then shows as not yet written rather than as written without having been
// received.
func (p *Parts) Books() Books {
	b := Books{Sink: p.Sink.Account(), Shards: p.Sink.Stats(), Uptime: time.Since(p.Began)}
	if p.Sink.Len() > 1 {
		b.Sets = p.Sink.Accounts()
	}
	b.Mirrors, b.Changes = p.Sink.Mirrors(), p.Sink.Changes()
	if p.Moving != nil {
		b.Moving = p.Moving()
	}
	b.Writer, b.Server = p.Writer.Stats(), p.Server.Stats()
	if p.Kafka != nil {
		b.Kafka = p.Kafka()
	}
	if p.Lines != nil {
		b.Passed = p.Lines()
	}
	if p.Peers != nil {
		b.Peers = p.Peers()
	}
	if p.MQTT != nil {
		b.MQTT = p.MQTT()
	}
	if p.SQS != nil {
		b.SQS = p.SQS()
	}
	for _, d := range p.Log.Damage() {
		b.Damaged += d.To - d.From + 1
	}
	return b
}

// Verdict returns how many pings got the verdict v.
func (b *Books) Verdict(v pingline.Verdict) uint64 {
	switch v {
	case pingline.Rejected:
		return b.Server.Rejected
	case pingline.Shed:
		return b.Server.Shed + b.Writer.Verdicts[v]
	}
	return b.Writer.Verdicts[v]
}

// Gaps returns the difference in each equation of the accounts; each is 0 when
// no request is in progress:
//
//	verdicts: received + judged for peers, and for requests that were refused by a peer = accepted + held + redundant + duplicate + shed + rejected + judged by peers + unavailable
//	held:     holding at start + held = promoted + covered + holding
//	stored:   queued at start + accepted + promoted + replayed = written + dead-lettered + damaged + given up + queued
//	lines:    the same for our own lines
//
// Given up is always 0 in main. The last two hold in each set of shards, together with what is for other sets; of another
// set than main they are called stored of NAME and lines of NAME. The mirror of a set whose shards
// are changed has both, too: mirror of NAME is their sum.
func (b *Books) Gaps() map[string]int64 {
	verdicts := int64(b.Server.Received + b.judgedForOthers() - b.byPeers())
	for v := pingline.Accepted; int(v) < pingline.Verdicts; v++ {
		verdicts -= int64(b.Verdict(v))
	}
	w := &b.Writer
	held := w.StartHolding + int64(w.Verdicts[pingline.Held]) - int64(w.Promoted) - int64(w.Covered) - int64(w.Holding)
	gaps := map[string]int64{"verdicts": verdicts, "held": held}
	of := func(set string, a sink.Account) {
		gaps["stored"+set] = lack(w.StartTotals[pingline.TotalStored], w.Verdicts[pingline.Accepted]+w.Promoted+w.Replayed, &a.Pings)
		gaps["lines"+set] = lack(w.StartTotals[pingline.TotalLines], w.Lines, &a.Lines)
	}
	if len(b.Sets) == 0 {
		of("", b.Sink)
	}
	for name, a := range b.Sets {
		if name == sets.Main {
			of("", a)
		} else {
			of(" of "+name, a)
		}
	}
	for set, a := range b.Mirrors {
		of(" of the mirror", a)
		gaps["mirror of "+set] = gaps["stored of the mirror"] + gaps["lines of the mirror"]
	}
	delete(gaps, "stored of the mirror")
	delete(gaps, "lines of the mirror")
	return gaps
}

// judgedForOthers is how many pings were judged that no answer of ours tells of: for peers, and of
// requests that a peer refused.
func (b *Books) judgedForOthers() uint64 {
	if b.Peers == nil {
		return 0
	}
	return b.Peers.Taken + b.Peers.Unanswered
}

// byPeers is how many pings that came here were judged by other nodes, or by none because their node was away.
func (b *Books) byPeers() (n uint64) {
	if b.Peers != nil {
		n = b.Peers.Unavailable
		for _, v := range b.Peers.Sent {
			n += v
		}
	}
	return n
}

// lack returns how many entries that were in the log at the start, or came since,
// are neither passed nor queued.
func lack(start, came uint64, y *sink.Tally) int64 {
	return int64(start + came - y.Start - y.Written - y.DeadLettered - y.Damaged - y.Elsewhere - y.GivenUp - y.Queued)
}

// Kept returns the stored part of the valid pings, so far.
func (b *Books) Kept() float64 {
	if b.valid() == 0 {
		return 0
	}
	return float64(b.kept()) / float64(b.valid())
}

func (b *Books) valid() uint64 {
	return b.Server.Received + b.judgedForOthers() - b.byPeers() - b.Server.Rejected
}

// kept is how many pings are stored, or on their way.
func (b *Books) kept() uint64 { return b.Verdict(pingline.Accepted) + b.Writer.Promoted }
