package node

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/ingest"
	"pingline/sink/sets"
)

// Phones cannot help a bucket that gets our own lines only: that it takes nothing is no
// reason to widen their bound. A bucket of pings is one.
func TestOnlyShardsOfPingsAskForALevel(t *testing.T) {
	for _, tt := range []struct {
		route  string
		shards int // of pings
		open   bool
	}{
		{"activity=a/long", 1, false},
		{"event=a/long", 2, true},
		{"location=a/long", 2, true},
	} {
		t.Run(tt.route, func(t *testing.T) {
			influx := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				status := http.StatusNoContent
				if strings.Contains(r.URL.RawQuery, "long") {
					status = http.StatusNotFound
				}
				w.WriteHeader(status)
			}))
			defer influx.Close()
			cfg := DefaultConfig()
			cfg.Name, cfg.Listen, cfg.OpsListen, cfg.DataDir, cfg.Influx.Host = "n", "127.0.0.1:0", "", t.TempDir(), influx.URL
			var r sets.Route
			if err := r.UnmarshalText([]byte(tt.route)); err != nil {
				t.Fatal(err)
			}
			cfg.Routes = []sets.Route{r}
			n := drive(t, cfg)
			send(t, n.Node)
			deadline := time.Now().Add(10 * time.Minute)
			for st := n.sink.Stats(); st[1].Down == 0; st = n.sink.Stats() {
				if time.Now().After(deadline) {
					t.Fatalf("the missing bucket is not down: %+v", st)
				}
				time.Sleep(5 * time.Millisecond)
			}
			if s := n.signals(); s.Open != tt.open || s.Shards != tt.shards {
				t.Errorf("%d shards of pings, one of them open: %v; want %d, %v", s.Shards, s.Open, tt.shards, tt.open)
			}
		})
	}
}

// send makes durable one of each: a ping, one with an event, and a point of our own.
func send(t *testing.T, n *Node) {
	t.Helper()
	now := time.Now().UnixMilli()
	point := &pingline.Point{Name: "cell_activity", Fields: []pingline.PointField{pingline.Int("pings", 1)}, At: now}
	job := ingest.Job{Cells: make([]uint64, 2), Entries: []pingline.Entry{{Kind: pingline.Activity, Point: point}}}
	for _, event := range []string{"", "sos"} {
		p := pingline.Ping{Rider: "rider" + event, Event: event, Fix: pingline.Fix{At: now}}
		if err := p.SetPosition(41, 29); err != nil {
			t.Fatal(err)
		}
		job.Pings = append(job.Pings, p)
	}
	if err := n.writer.Submit(&job); err != nil {
		t.Fatal(err)
	}
}
