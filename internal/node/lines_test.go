package node

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	influxdb2 "github.com/influxdata/influxdb-client-go/v2"

	"pingline/dedupe"
	"pingline/ingest/auth"
	"pingline/ingest/auth/access"
	"pingline/internal/influxd"
)

// linesPatience is how long lines may take to a store on a busy machine.
const linesPatience = 5 * time.Minute

// ofLines is a node that asks for keys, before a real InfluxDB.
type ofLines struct {
	*driven
	store *influxd.Server
	key   string // may write for all riders
	ana   string // may write for ana
	read  string
}

func newOfLines(t *testing.T, set ...func(*Config)) *ofLines {
	keys := keysFile(t,
		auth.KeyRow{Name: "gateway", Scopes: []string{"write"}, Riders: []string{"*"}},
		auth.KeyRow{Name: "ana", Scopes: []string{"write"}, Riders: []string{"ana"}},
		auth.KeyRow{Name: "two", Scopes: []string{"write"}, Riders: []string{"ana", "ben"}},
		auth.KeyRow{Name: "desk", Scopes: []string{"read"}, Riders: []string{"*"}})
	l := &ofLines{store: influxd.RunTest(t), key: keys.secrets["gateway"], ana: keys.secrets["ana"], read: keys.secrets["desk"]}
	cfg := authConfig(t, "127.0.0.1:0", "", access.Settings{Ways: []string{"keys"}, Keys: keys.path})
	cfg.Influx.Host, cfg.DataDir = l.store.URL(), filepath.Join(t.TempDir(), "data")
	cfg.Bound, cfg.Rollup, cfg.NewRidersRate = dedupe.Bound{}, nil, 0
	for _, f := range set {
		f(&cfg)
	}
	l.driven = drive(t, cfg)
	return l
}

// stored waits until as many points of riders of a name are in InfluxDB, and fails if there are
// more.
func (l *ofLines) stored(t *testing.T, rider string, want int) []string {
	t.Helper()
	var found []string
	for end := time.Now().Add(linesPatience); ; time.Sleep(20 * time.Millisecond) {
		all, err := l.store.Points(t.Context(), "pingline")
		found = found[:0]
		for _, line := range all {
			if strings.HasPrefix(line, "location,") && strings.Contains(line, "rider="+rider) {
				found = append(found, line)
			}
		}
		switch {
		case err == nil && len(found) == want:
			return found
		case err == nil && len(found) > want || time.Now().After(end):
			t.Fatalf("%d points of %s, want %d: %v %v", len(found), rider, want, err, found[:min(len(found), 3)])
		}
	}
}

// The library for Go writes to Pingline as it does to an InfluxDB 2.x: in batches, by its own
// goroutine, compressed.
func TestInfluxClientOfGo(t *testing.T) {
	l := newOfLines(t)
	const points = 1000
	c := influxdb2.NewClientWithOptions(l.URL(), l.key, influxdb2.DefaultOptions().SetBatchSize(200).SetUseGZip(true))
	defer c.Close()
	if up, err := c.Ping(t.Context()); !up || err != nil {
		t.Errorf("ping: %v, %v", up, err)
	}
	if h, err := c.Health(t.Context()); err != nil || h.Status != "pass" {
		t.Errorf("health: %+v, %v", h, err)
	}
	writer := c.WriteAPI("ops", "fleet")
	failed, said := make(chan error, points), writer.Errors() // Errors and Close race in the library
	go func() {
		for err := range said {
			failed <- err
		}
		close(failed)
	}()
	began := time.Now().Add(-time.Hour).Truncate(time.Second)
	for i := range points {
		writer.WritePoint(influxdb2.NewPoint("gps",
			map[string]string{"rider": fmt.Sprintf("go-%d", i%10), "host": "gw"},
			map[string]any{"lat": 41 + float64(i)/1000, "lon": -8.6, "speed": 4, "valid": true, "event": ""},
			began.Add(time.Duration(i)*time.Second)))
	}
	writer.Flush()
	l.stored(t, "go-", points)

	// A line that is refused does not take the others of its batch with it, and the client is told.
	at := time.Now().UnixMilli()
	err := c.WriteAPIBlocking("ops", "fleet").WriteRecord(t.Context(),
		fmt.Sprintf("gps,rider=bad lat=1,lon=1 %d000000", at), fmt.Sprintf("gps,rider=bad lat=95,lon=1 %d000000", at+1))
	if err == nil || !strings.Contains(err.Error(), "partial write: lat: line 2: not in [-90, 90] dropped=1") {
		t.Errorf("a bad line: %v", err)
	}
	l.stored(t, "bad", 1)

	c.Close()
	for err := range failed {
		t.Error(err)
	}
	wrong := influxdb2.NewClient(l.URL(), "pl_wrong")
	defer wrong.Close()
	if err := wrong.WriteAPIBlocking("ops", "fleet").WriteRecord(t.Context(), "gps,rider=x lat=1,lon=1"); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("a wrong key: %v", err)
	}
}

// A key comes in any form that a client of InfluxDB has, and what a line names is held to its
// rights: a name beside the key is no rider.
func TestKeysOfLines(t *testing.T) {
	l := newOfLines(t)
	post := func(path, authorization, body string) (int, string, http.Header) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, l.URL()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if authorization != "" {
			req.Header.Set("Authorization", authorization)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || strings.Contains(string(text), "pl_") {
			t.Errorf("%s: the answer has the key, or breaks off: %v", path, err)
		}
		return resp.StatusCode, string(text), resp.Header
	}
	basic := func(key string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte("telegraf:"+key)) }
	at := time.Now().UnixMilli()
	for i, tt := range []struct {
		path, authorization string
		want                int
	}{
		{"/api/v2/write?org=o&bucket=b&precision=ms", "Token " + l.key, 204},
		{"/api/v2/write?org=o&bucket=b&precision=ms", "Bearer " + l.key, 204},
		{"/write?db=d&precision=ms", "Token telegraf:" + l.key, 204},
		{"/write?db=d&precision=ms", basic(l.key), 204},
		{"/write?db=d&precision=ms&u=telegraf&p=" + url.QueryEscape(l.key), "", 204},
		{"/write?db=d&precision=ms&u=telegraf&p=pl_wrong", "", 401},
		{"/write?db=d&precision=ms&u=telegraf&p=" + l.key, "Token pl_wrong", 401}, // the header counts
		{"/write?db=d&precision=ms&u=telegraf&p=" + l.read, "", 403},
		{"/write?db=d&precision=ms", "", 401},
		{"/api/v2/write?precision=ms", "", 401},
	} {
		if got, text, _ := post(tt.path, tt.authorization, fmt.Sprintf("gps,rider=key-%d lat=1,lon=1 %d", i, at)); got != tt.want {
			t.Errorf("%d: %d %s, want %d", i, got, text, tt.want)
		}
	}
	found := l.stored(t, "key-", 5)
	if !slices.ContainsFunc(found, func(line string) bool { return strings.Contains(line, "rider=key-4") }) {
		t.Errorf("points %q", found)
	}
	// The rider of a key for one rider, whatever a line names.
	if got, text, _ := post("/write?precision=ms", basic(l.ana), fmt.Sprintf("gps,rider=eve lat=1,lon=1 %d", at)); got != 204 {
		t.Errorf("ana: %d %s", got, text)
	}
	l.stored(t, "ana", 1)
	l.stored(t, "eve", 0)
	l.stored(t, "telegraf", 0)

	// What looks for a server needs no key.
	for path, want := range map[string]int{"/ping": 204, "/health": 200} {
		if got, text := ask(t, l.URL()+path, ""); got != want || strings.Contains(text, "pl_") {
			t.Errorf("%s: %d %s", path, got, text)
		}
	}
}

// Requests over a rate are answered so that the clients of each version send them again.
func TestLinesOverARate(t *testing.T) {
	cfg := authConfig(t, "127.0.0.1:0", "", access.Settings{Ways: []string{"none"}})
	cfg.RiderRate, cfg.RiderBurst, cfg.Rollup = 1e-3, 1, nil
	n := drive(t, cfg)
	at := time.Now().UnixMilli()
	for path, want := range map[string]int{"/write": 503, "/api/v2/write": 429} {
		rider := strings.ReplaceAll(path[1:], "/", "-")
		for i, status := range []int{204, want} {
			resp, err := http.Post(n.URL()+path+"?precision=ms", "text/plain", strings.NewReader(fmt.Sprintf("gps,rider=%s lat=1,lon=1 %d", rider, at+int64(i))))
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != status || (status != 204) != (resp.Header.Get("Retry-After") != "") {
				t.Errorf("%s, request %d: %s %v", path, i, resp.Status, resp.Header)
			}
		}
	}
}

// The library for Python, as make test-stores installs it.
func TestLineClientOfPython(t *testing.T) {
	python := os.Getenv("PINGLINE_TEST_PYTHON")
	if python == "" {
		t.Skip("needs influxdb-client for Python: make test-stores installs it and runs this test")
	}
	l := newOfLines(t)
	script := `
import sys, datetime
from influxdb_client import InfluxDBClient, Point, WriteOptions
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException
url, key = sys.argv[1:]
with InfluxDBClient(url=url, token=key, org="ops", enable_gzip=True) as client:
    assert client.ping(), "ping"
    assert client.health().status == "pass", "health"
    failed = []
    began = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=1)
    with client.write_api(write_options=WriteOptions(batch_size=200), error_callback=lambda conf, data, e: failed.append(e)) as w:
        for i in range(1000):
            w.write("fleet", record=Point("gps").tag("rider", "py-%d" % (i % 10)).field("lat", 41 + i / 1000).field("lon", -8.6).time(began + datetime.timedelta(seconds=i)))
    assert not failed, failed
    try:
        client.write_api(write_options=SYNCHRONOUS).write("fleet", record=["gps,rider=bad lat=1,lon=1", "gps,rider=bad lat=95,lon=1"])
        assert False, "a bad line was taken"
    except ApiException as e:
        assert e.status == 400 and "dropped=1" in e.body, e
`
	if out, err := exec.CommandContext(t.Context(), python, "-c", script, l.URL(), l.key).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	l.stored(t, "py-", 1000)
	l.stored(t, "bad", 1)
}

// Telegraf's own outputs, for 1.x and for 2.x.
func TestLineClientTelegraf(t *testing.T) {
	telegraf := os.Getenv("PINGLINE_TEST_TELEGRAF")
	if telegraf == "" {
		t.Skip("needs a Telegraf, which make test-stores builds: PINGLINE_TEST_TELEGRAF names the program")
	}
	for name, output := range map[string]string{
		"influxdb":    `[[outputs.influxdb]]` + "\n" + `urls = ["%s"]` + "\n" + `username = "t"` + "\n" + `password = "%s"`,
		"influxdb_v2": `[[outputs.influxdb_v2]]` + "\n" + `urls = ["%s"]` + "\n" + `token = "%s"` + "\n" + `organization = "ops"` + "\n" + `bucket = "fleet"`,
	} {
		t.Run(name, func(t *testing.T) {
			l := newOfLines(t)
			dir := t.TempDir()
			var lines strings.Builder
			at := time.Now().Add(-time.Hour).UnixNano()
			for i := range 1000 {
				fmt.Fprintf(&lines, "gps,rider=tg-%d lat=%v,lon=-8.6,valid=true %d\n", i%10, 41+float64(i)/1000, at+int64(i)*1e9)
			}
			config := "[agent]\nomit_hostname = false\nmetric_batch_size = 300\nflush_interval = \"1s\"\n" + fmt.Sprintf(output, l.URL(), l.key) +
				"\n[[inputs.file]]\nfiles = [\"" + filepath.Join(dir, "lines") + "\"]\ndata_format = \"influx\"\n"
			for file, text := range map[string]string{"lines": lines.String(), "telegraf.conf": config} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if out, err := exec.CommandContext(t.Context(), telegraf, "--once", "--config", filepath.Join(dir, "telegraf.conf")).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			l.stored(t, "tg-", 1000)
		})
	}
}
