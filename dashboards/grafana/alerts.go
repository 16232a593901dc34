package grafana

import (
	"fmt"
	"strings"
	"time"

	"github.com/grafana/grafana-foundation-sdk/go/alerting"
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/expr"

	"pingline/internal/ops"
)

// Rule is a reason to wake somebody, for Grafana over InfluxDB and for Prometheus.
type Rule struct {
	UID     string // never changes
	Alert   string // its name in Prometheus
	Title   string
	About   string
	Heading string // in docs/failure-modes.md, where to read on

	query  string  // InfluxQL, a value for each series
	limit  float64 // it fires above it, or below
	below  bool
	silent bool   // no data is a reason, too
	prom   string // PromQL, rows mean that it fires
	wait   time.Duration
}

// runbook leads to where to read on.
const runbookFile = "docs/failure-modes.md"

func (r *Rule) runbook() string { return runbookFile + "#" + anchor(r.Heading) }

// anchor is how GitHub and others name the place of a heading.
func anchor(heading string) string {
	return strings.ReplaceAll(strings.NewReplacer(",", "", ".", "", "`", "").Replace(strings.ToLower(heading)), " ", "-")
}

func (r *Rule) annotations() map[string]string {
	return map[string]string{"summary": r.Title, "description": r.About, "runbook_url": r.runbook()}
}

func (r *Rule) labels() map[string]string { return map[string]string{"service": "pingline"} }

// Headings of docs/failure-modes.md.
const (
	headStore    = "InfluxDB"
	headSettings = "Settings of InfluxDB, and rows it refuses"
	headLog      = "The log, its disk and the process"
	headLevels   = "Shed levels"
	headRefused  = "When rows are refused"
)

// Rules returns all rules.
func Rules() []Rule {
	nodes, shard, lane, gap := of(ops.NodePoint), of(ops.ShardPoint), of(ops.LanePoint), of(ops.ReasonPoint).in("kind", "gap")
	over := func(m measurement, columns, span string, by ...string) string {
		list := m.tagList(append([]string{"node"}, by...))
		return "SELECT " + columns + ` AS "value" ` + m.from("time > now() - "+span) + groupBy(list[0], list[1:]...)
	}
	exposed := func(name string) string { metric(name); return name }
	fresh := lane.and(lane.tag("lane") + " != 'backfill'")
	return []Rule{
		{UID: "pingline-oldest", Alert: "PinglineOldestPingWaits", Heading: headStore, wait: 2 * time.Minute,
			Title: "Pings wait for minutes", About: "The oldest commit that waits for the store is older than 5 minutes: InfluxDB is slow or away. Nothing is lost; the log fills.",
			query: over(fresh, "last("+lane.field("oldest_s")+")", "5m", "shard", "lane"), limit: 300,
			prom: "max by (instance, shard, lane) (" + exposed("pingline_queue_oldest_seconds") + `{lane!="backfill"}) > 300`},
		{UID: "pingline-breaker", Alert: "PinglineBreakerOpen", Heading: headStore, wait: 2 * time.Minute,
			Title: "A shard takes no writes", About: "The circuit breaker of a shard is open: its InfluxDB answers no write. Its pings wait in the log.",
			query: over(shard, "last("+shard.field("breaker")+")", "5m", "shard"), limit: 1,
			prom: "max by (instance, shard) (" + exposed("pingline_breaker_state") + ") > 1"},
		{UID: "pingline-lane", Alert: "PinglineLaneStands", Heading: headStore, wait: time.Minute,
			Title: "A lane stands", About: "The oldest entry of a lane has grown older by as much as the clock went on, for 5 minutes: the lane stores nothing.",
			query: over(lane, "last("+lane.field("oldest_s")+") - first("+lane.field("oldest_s")+")", "5m", "shard", "lane"), limit: 240,
			prom: "max by (instance, shard, lane) (delta(" + exposed("pingline_queue_oldest_seconds") + "[5m])) > 240"},
		{UID: "pingline-stopped", Alert: "PinglineShardStopped", Heading: headSettings, wait: time.Minute,
			Title: "A shard waits for an operator", About: "Credentials, rights, a missing bucket, a limit, or too many refused rows: the shard stands still until it is put right. /readyz says which.",
			query: over(shard, "last("+shard.field("stopped")+")", "5m", "shard"), limit: 0,
			prom: "max by (instance, shard, reason) (" + exposed("pingline_stopped") + ") > 0"},
		{UID: "pingline-gap", Alert: "PinglineConservationGap", Heading: headLog, wait: 5 * time.Minute,
			Title: "The accounts do not add up", About: "An equation of the accounts has had a difference for 15 minutes without a break: pings came in and are nowhere.",
			query: `SELECT min("gap") AS "value" FROM (SELECT abs(` + gap.field("count") + `) AS "gap" ` + gap.from("time > now() - 15m") + groupBy(gap.tag("node"), gap.tag("reason")) + ") WHERE time > now() - 15m" + groupBy(gap.tag("node"), gap.tag("reason")), limit: 0,
			prom: "min by (instance, equation) (min_over_time(abs(" + exposed("pingline_conservation_gap") + ")[15m:30s])) > 0"},
		{UID: "pingline-shed", Alert: "PinglineSheds", Heading: headLevels, wait: 2 * time.Minute,
			Title: "Something is given up", About: "The shed level is above 0. From level 2 on a node writes no points about itself: then only Prometheus sees the level, and here the node falls silent.",
			query: over(nodes, "last("+nodes.field("level")+")", "5m"), limit: 0,
			prom: "max by (instance) (" + exposed("pingline_shed_level") + ") > 0"},
		{UID: "pingline-deadletters", Alert: "PinglineDeadLetters", Heading: headRefused,
			Title: "A store refuses rows", About: "Rows were refused for their content within 15 minutes, and are kept as dead letters: pingline deadletter list shows why.",
			query: over(nodes, "last("+nodes.field("dead_letters")+") - first("+nodes.field("dead_letters")+")", "15m"), limit: 0,
			prom: "sum by (instance, shard, reason) (increase(" + exposed("pingline_dead_letters_total") + "[15m])) > 0"},
		{UID: "pingline-reshard", Alert: "PinglineReshardStands", Heading: headStore, wait: time.Minute,
			Title: "History is not moved on", About: "The moving of history to other shards has stood for 10 minutes, or is paused: pingline reshard status says why. Pings are taken and stored as ever.",
			query: over(nodes, "last("+nodes.field("reshard_stands_s")+")", "5m"), limit: 600,
			prom: "max by (instance) (" + exposed("pingline_reshard_stands_seconds") + ") > 600"},
		{UID: "pingline-disk", Alert: "PinglineDiskNearlyFull", Heading: headLog, wait: 5 * time.Minute,
			Title: "The disk is nearly full", About: "Less than 1 GiB is free on the disk of --data-dir. With 4 MiB left, pings are refused.",
			query: over(nodes, "last("+nodes.field("disk_free_bytes")+")", "5m"), limit: 1 << 30, below: true,
			prom: "min by (instance) (" + exposed("pingline_disk_free_bytes") + fmt.Sprintf(") < %d", 1<<30)},
		{UID: "pingline-log", Alert: "PinglineLogTrouble", Heading: headLog, wait: time.Minute,
			Title: "Pings cannot be made durable", About: "Appends to the log fail: the disk is full or broken. Phones get 503 and keep their pings.",
			query: over(nodes, "last("+nodes.field("log_trouble")+")", "5m"), limit: 0,
			prom: "max by (instance) (" + exposed("pingline_log_trouble") + ") > 0"},
		{UID: "pingline-silent", Alert: "PinglineSilent", Heading: headLog, wait: 2 * time.Minute, silent: true,
			Title: "A node is silent", About: "A node has written nothing about itself for 5 minutes: it is gone, overloaded, or the store that its points go to is away.",
			query: over(nodes, "count("+nodes.field("received")+")", "1h") + ", time(5m) fill(0)", limit: 1, below: true,
			prom: "absent(" + exposed("pingline_shed_level") + ") > 0"},
	}
}

// Files of provisioning for Grafana have forms of their own, of which the SDK knows
// the parts.
type (
	alertFile struct {
		APIVersion int          `json:"apiVersion"`
		Groups     []alertGroup `json:"groups"`
	}
	alertGroup struct {
		OrgID    int         `json:"orgId"`
		Name     string      `json:"name"`
		Folder   string      `json:"folder"`
		Interval string      `json:"interval"`
		Rules    []alertRule `json:"rules"`
	}
	alertRule struct {
		UID          string                    `json:"uid"`
		Title        string                    `json:"title"`
		Condition    string                    `json:"condition"`
		Data         []alerting.Query          `json:"data"`
		NoDataState  alerting.RuleNoDataState  `json:"noDataState"`
		ExecErrState alerting.RuleExecErrState `json:"execErrState"`
		For          string                    `json:"for"`
		Annotations  map[string]string         `json:"annotations"`
		Labels       map[string]string         `json:"labels"`
	}
)

// alertRules returns the rules for Grafana, over the data source that the provisioned
// one is.
func alertRules() (alertFile, error) {
	g := alertGroup{OrgID: 1, Name: "Pingline", Folder: folder, Interval: "1m"}
	for _, r := range Rules() {
		data, err := r.chain()
		if err != nil {
			return alertFile{}, fmt.Errorf("rule %s: %w", r.UID, err)
		}
		none := alerting.RuleNoDataStateOK
		if r.silent {
			none = alerting.RuleNoDataStateAlerting
		}
		g.Rules = append(g.Rules, alertRule{
			UID: r.UID, Title: r.Title, Condition: "C", Data: data, NoDataState: none, ExecErrState: alerting.RuleExecErrStateError,
			For: fmt.Sprintf("%ds", int(r.wait.Seconds())), Annotations: r.annotations(), Labels: r.labels(),
		})
	}
	return alertFile{1, []alertGroup{g}}, nil
}

// chain asks, takes the newest value of each series, and compares.
func (r *Rule) chain() (list []alerting.Query, err error) {
	from := common.DataSourceRef{Type: cog.ToPtr(influxType), Uid: cog.ToPtr(sourceUID)}
	evaluate := expr.ExprTypeThresholdConditionsEvaluatorTypeGt
	if r.below {
		evaluate = expr.ExprTypeThresholdConditionsEvaluatorTypeLt
	}
	own := common.DataSourceRef{Type: cog.ToPtr("__expr__"), Uid: cog.ToPtr("__expr__")}
	for _, q := range []struct {
		ref, source string
		model       cog.Builder[variants.Dataquery]
	}{
		{"A", sourceUID, inInflux.query("A", from, target{query: r.query})},
		{"B", "__expr__", expr.NewExprBuilder().TypeReduce(expr.NewTypeReduceBuilder().RefId("B").Datasource(own).Expression("A").Reducer(expr.TypeReduceReducerLast))},
		{"C", "__expr__", expr.NewExprBuilder().TypeThreshold(expr.NewTypeThresholdBuilder().RefId("C").Datasource(own).Expression("B").Conditions([]cog.Builder[expr.ExprTypeThresholdConditions]{
			expr.NewExprTypeThresholdConditionsBuilder().Evaluator(expr.NewExprTypeThresholdConditionsEvaluatorBuilder().Type(evaluate).Params([]float64{r.limit})),
		}))},
	} {
		built, err := alerting.NewQueryBuilder(q.ref).DatasourceUid(q.source).RelativeTimeRange(900, 0).Model(q.model).Build()
		if err != nil {
			return nil, err
		}
		list = append(list, built)
	}
	return list, nil
}

// The rules file of Prometheus.
type (
	promFile struct {
		Groups []promGroup `json:"groups"`
	}
	promGroup struct {
		Name  string     `json:"name"`
		Rules []promRule `json:"rules"`
	}
	promRule struct {
		Alert       string            `json:"alert"`
		Expr        string            `json:"expr"`
		For         string            `json:"for"`
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
	}
)

func promRules() promFile {
	g := promGroup{Name: "pingline"}
	for _, r := range Rules() {
		g.Rules = append(g.Rules, promRule{r.Alert, r.prom, fmt.Sprintf("%ds", int(r.wait.Seconds())), r.labels(), r.annotations()})
	}
	return promFile{[]promGroup{g}}
}
