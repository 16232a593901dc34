package phone_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image/png"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"pingline"
	"pingline/dashboards/browsertest"
	"pingline/dashboards/phone"
	"pingline/ingest/auth"
	"pingline/internal/influxd"
	"pingline/internal/node"
	"pingline/sink/influx/influxtest"
	"pingline/sink/store"
)

// awhile is longer than any busy machine needs.
const awhile = 4 * time.Minute

// asServer makes the test binary a server, so that it can be killed.
const asServer = "PINGLINE_TEST_AS_SERVER"

// setting is the server's, in the variable asServer.
type setting struct{ Listen, DataDir, Influx, Keys string }

func TestMain(m *testing.M) {
	if text := os.Getenv(asServer); text != "" {
		if err := serve(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// serve runs a server until the process is told to end.
func serve(text string) error {
	var s setting
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	cfg := node.DefaultConfig()
	cfg.Name, cfg.Version, cfg.Listen, cfg.OpsListen, cfg.DataDir, cfg.Influx.Host = "n-1", "test", s.Listen, "", s.DataDir, s.Influx
	cfg.Logger, cfg.Bound.MaxError, cfg.BatchWait, cfg.Drain = slog.New(slog.DiscardHandler), 0, 50*time.Millisecond, awhile
	if s.Keys != "" {
		cfg.Access.Ways, cfg.Access.Keys = []string{"keys"}, s.Keys
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() { // the test is gone
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	n, err := node.Open(ctx, cfg)
	if err != nil {
		return err
	}
	return n.Run(ctx)
}

// server is a process that runs serve.
type server struct {
	t   testing.TB
	db  *influxd.Server
	set setting
	cmd *exec.Cmd
}

// newServer starts a server on a real InfluxDB. It skips the test if there is no bundle.
func newServer(t testing.TB, keys string) *server {
	t.Helper()
	if testing.Short() {
		t.Skip("a browser takes minutes")
	}
	if !phone.Built() {
		t.Skip("no bundle of the page for phones: make phone builds it")
	}
	port, err := influxd.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, db: influxd.RunTest(t)}
	s.set = setting{Listen: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), DataDir: t.TempDir(), Influx: s.db.URL(), Keys: keys}
	s.start()
	t.Cleanup(s.kill)
	return s
}

func (s *server) url() string { return "http://" + s.set.Listen }

func (s *server) start() {
	s.t.Helper()
	text, err := json.Marshal(s.set)
	if err != nil {
		s.t.Fatal(err)
	}
	s.cmd = exec.Command(os.Args[0])
	s.cmd.Env = append(os.Environ(), asServer+"="+string(text))
	s.cmd.Stderr = os.Stderr
	if _, err := s.cmd.StdinPipe(); err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	limit := time.Now().Add(awhile)
	for {
		if r, err := http.Get(s.url() + "/healthz"); err == nil {
			_ = r.Body.Close()
			return
		}
		if time.Now().After(limit) {
			s.t.Fatal("the server does not answer")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// kill ends the server as power loss would.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// end has the server store all that it holds.
func (s *server) end() {
	s.t.Helper()
	if err := errors.Join(s.cmd.Process.Signal(syscall.SIGTERM), s.cmd.Wait()); err != nil {
		s.t.Error(err)
	}
}

// tab is a page in a browser.
type tab struct {
	t   testing.TB
	ctx context.Context

	mu     sync.Mutex // guards the rest
	faults []string   // errors of the console
	away   bool       // there is no server or no network: requests may fail
}

// open opens an address in a browser of its own, which may tell positions. It skips the test
// if there is no browser.
func open(t testing.TB, at, scheme string, flags ...chromedp.ExecAllocatorOption) *tab {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("no Chromium is here")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()))
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), append(options, flags...)...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	p := newTab(ctx, t)
	p.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.CallBrowser(ctx, browser.SetPermission, browser.SetPermissionParams{Permission: &browser.PermissionDescriptor{Name: "geolocation"}, Setting: browser.PermissionSettingGranted})
		return err
	}))
	p.colours(scheme)
	p.do(chromedp.EmulateViewport(390, 844), chromedp.Navigate(at))
	return p
}

// recorder writes down each position that the browser tells the page.
const recorder = `{
	const watch = Geolocation.prototype.watchPosition
	Geolocation.prototype.watchPosition = function (found, ...rest) {
		return watch.call(this, (position) => {
			const told = JSON.parse(localStorage.getItem('told') ?? '[]')
			told.push([Math.round(position.timestamp), position.coords.latitude])
			localStorage.setItem('told', JSON.stringify(told))
			found(position)
		}, ...rest)
	}
}`

func newTab(ctx context.Context, t testing.TB) *tab {
	p := &tab{t: t, ctx: ctx}
	if err := chromedp.Listen(ctx, p.hear); err != nil {
		t.Fatal(err)
	}
	p.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: recorder})
		return err
	}))
	return p
}

func (p *tab) colours(scheme string) {
	p.t.Helper()
	p.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	}))
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

// until waits until an expression is true in the page.
func (p *tab) until(fact, expression string) {
	p.t.Helper()
	limit := time.Now().Add(awhile)
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
		if time.Now().After(limit) {
			p.picture("failed")
			p.t.Fatalf("in vain waited until %s: %s; the page says %s", fact, expression, eval[string](p, "document.body.innerText + JSON.stringify(window.pingline?.sender.status)"))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// picture writes what is seen to the folder that PINGLINE_TEST_PICTURES names.
func (p *tab) picture(name string) {
	p.t.Helper()
	dir := os.Getenv("PINGLINE_TEST_PICTURES")
	if dir == "" {
		return
	}
	ctx, cancel := context.WithTimeout(p.ctx, awhile)
	defer cancel()
	shot, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := png.DecodeConfig(bytes.NewReader(shot)); err != nil {
		p.t.Fatal(err)
	}
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, name+".png"), shot, 0o644)); err != nil {
		p.t.Fatal(err)
	}
}

// accessible fails the test for each serious fault that axe-core finds.
func (p *tab) accessible(state string) {
	p.t.Helper()
	axe, err := os.ReadFile("../../.cache/livemap/node_modules/axe-core/axe.min.js")
	if err != nil {
		p.t.Fatalf("axe-core comes with make phone: %v", err)
	}
	eval[any](p, string(axe)+";undefined")
	type violation struct{ ID, Impact, Help, Nodes string }
	for _, v := range eval[[]violation](p, `axe.run().then((r) => r.violations.map((v) => ({ID: v.id, Impact: v.impact, Help: v.help, Nodes: v.nodes.map((n) => n.html + " " + n.failureSummary).join("\n")})))`) {
		p.t.Errorf("%s: %s (%s): %s\n%s", state, v.ID, v.Impact, v.Help, v.Nodes)
	}
}

// place is where the browser is after a number of fixes: a zigzag of a kilometre, on no line.
func place(i int) (lat, lon float64) { return 41 + float64(i)/1000, -8 - 0.01*float64(i%2) }

// move moves the browser, and waits until the page has the position and it is kept.
func (p *tab) move(i int) {
	p.t.Helper()
	lat, lon := place(i)
	accuracy := 4.0
	p.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetGeolocationOverride, emulation.SetGeolocationOverrideParams{Latitude: &lat, Longitude: &lon, Accuracy: &accuracy})
		return err
	}))
	p.until("the page has the position", fmt.Sprintf("window.pingline?.watch.last?.lat === %v && !pingline.keeping", lat))
}

// offline takes the network away, or gives it back.
func (p *tab) offline(off bool) {
	p.t.Helper()
	p.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, network.EmulateNetworkConditionsByRule, network.EmulateNetworkConditionsByRuleParams{
			MatchedNetworkConditions: []*network.Conditions{{Offline: off, DownloadThroughput: -1, UploadThroughput: -1}},
		})
		if err != nil {
			return err
		}
		_, err = chromedp.Call(ctx, network.OverrideNetworkState, network.OverrideNetworkStateParams{Offline: off, DownloadThroughput: -1, UploadThroughput: -1})
		return err
	}))
}

// keysFor makes a file of keys, with a key that sends as a rider.
func keysFor(t testing.TB, rider string) (path, secret string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "keys")
	secret, hash := auth.NewSecret()
	if err := auth.ChangeKeys(path, func([]auth.KeyRow) ([]auth.KeyRow, error) {
		return []auth.KeyRow{{Name: rider, Hash: hash, Scopes: []string{"write"}, Riders: []string{rider}}}, nil
	}); err != nil {
		t.Fatal(err)
	}
	return path, secret
}

// leastOffline is how long TestPhoneInABrowser is without a network at least, such as 1m; by default
// as long as 50 positions take.
func leastOffline(t *testing.T) time.Duration {
	text := os.Getenv("PINGLINE_TEST_OFFLINE")
	if text == "" {
		return 0
	}
	least, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("PINGLINE_TEST_OFFLINE: %v", err)
	}
	return least
}

// A browser moves 200 times. It loses its network for a while and is loaded again without
// one; the server is killed and comes back. Each position is stored once, at its time.
func TestPhoneInABrowser(t *testing.T) {
	keys, secret := keysFor(t, "ana")
	s := newServer(t, keys)
	p := open(t, s.url()+"/phone#rider=ana&key="+secret, "dark")
	p.until("the address has no key any more", "window.pingline && location.href.endsWith('/phone')")
	p.until("a worker has the page", "navigator.serviceWorker.ready.then(() => navigator.serviceWorker.controller !== null)")
	p.until("it says that it does not send", "document.querySelector('.line h2').textContent === 'Not sending'")
	p.accessible("not sending")
	p.picture("phone-off-dark")
	if n := eval[int](p, "JSON.parse(localStorage.getItem('told') ?? '[]').length"); n != 0 {
		t.Errorf("%d positions were taken before the start", n)
	}
	p.do(chromedp.Click("button.main"))
	const fixes = 200
	least, lost := leastOffline(t), time.Time{}
	for i := range fixes {
		switch i {
		case 50:
			p.until("all is answered", "pingline.sender.status.waiting === 0 && document.querySelectorAll('.answers strong').length === 5")
			p.until("it says that it sends", "document.querySelector('.line h2').textContent === 'Sending'")
			p.accessible("sending")
			p.picture("phone-dark")
			p.colours("light")
			p.picture("phone-light")
			p.expectAbsence(true)
			p.offline(true)
			lost = time.Now()
		case 75:
			time.Sleep(time.Until(lost.Add(least / 2)))
			p.until("it says that there is no network", "document.querySelector('.line h2').textContent === 'No network'")
			p.accessible("offline")
			p.picture("phone-offline-light")
			p.do(chromedp.Reload())
			p.until("the page opens without a network", "window.pingline")
			p.until("what waited is there", "pingline.sender.status.waiting >= 25")
		case 100:
			time.Sleep(time.Until(lost.Add(least)))
			t.Logf("the network was away for %v", time.Since(lost).Round(time.Millisecond))
			p.offline(false)
			p.until("all is answered", "pingline.sender.status.waiting === 0")
		case 110:
			s.kill()
		case 140:
			p.until("it says that the server is away", "document.querySelector('.line h2').textContent.startsWith('The server is away')")
			p.picture("phone-away-light")
			s.start()
			p.expectAbsence(false)
		case 170:
			p.do(chromedp.Reload())
		}
		p.move(i)
	}
	p.until("all is answered", "pingline.sender.status.waiting === 0")
	p.until("the last is a verdict", "document.querySelectorAll('.answers strong').length > 0")
	p.silent()
	told := eval[[][2]float64](p, "JSON.parse(localStorage.getItem('told'))")
	s.end()
	compare(t, s, "ana", told, fixes)
	if text, err := os.ReadFile(keys); err != nil || bytes.Contains(text, []byte(secret)) {
		t.Errorf("the file of keys has the key: %v", err)
	}
}

// A person types who sends, once. A wrong key is asked for again, and nothing that was found in
// the meantime is lost; a second tab leaves the sending to the first, and goes on when that is closed.
func TestPhoneIsToldWhoSends(t *testing.T) {
	keys, secret := keysFor(t, "ana")
	s := newServer(t, keys)
	p := open(t, s.url()+"/phone", "light")
	p.until("it asks who sends", "document.querySelector('form.ask')")
	p.accessible("who sends")
	p.picture("phone-ask-light")
	p.do(chromedp.SendKeys("#rider", "ana"), chromedp.SendKeys("#key", "pl_wrong\r"))
	p.until("it does not ask again", "window.pingline && !document.querySelector('form.ask')")
	p.do(chromedp.Click("button.main"))
	p.expectAbsence(true) // 401 is in the console
	for i := range 3 {
		p.move(i)
	}
	p.until("it says that the key is wrong", "document.querySelector('.line h2').textContent === 'The server wants another key' && pingline.sender.status.waiting === 3")
	p.accessible("another key")
	p.picture("phone-key-light")
	p.do(chromedp.SendKeys("#new-key", secret+"\r"))
	p.until("all is answered", "pingline.sender.status.waiting === 0 && pingline.sender.status.totals.rejected === 0")
	p.expectAbsence(false)

	ctx, cancel := chromedp.NewContext(p.ctx)
	t.Cleanup(cancel)
	second := newTab(ctx, t)
	second.do(chromedp.Navigate(s.url() + "/phone"))
	second.until("it says that another tab sends", "document.querySelector('.line h2').textContent === 'Another tab sends'")
	second.accessible("another tab")
	second.silent()
	p.silent()
	p.do(chromedp.Navigate("about:blank"))
	second.until("it goes on", "document.querySelector('.line h2').textContent !== 'Another tab sends' && pingline.watch.awake !== undefined && pingline.sender.status.state !== 'elsewhere'")
	second.until("all is answered", "pingline.sender.status.waiting === 0")
	told := eval[[][2]float64](second, "JSON.parse(localStorage.getItem('told'))")
	if n := len(told); n < 3 {
		t.Errorf("the browser told %d positions", n)
	}
	s.end()
	compare(t, s, "ana", told, 3)
}

// Who scans a code for guests has a name of their own, and keeps it. Where the browser may tell no
// position the page says so, and over http: of another machine that nothing is possible.
func TestPhoneSaysWhatIsMissing(t *testing.T) {
	s := newServer(t, "")
	p := open(t, s.url()+"/phone#rider=guest-*", "dark", chromedp.Flag("host-resolver-rules", "MAP pings.example 127.0.0.1"))
	p.until("somebody is there", "window.pingline")
	name := eval[string](p, "document.querySelector('.who strong').textContent")
	if len(name) != len("guest-")+4 || !strings.HasPrefix(name, "guest-") || strings.Contains(name, "*") {
		t.Errorf("the guest is %q", name)
	}
	p.do(chromedp.Navigate("about:blank"), chromedp.Navigate(s.url()+"/phone#rider=guest-*"))
	p.until("the guest is the same", fmt.Sprintf("window.pingline && document.querySelector('.who strong').textContent === %q && location.hash === ''", name))
	p.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.CallBrowser(ctx, browser.SetPermission, browser.SetPermissionParams{Permission: &browser.PermissionDescriptor{Name: "geolocation"}, Setting: browser.PermissionSettingDenied})
		return err
	}), chromedp.Click("button.main"))
	p.until("it says that the browser gives none", "document.querySelector('.line h2').textContent === 'The browser gives no position'")
	p.accessible("denied")
	p.picture("phone-denied-dark")
	p.silent()
	p.expectAbsence(true)
	p.do(chromedp.Navigate("http://pings.example:" + s.set.Listen[strings.LastIndexByte(s.set.Listen, ':')+1:] + "/phone#rider=ana&key=pl_x"))
	p.until("it says why nothing is possible", "document.querySelector('[role=alert] h2').textContent === 'This page came over http:'")
	if eval[bool](p, "localStorage.length > 0 || document.querySelector('input') !== null") {
		t.Error("over http the page keeps or asks for something")
	}
	p.accessible("over http")
	p.picture("phone-http-dark")
}

// compare holds the positions that the browser told against those in InfluxDB.
func compare(t *testing.T, s *server, rider string, told [][2]float64, fixes int) {
	t.Helper()
	stored := make(map[int64][]float64)
	all := store.Query{From: 0, To: time.Now().Add(time.Hour).UnixMilli()}
	if err := influxtest.Open(t, influxtest.Access(s.db, "pingline")).Points(t.Context(), all, func(e *pingline.Entry, _ int64) error {
		if e.Rider == rider && strings.HasPrefix(e.Device, "browser-") {
			stored[e.At] = append(stored[e.At], e.Lat())
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	places, again := make(map[string]bool), 0
	for _, fix := range told {
		at, lat := int64(fix[0]), fix[1]
		where := strconv.FormatFloat(lat, 'f', 4, 64)
		got := stored[at]
		delete(stored, at)
		if places[where] && len(got) == 0 {
			again++ // told a second time after a reload: it says nothing new
			continue
		}
		places[where] = true
		if len(got) != 1 || strconv.FormatFloat(got[0], 'f', 4, 64) != where {
			t.Errorf("%s at %d is stored as %v", where, at, got)
		}
	}
	if len(places) != fixes || len(stored) != 0 {
		t.Errorf("%d places of %d are stored; nobody told %v", len(places), fixes, slices.Sorted(maps.Keys(stored)))
	}
	t.Logf("the browser told %d positions, %d of them again after a reload", len(told), again)
}
