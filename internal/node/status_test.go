package node

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"pingline/internal/influxd"
)

// GET /v1/status tells the numbers of /metrics.
func TestStatusTellsWhatMetricsTell(t *testing.T) {
	store := influxd.RunTest(t)
	cfg := DefaultConfig()
	cfg.Name, cfg.Listen, cfg.OpsListen, cfg.DataDir = "n", "127.0.0.1:0", "", t.TempDir()
	cfg.Influx.Host, cfg.RiderRate, cfg.RiderBurst = store.URL(), 1e-6, 3
	if err := store.CreateBucket(t.Context(), cfg.Influx.Bucket, 0); err != nil {
		t.Fatal(err)
	}
	n := drive(t, cfg)
	now := time.Now().UnixMilli()
	for rider, pings := range []int{3, 4} { // at rest: the first is accepted, the last held
		body := `[{"rider_id":"invalid"}`
		for i := range pings {
			body += fmt.Sprintf(`,{"rider_id":"r-%d","ts":%d,"lat":41,"lon":29}`, rider, now-int64(60_000-1000*i))
		}
		if rider == 1 {
			body += fmt.Sprintf(`,{"rider_id":"r-0","ts":%d,"lat":41,"lon":29}`, now) // over its rate
		}
		resp, err := http.Post(n.URL()+"/v1/pings", "application/json", strings.NewReader(body+"]"))
		if err != nil {
			t.Fatal(err)
		}
		said, err := io.ReadAll(resp.Body)
		if _ = resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s %s: %v", resp.Status, said, err)
		}
	}
	deadline := time.Now().Add(10 * time.Minute)
	for n.state().Stored < 2 && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
	answer := httptest.NewRecorder()
	n.metrics.Handler(&n.parts).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	sum := func(metric string) (sum float64) {
		t.Helper()
		all := regexp.MustCompile(`(?m)^pingline_`+metric+` (\S+)$`).FindAllStringSubmatch(answer.Body.String(), -1)
		if all == nil {
			t.Fatalf("/metrics has no %s", metric)
		}
		for _, m := range all {
			v, err := strconv.ParseFloat(m[1], 64)
			if err != nil {
				t.Fatal(err)
			}
			sum += v
		}
		return sum
	}
	s := n.state()
	for metric, told := range map[string]uint64{
		"pings_total{.*}": s.Received, `pings_total{verdict="shed"}`: s.Shed, "written_total{.*}": s.Stored,
		"queued_pings": s.Queued, "filter_riders": uint64(s.Riders), "stream_viewers": uint64(s.Streams), "shed_level": uint64(s.Level),
	} {
		if want := sum(metric); float64(told) != want {
			t.Errorf("%s is %v, told is %d", metric, want, told)
		}
	}
	if valid := sum("pings_total{.*}") - sum(`pings_total{verdict="rejected"}`); float64(s.Valid) != valid || float64(s.Kept)/valid != sum("kept_ratio") {
		t.Errorf("%d of %d are kept, and the ratio is %v", s.Kept, s.Valid, sum("kept_ratio"))
	}
	if s.Received == 0 || s.Shed == 0 || s.Stored == 0 || s.Kept == 0 || s.Riders != 2 {
		t.Errorf("it tells %+v", s)
	}
	if len(s.Breakers) != 1 || s.Breakers[0].Shard != soleShard || s.Breakers[0].State != "closed" || s.Unready != "" {
		t.Errorf("it tells %+v", s)
	}
}

// Pings that wait for a store that does not answer are told, with the time for which the
// oldest has waited, and the breaker that is open.
func TestStatusOfAStoreThatIsAway(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Name, cfg.Listen, cfg.OpsListen, cfg.DataDir, cfg.Influx.Host = "n", "127.0.0.1:0", "", t.TempDir(), "http://127.0.0.1:1"
	n := drive(t, cfg)
	resp, err := http.Post(n.URL()+"/v1/pings", "application/json", strings.NewReader(fmt.Sprintf(`{"rider_id":"r","ts":%d,"lat":41,"lon":29}`, time.Now().UnixMilli())))
	if err != nil {
		t.Fatal(err)
	}
	if _ = resp.Body.Close(); resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	deadline := time.Now().Add(10 * time.Minute)
	s := n.state()
	for (s.Breakers[0].State == "closed" || s.Queued == 0 || s.QueueAge == 0) && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
		s = n.state()
	}
	if s.Breakers[0].State != "open" && s.Breakers[0].State != "half-open" || s.Queued != 1 || s.QueueAge <= 0 {
		t.Errorf("it tells %+v", s)
	}
}
