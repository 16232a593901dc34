package grafana

import (
	"fmt"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/units"

	"pingline"
	"pingline/internal/ops"
)

// Units that Grafana has none of its own for.
const (
	pingsPerSecond = "suffix: pings/s"
	pingsUnit      = "suffix: pings"
)

var (
	breakerStates = map[int]state{0: {"closed", good}, 1: {"half-open", careful}, 2: {"open", bad}}
	reshardPhases = map[int]state{0: {"settled", good}, 1: {"dual", careful}, 2: {"cut", careful}}
	shedLevels    = func() map[int]state {
		m := map[int]state{0: {"0: nothing", good}}
		for i := 1; i < pingline.MaxLevel; i++ {
			m[i] = state{fmt.Sprint(i), careful}
		}
		m[pingline.MaxLevel] = state{fmt.Sprintf("%d: events only", pingline.MaxLevel), bad}
		return m
	}()
)

// verdicts returns the names of all verdicts.
func verdicts() (names []string) {
	for v := pingline.Accepted; int(v) < pingline.Verdicts; v++ {
		names = append(names, v.String())
	}
	return names
}

// ingestBoard is about the way of a ping through a node, in InfluxQL.
func ingestBoard() *dashboard.DashboardBuilder {
	shard := of(ops.ShardPoint)
	b := newBoard(IngestUID, "Pingline: Ingest", "Is every ping taken, kept and stored, and how soon? From the points that each node writes about itself every 10 s.").
		Time("now-1h", "now").Refresh("10s").
		WithVariable(sourceVariable("datasource", "Data source", influxType, "")).
		WithVariable(allVariable(inInflux, "node", "Node", of(ops.NodePoint).values("node"))).
		WithVariable(allVariable(inInflux, "shard", "Shard", shard.values("shard"))).
		WithVariable(allVariable(inInflux, "lane", "Lane", of(ops.LanePoint).values("lane"))).
		WithVariable(mapVariable())
	addIngest(inInflux, b)
	return b
}

// prometheusBoard is the same from /metrics, in PromQL.
func prometheusBoard() *dashboard.DashboardBuilder {
	labels := func(name, label string) string { return fmt.Sprintf("label_values(%s, %s)", name, label) }
	b := newBoard(PrometheusUID, "Pingline: Ingest (Prometheus)", "The board Ingest, from /metrics: it goes on where InfluxDB is away or a node is overloaded.").
		Time("now-1h", "now").Refresh("10s").
		WithVariable(sourceVariable("datasource", "Data source", prometheusType, "")).
		WithVariable(allVariable(inPrometheus, "node", "Instance", labels("pingline_shed_level", "instance"))).
		WithVariable(allVariable(inPrometheus, "shard", "Shard", labels("pingline_breaker_state", "shard"))).
		WithVariable(allVariable(inPrometheus, "lane", "Lane", labels("pingline_queue_pings", "lane"))).
		WithVariable(mapVariable())
	addIngest(inPrometheus, b)
	return b
}

// addIngest puts all panels on the board, in rows by question.
func addIngest(d dialect, b *dashboard.DashboardBuilder) {
	b.WithRow(dashboard.NewRowBuilder("Do I have to get up?"))
	d.add(b, ingestNow()...)
	b.WithRow(dashboard.NewRowBuilder("Taking pings in"))
	d.add(b, ingestIn()...)
	b.WithRow(dashboard.NewRowBuilder("Waiting in the log"))
	d.add(b, ingestQueue()...)
	b.WithRow(dashboard.NewRowBuilder("Storing"))
	d.add(b, ingestOut()...)
	b.WithRow(dashboard.NewRowBuilder("The machine"))
	d.add(b, ingestMachine()...)
}

// metric returns a metric's selector, narrowed to the chosen values of variables and
// by matchers. A metric that is not exposed ends the program.
func metric(name string, matchers ...string) string {
	base := strings.TrimSuffix(name, "_bucket")
	labels, ok := ops.MetricLabels(base)
	if !ok {
		panic(fmt.Sprintf("there is no metric %q", name))
	}
	list := append([]string{`instance=~"$node"`}, matchers...)
	for _, label := range labels {
		if label == "shard" || label == "lane" && base != "pingline_freshness_seconds" {
			list = append(list, fmt.Sprintf(`%s=~"$%s"`, label, label))
		}
	}
	return name + "{" + strings.Join(list, ", ") + "}"
}

func promRate(name string, matchers ...string) string {
	return "rate(" + metric(name, matchers...) + "[$__rate_interval])"
}

func ingestNow() []panel {
	nodes, shard, lane, reason := of(ops.NodePoint), of(ops.ShardPoint), of(ops.LanePoint), of(ops.ReasonPoint)
	return []panel{
		{title: "Shed level", number: true, states: shedLevels, limits: limits{1, 3}, unit: units.Short,
			about:  "How much is given up, of the node that gives up most. 0 is nothing. From level 2 on a node writes no points about itself, so that this is the last it said: /metrics goes on. docs/failure-modes.md, Shed levels.",
			influx: []target{{query: nodes.gauge("max", nil, "level"), name: "level"}},
			prom:   []target{{query: "max(" + metric("pingline_shed_level") + ")", name: "level"}}},
		{title: "Breaker", number: true, states: breakerStates, limits: limits{1, 2}, unit: units.Short,
			about:  "Whether a shard's InfluxDB takes writes: closed is good, open means that it takes none and pings wait in the log. docs/failure-modes.md, InfluxDB.",
			influx: []target{{query: shard.gauge("max", []string{"shard"}, "breaker"), name: "$tag_shard"}},
			prom:   []target{{query: "max by (shard) (" + metric("pingline_breaker_state") + ")", name: "{{shard}}"}}},
		{title: "Oldest waiting", number: true, limits: limits{60, 300}, unit: units.Seconds,
			about:  "Age of the oldest commit of the log that a lane has not stored. Some seconds are normal; minutes mean that InfluxDB is slow or away.",
			influx: []target{{query: lane.gauge("max", nil, "oldest_s"), name: "oldest"}},
			prom:   []target{{query: "max(" + metric("pingline_queue_oldest_seconds") + ")", name: "oldest"}}},
		{title: "Pings waiting", number: true, unit: units.Short,
			about:  "Pings in the log that are not stored yet, exactly, of all nodes.",
			influx: []target{{query: nodes.gauge("max", []string{"node"}, "queued"), name: "$tag_node"}},
			prom:   []target{{query: "sum by (instance) (" + metric("pingline_queued_pings") + ")", name: "{{instance}}"}}},
		{title: "Gap in the accounts", number: true, limits: limits{1, 1000}, unit: units.Short,
			about:  "Differences in the equations of the accounts: pings that came in and are nowhere. It moves while requests are in progress, and a gap that stays when all is quiet is a fault. docs/self.md.",
			influx: []target{{query: reason.in("kind", "gap").gauge("max", []string{"reason"}, "count"), name: "$tag_reason"}},
			prom:   []target{{query: "max by (equation) (abs(" + metric("pingline_conservation_gap") + "))", name: "{{equation}}"}}},
		{title: "Free disk", number: true, limits: limits{yellow: 10 << 30, red: 1 << 30}, unit: units.BytesIEC,
			about:  "Room on the disk of --data-dir. With none, pings are refused with 503.",
			influx: []target{{query: nodes.gauge("min", []string{"node"}, "disk_free_bytes"), name: "$tag_node"}},
			prom:   []target{{query: "min by (instance) (" + metric("pingline_disk_free_bytes") + ")", name: "{{instance}}"}}},
	}
}

func ingestIn() []panel {
	nodes, reason := of(ops.NodePoint), of(ops.ReasonPoint)
	kept := nodes.scoped()
	const pings = "pingline_pings_total"
	return []panel{
		{title: "Pings by verdict", unit: pingsPerSecond, stacked: true,
			about:  "Pings answered a second: accepted are stored, held and redundant add nothing to their track, duplicate came twice, shed are given up under overload, rejected are invalid.",
			influx: []target{{query: nodes.rate(nil, verdicts()...), name: "$col"}},
			prom:   []target{{query: "sum by (verdict) (" + promRate(pings) + ")", name: "{{verdict}}"}}},
		{title: "Kept", unit: units.PercentUnit,
			about: "Stored pings ÷ valid pings: how much the filter leaves. It depends on how the riders move and on --max-error; a jump means that something else has changed.",
			influx: []target{{name: "kept", query: `SELECT (sum("a") + sum("p")) / (sum("r") - sum("j")) AS "kept" FROM (SELECT ` +
				fmt.Sprintf(`non_negative_difference(max(%s)) AS "a", non_negative_difference(max(%s)) AS "p", non_negative_difference(max(%s)) AS "r", non_negative_difference(max(%s)) AS "j" `,
					nodes.field(pingline.Accepted.String()), nodes.field("promoted"), nodes.field("received"), nodes.field(pingline.Rejected.String())) +
				kept.from(timeFilter) + groupBy(perStep, kept.tag("node")) + " fill(none)) WHERE " + timeFilter + groupBy(perStep) + " fill(none)"}},
			prom: []target{{name: "kept", query: fmt.Sprintf("(sum(%s) + sum(%s)) / sum(%s)", promRate(pings, `verdict="accepted"`), promRate("pingline_held_total", `fate="promoted"`), promRate(pings, `verdict!="rejected"`))}}},
		{title: "Answers and commits, p99", unit: units.Milliseconds, limits: limits{500, 2000},
			about: "Time that 99 % of the requests, and of the appends to the log in them, took at most. A slow append is a slow disk.",
			influx: []target{
				{query: nodes.gauge("max", []string{"node"}, "request_p99_ms"), name: "$tag_node request"},
				{query: nodes.gauge("max", []string{"node"}, "commit_p99_ms"), name: "$tag_node commit"}},
			prom: []target{
				{query: "1000 * histogram_quantile(0.99, sum by (le) (" + promRate("pingline_request_seconds_bucket", `route=~"/v1/.*"`) + "))", name: "request"},
				{query: "1000 * histogram_quantile(0.99, sum by (le) (" + promRate("pingline_commit_seconds_bucket") + "))", name: "commit"}}},
		{title: "Invalid pings, by field", unit: pingsPerSecond,
			about:  "Pings rejected a second, by the field that was wrong: a new version of an app that sends nonsense shows here. Nothing while none is rejected.",
			influx: []target{{query: reason.in("kind", "rejected").rate([]string{"reason"}, "count"), name: "$tag_reason"}},
			prom:   []target{{query: "sum by (reason) (" + promRate("pingline_rejected_total") + ")", name: "{{reason}}"}}},
	}
}

func ingestQueue() []panel {
	nodes, lane := of(ops.NodePoint), of(ops.LanePoint)
	byLane := []string{"shard", "lane"}
	return []panel{
		{title: "Waiting, by lane", unit: pingsUnit,
			about:  "Pings (in the lane own: lines about cells and nodes) that wait for a shard. critical has events, live the newest, backfill what was left out to keep live fresh.",
			influx: []target{{query: lane.gauge("max", byLane, "waiting"), name: "$tag_shard $tag_lane"}},
			prom:   []target{{query: "sum by (shard, lane) (" + metric("pingline_queue_pings") + ")", name: "{{shard}} {{lane}}"}}},
		{title: "Age of the oldest, by lane", unit: units.Seconds, limits: limits{60, 300},
			about:  "Age of the oldest commit that a lane waits with. A line that rises with the clock is a lane that stands.",
			influx: []target{{query: lane.gauge("max", byLane, "oldest_s"), name: "$tag_shard $tag_lane"}},
			prom:   []target{{query: "max by (shard, lane) (" + metric("pingline_queue_oldest_seconds") + ")", name: "{{shard}} {{lane}}"}}},
		{title: "Log", unit: units.BytesIEC,
			about: "Size of the log, and the size at which it takes no more (--queue-max-bytes). Pings are given up at half of it: docs/failure-modes.md, Shed levels.",
			influx: []target{
				{query: nodes.gauge("max", []string{"node"}, "queue_bytes"), name: "$tag_node"},
				{query: nodes.gauge("max", []string{"node"}, "queue_max_bytes"), name: "$tag_node limit"}},
			prom: []target{
				{query: "max by (instance) (" + metric("pingline_queue_bytes") + ")", name: "{{instance}}"},
				{query: "max by (instance) (" + metric("pingline_queue_max_bytes") + ")", name: "{{instance}} limit"}}},
		{title: "Shed level over time", unit: units.Short, limits: limits{1, 3}, states: shedLevels,
			about:  "When was something given up, and by which node?",
			influx: []target{{query: nodes.gauge("max", []string{"node"}, "level"), name: "$tag_node"}},
			prom:   []target{{query: "max by (instance) (" + metric("pingline_shed_level") + ")", name: "{{instance}}"}}},
	}
}

func ingestOut() []panel {
	shard, reason, set := of(ops.ShardPoint), of(ops.ReasonPoint), of(ops.SetPoint)
	bySet := []string{"node", "set"}
	byShard := []string{"shard"}
	return []panel{
		{title: "Stored, by shard", unit: pingsPerSecond, stacked: true,
			about:  "Pings stored a second, by the shard that took them.",
			influx: []target{{query: shard.rate(byShard, "written"), name: "$tag_shard"}},
			prom:   []target{{query: "sum by (shard) (" + promRate("pingline_written_total") + ")", name: "{{shard}}"}}},
		{title: "Freshness, p99", unit: units.Seconds, limits: limits{30, 120},
			about:  "Age at most of 99 % of the pings when they were stored: the phone's delay, the log's and InfluxDB's. backfill is old by its nature.",
			influx: []target{{query: of(ops.LanePoint).gauge("max", []string{"shard", "lane"}, "freshness_p99_s"), name: "$tag_shard $tag_lane"}},
			prom:   []target{{query: "histogram_quantile(0.99, sum by (le, lane) (" + promRate("pingline_freshness_seconds_bucket") + "))", name: "{{lane}}"}}},
		{title: "Writes, p99", unit: units.Milliseconds, limits: limits{1000, 5000},
			about:  "Time that 99 % of the writes to a shard took at most. At --influx-timeout a write is broken off and made again.",
			influx: []target{{query: shard.gauge("max", byShard, "write_p99_ms"), name: "$tag_shard"}},
			prom:   []target{{query: "1000 * histogram_quantile(0.99, sum by (le, shard) (" + promRate("pingline_write_seconds_bucket") + "))", name: "{{shard}}"}}},
		{title: "Writes made again", unit: "suffix: writes/s",
			about:  "Writes that had to be made again, a second. Some are normal when InfluxDB is restarted.",
			influx: []target{{query: shard.rate(byShard, "retries"), name: "$tag_shard"}}},
		{title: "Breaker over time", unit: units.Short, states: breakerStates, limits: limits{1, 2},
			about:  "When did a shard take no writes?",
			influx: []target{{query: shard.gauge("max", byShard, "breaker"), name: "$tag_shard"}},
			prom:   []target{{query: "max by (shard) (" + metric("pingline_breaker_state") + ")", name: "{{shard}}"}}},
		{title: "Dead letters, by reason", unit: pingsPerSecond, limits: limits{yellow: 0.001},
			about:  "Pings a second that a store refused and that are kept as dead letters. Nothing while there are none. pingline deadletter list shows them. docs/failure-modes.md, When rows are refused.",
			influx: []target{{query: reason.in("kind", "dead_letter").rate([]string{"reason"}, "count"), name: "$tag_reason"}},
			prom:   []target{{query: "sum by (reason) (" + promRate("pingline_dead_letters_total") + ")", name: "{{reason}}"}}},
		{title: "Change of shards", unit: units.Short, states: reshardPhases,
			about:  "How far a change of shards is that runs, by set. In dual the new layout is written as well, in cut it is in force. docs/reshard.md, Phases.",
			influx: []target{{query: set.gauge("max", bySet, "reshard_phase"), name: "$tag_node $tag_set"}},
			prom:   []target{{query: "max by (instance, set) (" + metric("pingline_reshard_phase") + ")", name: "{{instance}} {{set}}"}}},
		{title: "Change of shards: history", unit: units.PercentUnit,
			about:  "Share of the history of a change that is copied, and then compared, by set. Each begins at 0. Nothing while no history is moved; if the line is flat below 1, pingline reshard status says why. docs/reshard.md, History.",
			influx: []target{{query: set.gauge("max", bySet, "reshard_history_share"), name: "$tag_node $tag_set"}},
			prom:   []target{{query: "max by (instance, set) (" + metric("pingline_reshard_history") + ")", name: "{{instance}} {{set}}"}}},
	}
}

func ingestMachine() []panel {
	nodes, memory := of(ops.NodePoint), of(ops.MemoryPoint)
	return []panel{
		{title: "Memory, by account", unit: units.BytesIEC, stacked: true,
			about:  "Memory of the parts that grow with what comes in; docs/self.md, Memory, has the limit of each and what happens there.",
			influx: []target{{query: memory.gauge("max", []string{"node", "account"}, "bytes"), name: "$tag_node $tag_account"}},
			prom:   []target{{query: "sum by (account) (" + metric("pingline_memory_bytes") + ")", name: "{{account}}"}}},
		{title: "Tracks and held pings", unit: units.Short,
			about: "Tracks that the filter knows, and pings it holds back until the next shows whether they are needed.",
			influx: []target{
				{query: nodes.gauge("max", []string{"node"}, "riders"), name: "$tag_node tracks"},
				{query: nodes.gauge("max", []string{"node"}, "holding"), name: "$tag_node held"}},
			prom: []target{
				{query: "sum by (instance) (" + metric("pingline_filter_riders") + ")", name: "{{instance}} tracks"},
				{query: "sum by (instance) (" + metric("pingline_holding") + ")", name: "{{instance}} held"}}},
		{title: "Dead letters on disk", unit: units.BytesIEC,
			about: "Size of the dead letters, and the size at which writing stops (--deadletter-max-bytes).",
			influx: []target{
				{query: nodes.gauge("max", []string{"node"}, "dead_letter_bytes"), name: "$tag_node"},
				{query: nodes.gauge("max", []string{"node"}, "dead_letter_max_bytes"), name: "$tag_node limit"}},
			prom: []target{
				{query: "max by (instance) (" + metric("pingline_dead_letter_bytes") + ")", name: "{{instance}}"},
				{query: "max by (instance) (" + metric("pingline_dead_letter_max_bytes") + ")", name: "{{instance}} limit"}}},
	}
}
