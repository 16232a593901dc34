package ops

import (
	"math"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"pingline/ingest/forward"
	"pingline/ingest/kafka"
	"pingline/ingest/mqtt"
	"pingline/ingest/server"
	"pingline/ingest/server/outcomes"
	"pingline/ingest/sqs"
	"pingline/internal/passing"
	"pingline/rollup"
	"pingline/rollup/merge"
	"pingline/sink"
	"pingline/sink/moving"
	"pingline/sink/reshard"
)

// Every number that Prometheus is told has a name and a help as its checker
// (promtool check metrics) wants them.
func TestMetricsPassPrometheusLint(t *testing.T) {
	m := NewMetrics()
	m.ObserveCommit(time.Millisecond, 3)
	m.ObserveRequest("/v1/pings", 200, time.Millisecond)
	m.ObserveWrite("a", 0.1)
	m.ObserveFreshness("a", "live", slices.Values([]float64{1}))
	s := &snapshot{
		Books: Books{
			Server:  server.Stats{CertExpires: time.Now(), Reasons: map[string]uint64{"ts": 1}, OutOfRange: map[string]uint64{"speed": 1}, Denied: map[string]uint64{"unknown": 1}, Phones: []outcomes.Count{{Protocol: "native", Outcome: outcomes.Taken, N: 1}}},
			Shards:  []sink.Stats{{Shard: "a", DeadLetters: map[string]uint64{"expired": 1}, Lanes: []sink.LaneStats{{Lane: "live"}}}},
			Sets:    map[string]sink.Account{"main": {}, "archive": {}},
			Changes: []reshard.SetStatus{{Set: "main", Phase: reshard.Settled}},
			Moving:  []moving.MoveStatus{{Set: "main"}},
			Uptime:  time.Second,
			Passed:  &passing.Stats{},
			Peers:   &forward.Stats{},
			Kafka:   &kafka.Stats{Messages: map[string]uint64{kafka.Taken: 1}},
			MQTT:    mqtt.Stats{Broker: &mqtt.BrokerStats{Messages: map[string]uint64{mqtt.Taken: 1}}, Subscriber: &mqtt.SubscriberStats{}},
			SQS:     &sqs.Stats{Messages: map[string]uint64{sqs.Taken: 1}},
		},
		rollup:   &rollup.Stats{Stages: []rollup.Stage{{Res: 8, Window: time.Second}}},
		merged:   new(merge.Stats),
		accounts: []account{{name: "log"}},
		full:     math.Inf(1),
	}
	answer := httptest.NewRecorder()
	promhttp.HandlerFor(m.registry(func() *snapshot { return s }), promhttp.HandlerOpts{}).ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	text := answer.Body.String()
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for i := range numbers {
		if n := &numbers[i]; n.metric != "" && !strings.Contains(text, "\n# TYPE pingline_"+n.metric+" ") {
			t.Errorf("pingline_%s is not there, so it is not checked", n.metric)
		}
	}
}
