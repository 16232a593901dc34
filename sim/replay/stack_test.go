package replay

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pingline/dedupe"
	"pingline/dedupe/study"
	"pingline/internal/influxd"
	"pingline/internal/node"
	"pingline/sim"
	"pingline/sim/audit"
	"pingline/track/tracktest"
)

// The ingester keeps of a replay what the filter alone keeps of its files, and an audit
// of all answers finds nothing wrong.
func TestReplayAgainstTheStack(t *testing.T) {
	if testing.Short() {
		t.Skip("a replay takes ten seconds")
	}
	path := tracktest.InTree(t, tracktest.EveryFew).Path
	replayed(t, []string{path}, Config{Seed: 1, Speed: 200, Clones: 5, Jitter: true})
}

// The recorded tracks at 50 times their speed by 200 clones of each rider: minutes, so
// that only make sim-replay runs it.
func TestReplayOfRecordedTracks(t *testing.T) {
	if os.Getenv("PINGLINE_SIM_REPLAY") == "" {
		t.Skip("it takes minutes: make sim-replay")
	}
	var files []string
	for _, kind := range tracktest.Kinds {
		files = append(files, tracktest.Recorded(t, kind).Path)
	}
	replayed(t, files, Config{Seed: 1, Speed: 50, Clones: 200, Jitter: true})
}

// replayed replays files against a real ingester and a real InfluxDB.
func replayed(t *testing.T, files []string, cfg Config) {
	t.Helper()
	db := influxd.Run(t, influxd.Config{Version: 1, Bucket: "pingline"})
	server := node.DefaultConfig()
	server.DataDir, server.Listen, server.OpsListen = filepath.Join(t.TempDir(), "data"), "127.0.0.1:0", "127.0.0.1:0"
	server.Influx.Host, server.Drain = db.URL(), 5*time.Minute
	n, err := node.Open(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	serving, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	served := make(chan error, 1)
	go func() { served <- n.Run(serving) }()

	recorded, err := Read(files)
	if err != nil {
		t.Fatal(err)
	}
	phones, err := New(recorded, cfg)
	if err != nil {
		t.Fatal(err)
	}
	ledger := audit.NewLedger()
	load, err := sim.NewLoad(sim.LoadConfig{
		URL: n.URL(), Phones: phones, Schedule: phones.Schedule, Connections: 32, Ledger: ledger, Grace: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	err = load.Run(t.Context())
	took := time.Since(began)
	stop()
	if served := <-served; err != nil || served != nil {
		t.Fatalf("load: %v; ingester: %v", err, served)
	}
	c, books := load.Counters(), n.Books()
	if c.Sent != uint64(phones.Pings()) || c.Unanswered+c.Forgotten+c.Rejected+c.Shed > 0 {
		t.Errorf("of %d pings %d were sent: %+v", phones.Pings(), c.Sent, c)
	}
	server.Influx.Timeout = time.Minute
	stored, err := node.OpenStored(&server)
	if err != nil {
		t.Fatal(err)
	}
	report, err := audit.Check(t.Context(), ledger, stored.Points)
	if err != nil {
		t.Fatal(err)
	}
	if err := report.Err(); err != nil {
		t.Errorf("%v; %q", err, report.Examples)
	}
	kept, alone := 100*float64(books.Sink.Pings.Written)/float64(c.Sent), filtered(t, files)
	t.Logf("%d pings by %d riders in %v, latency %+v", c.Sent, phones.Riders(), took.Round(time.Second), load.Latency())
	t.Logf("audit: %+v", report)
	t.Logf("kept %.2f %%, the filter alone %.2f %%", kept, alone)
	if d := kept - alone; d < -2 || d > 2 {
		t.Errorf("kept %.2f %%, and the filter alone %.2f %%", kept, alone)
	}
}

// filtered returns the percentage that pingline dedupe keeps of files.
func filtered(t *testing.T, files []string) float64 {
	t.Helper()
	s, err := study.New(study.Config{Filter: dedupe.DefaultConfig(), Bound: dedupe.Bound{MaxError: 10, AccuracyCap: 50}})
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		r, err := study.Open(t.Context(), file)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Run(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var text bytes.Buffer
	if err := s.Summary().PrintJSON(&text); err != nil {
		t.Fatal(err)
	}
	var result struct {
		Files []json.RawMessage
		Total struct {
			Kept float64 `json:"kept_pct"`
		}
	}
	if err := json.Unmarshal(text.Bytes(), &result); err != nil {
		t.Fatal(err)
	}
	if len(files) == 1 {
		if err := json.Unmarshal(result.Files[0], &result.Total); err != nil {
			t.Fatal(err)
		}
	}
	return result.Total.Kept
}
