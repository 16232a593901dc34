package node

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pingline/dedupe"
	"pingline/ingest/auth/access"
	"pingline/internal/jvm"
	"pingline/sink/influx/unread"
	"pingline/sink/influx/unread/unreadtest"
)

// beforeUnread sends pings to a node whose only store is killed in the middle. Each that is
// acknowledged is there once, as the server counts. Events are refused where a table says so, and
// take no other ping with them.
func beforeUnread(t *testing.T, in *unreadtest.Instance, kind string, events bool) {
	cfg := authConfig(t, "127.0.0.1:0", "", access.Settings{Ways: []string{"none"}})
	cfg.DataDir = filepath.Join(t.TempDir(), "data")
	cfg.Shards = []ShardConfig{{Name: "a", URL: kind + "://" + in.Addr, Weight: 1}}
	cfg.Bound, cfg.Rollup, cfg.NewRidersRate, cfg.BatchWait = dedupe.Bound{}, nil, 0, 50*time.Millisecond
	n := drive(t, cfg)
	at := time.Now().Add(-time.Hour).UnixMilli()
	accepted := 0
	send := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			var list []string
			for rider := range 20 {
				list = append(list, fmt.Sprintf(`{"rider_id":"r-%d","ts":%d,"lat":%v,"lon":-8.6,"speed":4}`, rider, at+int64(i)*1000, 41+float64(i)/1000))
			}
			if events {
				list = append(list, fmt.Sprintf(`{"rider_id":"e-1","ts":%d,"lat":%v,"lon":-8.6,"event":"sos"}`, at+int64(i)*1000, 41+float64(i)/1000))
			}
			resp, err := http.Post(n.URL()+"/v1/pings", "application/json", strings.NewReader("["+strings.Join(list, ",")+"]"))
			if err != nil {
				t.Fatal(err)
			}
			var said struct{ Accepted int }
			err = json.NewDecoder(resp.Body).Decode(&said)
			_ = resp.Body.Close()
			if err != nil || resp.StatusCode != 200 || said.Accepted != len(list) {
				t.Fatalf("%s: %+v, %v", resp.Status, said, err)
			}
			accepted += 20
		}
	}
	within := func(what string, done func() (bool, error)) {
		t.Helper()
		for end := time.Now().Add(jvm.Patience); ; time.Sleep(50 * time.Millisecond) {
			ok, err := done()
			if ok {
				return
			}
			if time.Now().After(end) {
				t.Fatal(what, err)
			}
		}
	}
	send(0, 20)
	within("nothing is stored", func() (bool, error) {
		rows, _, err := in.Count("r-")
		return rows > 0, err
	})
	send(20, 40)
	in.Kill()
	send(40, 60)
	if err := in.Restart(); err != nil {
		t.Fatal(err)
	}
	send(60, 80)
	rows, riders := 0, 0
	defer func() { t.Logf("%d pings of %d riders, %d accepted", rows, riders, accepted) }()
	within("not all is stored", func() (bool, error) {
		var err error
		rows, riders, err = in.Count("r-")
		return rows >= accepted && n.metricsNow()["queued_pings"] == 0, err
	})
	if rows != accepted || riders != 20 {
		t.Errorf("%d pings of %d riders, want %d of 20", rows, riders, accepted)
	}
	if events {
		if rows, _, err := in.Count("e-"); rows != 0 || err != nil {
			t.Errorf("%d events are stored, %v", rows, err)
		}
		if got := n.metricsNow()["dead_letters_total"]; got != 80 {
			t.Errorf("%v dead letters, want 80", got)
		}
	}
	// Nothing of it is read, and no answer hides that.
	for _, path := range []string{"/v1/riders/r-1", "/v1/riders/r-1/track"} {
		if status, text := ask(t, n.URL()+path, ""); status == 200 && !strings.Contains(text, `"memory_only":true`) {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	if _, text := ask(t, n.URL()+"/readyz", ""); !strings.Contains(text, "reads are off: pings are written to") {
		t.Errorf("no note: %s", text)
	}
}

func TestVictoriaMetricsBehindANode(t *testing.T) {
	beforeUnread(t, unreadtest.VictoriaMetrics(t), unread.VictoriaMetrics, false)
}

func TestQuestDBBehindANode(t *testing.T) {
	in := unreadtest.QuestDB(t)
	if _, err := in.Exec(strings.Replace(unread.Schema()[0], `"event" VARCHAR`, `"event" LONG`, 1)); err != nil {
		t.Fatal(err)
	}
	beforeUnread(t, in, unread.QuestDB, true)
}
