package livemap_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"pingline/dashboards/browsertest"
	"pingline/dashboards/livemap"
	"pingline/internal/influxd"
	"pingline/internal/node"
	"pingline/sim"
	"pingline/track"
)

// awhile is longer than any busy machine needs.
const awhile = 4 * time.Minute

// stack is a node with its database and a city that sends to it.
type stack struct {
	t    testing.TB
	db   *influxd.Server
	cfg  node.Config
	stop func() // stops the node
}

// newStack runs a node on a real InfluxDB 1.8. It skips the test if there is no bundle.
func newStack(t testing.TB, set ...func(*node.Config)) *stack {
	t.Helper()
	if testing.Short() {
		t.Skip("a browser takes minutes")
	}
	if !livemap.Built() {
		t.Skip("no bundle of the live map: make livemap builds it")
	}
	s := &stack{t: t, db: influxd.RunTest(t), cfg: node.DefaultConfig()}
	port, err := influxd.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	s.cfg.Name, s.cfg.Listen, s.cfg.OpsListen, s.cfg.DataDir = "n-1", fmt.Sprintf("127.0.0.1:%d", port), "", t.TempDir()
	s.cfg.Influx.Host, s.cfg.NewRidersRate, s.cfg.Logger = s.db.URL(), 0, slog.New(slog.DiscardHandler)
	s.cfg.Version = "test"
	for _, set := range set {
		set(&s.cfg)
	}
	s.start()
	return s
}

// start starts the node, also again after stop.
func (s *stack) start() {
	s.t.Helper()
	n, err := node.Open(context.Background(), s.cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	s.stop = sync.OnceFunc(func() {
		stop()
		if err := <-ended; err != nil {
			s.t.Error(err)
		}
	})
	s.t.Cleanup(func() { s.stop() })
}

func (s *stack) url() string { return "http://" + s.cfg.Listen }

// drive sends the pings of riders until the test ends.
func (s *stack) drive(riders int, rate float64) {
	s.t.Helper()
	interval := time.Duration(float64(riders) / rate * float64(time.Second))
	city, err := sim.NewCity(sim.CityConfig{Seed: 3, Riders: riders, Interval: interval})
	if err != nil {
		s.t.Fatal(err)
	}
	load, err := sim.NewLoad(sim.LoadConfig{URL: s.url(), Phones: city, Rate: rate, Batch: 50})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- load.Run(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		<-ended
	})
}

// post sends pings.
func (s *stack) post(body string) {
	s.t.Helper()
	r, err := http.Post(s.url()+"/v1/pings", "application/json", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		s.t.Fatal(r.Status)
	}
}

func (s *stack) get(at string, into any) error {
	r, err := http.Get(s.url() + at)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", at, r.Status)
	}
	return json.NewDecoder(r.Body).Decode(into)
}

// tab is a page in a browser.
type tab struct {
	t   testing.TB
	ctx context.Context

	mu     sync.Mutex // guards the rest; nothing else is locked under it
	faults []string   // errors of the console
	away   bool       // the server is not there: requests may fail
}

// open opens an address in a browser of its own. It skips the test if there is no browser.
func open(t testing.TB, at string, width, height int64, scheme string) *tab {
	t.Helper()
	browser := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			browser = path
			break
		}
	}
	if browser == "" {
		t.Skip("no Chromium is here")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(browser), chromedp.NoSandbox,
		chromedp.WindowSize(int(width), int(height)), chromedp.UserDataDir(t.TempDir()),
		// There is no GPU where tests run: WebGL is drawn by the processor.
		chromedp.Flag("use-gl", "angle"), chromedp.Flag("use-angle", "swiftshader"), chromedp.Flag("enable-unsafe-swiftshader", true))
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	p := &tab{t: t, ctx: ctx}
	if err := chromedp.Listen(ctx, p.hear); err != nil {
		t.Fatal(err)
	}
	p.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	}), chromedp.EmulateViewport(width, height), chromedp.Navigate(at))
	return p
}

// hear keeps the errors of the console.
func (p *tab) hear(ev any) {
	text := ""
	switch ev := ev.(type) {
	case *runtime.EventExceptionThrown:
		text = fmt.Sprintf("exception %s %+v", ev.ExceptionDetails.Text, ev.ExceptionDetails.Exception)
	case *runtime.EventConsoleAPICalled:
		if ev.Type == "error" || ev.Type == "warning" {
			for _, arg := range ev.Args {
				text += fmt.Sprint(string(arg.Value), arg.Description, " ")
			}
		}
	case *cdplog.EventEntryAdded:
		if ev.Entry.Level == cdplog.EntryLevelError {
			text = ev.Entry.Text + " " + ev.Entry.URL
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if text == "" || p.away && (strings.Contains(text, "Failed to load resource") || strings.Contains(text, "net::ERR")) {
		return
	}
	p.faults = append(p.faults, text)
}

// expectAbsence says whether the server may be away.
func (p *tab) expectAbsence(away bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = away
}

// silent fails the test if the console had an error.
func (p *tab) silent() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, fault := range p.faults {
		p.t.Errorf("the console says %s", fault)
	}
	p.faults = nil
}

func (p *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, awhile)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.t.Fatal(err)
	}
}

// eval returns what an expression is in the page, or what the promise becomes that it is.
func eval[T any](p *tab, expression string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, awhile)
	defer cancel()
	got, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return got
}

// until waits until an expression, or the promise that it is, is true in the page.
func (p *tab) until(what, expression string) {
	p.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(awhile)
	ctx, cancel := context.WithTimeout(p.ctx, 2*awhile)
	defer cancel()
	for {
		is, err := browsertest.Is(ctx, expression)
		switch {
		case err != nil:
			p.t.Fatalf("%s: %v", expression, err)
		case is:
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			p.picture("failed")
			says := "[...document.querySelectorAll('.banner, .login, .broken')].map((e) => e.textContent).join(' ') + ' ' + JSON.stringify(window.pingline?.link)"
			p.t.Fatalf("in vain waited until %s: %s; the page says %s", what, expression, eval[string](p, says))
		}
	}
}

// shot returns what is seen.
func (p *tab) shot() image.Image {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, awhile)
	defer cancel()
	shot, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		p.t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		p.t.Fatal(err)
	}
	return img
}

// picture writes what is seen to the folder that PINGLINE_TEST_PICTURES names, and returns
// how many colours it has.
func (p *tab) picture(name string) int {
	p.t.Helper()
	img := p.shot()
	if dir := os.Getenv("PINGLINE_TEST_PICTURES"); dir != "" {
		var file bytes.Buffer
		if err := errors.Join(png.Encode(&file, img), os.MkdirAll(dir, 0o755)); err != nil {
			p.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".png"), file.Bytes(), 0o644); err != nil {
			p.t.Fatal(err)
		}
	}
	colours := make(map[[3]uint32]bool)
	for y := img.Bounds().Min.Y; y < img.Bounds().Max.Y; y++ {
		for x := img.Bounds().Min.X; x < img.Bounds().Max.X; x++ {
			r, g, b, _ := img.At(x, y).RGBA()
			colours[[3]uint32{r, g, b}] = true
		}
	}
	return len(colours)
}

// accessible fails the test for each serious fault that axe-core finds.
func (p *tab) accessible(state string) {
	p.t.Helper()
	axe, err := os.ReadFile("../../.cache/livemap/node_modules/axe-core/axe.min.js")
	if err != nil {
		p.t.Fatalf("axe-core comes with make livemap: %v", err)
	}
	eval[any](p, string(axe)+";undefined")
	type violation struct{ ID, Impact, Help, Nodes string }
	for _, v := range eval[[]violation](p, `axe.run().then((r) => r.violations.map((v) => ({ID: v.id, Impact: v.impact, Help: v.help, Nodes: v.nodes.map((n) => n.html + " " + n.failureSummary).join("\n")})))`) {
		if v.Impact == "serious" || v.Impact == "critical" {
			p.t.Errorf("%s: %s (%s): %s\n%s", state, v.ID, v.Impact, v.Help, v.Nodes)
		} else {
			p.t.Logf("%s: %s (%s): %s", state, v.ID, v.Impact, v.Help)
		}
	}
}

// cell is the activity of a cell, as the page and the API have it.
type cell struct {
	From    int64   `json:"from"`
	Window  int     `json:"window_s"`
	Pings   int     `json:"pings"`
	Riders  int     `json:"riders"`
	Moving  int     `json:"moving"`
	Waiting int     `json:"waiting"`
	Mean    float64 `json:"speed_mean"`
	Max     float64 `json:"speed_max"`
}

// past returns the answer of GET /v1/cells of a time, by cell.
func (s *stack) past(bbox string, res int, at int64) (map[string]cell, error) {
	var answer struct {
		Features []struct {
			Properties struct {
				Cell string
				cell
			}
		}
	}
	q := url.Values{"bbox": {bbox}, "res": {fmt.Sprint(res)}, "at": {fmt.Sprint(at)}}
	err := s.get("/v1/cells?"+q.Encode(), &answer)
	got := make(map[string]cell)
	for _, f := range answer.Features {
		got[f.Properties.Cell] = f.Properties.cell
	}
	return got, err
}

// A browser opens the page of a node that a city sends to: each thing that the map is for
// is done as a person does it, and what it shows is what the API answers.
func TestLiveMapInABrowser(t *testing.T) {
	s := newStack(t)
	p := open(t, s.url()+"/", 1280, 800, "dark")
	p.until("the page says that there are no riders", "document.querySelector('.hello') && !document.querySelector('.hello').hidden")
	s.drive(600, 300)
	// One rider is in need; one has been silent for nearly as long as it takes to be stale.
	now := time.Now().UnixMilli()
	s.post(fmt.Sprintf(`[{"rider_id":"r-need","ts":%d,"lat":41.156,"lon":-8.63,"altitude":80,"speed":3},{"rider_id":"r-need","ts":%d,"lat":41.157,"lon":-8.629,"altitude":90,"speed":0,"event":"sos"},
		{"rider_id":"r-silent","ts":%d,"lat":41.158,"lon":-8.628}]`, now-30_000, now, now-100_000))

	p.until("riders and cells appear", "window.pingline && pingline.link.state === 'live' && pingline.riders > 300 && Object.keys(pingline.cells).length > 20")
	if view := eval[struct{ Zoom, Lat, Lon float64 }](p, "pingline.view"); view.Zoom < 8 || view.Lat < 40.9 || view.Lat > 41.4 || view.Lon < -8.9 || view.Lon > -8.3 {
		t.Errorf("the map opens at %+v, the city is Porto", view)
	}
	p.until("the map has drawn them", "pingline.idle")
	if n := p.picture("dark"); n < 300 {
		t.Errorf("the picture has %d colours: nothing is drawn", n)
	}
	before := eval[float64](p, "pingline.at")
	p.until("time goes on", fmt.Sprintf("pingline.at > %f + 2000", before))
	p.accessible("dark")
	p.silent()

	t.Run("a search draws a track", func(t *testing.T) { p.findsRider(t, s) })
	t.Run("a rider in need has a pin", func(t *testing.T) { p.showsNeed(t) })
	t.Run("the address shows the same again", func(t *testing.T) { p.keepsAddress(t) })
	t.Run("the slider shows an earlier state", func(t *testing.T) { p.looksBack(t, s) })
	t.Run("a silent rider is drawn as one", func(*testing.T) {
		p.until("the rider is stale", "pingline.isStale('r-silent') === true")
	})
	t.Run("the ladder shows that InfluxDB is gone", func(t *testing.T) { p.showsOutage(t, s) })
	t.Run("the page recovers when the server restarts", func(t *testing.T) { p.recovers(t, s) })
	p.silent()
}

// findsRider types the ID of a rider, and compares the track with that of the API.
func (p *tab) findsRider(t *testing.T, s *stack) {
	rider := eval[string](p, "pingline.names[0]")
	p.do(chromedp.Focus(`input[name="rider"]`), chromedp.SendKeys(`input[name="rider"]`, rider+"\r"))
	p.until("a track is there", "pingline.track.length > 1 && document.querySelector('.card.rider .chart canvas')")
	type point struct {
		TS       int64
		Lat, Lon float64
		Waiting  bool
	}
	var told struct{ Pings []point }
	if err := s.get("/v1/riders/"+url.PathEscape(rider)+"/track", &told); err != nil {
		t.Fatal(err)
	}
	same := 0
	for _, drawn := range eval[[]point](p, "pingline.track") {
		if !drawn.Waiting && slices.Contains(told.Pings, drawn) {
			same++
		}
	}
	if same == 0 {
		t.Errorf("none of the points that are drawn is in %v", told.Pings)
	}
	p.until("the track is drawn", "pingline.idle")
	p.picture("rider")
	p.accessible("a rider's card")
}

// showsNeed opens the card of a rider who has sent an SOS, and saves the track.
func (p *tab) showsNeed(t *testing.T) {
	eval[any](p, "location.hash = location.hash.replace(/rider=[^&]*/, 'rider=r-need')")
	p.until("the SOS has a pin and is in the list", "document.querySelector('.pin.sos') && document.querySelector('.event.sos')")
	p.until("altitude is told", "document.querySelector('.card.rider').textContent.includes('Altitude') && pingline.track.length === 2")
	p.picture("sos")
	for name, button := range map[string]int{"a.gpx": 2, "a.geojson": 3} {
		text := eval[string](p, fmt.Sprintf(`new Promise((done) => {
			const make = URL.createObjectURL
			URL.createObjectURL = (blob) => {
				blob.text().then(done)
				URL.createObjectURL = make
				return make.call(URL, blob)
			}
			document.querySelectorAll('.card.rider .row button')[%d - 1].click()
		})`, button))
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := track.Open(file)
		if err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		var saved []string
		for {
			ping, _, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			saved = append(saved, fmt.Sprintf("%.4f %.4f", ping.Lat(), ping.Lon()))
		}
		if want := []string{"41.1560 -8.6300", "41.1570 -8.6290"}; !slices.Equal(slices.Compact(saved), want) {
			t.Errorf("%s has %v, want %v: %s", name, saved, want, text)
		}
	}
}

// showsOutage kills InfluxDB and starts it again.
func (p *tab) showsOutage(t *testing.T, s *stack) {
	p.until("the panel shows what comes in", "parseFloat(document.querySelector('.tile dd').textContent) > 0 && document.querySelector('.breaker.closed')")
	s.db.Kill()
	p.until("the breaker is open", "pingline.breakers.some((b) => b.state === 'open') && document.querySelector('.breaker.open')")
	p.until("the ladder stands higher", "pingline.level > 0 && document.querySelector('.rung[aria-current]').value === pingline.level && document.querySelector('.status.warn')")
	p.picture("overload")
	p.accessible("overload")
	if err := s.db.Restart(context.Background()); err != nil {
		t.Fatal(err)
	}
	p.until("the breaker is closed", "document.querySelector('.breaker.closed')")
}

// keepsAddress loads the page again by its address.
func (p *tab) keepsAddress(t *testing.T) {
	rider := eval[string](p, "document.querySelector('.card.rider h2').textContent")
	p.until("the address names the rider", fmt.Sprintf("location.hash.includes('rider=' + encodeURIComponent(%q))", rider))
	at := eval[string](p, "location.href")
	p.do(chromedp.Navigate("about:blank"), chromedp.Navigate(at))
	p.until("the rider is shown again", fmt.Sprintf("window.pingline && pingline.track.length > 1 && document.querySelector('.card.rider h2').textContent === %q", rider))
	if now := eval[string](p, "location.href"); now != at {
		t.Errorf("the address was %s and is %s", at, now)
	}
	p.do(chromedp.KeyEvent("\x1b"))
	p.until("Escape closes the card", "!document.querySelector('.card')")
}

// looksBack drags the slider, and compares the map with what the API answers of that time.
func (p *tab) looksBack(t *testing.T, s *stack) {
	asked := eval[struct {
		Bbox string
		Res  int
	}](p, "pingline.asked")
	var at int64
	for limit := time.Now().Add(awhile); ; {
		at = (time.Now().UnixMilli() - 60_000) / 10_000 * 10_000
		if got, err := s.past(asked.Bbox, asked.Res, at); err == nil && len(got) > 10 {
			break
		} else if time.Now().After(limit) {
			t.Fatalf("no cells are stored: %d, %v", len(got), err)
		}
		time.Sleep(time.Second)
	}
	p.do(chromedp.Focus(`.timebar input[type="range"]`))
	p.drag(at)
	shown := eval[float64](p, "pingline.shown")
	want, err := s.past(asked.Bbox, asked.Res, int64(shown))
	if err != nil {
		t.Fatal(err)
	}
	got := eval[map[string]cell](p, "pingline.cells")
	if len(got) != len(want) || len(got) == 0 {
		t.Errorf("%d cells are shown, %d are told", len(got), len(want))
	}
	for name, c := range want {
		if got[name] != c {
			t.Errorf("cell %s is shown as %+v, told as %+v", name, got[name], c)
		}
	}
	if text := eval[string](p, "document.querySelector('.pill').textContent + document.querySelector('.banner').textContent"); !strings.Contains(text, "PastThe past:") {
		t.Errorf("the page says %q", text)
	}
	p.seesRidersAt(t, s)
	p.until("cells and riders are drawn", "pingline.idle && pingline.drawsRiders")
	p.picture("past")
	shown = eval[float64](p, "pingline.shown")
	p.do(chromedp.Click(`.timebar .round`))
	p.until("it is played", fmt.Sprintf("pingline.at > %f + 5000", shown))
	p.until("the map follows", fmt.Sprintf("pingline.mode === 'live' || pingline.shown > %f", shown))
	p.do(chromedp.Click(`.timebar .now`))
	p.until("it is live again", "pingline.mode === 'live' && pingline.link.state === 'live' && pingline.riders > 300")
}

// drag moves the slider to a time, ms, and waits until the map shows it.
func (p *tab) drag(at int64) {
	p.t.Helper()
	eval[any](p, fmt.Sprintf(`(() => {
		const slider = document.querySelector('.timebar input[type="range"]')
		slider.value = String((%d - Date.now()) / 1000)
		slider.dispatchEvent(new Event('input', {bubbles: true}))
	})()`, at))
	p.until("the past is shown", fmt.Sprintf("pingline.mode === 'past' && pingline.shown === pingline.at && pingline.problem === '' && Math.abs(pingline.at - %d) <= 10000", at))
}

// look goes to a time, ms, by the address of the page.
func (p *tab) look(at int64) {
	p.t.Helper()
	eval[any](p, fmt.Sprintf("location.hash = location.hash.replace(/&t=\\d+/, '') + '&t=%d'", at))
	p.until("that time is shown", fmt.Sprintf("pingline.mode === 'past' && pingline.shown === %d && pingline.problem === ''", at))
}

// place is where a rider is.
type place struct {
	At    [2]float64 // longitude, latitude
	TS    int64      `json:"ts"`
	Stale bool
}

// placesAt returns the answer of GET /v1/riders of a time.
func (s *stack) placesAt(bbox string, at int64) map[string]place {
	s.t.Helper()
	var answer struct {
		Riders []struct {
			RiderID  string `json:"rider_id"`
			TS       int64
			Lat, Lon float64
			Stale    bool
		}
	}
	if err := s.get("/v1/riders?"+url.Values{"bbox": {bbox}, "at": {fmt.Sprint(at)}, "limit": {"25000"}}.Encode(), &answer); err != nil {
		s.t.Fatal(err)
	}
	all := make(map[string]place)
	for _, r := range answer.Riders {
		all[r.RiderID] = place{[2]float64{r.Lon, r.Lat}, r.TS, r.Stale}
	}
	return all
}

// seesRidersAt compares the riders of a time on the map with the answer of the API. The time is
// not long ago, and points near it are still being stored: each rider is where one of two
// answers tells, of before and after the page asked.
func (p *tab) seesRidersAt(t *testing.T, s *stack) {
	t.Helper()
	bbox := eval[struct{ Bbox string }](p, "pingline.asked").Bbox
	same := func(a, b place) bool {
		return math.Abs(a.At[0]-b.At[0]) < 1e-6 && math.Abs(a.At[1]-b.At[1]) < 1e-6 && a.TS == b.TS && a.Stale == b.Stale
	}
	for limit := time.Now().Add(awhile); ; {
		at := time.Now().UnixMilli() - 40_000
		p.look(at - 20_000)
		before := s.placesAt(bbox, at)
		p.look(at)
		got := eval[map[string]place](p, "pingline.places")
		after := s.placesAt(bbox, at)
		other := 0
		for name, g := range got {
			if !same(g, before[name]) && !same(g, after[name]) {
				other++
			}
		}
		if len(got) > 300 && len(got) == len(after) && other == 0 {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("%d riders are drawn, %d are told; %d are elsewhere", len(got), len(after), other)
		}
	}
}

// recovers stops the node and starts it anew.
func (p *tab) recovers(t *testing.T, s *stack) {
	p.expectAbsence(true)
	s.stop()
	p.until("the page says so", "pingline.link.state === 'lost' && !document.querySelector('.banner').hidden && document.body.classList.contains('stale')")
	p.picture("lost")
	s.start()
	p.until("the page is live again", "pingline.link.state === 'live' && pingline.riders > 300 && document.querySelector('.banner').hidden")
	p.expectAbsence(false)
}

// A phone shows the map, and the panel as a sheet over it.
func TestLiveMapOnAPhone(t *testing.T) {
	s := newStack(t)
	p := open(t, s.url()+"/", 390, 844, "light")
	s.drive(300, 150)
	p.until("riders and cells appear", "window.pingline && pingline.riders > 200 && Object.keys(pingline.cells).length > 10 && pingline.idle")
	p.picture("phone")
	p.accessible("phone")
	if wide := eval[float64](p, "document.documentElement.scrollWidth"); wide > 390 {
		t.Errorf("the page is %v px wide", wide)
	}
	p.do(chromedp.Click(`.sheet`))
	p.until("the panel is open", "document.querySelector('.sheet').getAttribute('aria-expanded') === 'true' && getComputedStyle(document.querySelector('.panel')).visibility === 'visible'")
	p.picture("phone-panel")
	p.accessible("panel of a phone")
	p.silent()
}

// streetMap writes a street map of one tile: the world, with a square water in it.
func streetMap(t *testing.T) (file string) {
	t.Helper()
	field := func(to []byte, number, kind int, value uint64, bytes []byte) []byte {
		to = binary.AppendUvarint(to, uint64(number<<3|kind))
		return append(binary.AppendUvarint(to, value), bytes...)
	}
	inner := func(to []byte, number int, bytes []byte) []byte {
		return field(to, number, 2, uint64(len(bytes)), bytes)
	}
	zigzag := func(n int) uint64 { return uint64(n<<1) ^ uint64(n>>63) }
	var geometry []byte
	for _, n := range []uint64{9, zigzag(1000), zigzag(1000), 26, zigzag(2000), 0, 0, zigzag(2000), zigzag(-2000), 0, 15} {
		geometry = binary.AppendUvarint(geometry, n)
	}
	feature := inner(field(nil, 3, 0, 3, nil), 4, geometry) // a polygon
	layer := field(nil, 15, 0, 2, nil)
	layer = inner(layer, 1, []byte("water"))
	layer = field(inner(layer, 2, feature), 5, 0, 4096, nil)
	tile := inner(nil, 3, layer)

	directory := []byte{1, 0, 1} // one entry: tile 0, once
	directory = append(binary.AppendUvarint(directory, uint64(len(tile))), 1)
	metadata := []byte(`{"attribution":"Nobody & all"}`)
	head := append([]byte("PMTiles"), 3)
	at := uint64(127)
	for _, n := range []int{len(directory), len(metadata), 0, len(tile)} {
		head = binary.LittleEndian.AppendUint64(head, at)
		head = binary.LittleEndian.AppendUint64(head, uint64(n))
		at += uint64(n)
	}
	for range 3 {
		head = binary.LittleEndian.AppendUint64(head, 1) // tiles, entries, contents
	}
	head = append(head, 1, 1, 1, 1, 0, 0) // clustered; nothing is compressed; vector tiles; zoom 0 to 0
	for _, degrees := range []int32{-180, -85, 180, 85} {
		head = binary.LittleEndian.AppendUint32(head, uint32(degrees*1e7))
	}
	head = append(head, make([]byte, 127-len(head))...)
	file = filepath.Join(t.TempDir(), "a.pmtiles")
	if err := os.WriteFile(file, slices.Concat(head, directory, metadata, tile), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// A street map from a file lies below the data, and thanks whom it has to.
func TestStreetMapOfAFile(t *testing.T) {
	s := newStack(t, func(cfg *node.Config) { cfg.Basemap = streetMap(t) })
	p := open(t, s.url()+"/#map=1/0/0", 1280, 800, "light")
	p.until("the water is there", "window.pingline && pingline.water > 0 && pingline.idle")
	p.until("the attribution is told", "document.querySelector('.maplibregl-ctrl-attrib').textContent.includes('Nobody & all')")
	p.picture("streets")
	p.silent()
}

// BenchmarkFrames has 20,000 riders in view who all move. WebGL is drawn by the processor
// here; a GPU has other figures.
func BenchmarkFrames(b *testing.B) {
	s := newStack(b)
	p := open(b, s.url()+"/", 1280, 800, "dark")
	s.drive(20_000, 4000)
	p.until("all riders are in view", "window.pingline && pingline.riders > 19000")
	for b.Loop() {
		from := eval[float64](p, "pingline.drawn")
		p.until("frames are drawn", fmt.Sprintf("pingline.drawn > %f + 100", from))
	}
	frames := eval[[]float64](p, "pingline.frames.slice(-100)")
	slices.Sort(frames)
	b.ReportMetric(frames[len(frames)/2], "p50-ms")
	b.ReportMetric(frames[len(frames)*95/100], "p95-ms")
	b.ReportMetric(eval[float64](p, "pingline.riders"), "riders")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkFirstPaint opens the page in a browser that has just been started, with nothing in
// its cache. A line of text takes as long as bare-ms there.
func BenchmarkFirstPaint(b *testing.B) {
	s := newStack(b)
	s.drive(2000, 1000)
	var paint, full, bare float64
	n := 0
	const first = "performance.getEntriesByName('first-contentful-paint')[0]"
	for b.Loop() {
		line := open(b, s.url()+"/healthz", 1280, 800, "dark")
		line.until("it is drawn", first)
		bare += eval[float64](line, first+".startTime")
		p := open(b, s.url()+"/", 1280, 800, "dark")
		p.until("riders are drawn", "window.pingline && pingline.riders > 500 && pingline.drawn > 0")
		full += eval[float64](p, "performance.now()")
		paint += eval[float64](p, first+".startTime")
		n++
	}
	b.ReportMetric(paint/float64(n), "first-paint-ms")
	b.ReportMetric(full/float64(n), "riders-drawn-ms")
	b.ReportMetric(bare/float64(n), "bare-ms")
	b.ReportMetric(0, "ns/op")
}

// An address with a time that cannot be written and a cell that is none shows the rest.
func TestAddressWithoutSense(t *testing.T) {
	s := newStack(t)
	p := open(t, s.url()+"/#map=5/41/-8&t=99999999999999999999&cell=000000000000000", 1280, 800, "dark")
	p.until("the page is there", "document.querySelector('.broken') || window.pingline && pingline.link.state === 'live'")
	if text := eval[string](p, "document.querySelector('.broken')?.textContent ?? ''"); text != "" {
		t.Errorf("it says %s", text)
	} else if zoom := eval[float64](p, "pingline.view.zoom"); zoom != 5 {
		t.Errorf("the zoom is %v", zoom)
	}
	p.silent()
}

// Names of riders, devices and trips are text, whatever is in them.
func TestNamesAreText(t *testing.T) {
	s := newStack(t)
	names := []string{`<img src=x onerror="window.executed=1">`, `"'><script>window.executed=1</script>`, "\u202egpj.exe\u202c", strings.Repeat("😀", 32), "a/../b?c#d%00&e", "__proto__", "javascript:window.executed=1"}
	now := time.Now().UnixMilli()
	var pings []map[string]any
	for i, name := range names {
		for k := range 3 {
			pings = append(pings, map[string]any{
				"rider_id": name, "device_id": name, "trip_id": name, "event": "sos", "ts": now - 9000 + int64(3000*k),
				"lat": 41.15 + 0.002*float64(i), "lon": -8.61 + 0.001*float64(k), "altitude": 9,
			})
		}
	}
	body, err := json.Marshal(pings)
	if err != nil {
		t.Fatal(err)
	}
	s.post(string(body))
	p := open(t, s.url()+"/#map=13/41.157/-8.61", 1280, 800, "dark")
	p.until("all riders are there", fmt.Sprintf("window.pingline && pingline.riders === %d", len(names)))
	for _, name := range names {
		eval[any](p, fmt.Sprintf("location.hash = '#map=13/41.157/-8.61&rider=' + encodeURIComponent(%q)", name))
		p.until("the card has the name as text", fmt.Sprintf("pingline.track.length === 3 && document.querySelector('.card.rider h2').textContent === %q && document.querySelector('.facts').textContent.includes(%q)", name, name))
	}
	eval[any](p, "document.querySelector('input[type=search]').dispatchEvent(new Event('input'))")
	p.until("all names are offered", fmt.Sprintf("document.querySelectorAll('#riders-in-view option').length === %d", len(names)))
	if eval[bool](p, "Boolean(window.executed || document.querySelector('img[src=x]'))") {
		t.Error("a name was executed")
	}
	p.silent()
}
