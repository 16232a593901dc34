package node

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/dedupe"
	"pingline/ingest/auth"
	"pingline/ingest/auth/access"
	"pingline/ingest/phone"
	"pingline/ingest/phone/casetest"
	"pingline/internal/influxd"
)

// recorded are the files of requests of real apps, and the route by which each comes.
var recorded = []struct{ file, route string }{
	{"colota.jsonl", "/v1/colota"},
	{"dawarich_points.jsonl", "/api/v1/points"},
	{"dawarich_traccar.jsonl", "/api/v1/traccar/points"},
	{"gpslogger.jsonl", "/v1/gpslogger"},
	{"homeassistant.jsonl", "/api/webhook/id"},
	{"opengts.jsonl", "/v1/opengts"},
	{"osmand.jsonl", "/v1/osmand"},
	{"osmand_app.jsonl", "/v1/osmand"},
	{"overland.jsonl", "/v1/overland"},
	{"owntracks.jsonl", "/v1/owntracks"},
	{"phonetrack.jsonl", ""}, // as it stands in the file
	{"traccar_forward.jsonl", "/v1/traccar"},
	{"traccar_json.jsonl", "/v1/osmand"},
	{"transistorsoft.jsonl", "/v1/transistorsoft"},
}

// sent is a case that was sent, and what its protocol made of it.
type sent struct {
	id     string // of the case: the rider of the key
	claims []string
	want   []pingline.Ping
}

// Each recorded request of an app is sent to a server that asks for keys, and stores what it
// means in a real InfluxDB: under the rider of its key, whatever rider it names. Without a
// key it is answered 401.
func TestRecordedRequestsOfPhones(t *testing.T) {
	var cases []casetest.Case
	routes := map[string]string{}
	for _, f := range recorded {
		for _, c := range casetest.Load(t, f.file) {
			cases = append(cases, c)
			routes[c.ID] = cmp.Or(f.route, c.Request.Path)
		}
	}
	rows := []auth.KeyRow{{Name: "desk", Scopes: []string{"read"}, Riders: []string{"*"}}}
	for i := range cases {
		rows = append(rows, auth.KeyRow{Name: cases[i].ID, Scopes: []string{"write"}, Riders: []string{cases[i].ID}})
	}
	keys := keysFile(t, rows...)
	cfg := authConfig(t, "127.0.0.1:0", "", access.Settings{Ways: []string{"keys"}, Keys: keys.path})
	cfg.Influx.Host = influxd.RunTest(t).URL()
	cfg.DataDir = filepath.Join(t.TempDir(), "data")
	cfg.MaxAge, cfg.Bound, cfg.Rollup, cfg.NewRidersRate, cfg.ReadRate = 100*365*24*time.Hour, dedupe.Bound{}, nil, 0, 0
	n := drive(t, cfg)
	var all []sent
	for i := range cases {
		c := &cases[i]
		r := c.Ours(func(*casetest.Case) string { return routes[c.ID] })
		p := protocolOf(t, &r)
		r.Rider, r.Now, r.Limits.Times.MaxAhead = c.ID, time.Now(), cfg.MaxAhead
		got := sent{id: c.ID}
		var pings phone.Pings
		if err := p.Read(&r, &pings); err == nil {
			got.want = slices.Clone(pings.List)
		}
		unknown := r
		unknown.Rider = ""
		if err := p.Read(&unknown, &pings); err == nil {
			for j := range pings.List {
				got.claims = append(got.claims, strings.Clone(pings.List[j].Rider))
			}
		}
		all = append(all, got)
		if status, body := sendCase(t, n.URL(), c, &r, ""); status != http.StatusUnauthorized {
			t.Errorf("%s without a key: %d %s", c.ID, status, body)
		}
		status, body := sendCase(t, n.URL(), c, &r, keys.secrets[c.ID])
		if good := status >= 200 && status < 300; len(got.want) > 0 && !good || c.Ack == "2xx" && !good || status == http.StatusUnauthorized || status >= 500 {
			t.Errorf("%s: %d %s", c.ID, status, body)
		}
	}
	points := 0
	for _, s := range all {
		points += n.stores(t, s, keys.secrets["desk"])
	}
	t.Logf("%d requests, %d points", len(cases), points)
}

// protocolOf returns the protocol that takes a request.
func protocolOf(t testing.TB, r *phone.Request) *phone.Protocol {
	t.Helper()
	for i := range protocols {
		for _, route := range protocols[i].Routes {
			if phone.Overlap(r.Method+" "+r.Path, route) {
				return &protocols[i]
			}
		}
	}
	t.Fatalf("no protocol takes %s %s", r.Method, r.Path)
	return nil
}

// sendCase sends a case as its app does, but for the credentials.
func sendCase(t *testing.T, server string, c *casetest.Case, r *phone.Request, key string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), r.Method, server+r.Path, strings.NewReader(string(r.Body)))
	if err != nil {
		t.Fatal(err)
	}
	req.URL.RawQuery = strings.ReplaceAll(r.Query, " ", "%20")
	for name, value := range c.Request.Headers {
		if !slices.Contains([]string{"Authorization", "Host", "Content-Length", "Content-Encoding"}, http.CanonicalHeaderKey(name)) {
			req.Header.Set(name, value)
		}
	}
	query := req.URL.Query()
	if query.Has("key") || query.Has("api_key") { // not ours
		query.Del("key")
		query.Del("api_key")
		req.URL.RawQuery = query.Encode()
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(c.ID, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// point is a point of a track, as the API tells it.
type point struct {
	TS                                          int64
	Lat, Lon                                    float64
	Speed, Heading, Accuracy, Altitude, Battery *float64
	Waiting                                     bool
}

// stores waits until all of a case is stored, and compares it. It returns how many points
// there are.
func (n *driven) stores(t *testing.T, s sent, key string) int {
	t.Helper()
	for i := range s.want {
		w := &s.want[i]
		around := 2 * time.Second
		if time.Since(w.Time()) < 10*time.Minute { // it had no time of its own
			around = 20 * time.Minute
		}
		at := fmt.Sprintf("%s/v1/riders/%s/track?from=%d&to=%d", n.URL(), url.PathEscape(s.id), w.At-around.Milliseconds(), w.At+around.Milliseconds())
		for end := time.Now().Add(5 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
			var told struct{ Pings []point }
			status, body := ask(t, at, key)
			if status == http.StatusOK {
				if err := json.Unmarshal([]byte(body), &told); err != nil {
					t.Fatal(err)
				}
				if slices.ContainsFunc(told.Pings, func(p point) bool { return p.is(w) }) {
					break
				}
			}
			if time.Now().After(end) || status == http.StatusBadRequest {
				t.Errorf("%s: %d %s, want %+v", s.id, status, body, w)
				break
			}
		}
	}
	if len(s.want) == 0 {
		if status, body := ask(t, n.URL()+"/v1/riders/"+url.PathEscape(s.id), key); status != http.StatusNotFound {
			t.Errorf("%s has no fix in it, and something is stored: %d %s", s.id, status, body)
		}
	}
	for _, rider := range s.claims {
		if status, body := ask(t, n.URL()+"/v1/riders/"+url.PathEscape(rider), key); rider != s.id && status != http.StatusNotFound {
			t.Errorf("%s names %q, under which something is stored: %d %s", s.id, rider, status, body)
		}
	}
	return len(s.want)
}

// is reports whether a point is a ping that is stored.
func (p *point) is(w *pingline.Ping) bool {
	same := func(got *float64, v float32, known bool) bool {
		return (got != nil) == known && (!known || math.Abs(*got-float64(v)) < 1e-3)
	}
	return !p.Waiting && (p.TS == w.At || time.Since(w.Time()) < 10*time.Minute) && math.Abs(p.Lat-w.Lat()) < 1e-6 && math.Abs(p.Lon-w.Lon()) < 1e-6 &&
		same(p.Speed, w.Speed, w.Has(pingline.HasSpeed)) && same(p.Heading, w.Heading, w.Has(pingline.HasHeading)) &&
		same(p.Accuracy, w.Accuracy, w.Has(pingline.HasAccuracy)) && same(p.Altitude, w.Altitude, w.Has(pingline.HasAltitude)) && same(p.Battery, w.Battery, w.Has(pingline.HasBattery))
}
