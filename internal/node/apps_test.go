package node

import (
	"io"
	"log"
	"math"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pingline"
	"pingline/dedupe"
	"pingline/ingest/auth"
	"pingline/ingest/auth/access"
	"pingline/ingest/phone"
	"pingline/internal/influxd"
	"pingline/sim"
	"pingline/sim/apps"
	"pingline/sink/influx"
	"pingline/sink/store"
)

// Each app's request is read by its protocol as the fix that it was made of.
func TestAppsAreUnderstood(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	fix := pingline.Ping{Rider: "ana b", Device: "pixel", Fix: pingline.Fix{
		At: now.Add(-time.Hour).UnixMilli(), LatE7: 411578123, LonE7: -86291051, Speed: 7.5, Heading: 183, Accuracy: 5, Altitude: 101, Battery: 0.81,
		Known: pingline.HasSpeed | pingline.HasHeading | pingline.HasAccuracy | pingline.HasAltitude | pingline.HasBattery,
	}}
	south := fix
	south.At, south.LatE7, south.LonE7, south.Device, south.Known = fix.At+1000, -105, 1799999999, "", 0
	for i := range apps.All {
		app := &apps.All[i]
		for _, p := range []pingline.Ping{fix, south} {
			fixes := apps.Fixes{Pings: []pingline.Ping{p}}
			for n := range min(app.Batch, 3) - 1 {
				p.At += 1000 * int64(n+1)
				fixes.Pings = append(fixes.Pings, p)
			}
			if app.Current {
				fixes.Current = &p
			}
			if app.Untimed {
				fixes.Pings[0].At = now.UnixMilli()
			}
			var m apps.Posting
			app.Write(&m, &fixes)
			path, query, _ := strings.Cut(m.Target, "?")
			r := phone.Request{Method: m.Method, Path: path, Query: query, Body: m.Body, Now: now, Header: headerOf(m.Header)}
			r.Limits = r.Limits.WithDefaults()
			var got phone.Pings
			if err := protocolOf(t, &r).Read(&r, &got); err != nil || len(got.Rejected) > 0 {
				t.Errorf("%s: %v, %+v, of %s %s", app.Name, err, got.Rejected, m.Target, m.Body)
				continue
			}
			if app.Current {
				if last := len(got.List) - 1; last < 1 || got.List[last].At != p.At {
					t.Errorf("%s: the newest fix is not sent as well: %+v", app.Name, got.List)
					continue
				}
				got.List = got.List[:len(got.List)-1]
			}
			if len(got.List) != len(fixes.Pings) {
				t.Errorf("%s: %d fixes of %d", app.Name, len(got.List), len(fixes.Pings))
				continue
			}
			for j := range got.List {
				sameFix(t, app.Name, &got.List[j], &fixes.Pings[j])
			}
		}
	}
}

type headerOf [][2]string

func (h headerOf) Get(name string) string {
	for _, line := range h {
		if strings.EqualFold(line[0], name) {
			return line[1]
		}
	}
	return ""
}

// sameFix compares a fix to what its app was given, as exactly as apps send it.
func sameFix(t *testing.T, app string, got, want *pingline.Ping) {
	t.Helper()
	if got.At != want.At || math.Abs(got.Lat()-want.Lat()) > 2e-7 || math.Abs(got.Lon()-want.Lon()) > 2e-7 {
		t.Errorf("%s: %+v, want %+v", app, got, want)
	}
	name := want.Rider + "-" + want.Device
	if got.Rider != want.Rider && (want.Device == "" || got.Rider != name) || got.Rider == want.Rider && want.Device != "" && got.Device != want.Device {
		t.Errorf("%s: of %q, %q", app, got.Rider, got.Device)
	}
	for i, v := range got.Numbers() {
		known := pingline.Known(1 << i)
		if app == "osmand" && (known == pingline.HasAccuracy || known == pingline.HasBattery) || app == "opengts" && known == pingline.HasAccuracy {
			continue // it has hdop, which is no distance, or nothing
		}
		sends := want.Has(known) && (known != pingline.HasAltitude && known != pingline.HasBattery || got.Has(known))
		off := math.Abs(float64(v - want.Numbers()[i]))
		if want.Has(known) && (!sends || off > 0.6) || !want.Has(known) && got.Has(known) && v != 0 {
			t.Errorf("%s: number %d is %v, %v, want %v, %v", app, i, got.Has(known), v, want.Has(known), want.Numbers()[i])
		}
	}
}

// hiker is one phone whose fixes are at whole seconds, none on a line of others.
type hiker struct{ name string }

func (h hiker) Riders() int                  { return 1 }
func (h hiker) Interval() time.Duration      { return time.Second }
func (h hiker) Name(int) (rider, dev string) { return h.name, "" }

func (h hiker) Update(p *pingline.Ping, _ int, _, at int64) bool {
	n := at / 1000 % 100_000
	p.Fix = pingline.Fix{At: at}
	return p.SetPosition(41+float64(n)/1e5, -8.6-float64(n*n%7)/1e3) == nil
}

// dues is a schedule of a phone.
type dues []sim.Due

func (d *dues) Next() (due sim.Due, ok bool) {
	if len(*d) == 0 {
		return due, false
	}
	due, *d = (*d)[0], (*d)[1:]
	return due, true
}

// hurried returns an app whose waits are a thousandth.
func hurried(app *apps.App) *apps.App {
	fast := *app
	fast.First, fast.Most, fast.Every = app.First/1000, app.Most/1000, app.Every/1000
	return &fast
}

// sendAs sends fixes of a phone as an app does, and returns what the phone knows of them.
func sendAs(t *testing.T, app *apps.App, phone sim.Phones, url, key string, at []int64) sim.Counters {
	t.Helper()
	load, err := sim.NewLoad(sim.LoadConfig{
		URL: url, Phones: phone, App: hurried(app), Connections: 1, Grace: 10 * time.Minute,
		Header: []sim.HeaderField{{Name: "Authorization", Value: "Bearer " + key}, {Name: "X-App", Value: app.Name}},
		Schedule: func(_, _ int, start int64) sim.Schedule {
			list := dues{}
			for i, ms := range at {
				list = append(list, sim.Due{At: ms, Send: start + int64(i)})
			}
			return &list
		},
	})
	if err == nil {
		err = load.Run(t.Context())
	}
	if err != nil {
		t.Error(app.Name, err)
	}
	return load.Counters()
}

// outage stands before a node, and refuses the first attempts of an app.
type outage struct {
	*httptest.Server

	mu   sync.Mutex     // guards the fields below; no other lock is taken while it is held
	mode string         // 401, 503, nothing or lost
	most int            // attempts that are refused, of the app or of each fix of a job
	jobs bool           // count each fix by itself
	of   map[string]int // attempts that were refused
}

func newOutage(t *testing.T, n *driven) *outage {
	to, err := url.Parse(n.URL())
	if err != nil {
		t.Fatal(err)
	}
	o := &outage{}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) },
		ModifyResponse: func(resp *http.Response) error {
			if resp.Request.Header.Get("X-Lose") != "" {
				_, _ = io.Copy(io.Discard, resp.Body)
				return io.ErrUnexpectedEOF
			}
			return nil
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		ErrorLog:     log.New(io.Discard, "", 0),
	}
	o.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		switch o.refuses(r.URL.String() + string(body)) {
		case "401":
			r.Header.Set("Authorization", "Bearer "+strings.Repeat("x", 20))
		case "503":
			n.over.Force(pingline.MaxLevel, false, "a test")
			defer n.over.Force(0, false, "")
		case "nothing":
			panic(http.ErrAbortHandler)
		case "lost":
			r.Header.Set("X-Lose", "1")
		}
		proxy.ServeHTTP(w, r)
	}))
	o.Config.ErrorLog = log.New(io.Discard, "", 0)
	o.Start()
	t.Cleanup(o.Close)
	return o
}

// begin refuses so many attempts from now on.
func (o *outage) begin(mode string, most int, jobs bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mode, o.most, o.jobs, o.of = mode, most, jobs, map[string]int{}
}

// refused returns how many attempts were refused.
func (o *outage) refused() (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, of := range o.of {
		n += of
	}
	return n
}

func (o *outage) refuses(request string) (mode string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.jobs {
		request = ""
	}
	if o.of[request] == o.most {
		return ""
	}
	o.of[request]++
	return o.mode
}

// appsNode is a node that asks for keys, drops nothing but copies, and stores in InfluxDB.
func appsNode(t *testing.T, set func(cfg *Config)) (n *driven, db *influxd.Server, bucket, key string) {
	t.Helper()
	db = influxd.RunTest(t)
	keys := keysFile(t, auth.KeyRow{Name: "fleet", Scopes: []string{"write"}, Riders: []string{"*"}})
	cfg := authConfig(t, "127.0.0.1:0", "", access.Settings{Ways: []string{"keys"}, Keys: keys.path})
	cfg.Influx.Host, cfg.DataDir, cfg.BatchWait = db.URL(), filepath.Join(t.TempDir(), "data"), 50*time.Millisecond
	cfg.ShedHold, cfg.Bound, cfg.RiderRate, cfg.NewRidersRate, cfg.Rollup = time.Hour, dedupe.Bound{}, 0, 0, nil
	if set != nil {
		set(&cfg)
	}
	if err := db.CreateBucket(t.Context(), cfg.Influx.Bucket, 0); err != nil {
		t.Fatal(err)
	}
	return drive(t, cfg), db, cfg.Influx.Bucket, keys.secrets["fleet"]
}

// storedFixes are the times of a rider's points, ms, in order; late is how many are.
type storedFixes struct {
	at   []int64
	late int
}

// storedOf returns the points of each rider.
func storedOf(t *testing.T, db *influxd.Server, bucket string) map[string]*storedFixes {
	t.Helper()
	all := map[string]*storedFixes{}
	b, err := influx.New(influx.Config{URL: db.URL(), Bucket: bucket})
	if err == nil {
		err = b.Points(t.Context(), store.All(), func(e *pingline.Entry, _ int64) error {
			s := all[e.Rider]
			if s == nil {
				s = &storedFixes{}
				all[strings.Clone(e.Rider)] = s
			}
			if s.at = append(s.at, e.At); e.Late {
				s.late++
			}
			return nil
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		slices.Sort(s.at)
	}
	return all
}

// untilStored waits until so many points of riders are stored, and returns them.
func untilStored(t *testing.T, db *influxd.Server, bucket string, want map[string][]int64) map[string]*storedFixes {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		all, missing := storedOf(t, db, bucket), 0
		for rider, at := range want {
			if len(at) > 0 && (all[rider] == nil || len(all[rider].at) < len(at)) {
				missing++
			}
		}
		if missing == 0 || time.Now().After(deadline) {
			return all
		}
	}
}

// A phone of each app, whose server refuses its key, is overloaded, is not there, or loses its
// answers for as many attempts as the app makes in a minute, has each of its fixes stored once
// afterwards. GPSLogger gives up a fix at its fourth attempt, which is after more than a
// minute: of an outage of ten minutes nothing is left.
func TestAppsThroughAnOutage(t *testing.T) {
	const fixes = 6
	n, db, bucket, key := appsNode(t, nil)
	front := newOutage(t, n)
	want := map[string][]int64{}
	began := time.Now().Add(-time.Hour).Truncate(time.Second).UnixMilli()
	var at []int64
	for i := range int64(fixes) {
		at = append(at, began+i*10_000)
	}
	keepers := apps.Keepers()
	for _, app := range keepers {
		for _, mode := range []string{"401", "503", "nothing", "lost"} {
			rider := app.Name + "-" + mode
			most := app.Within(time.Minute)
			if !app.Jobs {
				most = max(most, 3)
			}
			front.begin(mode, most, app.Jobs)
			c := sendAs(t, app, hiker{rider}, front.URL, key, at)
			if c.Delivered != fixes || c.Sent != fixes || c.Forgotten+c.Unanswered+c.Skipped != 0 || front.refused() < most {
				t.Errorf("%s: %d requests were refused, %+v", rider, front.refused(), c)
			}
			want[rider] = at
		}
	}
	logger, err := apps.Named("gpslogger")
	if err != nil {
		t.Fatal(err)
	}
	ten := logger.Within(10 * time.Minute)
	front.begin("401", ten, true)
	if c := sendAs(t, logger, hiker{"gone"}, front.URL, key, at); ten != 4 || c.Forgotten != fixes || c.Delivered != 0 {
		t.Errorf("ten minutes are %d attempts of GPSLogger, and %+v", ten, c)
	}
	front.begin("", 0, false)
	if c := sendAs(t, logger, hiker{"gone"}, front.URL, key, at[:1]); c.Delivered != 1 {
		t.Errorf("a fix after that: %+v", c)
	}
	want["gone"] = at[:1]
	for rider, got := range untilStored(t, db, bucket, want) {
		if !slices.Equal(got.at, want[rider]) || got.late > 0 {
			t.Errorf("%s: %v are stored, %d of them late, want %v", rider, got.at, got.late, want[rider])
		}
		delete(want, rider)
	}
	if len(want) > 0 {
		t.Errorf("nothing is stored of %v", want)
	}
	m := n.metricsNow()
	sent := float64(len(keepers)*4*fixes + 1)
	if m[`pings_total{verdict="accepted"}`] != sent || m[`pings_total{verdict="rejected"}`]+m[`pings_total{verdict="shed"}`] != 0 || m[`pings_total{verdict="duplicate"}`] == 0 {
		t.Errorf("%v accepted, want %v; %v duplicates of lost answers", m[`pings_total{verdict="accepted"}`], sent, m[`pings_total{verdict="duplicate"}`])
	}
}

// A day without a network comes by each app as it sends it, one by one or in batches: all is
// stored, in the lane for backlogs, and none of it is late. Newest first this holds for as many
// points as the filter remembers of a track, 1,024: what is before them is late.
func TestAppsAfterADayOffline(t *testing.T) {
	const fixes = 2000
	n, db, bucket, key := appsNode(t, nil)
	want := map[string][]int64{}
	began := time.Now().Add(-25 * time.Hour).Truncate(time.Second).UnixMilli()
	var at []int64
	for i := range int64(fixes) {
		at = append(at, began+i*43_000)
	}
	sent := 0
	var all sync.WaitGroup
	for _, app := range apps.Keepers() {
		mine := at
		if app.Newest {
			mine = at[:1000]
		}
		want[app.Name] = mine
		sent += len(mine)
		all.Go(func() {
			if c := sendAs(t, app, hiker{app.Name}, n.URL(), key, mine); c.Delivered != uint64(len(mine)) {
				t.Errorf("%s: %+v", app.Name, c)
			}
		})
	}
	all.Wait()
	stored := untilStored(t, db, bucket, want)
	for name, mine := range want {
		got := stored[name]
		if got == nil || !slices.Equal(got.at, mine) || got.late > 0 {
			if got == nil {
				got = &storedFixes{}
			}
			t.Errorf("%s: of %d fixes %d are stored, %d of them late", name, len(mine), len(got.at), got.late)
		}
	}
	m := n.metricsNow()
	if lane := m[`freshness_seconds_count{lane="backfill"}`]; lane != float64(sent) || m[`freshness_seconds_count`] != lane {
		t.Errorf("%v of %v points are written by the lane for backlogs, want all of %d", lane, m["freshness_seconds_count"], sent)
	}
}

// The companion app of Home Assistant sends a position once: of an outage nothing is left, whatever it
// is, but a lost answer loses nothing. The others are there, each once, at their receipt.
func TestHomeAssistantThroughAnOutage(t *testing.T) {
	const fixes, refused = 6, 3
	n, db, bucket, key := appsNode(t, nil)
	front := newOutage(t, n)
	app, err := apps.Named("homeassistant")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	var at []int64
	for i := range int64(fixes) {
		at = append(at, began.Add(-time.Hour).UnixMilli()+i*10_000)
	}
	want, sum := map[string][]int64{}, 0
	for mode, kept := range map[string]int{"401": fixes - refused, "503": fixes - refused, "nothing": fixes - refused, "lost": fixes, "": fixes} {
		rider := "ha-" + mode
		lost := refused
		if mode == "" {
			lost = 0
		}
		front.begin(mode, lost, false)
		if c := sendAs(t, app, hiker{rider}, front.URL, key, at); c.Delivered != uint64(fixes-lost) || c.Forgotten != uint64(lost) {
			t.Errorf("%s: %+v", rider, c)
		}
		sum += kept
		want[rider] = at[:1] // two of an instant may be one point
	}
	for rider, got := range untilStored(t, db, bucket, want) {
		if got.at[0] < began.UnixMilli() || got.at[len(got.at)-1] > time.Now().UnixMilli() {
			t.Errorf("%s: %v are stored, want some since %v", rider, got.at, began)
		}
		delete(want, rider)
	}
	if len(want) > 0 {
		t.Errorf("nothing is stored of %v", want)
	}
	if m := n.metricsNow(); m[`pings_total{verdict="accepted"}`] != float64(sum) {
		t.Errorf("%v accepted, want %d", m[`pings_total{verdict="accepted"}`], sum)
	}
}

// commuter is a phone that turns every minute, with a fix every 5 s.
type commuter struct{ hiker }

func (c commuter) Update(p *pingline.Ping, _ int, _, at int64) bool {
	const turn, step = 12, 40 / 111_195.0 // fixes, and degrees of 40 m
	n := at / 5000 % 20_000
	leg, along := n/turn, n%turn
	north, east := (leg+1)/2*turn, leg/2*turn
	if leg%2 == 0 {
		north += along
	} else {
		east += along
	}
	p.Fix = pingline.Fix{At: at, Accuracy: 5, Known: pingline.HasAccuracy}
	return p.SetPosition(41+float64(north)*step, -8.6+float64(east)*step) == nil
}

// A working day without a network, thousands of fixes, comes newest first, and the filter drops
// the most of it: none is late, and each that was dropped is within its bound of the line.
func TestAppsNewestFirst(t *testing.T) {
	const fixes = 5760
	n, db, bucket, key := appsNode(t, func(cfg *Config) { cfg.Bound, cfg.Filter.IdleFlush = DefaultConfig().Bound, time.Second })
	began := time.Now().Add(-9*time.Hour).Truncate(5*time.Second).UnixMilli() + 1000
	var at []int64
	for i := range int64(fixes) {
		at = append(at, began+i*5000)
	}
	for i := range apps.All {
		app := &apps.All[i]
		if !app.Newest {
			continue
		}
		phone := commuter{hiker{app.Name}}
		if c := sendAs(t, app, phone, n.URL(), key, at); c.Delivered != fixes {
			t.Errorf("%s: %+v", app.Name, c)
		}
		for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(20 * time.Millisecond) { // the newest is stored once it is idle
			if m := n.metricsNow(); m["holding"] == 0 && m["queued_pings"] == 0 || time.Now().After(deadline) {
				break
			}
		}
		stored := storedOf(t, db, bucket)[app.Name]
		if stored == nil || stored.late > 0 || len(stored.at) > fixes/4 || stored.at[0] != at[0] || stored.at[len(stored.at)-1] != at[fixes-1] {
			t.Fatalf("%s: stored are %+v", app.Name, stored)
		}
		t.Logf("%s: %d of %d fixes are stored", app.Name, len(stored.at), fixes)
		var fix, from, to pingline.Ping
		for i, next := 0, 1; i < fixes; i++ {
			for at[i] > stored.at[next] {
				next++
			}
			phone.Update(&fix, 0, 0, at[i])
			phone.Update(&from, 0, 0, stored.at[next-1])
			phone.Update(&to, 0, 0, stored.at[next])
			share := float64(at[i]-from.At) / float64(to.At-from.At)
			lat, lon := from.Lat()+share*(to.Lat()-from.Lat()), from.Lon()+share*(to.Lon()-from.Lon())
			if off := 111_195 * math.Hypot(lat-fix.Lat(), (lon-fix.Lon())*math.Cos(lat*math.Pi/180)); off > 10.1 {
				t.Fatalf("%s: fix %d is %.1f m off the line", app.Name, i, off)
			}
		}
	}
}
