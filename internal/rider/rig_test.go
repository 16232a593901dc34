package rider

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/internal/command"
	"pingline/internal/influxd"
	"pingline/internal/node"
	"pingline/sink/sets"
	"pingline/track"
)

// patience bounds every wait for something that must happen.
const patience = 10 * time.Minute

// rig is a node in this process, with two shards and a bucket of its own for events, each a
// bucket of a real InfluxDB.
type rig struct {
	t    *testing.T
	db   *influxd.Server
	cfg  node.Config
	node *node.Node
	stop func()
	key  string // with which pings are sent; "": none
}

var buckets = []string{"pingline", "second", "events"}

func startRig(t *testing.T, version int, set func(*node.Config)) *rig {
	t.Helper()
	r := &rig{t: t, db: influxd.Run(t, influxd.Config{Version: version, Token: map[int]string{2: "pingline-token"}[version]})}
	cfg := node.DefaultConfig()
	cfg.Listen, cfg.OpsListen, cfg.DataDir = "127.0.0.1:0", "127.0.0.1:0", t.TempDir()
	cfg.Influx.Token, cfg.Influx.Org = r.db.Token(), r.db.Org()
	cfg.Logger = slog.New(slog.DiscardHandler)
	for i, bucket := range buckets {
		if i > 0 {
			if err := r.db.CreateBucket(t.Context(), bucket, 0); err != nil {
				t.Fatal(err)
			}
		}
		if bucket != "events" {
			cfg.Shards = append(cfg.Shards, node.ShardConfig{Name: "s" + fmt.Sprint(i), URL: r.db.URL(), Bucket: bucket, Weight: 1})
		}
	}
	cfg.Routes = []sets.Route{{Kind: "event", To: []sets.RouteTarget{{Name: "s0", Bucket: "events"}}}}
	if set != nil {
		set(&cfg)
	}
	r.cfg = cfg
	r.start()
	return r
}

// start runs the node until stop.
func (r *rig) start() {
	r.t.Helper()
	n, err := node.Open(r.t.Context(), r.cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(r.t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	r.node = n
	ended := false
	r.stop = func() {
		if ended {
			return
		}
		ended = true
		stop()
		if err := <-done; err != nil {
			r.t.Error(err)
		}
	}
	r.t.Cleanup(r.stop)
}

// flags are those with which a command finds the stores and the server.
func (r *rig) storeFlags() (f command.StoreFlags) {
	f.Influx.Host, f.Influx.Token, f.Influx.Org, f.Influx.Bucket, f.Influx.Timeout = r.db.URL(), r.db.Token(), r.db.Org(), "pingline", 10*time.Second
	f.Spread.Shard, f.Spread.Route, f.Spread.HotCellRate = r.cfg.Shards, r.cfg.Routes, 1000
	f.Spread.PartitionBy, f.Spread.ShardHandover = r.cfg.PartitionBy, r.cfg.HandOver
	return f
}

func (r *rig) opsURL() string { return strings.TrimSuffix(r.node.OpsURL(), "/metrics") }

// post sends pings in one request.
func (r *rig) post(pings ...pingline.Ping) {
	r.t.Helper()
	var body []byte
	for i := range pings {
		body = append(track.AppendPing(body, &pings[i]), '\n')
	}
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.node.URL()+"/v1/pings", bytes.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	if r.key != "" {
		req.Header.Set("Authorization", "Bearer "+r.key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	if said, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(said), `"rejected":0`) {
		r.t.Fatalf("answer %s %s: %v", resp.Status, said, err)
	}
}

// until waits for something that must happen.
func (r *rig) until(what string, is func() bool) {
	r.t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("%s does not come", what)
		}
	}
}

// written waits until all that is stored is in InfluxDB.
func (r *rig) written() {
	r.t.Helper()
	r.until("the end of the queue", func() bool {
		pings, _ := r.node.Queued()
		return pings == 0
	})
}

// ride returns pings of a rider every 3 s that end now, in two cells at least: some with an
// event, some of a second device.
func ride(rider string, n int) (list []pingline.Ping) {
	first := time.Now().Add(-time.Minute).UnixMilli() - int64(n)*3000
	for i := range n {
		p := pingline.Ping{Rider: rider, Trip: "t-" + rider, Fix: pingline.Fix{At: first + int64(i)*3000}}
		lat, lon := 41.1+float64(i)*0.0007, -8.6+math.Sin(float64(i)/3)*0.004
		if i%40 == 39 {
			lat, lon = lat+float64(i%7)-3, lon+float64(i)/3 // other cells, and other shards
		}
		if err := p.SetPosition(lat, lon); err != nil {
			panic(err)
		}
		p.SetOptional(pingline.HasSpeed, 8.25)
		p.SetOptional(pingline.HasAccuracy, 5)
		if i%25 == 24 {
			p.Event = "sos"
		}
		if i%10 == 9 {
			p.Device = "watch"
		}
		list = append(list, p)
	}
	return list
}

// exported is a ping of an export.
type exported struct {
	Rider   string  `json:"rider_id"`
	Device  string  `json:"device_id"`
	TS      int64   `json:"ts"`
	Lat     float64 `json:"lat"`
	Lon     float64 `json:"lon"`
	Speed   float64 `json:"speed"`
	Event   string  `json:"event"`
	Trip    string  `json:"trip_id"`
	Late    bool    `json:"late"`
	Waiting bool    `json:"waiting"`
	Refused string  `json:"refused"`
}

// run runs a command, and returns its output.
func run(t *testing.T, cmd interface {
	Validate() error
	Run(*command.Program) error
}) (stdout, stderr string, err error) {
	t.Helper()
	var out, said bytes.Buffer
	if err := cmd.Validate(); err != nil {
		return "", "", err
	}
	err = cmd.Run(&command.Program{Context: t.Context(), Stdout: &out, Stderr: &said})
	return out.String(), said.String(), err
}

// export runs an export of a rider as NDJSON.
func (r *rig) export(rider string, set func(*ExportCmd)) (list []exported, said string) {
	r.t.Helper()
	cmd := &ExportCmd{ID: ID{rider}, Format: "ndjson", Server: r.opsURL(), StoreFlags: r.storeFlags()}
	if set != nil {
		set(cmd)
	}
	out, said, err := run(r.t, cmd)
	if err != nil {
		r.t.Fatal(err)
	}
	last := int64(math.MinInt64)
	for line := range strings.Lines(out) {
		var e exported
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			r.t.Fatalf("%s: %v", line, err)
		}
		if e.Rider != rider || e.TS < last {
			r.t.Errorf("a ping of rider %q at %d comes behind one at %d", e.Rider, e.TS, last)
		}
		last = e.TS
		list = append(list, e)
	}
	return list, said
}

// off returns how far a ping is from the line through the exported pings of its track, in
// metres; 0 if it is one of them.
func off(list []exported, p *pingline.Ping) float64 {
	var before, after *exported
	for i := range list {
		e := &list[i]
		if e.Device != p.Device {
			continue
		}
		if e.TS == p.At && math.Abs(e.Lat-p.Lat())+math.Abs(e.Lon-p.Lon()) < 1e-9 {
			return 0
		}
		switch {
		case e.Late:
		case e.TS <= p.At:
			before = e
		case after == nil:
			after = e
		}
	}
	if before == nil || after == nil {
		return math.Inf(1)
	}
	part := float64(p.At-before.TS) / float64(after.TS-before.TS)
	lat, lon := before.Lat+part*(after.Lat-before.Lat), before.Lon+part*(after.Lon-before.Lon)
	return 111_195 * math.Hypot(lat-p.Lat(), (lon-p.Lon())*math.Cos(lat*math.Pi/180))
}
