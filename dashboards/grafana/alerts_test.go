package grafana

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each rule leads to a heading that is there, and has names that nobody else has.
func TestRunbooksAreThere(t *testing.T) {
	doc, err := os.ReadFile("../../" + runbookFile)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, r := range Rules() {
		if !strings.Contains(string(doc), "\n## "+r.Heading+"\n") {
			t.Errorf("%s: %s has no heading %q", r.UID, runbookFile, r.Heading)
		}
		for _, name := range []string{r.UID, r.Alert, r.Title} {
			if seen[name] || name == "" {
				t.Errorf("%s: %q is empty or there twice", r.UID, name)
			}
			seen[name] = true
		}
	}
	if got := anchor(headSettings); got != "settings-of-influxdb-and-rows-it-refuses" {
		t.Errorf("the anchor is %q", got)
	}
}

// checkRules runs the query of each rule, and looks for its metric.
func (f *filled) checkRules() {
	f.t.Helper()
	metrics := regexp.MustCompile(`pingline_[a-z_]+`)
	for _, r := range Rules() {
		if f.rows(f.buckets[0], r.query) == 0 {
			f.t.Errorf("%s returns no row: %s", r.UID, r.query)
		}
		name := metrics.FindString(r.prom)
		if !strings.Contains(f.metrics, "\n"+name+"{") && !strings.Contains(f.metrics, "\n"+name+" ") {
			f.t.Errorf("%s asks for %s, of which nothing is exposed", r.UID, name)
		}
	}
}

// promtool returns Prometheus' tool, which make promtool builds.
func promtool(t *testing.T) string {
	t.Helper()
	for _, path := range []string{"../../.cache/bin/promtool", "promtool"} {
		found, err := exec.LookPath(path)
		if err == nil || errors.Is(err, exec.ErrDot) {
			if found, err = filepath.Abs(found); err == nil {
				return found
			}
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatal("there is no promtool: make promtool")
	}
	t.Skip("there is no promtool: make promtool builds it")
	return ""
}

// Prometheus fires each rule on the series that are its reason, not before it has waited,
// and on none of the series of a node that is well.
func TestPrometheusRules(t *testing.T) {
	tool := promtool(t)
	rules, err := filepath.Abs("prometheus/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const node = `instance="n"`
	shard := node + `, shard="a"`
	well := map[string]string{
		`pingline_queue_oldest_seconds{` + shard + `, lane="live"}`:     "0+1x3 1x60",
		`pingline_queue_oldest_seconds{` + shard + `, lane="backfill"}`: "400x60",
		`pingline_breaker_state{` + shard + `}`:                         "0x60",
		`pingline_stopped{` + shard + `, reason="missing"}`:             "0x60",
		`pingline_conservation_gap{` + node + `, equation="stored"}`:    "0 5 -3 0 0x10 7 0 0x60",
		`pingline_shed_level{` + node + `}`:                             "0x60",
		`pingline_dead_letters_total{` + shard + `, reason="expired"}`:  "7x60",
		`pingline_disk_free_bytes{` + node + `}`:                        "20000000000x60",
		`pingline_log_trouble{` + node + `}`:                            "0x60",
		`pingline_reshard_stands_seconds{` + node + `}`:                 "0 30 60 0x60",
	}
	type ill struct{ series, values, labels string }
	ills := map[string]ill{
		"PinglineOldestPingWaits": {`pingline_queue_oldest_seconds{` + shard + `, lane="live"}`, "301x60", `{instance: n, shard: a, lane: live, service: pingline}`},
		"PinglineLaneStands":      {`pingline_queue_oldest_seconds{` + shard + `, lane="backfill"}`, "0+60x60", `{instance: n, shard: a, lane: backfill, service: pingline}`},
		"PinglineBreakerOpen":     {`pingline_breaker_state{` + shard + `}`, "2x60", `{instance: n, shard: a, service: pingline}`},
		"PinglineShardStopped":    {`pingline_stopped{` + shard + `, reason="missing"}`, "1x60", `{instance: n, shard: a, reason: missing, service: pingline}`},
		"PinglineConservationGap": {`pingline_conservation_gap{` + node + `, equation="stored"}`, "-3x60", `{instance: n, equation: stored, service: pingline}`},
		"PinglineSheds":           {`pingline_shed_level{` + node + `}`, "1x60", `{instance: n, service: pingline}`},
		"PinglineDeadLetters":     {`pingline_dead_letters_total{` + shard + `, reason="expired"}`, "7+1x60", `{instance: n, shard: a, reason: expired, service: pingline}`},
		"PinglineDiskNearlyFull":  {`pingline_disk_free_bytes{` + node + `}`, "1000000000x60", `{instance: n, service: pingline}`},
		"PinglineLogTrouble":      {`pingline_log_trouble{` + node + `}`, "1x60", `{instance: n, service: pingline}`},
		"PinglineReshardStands":   {`pingline_reshard_stands_seconds{` + node + `}`, "0+60x60", `{instance: n, service: pingline}`},
		"PinglineSilent":          {`pingline_shed_level{` + node + `}`, "_x60", `{service: pingline}`},
	}
	var text strings.Builder
	fmt.Fprintf(&text, "rule_files: [%q]\nevaluation_interval: 30s\ntests:\n", rules)
	series := func(changed ill) {
		text.WriteString("  - interval: 1m\n    input_series:\n")
		for name, values := range well {
			if name == changed.series {
				values = changed.values
			}
			fmt.Fprintf(&text, "      - {series: '%s', values: '%s'}\n", name, values)
		}
		text.WriteString("    alert_rule_test:\n")
	}
	fires := func(r *Rule, at, alerts string) {
		fmt.Fprintf(&text, "      - {eval_time: %s, alertname: %s, exp_alerts: [%s]}\n", at, r.Alert, alerts)
	}
	all := Rules()
	series(ill{})
	for i := range all {
		fires(&all[i], "50m", "")
	}
	for i := range all {
		r := &all[i]
		bad, ok := ills[r.Alert]
		if !ok {
			t.Errorf("%s is not tried", r.Alert)
		}
		series(bad)
		fires(r, "50m", fmt.Sprintf("{exp_labels: %s, exp_annotations: {summary: %q, description: %q, runbook_url: %q}}", bad.labels, r.Title, r.About, r.runbook()))
		if r.wait > 0 {
			fires(r, "30s", "")
		}
	}
	path := filepath.Join(t.TempDir(), "test.yaml")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"check", "rules", rules}, {"test", "rules", path}} {
		if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}

// Prometheus understands each query of its board.
func TestPromQLIsUnderstood(t *testing.T) {
	tool := promtool(t)
	var text strings.Builder
	text.WriteString("groups:\n  - name: board\n    rules:\n")
	n := 0
	for _, list := range [][]panel{ingestNow(), ingestIn(), ingestQueue(), ingestOut(), ingestMachine()} {
		for _, p := range list {
			for _, q := range p.prom {
				n++
				fmt.Fprintf(&text, "      - {record: 'pingline:q%d', expr: '%s'}\n", n, strings.ReplaceAll(q.query, "$__rate_interval", "1m"))
			}
		}
	}
	path := filepath.Join(t.TempDir(), "board.yaml")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(tool, "check", "rules", path).CombinedOutput(); err != nil || n < 20 {
		t.Errorf("%d queries: %v\n%s", n, err, out)
	}
}

// The UID of a data source is one that Grafana takes, whatever the shard is called, and
// no two shards share it.
func TestSourcesHaveUIDs(t *testing.T) {
	seen := map[string]bool{}
	for i, shard := range []string{"a", "b", "b.2", "b:2", strings.Repeat("x", 64), strings.Repeat("x", 63) + "y"} {
		uid := sourceUIDOf(i, shard)
		if !uidForm.MatchString(uid) || seen[uid] {
			t.Errorf("%s has the UID %q", shard, uid)
		}
		seen[uid] = true
	}
}
