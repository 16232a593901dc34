package grafana

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"

	"pingline/internal/influxd"
	"pingline/internal/node"
	"pingline/sim"
	"pingline/track"
)

// filled is stores that a node has filled: a bucket a shard, of one InfluxDB.
type filled struct {
	t       *testing.T
	db      *influxd.Server
	buckets []string
	began   time.Time
	metrics string // as /metrics told them at the end

	node   *node.Node
	city   *sim.City
	finish func() // stops the node, once all is stored
}

// awhile is longer than any busy machine needs.
const awhile = 5 * time.Minute

// wanderer is a rider who is in all shards and of whom every field is known.
const wanderer = "r-wanderer"

// fill runs a node with as many shards as there are buckets and sends it the pings of a
// simulated city, and of a rider who is everywhere; some are late, invalid, or refused
// by the store. complete sends the rest and stops the node.
func fill(t *testing.T, db *influxd.Server, buckets ...string) *filled {
	t.Helper()
	f := &filled{t: t, db: db, buckets: buckets, began: time.Now().Add(-10 * time.Minute)}
	cfg := node.DefaultConfig()
	cfg.Name, cfg.Listen, cfg.OpsListen, cfg.DataDir = "n-1", "127.0.0.1:0", "127.0.0.1:0", t.TempDir()
	cfg.Drain, cfg.RollupLateness, cfg.RiderRate, cfg.Logger = awhile, 20*time.Minute, 0, slog.New(slog.DiscardHandler)
	cfg.Influx.Org, cfg.Influx.Token = db.Org(), db.Token()
	for i, bucket := range buckets {
		if err := db.CreateBucket(t.Context(), bucket, 0); err != nil {
			t.Fatal(err)
		}
		if db.Version() == 2 {
			if err := db.MapBucket(t.Context(), bucket, bucket, "autogen"); err != nil {
				t.Fatal(err)
			}
		}
		// Another writer was there weeks ago, in another of InfluxDB's shard groups, and
		// gave a field another type.
		f.write(bucket, fmt.Sprintf("location,rider=%s battery=\"full\" %d", wanderer, f.conflict().UnixNano()))
		cfg.Shards = append(cfg.Shards, node.ShardConfig{Name: shardName(i), URL: db.URL(), Bucket: bucket, Weight: 1})
	}
	var err error
	if f.node, err = node.Open(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.node.Run(ctx) }()
	f.finish = sync.OnceFunc(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(f.finish)
	if f.city, err = sim.NewCity(sim.CityConfig{Riders: 40}); err != nil {
		t.Fatal(err)
	}
	f.send(0, rounds/2)
	f.reshard()
	return f
}

const rounds = 60

// reshard begins a change of shards that moves history, and goes on.
func (f *filled) reshard() {
	f.t.Helper()
	to := strings.TrimSuffix(f.node.OpsURL(), "/metrics") + "/v1/reshard/start"
	f.do(http.NewRequestWithContext(f.t.Context(), http.MethodPost, to, strings.NewReader(`{"weight":["s-0=2"],"history":"move"}`)))
}

// send sends some rounds, of five seconds each.
func (f *filled) send(from, to int64) {
	f.t.Helper()
	for r := from; r < to; r++ {
		var body []byte
		for i := range f.city.Riders() {
			at := f.began.UnixMilli() + r*5000 + int64(i)*50
			p := f.city.Ping(i, at-5000, at)
			body = append(track.AppendPing(body, &p), '\n')
		}
		f.post(f.node.URL(), append(body, f.odd(r)...))
	}
}

// complete sends the rest once the node has written about itself, which it does every
// ten seconds and when it stops: so its counters have grown between two points.
func (f *filled) complete() {
	f.t.Helper()
	f.await(f.buckets[0], `SELECT count("received") FROM "pingline"`)
	f.await(f.buckets[0], `SELECT count("reshard_history_share") FROM "pingline_set"`)
	f.send(rounds/2, rounds)
	f.await(f.buckets[0], `SELECT count("pings") FROM "cell_activity" WHERE "window" = '1m'`)
	f.metrics = f.get(f.node.OpsURL())
	f.finish()
}

func shardName(i int) string { return fmt.Sprintf("s-%d", i) }

func (f *filled) conflict() time.Time { return f.began.Add(-20 * 24 * time.Hour) }

// odd returns pings that a city has none of: of a rider who crosses the world, with all
// fields and some events; of a rider who rides straight on, and one of the middle that
// comes late; one that is invalid; and one that the store refuses.
func (f *filled) odd(round int64) (body []byte) {
	at := f.began.UnixMilli() + round*5000
	add := func(text string, args ...any) { body = append(fmt.Appendf(body, text, args...), '\n') }
	event := ""
	if round%4 == 0 {
		event = `,"event":"pickup"`
	}
	add(`{"rider_id":%q,"ts":%d,"lat":%v,"lon":%v,"speed":7.5,"heading":90,"accuracy":5,"altitude":12,"battery":0.5%s}`, wanderer, at, 10+float64(round)/2, 20+float64(round%7), event)
	for after := range int64(3) { // stands still for a moment: these are left out
		add(`{"rider_id":%q,"ts":%d,"lat":%v,"lon":%v,"speed":0}`, wanderer, at+1000+after*1000, 10+float64(round)/2, 20+float64(round%7))
	}
	add(`{"rider_id":%q,"ts":%d,"lat":%v,"lon":%v,"speed":0,"event":"leaves"}`, wanderer, at+4000, 10+float64(round)/2, 20+float64(round%7))
	if round > 10 && round%3 == 0 {
		add(`{"rider_id":%q,"ts":%d,"lat":%v,"lon":%v,"speed":10}`, wanderer, at-22_300, 9+float64(round)/2, 21+float64(round%7))
	}
	add(`{"rider_id":"r-straight","ts":%d,"lat":41,"lon":%v,"speed":10}`, at, -8+float64(round)*0.0006)
	if round > 10 && round%5 == 0 {
		add(`{"rider_id":"r-straight","ts":%d,"lat":41.02,"lon":%v,"speed":10}`, at-22_500, -8+(float64(round)-4.5)*0.0006)
	}
	add(`{"rider_id":"r-wrong","ts":%d,"lat":100,"lon":0}`, at)
	add(`{"rider_id":%q,"ts":%d,"lat":%v,"lon":20,"battery":0.5,"event":"sos"}`, wanderer, f.conflict().UnixMilli()+round*5000, 10+float64(round)/2)
	return body
}

func (f *filled) post(to string, body []byte) {
	f.t.Helper()
	resp, err := http.Post(to+"/v1/pings", "application/x-ndjson", bytes.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		f.t.Fatal(resp.Status)
	}
}

func (f *filled) do(req *http.Request, err error) string {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
	if token := f.db.Token(); token != "" {
		req.Header.Set("Authorization", "Token "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(resp.Body); err != nil || resp.StatusCode >= 300 {
		f.t.Fatalf("%s %s: %s, %s, %v", req.Method, req.URL, resp.Status, text.String(), err)
	}
	return text.String()
}

func (f *filled) get(url string) string {
	f.t.Helper()
	return f.do(http.NewRequestWithContext(f.t.Context(), http.MethodGet, url, nil))
}

func (f *filled) write(bucket, line string) {
	f.t.Helper()
	to := f.db.URL() + "/api/v2/write?" + url.Values{"org": {f.db.Org()}, "bucket": {bucket}}.Encode()
	f.do(http.NewRequestWithContext(f.t.Context(), http.MethodPost, to, strings.NewReader(line)))
}

// rows returns how many rows a query in InfluxQL returns, not counting rows that are
// empty.
func (f *filled) rows(bucket, query string) int {
	f.t.Helper()
	var answer struct {
		Results []struct {
			Error  string
			Series []struct{ Values [][]any }
		}
	}
	if err := json.Unmarshal([]byte(f.get(f.db.URL()+"/query?"+url.Values{"db": {bucket}, "q": {query}}.Encode())), &answer); err != nil {
		f.t.Fatal(err)
	}
	n := 0
	for _, r := range answer.Results {
		if r.Error != "" {
			f.t.Errorf("%s: %s", query, r.Error)
		}
		for _, s := range r.Series {
			for _, row := range s.Values {
				for _, v := range row[1:] {
					if v != nil {
						n++
						break
					}
				}
			}
		}
	}
	return n
}

// await waits until a query returns rows.
func (f *filled) await(bucket, query string) {
	f.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(awhile); f.rows(bucket, query) == 0; {
		select {
		case <-tick.C:
		case <-late:
			f.t.Fatalf("no rows for %s", query)
		}
	}
}

// variables are the values that a viewer has chosen, besides data sources.
var variables = map[string]string{
	"node": ".*", "shard": ".*", "lane": ".*", "rider": wanderer, "res": "8", "window": "1m", "cell": ".*", "silent": "1",
}

// filledIn returns a query as Grafana sends it.
func (f *filled) filledIn(query string) string {
	from, to := f.began.Add(-time.Hour).UnixMilli(), time.Now().Add(time.Hour).UnixMilli()
	list := []string{"$timeFilter", fmt.Sprintf("time >= %dms and time <= %dms", from, to), "$__interval", "1s"}
	for name, value := range variables {
		for _, form := range []string{"${%s:regex}", "${%s:raw}", "${%s}", "$%s"} {
			list = append(list, fmt.Sprintf(form, name), value)
		}
	}
	return strings.NewReplacer(list...).Replace(query)
}

// A query of a board that returns no row from a store that a node has filled is one
// that nobody will ever see anything of.
func TestNoPanelIsEmpty(t *testing.T) {
	var all []*filled
	for _, db := range servers(t) {
		all = append(all, fill(t, db, "one"), fill(t, db, "first", "second", "third"))
	}
	for _, f := range all {
		f.complete()
	}
	for _, f := range all {
		t.Run(fmt.Sprintf("InfluxDB %d, %d shards", f.db.Version(), len(f.buckets)), func(t *testing.T) {
			f := f.in(t)
			for path, b := range boards(t, generated(t)) {
				f.checkBoard(path, b)
			}
			f.checkRules()
			for path, b := range boards(t, f.sharded()) {
				f.checkBoard(path, b)
			}
		})
	}
}

// servers runs an InfluxDB 1.8, and a 2.7 if there is one.
func servers(t *testing.T) (list []*influxd.Server) {
	t.Helper()
	list = append(list, influxd.Run(t, influxd.Config{Version: 1}))
	if _, err := influxd.Find2(); errors.Is(err, influxd.ErrNotFound) && os.Getenv("CI") == "" {
		t.Logf("no panel is tried with InfluxDB 2.7: %v", err)
		return list
	}
	return append(list, influxd.Run(t, influxd.Config{Version: 2}))
}

// in returns f for a part of its test.
func (f *filled) in(t *testing.T) *filled {
	part := *f
	part.t = t
	return &part
}

// sharded returns the boards that ask all of its shards.
func (f *filled) sharded() (list []Generated) {
	f.t.Helper()
	var names []string
	for i := range f.buckets {
		names = append(names, shardName(i))
	}
	for path, b := range map[string]*dashboard.DashboardBuilder{"boards/fleet of shards": fleetBoard(names), "boards/rider of shards": riderBoard(names)} {
		text, err := boardText(b)
		if err != nil {
			f.t.Fatal(err)
		}
		list = append(list, Generated{path, text})
	}
	return list
}

func (f *filled) checkBoard(path string, b *dashboard.Dashboard) {
	f.t.Helper()
	asked := 0
	if *b.Uid == PrometheusUID {
		f.checkMetrics(path, b)
		return
	}
	for _, p := range panels(b) {
		for _, target := range p.Targets {
			q, ok := target.(InfluxQuery)
			if !ok {
				continue
			}
			asked++
			if f.rows(f.bucketOf(*q.Datasource.Uid), f.filledIn(q.Query)) == 0 {
				f.t.Errorf("%s: %q returns no row: %s", path, *p.Title, f.filledIn(q.Query))
			}
		}
	}
	for _, v := range b.Templating.List {
		if v.Type == dashboard.VariableTypeQuery && *v.Datasource.Type == influxType {
			asked++
			if f.rows(f.bucketOf(*v.Datasource.Uid), f.filledIn(*v.Query.String)) == 0 {
				f.t.Errorf("%s: variable %s has no value: %s", path, v.Name, *v.Query.String)
			}
		}
	}
	if asked < 5 {
		f.t.Errorf("%s: %d queries were asked", path, asked)
	}
}

// checkMetrics looks for each metric that a board asks for in what the node exposed.
func (f *filled) checkMetrics(path string, b *dashboard.Dashboard) {
	f.t.Helper()
	name, asked := regexp.MustCompile(`pingline_[a-z0-9_]+`), 0
	for _, p := range panels(b) {
		for _, target := range p.Targets {
			for _, metric := range name.FindAllString(target.(*prometheus.Dataquery).Expr, -1) {
				asked++
				if !strings.Contains(f.metrics, "\n"+metric+"{") && !strings.Contains(f.metrics, "\n"+metric+" ") {
					f.t.Errorf("%s: %q asks for %s, of which nothing is exposed", path, *p.Title, metric)
				}
			}
		}
	}
	if asked < 20 {
		f.t.Errorf("%s asks for %d metrics", path, asked)
	}
}

// bucketOf returns the bucket of a data source's variable.
func (f *filled) bucketOf(uid string) string {
	for i, bucket := range f.buckets {
		if uid == "${"+sourceVar(i)+"}" {
			return bucket
		}
	}
	return f.buckets[0]
}
