package ops

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pingline"
	"pingline/ingest/forward"
	"pingline/rollup"
	"pingline/rollup/merge"
	"pingline/sink"
	"pingline/sink/moving"
	"pingline/sink/reshard"
)

// number is a value that a node tells, or a value for each combination of its
// labels.
//
// To add one: a row in numbers, and go test ./internal/ops -run Docs -update, which
// writes it into docs/self.md; nothing else.
type number struct {
	metric string // its name in /metrics, without pingline_; "" leaves it out
	kind   kind
	labels []string
	unit   string
	help   string

	// field is its name in a point that the node writes about itself, "" if it is in
	// no point; "{label}" means that the value of that label is the name. The rest
	// of the labels are tags of the point, and count adds the tag kind.
	point, field string
	count        string

	read func(s *snapshot, tell tell)
}

// tell takes a value and the values of the labels.
type tell func(v float64, labels ...string)

// kind says how a number moves.
type kind string

const (
	counter   kind = "counter" // only up, from 0 at the start of the process
	gauge     kind = "gauge"
	histogram kind = "histogram" // measured as it happens, by Metrics
)

// The points that a node writes about itself.
const (
	NodePoint   = "pingline"
	ShardPoint  = "pingline_shard"
	LanePoint   = "pingline_lane"
	ReasonPoint = "pingline_reason"
	MemoryPoint = "pingline_memory"
	SetPoint    = "pingline_set"
)

// numbers is the list of everything that a node tells: /metrics, its points in
// the store and the table of docs/self.md come from it.
var numbers = []number{
	{point: NodePoint, field: "received", kind: counter, unit: "pings", help: "Pings of requests that were answered verdict by verdict.",
		read: func(s *snapshot, tell tell) { tell(float64(s.Server.Received)) }},
	{metric: "pings_total", labels: []string{"verdict"}, kind: counter, unit: "pings", help: "Pings by verdict, as of the end of their request.",
		point: NodePoint, field: "{verdict}",
		read: func(s *snapshot, tell tell) {
			for v := pingline.Accepted; int(v) < pingline.Verdicts; v++ {
				tell(float64(s.Verdict(v)), v.String())
			}
		}},
	{metric: "held_total", labels: []string{"fate"}, kind: counter, unit: "pings", help: "Held pings by their fate.",
		point: NodePoint, field: "{fate}",
		read: func(s *snapshot, tell tell) {
			tell(float64(s.Writer.Promoted), "promoted")
			tell(float64(s.Writer.Covered), "covered")
		}},
	{metric: "holding", kind: gauge, unit: "pings", help: "Pings held now.",
		point: NodePoint, field: "holding",
		read: func(s *snapshot, tell tell) { tell(float64(s.Writer.Holding)) }},
	{metric: "kept_ratio", kind: gauge, help: "Stored pings ÷ valid pings since the start.",
		read: func(s *snapshot, tell tell) { tell(s.Kept()) }},
	{metric: "rejected_total", labels: []string{"reason"}, kind: counter, unit: "pings", help: "Rejected pings: invalid ones by field, and those inside a private zone.",
		point: ReasonPoint, field: "count", count: "rejected",
		read: func(s *snapshot, tell tell) { tellEach(s.Server.Reasons, tell) }},
	{metric: "out_of_range_total", labels: []string{"field"}, kind: counter, unit: "numbers", help: "Optional numbers out of range, taken as unknown, by field.",
		point: ReasonPoint, field: "count", count: "out_of_range",
		read: func(s *snapshot, tell tell) { tellEach(s.Server.OutOfRange, tell) }},
	{metric: "corrected_total", kind: counter, unit: "pings", help: "Pings whose time was beyond its limits and was given another (--wrong-clock).",
		point: NodePoint, field: "corrected",
		read: func(s *snapshot, tell tell) { tell(float64(s.Server.Corrected)) }},
	{metric: "late_total", kind: counter, unit: "pings", help: "Pings stored out of order.",
		point: NodePoint, field: "late",
		read: func(s *snapshot, tell tell) { tell(float64(s.Writer.Late)) }},
	{metric: "conflicts_total", kind: counter, unit: "pings", help: "Pings at an instant known with another position.",
		point: NodePoint, field: "conflicts",
		read: func(s *snapshot, tell tell) { tell(float64(s.Writer.Conflicts)) }},
	{metric: "replayed_total", kind: counter, unit: "pings", help: "Dead letters put back into the log.",
		point: NodePoint, field: "replayed",
		read: func(s *snapshot, tell tell) { tell(float64(s.Writer.Replayed)) }},
	{point: NodePoint, field: "lines", kind: counter, unit: "points", help: "Points of our own that were made durable.",
		read: func(s *snapshot, tell tell) { tell(float64(s.Writer.Lines)) }},

	{metric: "request_seconds", labels: []string{"route", "status"}, kind: histogram, unit: "s", help: "Time from a request's arrival to its answer."},
	{point: NodePoint, field: "request_p99_ms", kind: gauge, unit: "ms", help: "Time that 99 % of the requests for /v1/… since the point before took at most, to 1 %; absent if there was none.",
		read: func(s *snapshot, tell tell) { tellMs(s.recent.request, tell) }},
	{metric: "phone_requests_total", labels: []string{"protocol", "outcome"}, kind: counter, unit: "requests", help: "Requests of phones that reached their protocol, by what became of them.",
		read: func(s *snapshot, tell tell) {
			for _, c := range s.Server.Phones {
				tell(float64(c.N), c.Protocol, c.Outcome)
			}
		}},
	{metric: "auth_failures_total", labels: []string{"reason"}, kind: counter, unit: "requests", help: "Requests and connections that were not let in, by reason; none where --auth is none and there is no TLS.",
		point: ReasonPoint, field: "count", count: "auth",
		read: func(s *snapshot, tell tell) { tellEach(s.Server.Denied, tell) }},
	{metric: "tls_certificate_expires_seconds", kind: gauge, unit: "s", help: "Time until the certificate of --tls-cert expires, below 0 behind it; none without it.",
		read: func(s *snapshot, tell tell) {
			if end := s.Server.CertExpires; !end.IsZero() {
				tell(time.Until(end).Seconds())
			}
		}},
	{metric: "in_progress_bytes", kind: gauge, unit: "bytes", help: "Memory that requests in progress take.",
		read: func(s *snapshot, tell tell) { tell(float64(s.Server.InProgress)) }},
	{metric: "reading_bytes", kind: gauge, unit: "bytes", help: "Memory that reads in progress take, until their answers have left.",
		read: func(s *snapshot, tell tell) { tell(float64(s.Server.Reading)) }},
	{metric: "stream_viewers", kind: gauge, unit: "streams", help: "Open streams of events.",
		read: func(s *snapshot, tell tell) { tell(float64(s.streams.Viewers)) }},
	{metric: "stream_events_total", kind: counter, unit: "events", help: "Events with changes that viewers were told of.",
		read: func(s *snapshot, tell tell) { tell(float64(s.streams.Events)) }},
	{metric: "stream_skipped_total", kind: counter, unit: "snapshots", help: "Snapshots that a viewer was too slow for: its next event told what changed since.",
		read: func(s *snapshot, tell tell) { tell(float64(s.streams.Skipped)) }},
	{metric: "stream_cut_total", kind: counter, unit: "streams", help: "Streams closed because their viewers took an event too slowly.",
		read: func(s *snapshot, tell tell) { tell(float64(s.streams.Cut)) }},
	{metric: "connections", kind: gauge, unit: "connections", help: "Open connections.",
		read: func(s *snapshot, tell tell) { tell(float64(s.Server.Connections)) }},
	{metric: "connections_refused_total", kind: counter, unit: "connections", help: "Connections refused, each one too many.",
		read: func(s *snapshot, tell tell) { tell(float64(s.Server.TurnedAway)) }},
	{metric: "connections_displaced_total", kind: counter, unit: "connections", help: "Connections closed while they waited for their client, so that another had a place.",
		read: func(s *snapshot, tell tell) { tell(float64(s.Server.Displaced)) }},
	{metric: "mqtt_connections", kind: gauge, unit: "connections", help: "Open connections of --mqtt-listen; none without it.",
		read: func(s *snapshot, tell tell) {
			if b := s.MQTT.Broker; b != nil {
				tell(float64(b.Open))
			}
		}},
	{metric: "mqtt_connections_displaced_total", kind: counter, unit: "connections", help: "Connections of --mqtt-listen closed while they waited for their client, so that another had a place.",
		read: func(s *snapshot, tell tell) {
			if b := s.MQTT.Broker; b != nil {
				tell(float64(b.Displaced))
			}
		}},
	{metric: "mqtt_subscribed", kind: gauge, help: "1 while the subscription of --mqtt-broker stands, else 0; none without it.",
		read: func(s *snapshot, tell tell) {
			if b := s.MQTT.Subscriber; b != nil {
				tell(bit(b.Connected))
			}
		}},
	{metric: "mqtt_messages_total", labels: []string{"by", "outcome"}, kind: counter, unit: "messages", help: "Messages by way in, the broker of --mqtt-listen or the subscriber of --mqtt-broker, and by what became of them.",
		read: func(s *snapshot, tell tell) {
			if b := s.MQTT.Broker; b != nil {
				tellBy("broker", b.Messages, tell)
			}
			if b := s.MQTT.Subscriber; b != nil {
				tellBy("subscriber", b.Messages, tell)
			}
		}},
	{metric: "kafka_in_connected", kind: gauge, help: "1 while the cluster of --kafka-in answers, else 0; none without it.",
		read: func(s *snapshot, tell tell) {
			if k := s.Kafka; k != nil {
				tell(bit(k.Connected))
			}
		}},
	{metric: "kafka_in_partitions", labels: []string{"state"}, kind: gauge, unit: "partitions", help: "Partitions of --kafka-in that this node takes, and those of them that are paused for now.",
		read: func(s *snapshot, tell tell) {
			if k := s.Kafka; k != nil {
				tell(float64(k.Assigned), "assigned")
				tell(float64(k.Paused), "paused")
			}
		}},
	{metric: "kafka_in_lag_messages", kind: gauge, unit: "messages", help: "Messages of these partitions that were not taken yet, as far as the node has heard.",
		read: func(s *snapshot, tell tell) {
			if k := s.Kafka; k != nil {
				tell(float64(k.Lag))
			}
		}},
	{metric: "kafka_in_messages_total", labels: []string{"outcome"}, kind: counter, unit: "messages", help: "Messages of --kafka-in, by what became of them.",
		read: func(s *snapshot, tell tell) {
			if k := s.Kafka; k != nil {
				tellEach(k.Messages, tell)
			}
		}},
	{metric: "sqs_in_connected", kind: gauge, help: "1 while the queue of --sqs-in answers, else 0; none without it.",
		read: func(s *snapshot, tell tell) {
			if q := s.SQS; q != nil {
				tell(bit(q.Connected))
			}
		}},
	{metric: "sqs_in_messages_total", labels: []string{"outcome"}, kind: counter, unit: "messages", help: "Messages of --sqs-in, by what became of them.",
		read: func(s *snapshot, tell tell) {
			if q := s.SQS; q != nil {
				tellEach(q.Messages, tell)
			}
		}},
	{metric: "other_lines_total", labels: []string{"outcome"}, kind: counter, unit: "lines", help: "Lines that are no positions and were to be passed on (--line-other), by what became of them: passed, refused by the store, or again, which their clients were told to send again; none without it.",
		read: func(s *snapshot, tell tell) {
			if l := s.Passed; l != nil {
				tell(float64(l.Passed), "passed")
				tell(float64(l.Refused), "refused")
				tell(float64(l.Again), "again")
			}
		}},
	{metric: "shed_level", kind: gauge, help: "How much is given up, 0 to 4.",
		point: NodePoint, field: "level",
		read: func(s *snapshot, tell tell) { tell(float64(s.level)) }},

	{point: NodePoint, field: "commits", kind: counter, unit: "commits", help: "Appends to the log.",
		read: func(s *snapshot, tell tell) { tell(float64(s.Writer.Commits)) }},
	{metric: "commit_seconds", kind: histogram, unit: "s", help: "Time an append to the log took."},
	{point: NodePoint, field: "commit_p99_ms", kind: gauge, unit: "ms", help: "Time that 99 % of the appends to the log since the point before took at most, to 1 %; absent if there was none.",
		read: func(s *snapshot, tell tell) { tellMs(s.recent.commit, tell) }},
	{metric: "commit_pings", kind: histogram, unit: "pings", help: "Pings answered for by one append."},
	{metric: "writer_busy_ratio", kind: gauge, help: "Share of its life the writer spent on commits.",
		read: func(s *snapshot, tell tell) { tell(s.Writer.Busy.Seconds() / s.Uptime.Seconds()) }},
	{metric: "filter_riders", kind: gauge, unit: "tracks", help: "Tracks the filter knows.",
		point: NodePoint, field: "riders",
		read: func(s *snapshot, tell tell) { tell(float64(s.Writer.Riders)) }},
	{metric: "new_tracks_total", kind: counter, unit: "tracks", help: "Tracks that the filter did not know.",
		read: func(s *snapshot, tell tell) { tell(float64(s.Writer.New)) }},
	{metric: "filter_evicted_total", kind: counter, unit: "tracks", help: "Tracks forgotten for lack of room.",
		point: NodePoint, field: "evicted",
		read: func(s *snapshot, tell tell) { tell(float64(s.Writer.Evicted)) }},
	{metric: "reloads_total", kind: counter, help: "Times the state was read from the log anew.",
		point: NodePoint, field: "reloads",
		read: func(s *snapshot, tell tell) { tell(float64(s.Writer.Reloads)) }},

	{metric: "queue_bytes", kind: gauge, unit: "bytes", help: "Size of the log.",
		point: NodePoint, field: "queue_bytes",
		read: func(s *snapshot, tell tell) { tell(float64(s.logBytes)) }},
	{metric: "queue_max_bytes", kind: gauge, unit: "bytes", help: "Size of the log at which it takes no more.",
		point: NodePoint, field: "queue_max_bytes",
		read: func(s *snapshot, tell tell) { tell(float64(s.logMost)) }},
	{metric: "disk_free_bytes", kind: gauge, unit: "bytes", help: "Room on the disk of the data directory.",
		point: NodePoint, field: "disk_free_bytes",
		read: func(s *snapshot, tell tell) {
			if s.diskFree >= 0 {
				tell(float64(s.diskFree))
			}
		}},
	{metric: "queue_full_seconds", kind: gauge, unit: "s", help: "Time until the log is full at this rate; infinite if it will not be.",
		read: func(s *snapshot, tell tell) { tell(s.full) }},
	{metric: "queued_pings", kind: gauge, unit: "pings", help: "Pings in the log that wait for the store, now, exactly.",
		point: NodePoint, field: "queued",
		read: func(s *snapshot, tell tell) { tell(float64(s.Sink.Pings.Queued)) }},
	{metric: "queue_pings", labels: laneLabels, kind: gauge, unit: "pings", help: "Pings (lane own: lines) in the log that wait for the store. An estimate by lane; the sum is exact.",
		point: LanePoint, field: "waiting",
		read: perLane(func(l *sink.LaneStats) float64 { return float64(l.Queued) })},
	{metric: "queue_commits", labels: laneLabels, kind: gauge, unit: "commits", help: "Commits of the log that a lane has not passed.",
		read: perLane(func(l *sink.LaneStats) float64 { return float64(l.Behind) })},
	{metric: "queue_oldest_seconds", labels: laneLabels, kind: gauge, unit: "s", help: "Age of the oldest commit that waits.",
		point: LanePoint, field: "oldest_s",
		read: perLane(func(l *sink.LaneStats) float64 { return l.Oldest.Seconds() })},
	{metric: "log_trouble", kind: gauge, help: "1 while appends cannot be made durable; /readyz says why.",
		point: NodePoint, field: "log_trouble",
		read: func(s *snapshot, tell tell) { tell(bit(s.trouble)) }},
	{metric: "queue_damage_total", kind: counter, unit: "commits", help: "Commits of the log that are damaged or missing.",
		point: NodePoint, field: "damaged",
		read: func(s *snapshot, tell tell) { tell(float64(s.Damaged)) }},

	{point: NodePoint, field: "written", kind: counter, unit: "pings", help: "Pings stored, by any shard.",
		read: func(s *snapshot, tell tell) { tell(float64(s.Sink.Pings.Written)) }},
	{metric: "written_total", labels: shardLabels, kind: counter, unit: "pings", help: "Pings stored, by the shard that took them.",
		point: ShardPoint, field: "written",
		read: perShard(func(st *sink.Stats) float64 { return float64(st.Written) })},
	{metric: "lines_written_total", labels: shardLabels, kind: counter, unit: "points", help: "Lines of our own stored, by the shard that took them.",
		point: ShardPoint, field: "lines",
		read: perShard(func(st *sink.Stats) float64 { return float64(st.Lines) })},
	{metric: "dead_letters_total", labels: []string{"shard", "reason"}, kind: counter, unit: "pings", help: "Pings the store refused, kept as dead letters.",
		read: func(s *snapshot, tell tell) {
			for i := range s.Shards {
				tellEach(s.Shards[i].DeadLetters, func(v float64, reason ...string) { tell(v, s.Shards[i].Shard, reason[0]) })
			}
		}},
	{point: NodePoint, field: "dead_letters", kind: counter, unit: "pings", help: "Pings that any shard refused, kept as dead letters.",
		read: func(s *snapshot, tell tell) { tell(float64(s.Sink.Pings.DeadLettered)) }},
	{point: ShardPoint, field: "dead_letters", labels: shardLabels, kind: counter, unit: "pings", help: "Pings that the shard refused, kept as dead letters.",
		read: perShard(func(st *sink.Stats) float64 { return float64(st.DeadLettered()) })},
	{point: ReasonPoint, field: "count", count: "dead_letter", labels: []string{"reason"}, kind: counter, unit: "pings", help: "Pings that any shard refused, by reason.",
		read: func(s *snapshot, tell tell) {
			all := map[string]uint64{}
			for i := range s.Shards {
				for reason, n := range s.Shards[i].DeadLetters {
					all[reason] += n
				}
			}
			tellEach(all, tell)
		}},
	{metric: "set_given_up_total", labels: []string{"set", "kind"}, kind: counter, unit: "entries", help: "Pings, and lines of our own, that a set of shards did not get because the log was filling up (on-full=drop-set). None if there is one set.",
		read: func(s *snapshot, tell tell) {
			for _, set := range slices.Sorted(maps.Keys(s.Sets)) {
				a := s.Sets[set]
				tell(float64(a.Pings.GivenUp), set, "pings")
				tell(float64(a.Lines.GivenUp), set, "lines")
			}
		}},
	{metric: "reshard_phase", labels: []string{"set"}, kind: gauge, help: "How far a change of a set's shards is: 0 none is going on, 1 dual, 2 cut.",
		point: SetPoint, field: "reshard_phase",
		read: perChange(func(c *reshard.SetStatus) float64 { return float64(slices.Index(reshard.Phases, c.Phase)) })},
	{metric: "reshard_phase_seconds", labels: []string{"set"}, kind: gauge, unit: "s", help: "For how long a change of a set's shards has been in its phase; 0 if none is going on.",
		read: perChange(func(c *reshard.SetStatus) float64 {
			if c.Phase == reshard.Settled {
				return 0
			}
			return max(0, time.Since(time.UnixMilli(c.Since)).Seconds())
		})},
	{metric: "reshard_remaining", labels: []string{"set"}, kind: gauge, unit: "entries", help: "Pings and lines of our own that wait for the shards before the last change.",
		read: perChange(func(c *reshard.SetStatus) float64 { return float64(c.Remaining) })},
	{metric: "reshard_mirror_seconds", labels: []string{"set"}, kind: gauge, unit: "s", help: "Age of the oldest commit that waits for the mirror of a set.",
		read: perChange(func(c *reshard.SetStatus) float64 { return c.MirrorSeconds })},
	{metric: "reshard_mirror_lacks", labels: []string{"set"}, kind: gauge, unit: "entries", help: "Pings and lines of our own that the mirror of a set refused, or gave up because the log was filling up, since it runs.",
		read: perChange(func(c *reshard.SetStatus) float64 { return float64(c.MirrorGivenUp + c.MirrorLetters) })},
	{metric: "reshard_history", labels: []string{"set"}, kind: gauge, help: "Share of the history of a change that is copied, compared or deleted, [0, 1]. None if no history is moved.",
		point: SetPoint, field: "reshard_history_share",
		read: perHistory(func(h *moving.MoveStatus) float64 { return h.Share() })},
	{metric: "reshard_history_rate", labels: []string{"set"}, kind: gauge, unit: "rows/s", help: "Rows of history that are written to other shards.",
		read: perHistory(func(h *moving.MoveStatus) float64 { return h.Rate })},
	{metric: "reshard_history_differ", labels: []string{"set"}, kind: gauge, unit: "places", help: "Differences between old and new shards that the last comparison found, and could not end by copying.",
		read: perHistory(func(h *moving.MoveStatus) float64 { return float64(h.Differ) })},
	{metric: "reshard_stands_seconds", kind: gauge, unit: "s", help: "For how long the moving of history to other shards has stood; 0 if it goes on, or there is none. pingline reshard status says why.",
		point: NodePoint, field: "reshard_stands_s",
		read: func(s *snapshot, tell tell) {
			longest := 0.0
			for i := range s.Moving {
				longest = max(longest, s.Moving[i].StandsFor)
			}
			tell(longest)
		}},
	{metric: "peer_sent_total", labels: []string{"verdict"}, kind: counter, unit: "pings", help: "Pings of other parts (--parts), by the verdict of the nodes that have them.",
		read: perPeer(func(p *forward.Stats, tell tell) {
			for v := pingline.Accepted; int(v) < pingline.Verdicts; v++ {
				tell(float64(p.Sent[v]), v.String())
			}
		})},
	{metric: "peer_taken_total", kind: counter, unit: "pings", help: "Pings of this node's part that other nodes sent.",
		read: perPeer(func(p *forward.Stats, tell tell) { tell(float64(p.Taken)) })},
	{metric: "peer_unanswered_total", kind: counter, unit: "pings", help: "Pings that this node judged, of requests that got 503 since a node of another part was away.",
		read: perPeer(func(p *forward.Stats, tell tell) { tell(float64(p.Unanswered)) })},
	{metric: "peer_unavailable_total", kind: counter, unit: "pings", help: "Pings to which 207 gave no verdict, as a client preferred it (Prefer: partial), since the node of their part was away.",
		read: perPeer(func(p *forward.Stats, tell tell) { tell(float64(p.Unavailable)) })},
	{metric: "peer_away_total", kind: counter, unit: "requests", help: "Requests that no node of another part judged: it had none, did not answer, or refused.",
		read: perPeer(func(p *forward.Stats, tell tell) { tell(float64(p.Away)) })},
	{metric: "peer_refused_total", kind: counter, unit: "requests", help: "Requests at --peer-listen by somebody who did not prove to be a node.",
		read: perPeer(func(p *forward.Stats, tell tell) { tell(float64(p.Refused)) })},
	{metric: "peer_messages_total", kind: counter, unit: "messages", help: "Messages to nodes of other parts, of one request's pings or of several.",
		read: perPeer(func(p *forward.Stats, tell tell) { tell(float64(p.Messages)) })},
	{metric: "peer_passed_total", kind: counter, unit: "reads", help: "Reads of a rider that nodes of other parts answered.",
		read: perPeer(func(p *forward.Stats, tell tell) { tell(float64(p.Passed)) })},
	{metric: "dead_letters_unkept_total", labels: shardLabels, kind: counter, unit: "pings", help: "Of dead_letters_total, pings beyond the store's retention that were counted only: no room for more of them.",
		read: perShard(func(st *sink.Stats) float64 { return float64(st.Unkept) })},
	{metric: "pings_without_attributes_total", labels: shardLabels, kind: counter, unit: "pings", help: "Pings written without their attributes, or without one, since the shard's store does not keep them, or has that one of another type.",
		read: perShard(func(st *sink.Stats) float64 { return float64(st.Bare) })},
	{metric: "dead_letter_bytes", kind: gauge, unit: "bytes", help: "Size of the dead letters, those that wait to be replayed included.",
		point: NodePoint, field: "dead_letter_bytes",
		read: func(s *snapshot, tell tell) {
			if s.deadBytes >= 0 {
				tell(float64(s.deadBytes))
			}
		}},
	{metric: "dead_letter_max_bytes", kind: gauge, unit: "bytes", help: "Size of the dead letters at which writing stops.",
		point: NodePoint, field: "dead_letter_max_bytes",
		read: func(s *snapshot, tell tell) { tell(float64(s.deadMost)) }},
	{metric: "stopped", labels: []string{"shard", "reason"}, kind: gauge, help: "1 while a shard stands still until an operator puts something right.",
		read: func(s *snapshot, tell tell) {
			for i := range s.Shards {
				if s.Shards[i].Gone {
					continue
				}
				for _, reason := range sink.Stops {
					tell(bit(s.Shards[i].Stopped == reason), s.Shards[i].Shard, reason)
				}
			}
		}},
	{metric: "breaker_state", labels: shardLabels, kind: gauge, help: "0 closed, 1 half-open, 2 open.",
		point: ShardPoint, field: "breaker",
		read: perLive(func(st *sink.Stats) float64 { return float64(st.Breaker) })},
	{point: ShardPoint, field: "down_s", labels: shardLabels, kind: gauge, unit: "s", help: "How long the shard has not stored what it was given; 0 if it does.",
		read: perLive(func(st *sink.Stats) float64 { return st.Down.Seconds() })},
	{point: ShardPoint, field: "retries", labels: shardLabels, kind: counter, unit: "writes", help: "Writes that had to be made again.",
		read: perShard(func(st *sink.Stats) float64 { return float64(st.Retries) })},
	{point: ShardPoint, field: "stopped", labels: shardLabels, kind: gauge, help: "1 while the shard stands still until an operator puts something right.",
		read: perLive(func(st *sink.Stats) float64 { return bit(st.Stopped != "") })},
	{metric: "handed_over", labels: shardLabels, kind: gauge, help: "1 while other shards stand in for a shard that is down.",
		read: perLive(func(st *sink.Stats) float64 { return bit(st.HandedOver) })},
	{metric: "writes_in_flight", labels: shardLabels, kind: gauge, unit: "writes", help: "Writes to the store under way.",
		read: perLive(func(st *sink.Stats) float64 { return float64(st.InFlight) })},
	{metric: "writes_limit", labels: shardLabels, kind: gauge, unit: "writes", help: "Writes to the store that may be under way at once.",
		read: perLive(func(st *sink.Stats) float64 { return float64(st.Limit) })},
	{metric: "write_seconds", labels: shardLabels, kind: histogram, unit: "s", help: "Time a write to the store took."},
	{point: ShardPoint, field: "write_p99_ms", labels: shardLabels, kind: gauge, unit: "ms", help: "Time that 99 % of the writes since the point before took at most, to 1 %; absent if there was none.",
		read: func(s *snapshot, tell tell) {
			for _, r := range s.recent.writes {
				tell(1000*r.seconds, r.shard)
			}
		}},
	{metric: "freshness_seconds", labels: []string{"lane"}, kind: histogram, unit: "s", help: "Age of a ping when it was stored: now − ts."},
	{point: ShardPoint, field: "freshness_p99_s", labels: shardLabels, kind: gauge, unit: "s", help: "Age at most of 99 % of the pings stored since the point before, now − ts, to 1 %; absent if there was none.",
		read: func(s *snapshot, tell tell) {
			for _, r := range s.recent.freshness {
				tell(r.seconds, r.shard)
			}
		}},
	{point: LanePoint, field: "freshness_p99_s", labels: laneLabels, kind: gauge, unit: "s", help: "Age at most of 99 % of the pings that the lane stored since the point before, now − ts, to 1 %; absent if there was none.",
		read: func(s *snapshot, tell tell) {
			for _, r := range s.recent.lanes {
				tell(r.seconds, r.shard, r.lane)
			}
		}},
	{metric: "sink_bytes", kind: gauge, unit: "bytes", help: "Memory that batches on their way to the store take, and the cache of routes of their commits.",
		read: func(s *snapshot, tell tell) { tell(float64(s.sinkBytes)) }},

	{metric: "rollup_pings_total", kind: counter, unit: "pings", help: "Pings counted in cell_activity.",
		point: NodePoint, field: "rollup_pings",
		read: ofRollup(func(st *rollup.Stats) float64 { return float64(st.Pings) })},
	{metric: "rollup_late_total", kind: counter, unit: "pings", help: "Pings that came after their window had closed.",
		point: NodePoint, field: "rollup_late",
		read: ofRollup(func(st *rollup.Stats) float64 { return float64(st.Late) })},
	{metric: "rollup_left_out_total", kind: counter, unit: "pings", help: "Pings not counted for lack of memory, or because their window began before the log does.",
		read: ofRollup(func(st *rollup.Stats) float64 { return float64(st.LeftOut) })},
	{metric: "rollup_damaged_total", kind: counter, unit: "pings", help: "Pings the log has lost: the totals of their windows are too small.",
		read: ofRollup(func(st *rollup.Stats) float64 { return float64(st.Damaged) })},
	{metric: "rollup_closed_early_total", kind: counter, unit: "windows", help: "Windows closed before their time, as they held back too much of the log.",
		read: ofRollup(func(st *rollup.Stats) float64 { return float64(st.Early) })},
	{metric: "rollup_coarsened_total", kind: counter, unit: "windows", help: "Windows that went on in coarser cells for lack of memory.",
		read: ofRollup(func(st *rollup.Stats) float64 { return float64(st.Coarsened) })},
	{metric: "rollup_view_left_out_total", kind: counter, unit: "windows", help: "Windows of a resolution that the live view left out for lack of memory.",
		read: ofRollup(func(st *rollup.Stats) float64 { return float64(st.Hidden) })},
	{metric: "rollup_behind_commits", kind: gauge, unit: "commits", help: "Commits not counted yet.",
		read: ofRollup(func(st *rollup.Stats) float64 { return float64(st.Behind) })},
	{metric: "rollup_bytes", kind: gauge, unit: "bytes", help: "Memory that open windows, the live view, and tracks without speed take.",
		read: ofRollup(func(st *rollup.Stats) float64 { return float64(st.Bytes) })},
	{metric: "rollup_points_total", labels: stageLabels, kind: counter, unit: "points", help: "Totals written, rewritten ones among them.",
		read: perStage(func(st *rollup.Stats, i int) float64 { return float64(st.Stages[i].Points) })},
	{metric: "rollup_rewrites_total", labels: stageLabels, kind: counter, unit: "points", help: "Totals written again, with more pings.",
		read: perStage(func(st *rollup.Stats, i int) float64 { return float64(st.Stages[i].Rewrites) })},
	{metric: "rollup_withheld_total", labels: stageLabels, kind: counter, unit: "points", help: "Totals not written for overload.",
		read: perStage(func(st *rollup.Stats, i int) float64 { return float64(st.Stages[i].Withheld) })},
	{metric: "rollup_lost_total", labels: stageLabels, kind: counter, unit: "points", help: "Totals not written as their window closed early while the log took no lines, or was still being read again after a start.",
		read: perStage(func(st *rollup.Stats, i int) float64 { return float64(st.Stages[i].Lost) })},
	{metric: "rollup_pings_per_point", labels: stageLabels, kind: gauge, help: "Pings counted ÷ totals written.",
		read: perStage((*rollup.Stats).PingsPerPoint)},
	{metric: "rollup_merge_lag_seconds", kind: gauge, unit: "seconds", help: "Age of the newest message with totals of a part that was added up.",
		read: ofMerger(func(st *merge.Stats) float64 { return st.Lag.Seconds() })},
	{metric: "rollup_merge_bytes", kind: gauge, unit: "bytes", help: "Memory of the totals of all parts in open windows.",
		read: ofMerger(func(st *merge.Stats) float64 { return float64(st.Bytes) })},
	{metric: "rollup_merge_points_total", kind: counter, unit: "points", help: "Sums of all parts (--parts) written to cell_activity by the node of part 0, rewritten ones among them.",
		read: ofMerger(func(st *merge.Stats) float64 { return float64(st.Points) })},
	{metric: "rollup_merge_rewrites_total", kind: counter, unit: "points", help: "Sums of all parts written again, as more pings or more parts are in them.",
		read: ofMerger(func(st *merge.Stats) float64 { return float64(st.Rewrites) })},
	{metric: "rollup_merge_withheld_total", kind: counter, unit: "points", help: "Sums of all parts not written for overload.",
		read: ofMerger(func(st *merge.Stats) float64 { return float64(st.Withheld) })},
	{metric: "rollup_merge_late_total", kind: counter, unit: "totals", help: "Totals of a part that came after the window had been closed for all parts; a new owner of a part publishes some again.",
		read: ofMerger(func(st *merge.Stats) float64 { return float64(st.Late) })},
	{metric: "rollup_merge_early_total", kind: counter, unit: "windows", help: "Windows closed before each part had closed them: a part had no node for longer than 15 min, or memory was short.",
		read: ofMerger(func(st *merge.Stats) float64 { return float64(st.Early) })},
	{metric: "rollup_merge_left_out_total", kind: counter, unit: "totals", help: "Totals of a part for which there was no memory.",
		read: ofMerger(func(st *merge.Stats) float64 { return float64(st.LeftOut) })},
	{metric: "rollup_merge_lost_total", kind: counter, unit: "points", help: "Sums of all parts not written, as their window was closed while the log took none.",
		read: ofMerger(func(st *merge.Stats) float64 { return float64(st.Lost) })},
	{metric: "rollup_merge_gone_total", kind: counter, unit: "messages", help: "Messages with totals of parts that were gone from the servers before they were read.",
		read: ofMerger(func(st *merge.Stats) float64 { return float64(st.Gone) })},
	{metric: "rollup_merge_unreadable_total", kind: counter, unit: "messages", help: "Messages among the totals of parts that cannot be read.",
		read: ofMerger(func(st *merge.Stats) float64 { return float64(st.Unreadable) })},
	{metric: "rollup_merge_open_windows", kind: gauge, unit: "windows", help: "Windows that some part may still change.",
		read: ofMerger(func(st *merge.Stats) float64 { return float64(st.Open) })},

	{metric: "self_skipped_total", kind: counter, unit: "points", help: "Lines about ourselves not written, for overload or a log that does not take them.",
		read: func(s *snapshot, tell tell) { tell(float64(s.skipped)) }},
	{metric: "memory_bytes", labels: []string{"account"}, kind: gauge, unit: "bytes", help: "Memory of a part that grows with what comes in.",
		point: MemoryPoint, field: "bytes",
		read: func(s *snapshot, tell tell) {
			for _, a := range s.accounts {
				tell(float64(a.bytes), a.name)
			}
		}},
	{metric: "memory_max_bytes", labels: []string{"account"}, kind: gauge, unit: "bytes", help: "Memory that the part may take.",
		point: MemoryPoint, field: "max_bytes",
		read: func(s *snapshot, tell tell) {
			for _, a := range s.accounts {
				tell(float64(a.most), a.name)
			}
		}},
	{metric: "conservation_gap", labels: []string{"equation"}, kind: gauge, help: "Difference in an equation of the accounts; 0 when no request is in progress.",
		point: ReasonPoint, field: "count", count: "gap",
		read: func(s *snapshot, tell tell) {
			gaps := s.Gaps()
			for _, equation := range slices.Sorted(maps.Keys(gaps)) {
				tell(float64(gaps[equation]), equation)
			}
		}},
}

var (
	shardLabels = []string{"shard"}
	laneLabels  = []string{"shard", "lane"}
	stageLabels = []string{"res", "window"}
)

func perShard(value func(*sink.Stats) float64) func(*snapshot, tell) {
	return func(s *snapshot, tell tell) {
		for i := range s.Shards {
			tell(value(&s.Shards[i]), s.Shards[i].Shard)
		}
	}
}

// perLive leaves out shards of which counts alone are left.
func perLive(value func(*sink.Stats) float64) func(*snapshot, tell) {
	return func(s *snapshot, tell tell) {
		for i := range s.Shards {
			if !s.Shards[i].Gone {
				tell(value(&s.Shards[i]), s.Shards[i].Shard)
			}
		}
	}
}

func perChange(value func(*reshard.SetStatus) float64) func(*snapshot, tell) {
	return func(s *snapshot, tell tell) {
		for i := range s.Changes {
			tell(value(&s.Changes[i]), s.Changes[i].Set)
		}
	}
}

func perHistory(value func(*moving.MoveStatus) float64) func(*snapshot, tell) {
	return func(s *snapshot, tell tell) {
		for i := range s.Moving {
			tell(value(&s.Moving[i]), s.Moving[i].Set)
		}
	}
}

func perLane(value func(*sink.LaneStats) float64) func(*snapshot, tell) {
	return func(s *snapshot, tell tell) {
		for i := range s.Shards {
			for j := range s.Shards[i].Lanes {
				l := &s.Shards[i].Lanes[j]
				tell(value(l), s.Shards[i].Shard, l.Lane)
			}
		}
	}
}

// ofMerger tells a number of the node that adds up the totals of all parts.
func ofMerger(value func(*merge.Stats) float64) func(*snapshot, tell) {
	return func(s *snapshot, tell tell) {
		if s.merged != nil {
			tell(value(s.merged))
		}
	}
}

// ofRollup tells a number of the roll-up, unless that is off.
func ofRollup(value func(*rollup.Stats) float64) func(*snapshot, tell) {
	return func(s *snapshot, tell tell) {
		if s.rollup != nil {
			tell(value(s.rollup))
		}
	}
}

func perStage(value func(*rollup.Stats, int) float64) func(*snapshot, tell) {
	return func(s *snapshot, tell tell) {
		if s.rollup == nil {
			return
		}
		for i := range s.rollup.Stages {
			st := &s.rollup.Stages[i]
			tell(value(s.rollup, i), strconv.Itoa(st.Res), rollup.Tidy(st.Window))
		}
	}
}

// tellEach tells counts in the order of their names.
func tellEach(counts map[string]uint64, tell tell) {
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		tell(float64(counts[name]), name)
	}
}

// tellBy is tellEach of counts that a way in has.
func tellBy(way string, counts map[string]uint64, tell tell) {
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		tell(float64(counts[name]), way, name)
	}
}

// tellMs tells seconds in ms, if there are any.
func tellMs(seconds *float64, tell tell) {
	if seconds != nil {
		tell(1000 * *seconds)
	}
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// desc describes a number to Prometheus.
func (n *number) desc() *prometheus.Desc {
	return prometheus.NewDesc("pingline_"+n.metric, n.help, n.labels, nil)
}

// perPeer tells numbers of the exchange with other nodes, if there are any.
func perPeer(read func(p *forward.Stats, tell tell)) func(*snapshot, tell) {
	return func(s *snapshot, tell tell) {
		if s.Peers != nil {
			read(s.Peers, tell)
		}
	}
}
