package livemap_test

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"pingline/internal/influxd"
	"pingline/internal/node"
)

// Tiles of an online map lie below the data, and its host is thanked; any other host cannot be
// asked.
func TestTilesOfAnOnlineMap(t *testing.T) {
	pink := image.NewNRGBA(image.Rect(0, 0, 256, 256))
	for i := range 256 * 256 {
		pink.Set(i%256, i/256, color.NRGBA{255, 0, 200, 255})
	}
	var tile bytes.Buffer
	if err := png.Encode(&tile, pink); err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	tiles := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Content-Type", "image/png")
		_, _ = w.Write(tile.Bytes())
	}))
	t.Cleanup(tiles.Close)
	var others atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		others.Add(1)
		w.Header().Set("Access-Control-Allow-Origin", "*")
	}))
	t.Cleanup(other.Close)
	s := newStack(t, func(cfg *node.Config) {
		cfg.TileURL, cfg.TileAttribution = tiles.URL+"/{z}/{x}/{y}.png", "© Makers <img src=x onerror=window.executed=1>"
	})
	p := open(t, s.url()+"/#map=6/47/8", 1280, 800, "light")
	p.until("the map is drawn", "window.pingline && pingline.link.state === 'live' && pingline.idle")
	p.until("the makers are thanked", "document.querySelector('.maplibregl-ctrl-attrib').textContent.includes('© Makers <img src=x')")
	if asked.Load() == 0 {
		t.Error("no tile was asked for")
	}
	if r, g, b, _ := p.shot().At(500, 450).RGBA(); r>>8 < 240 || g>>8 > 20 || b>>8 < 180 {
		t.Errorf("the map has the colour %d, %d, %d, not that of the tiles", r>>8, g>>8, b>>8)
	}
	p.picture("tiles")
	p.silent()
	if eval[bool](p, fmt.Sprintf("fetch(%q).then(() => true, () => false)", other.URL)) || others.Load() > 0 {
		t.Error("another host can be asked")
	}
	eval[any](p, fmt.Sprintf("new Promise((done) => { const i = new Image(); i.onload = i.onerror = done; i.src = %q + '/a.png' })", other.URL))
	if others.Load() > 0 || eval[bool](p, "Boolean(window.executed)") {
		t.Error("a picture of another host is loaded, or the attribution is executed")
	}
}

// between is a proxy of a node. A part of the routes can be answered by the test.
type between struct {
	http.Handler
	url string

	mu     sync.Mutex // guards answer
	answer map[string]http.HandlerFunc
}

func newBetween(t *testing.T, s *stack) *between {
	t.Helper()
	to, err := url.Parse(s.url())
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.FlushInterval = -1
	b := &between{Handler: proxy, answer: make(map[string]http.HandlerFunc)}
	server := httptest.NewServer(b)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	b.url = server.URL
	return b
}

func (b *between) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	answer := b.answer[r.URL.Path]
	b.mu.Unlock()
	if answer != nil {
		answer(w, r)
		return
	}
	b.Handler.ServeHTTP(w, r)
}

// set has a route answered by f, or by the node if f is nil.
func (b *between) set(route string, f http.HandlerFunc) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer[route] = f
}

// A pause of the stream is never shown as if it were now, nor is a lost one; the ladder says
// why the node is on its level.
func TestPausedAndLost(t *testing.T) {
	s := newStack(t)
	b := newBetween(t, s)
	events := make(chan string)
	cut := make(chan struct{})
	b.set("/v1/stream", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		flush := http.NewResponseController(w)
		send := func(text string) {
			fmt.Fprint(w, text)
			_ = flush.Flush()
		}
		now := time.Now().UnixMilli()
		send(fmt.Sprintf("retry: 1000\nid: a.1.b\nevent: state\ndata: {\"at\":%d,\"stale_s\":120,\"gone_s\":1800,\"riders\":[[1,%d,41.15,-8.61,7,90,0,\"r-1\"]]}\n\n", now, now))
		alive := time.NewTicker(time.Second)
		defer alive.Stop()
		id := "a.1.b"
		for {
			select {
			case text := <-events:
				send(text)
				id = ""
			case <-alive.C:
				if id != "" {
					send("id: " + id + "\n\n")
				} else {
					send(": nothing\n\n")
				}
			case <-cut:
				return
			case <-r.Context().Done():
				return
			}
		}
	})
	const reason = "a shard has taken nothing for 45 s"
	b.set("/v1/status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"at":1,"version":"test","ready":true,"reason":"","level":2,"level_name":"no reads","level_reason":"`+reason+`","giving_up":[],
			"breakers":[{"shard":"a","state":"closed"}],"now":{"received_per_s":7},"step_s":5,"from":1,"history":{}}`)
	})
	p := open(t, b.url+"/#map=13/41.15/-8.61", 1280, 800, "light")
	p.until("the rider is there", "window.pingline && pingline.link.state === 'live' && pingline.riders === 1 && pingline.drawsRiders")
	p.until("the ladder says why", fmt.Sprintf("document.querySelector('.rung[aria-current]').value === 2 && document.querySelector('.rung[aria-current]').textContent.toLowerCase().includes(%q)", reason))
	events <- "event: paused\ndata: {\"reason\":\"overloaded, the fleet is not shown\"}\n\n"
	p.until("the pause is told", "pingline.link.state === 'paused' && document.querySelector('.pill').textContent === 'Paused' && !document.querySelector('.banner').hidden")
	if text := eval[string](p, "document.querySelector('.banner').textContent"); !strings.HasPrefix(text, "Paused by the server: overloaded, the fleet is not shown. The map shows how it was at ") {
		t.Errorf("the banner says %q", text)
	}
	if text := eval[string](p, "document.querySelector('.timebar .shown').textContent"); text == "Live" {
		t.Error("the time says that a paused map is live")
	}
	p.until("it is dimmed", "document.body.classList.contains('stale') && !pingline.drawsRiders && pingline.riders === 1")
	p.accessible("paused")
	p.picture("paused")
	events <- "id: a.2.b\n\n"
	p.until("it goes on", "pingline.link.state === 'live' && pingline.drawsRiders && document.querySelector('.banner').hidden && !document.body.classList.contains('stale')")
	p.silent()

	p.expectAbsence(true)
	for _, route := range []string{"/v1/stream", "/v1/status"} {
		b.set(route, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	}
	close(cut)
	p.until("nothing is shown as if it were now", "pingline.link.state === 'lost' && document.body.classList.contains('stale') && !pingline.drawsRiders && document.querySelector('.status.old')")
	if text := eval[string](p, "document.querySelector('.headline').textContent"); text != "The server does not say how it is. The figures are old." {
		t.Errorf("the panel says %q", text)
	}
}

// A change of shards that goes on is shown beside the databases: how far it is, and why it stands.
func TestChangeOfShardsIsShown(t *testing.T) {
	port, err := influxd.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	s := newStack(t, func(cfg *node.Config) { cfg.OpsListen = fmt.Sprintf("127.0.0.1:%d", port) })
	if err := s.db.CreateBucket(t.Context(), "other", 0); err != nil {
		t.Fatal(err)
	}
	step := func(name, body string) {
		t.Helper()
		for late := time.After(awhile); ; {
			r, err := http.Post("http://"+s.cfg.OpsListen+"/v1/reshard/"+name, "application/json", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(r.Body)
			_ = r.Body.Close()
			switch {
			case r.StatusCode == http.StatusOK:
				return
			case err != nil || name != "pause": // which is refused until the history is known
				t.Fatalf("%s: %s, %s, %v", name, r.Status, text, err)
			}
			select {
			case <-time.After(50 * time.Millisecond):
			case <-late:
				t.Fatalf("%s: %s, %s", name, r.Status, text)
			}
		}
	}
	s.drive(30, 30)
	p := open(t, s.url()+"/#map=13/41.15/-8.61", 1280, 800, "light")
	p.until("the panel has figures, and no change", "window.pingline && pingline.recorded > 0 && document.querySelector('.changes').hidden")

	step("start", fmt.Sprintf(`{"add":["name=c,url=%s,bucket=other"],"history":"move","rate":1}`, s.db.URL()))
	step("pause", "{}")
	p.until("the change is told, how far it is, and why it stands", `!document.querySelector('.changes').hidden && document.querySelectorAll('.change').length === 1 &&
		/^The databases are being changed \(add c\): history is copied, 0 %/.test(document.querySelector('.change p').textContent) &&
		!document.querySelector('.change progress').hidden && document.querySelector('.change progress').position === 0 &&
		document.querySelector('.change .why').textContent === 'It stands: it is paused: pingline reshard resume.'`)
	p.accessible("a change of shards")
	p.picture("change")
	step("resume", "{}")
	p.until("it goes on", "!document.querySelector('.change .why').textContent.includes('paused')")
	step("abort", "{}")
	p.until("it is over", "document.querySelector('.changes').hidden && document.querySelectorAll('.change').length === 0")
	p.silent()
}

// An address without a place leads to the riders; colours and units can be switched, and stay
// so; a cell has a card; time can be played at sixty times its speed until it is now.
func TestSwitches(t *testing.T) {
	s := newStack(t)
	s.drive(300, 150)
	p := open(t, s.url()+"/#map=//", 1280, 800, "dark")
	p.until("the map shows the riders", "window.pingline && pingline.riders > 200 && Object.keys(pingline.cells).length > 10 && pingline.idle")
	theme := func() string { return eval[string](p, "document.documentElement.dataset.theme") }
	bright := func() uint32 {
		r, g, b, _ := p.shot().At(1000, 500).RGBA() // of the panel
		return (r + g + b) / 3 >> 8
	}
	if theme() != "dark" || bright() > 80 {
		t.Errorf("the system is dark, the page is %s, %d", theme(), bright())
	}
	p.do(chromedp.Click(`.tools button[aria-label^="Colours"]`))
	p.until("the map is drawn", "pingline.idle")
	if theme() != "light" || bright() < 200 {
		t.Errorf("light was chosen, the page is %s, %d", theme(), bright())
	}
	p.accessible("light")
	p.picture("light")

	unit := eval[string](p, `document.querySelector('.tools button[aria-label^="Units"]').textContent`)
	other := map[string]string{"km/h": "mph", "mph": "km/h"}[unit]
	p.do(chromedp.Click(`.tools button[aria-label^="Units"]`), chromedp.Click(`.switch label:has(input[value="speed"])`))
	length := map[string]string{"km/h": "k?m", "mph": "(ft|mi)"}[other]
	p.until("the legend and the scale are in the other units", fmt.Sprintf(
		"pingline.metric === 'speed' && document.querySelector('.legend .meaning').textContent.includes(%q) && /[0-9]\\s?%s$/.test(document.querySelector('.maplibregl-ctrl-scale').textContent)",
		other, length))

	p.do(chromedp.Focus(".maplibregl-canvas"), chromedp.KeyEvent("\r"))
	p.until("a card of the cell in the middle", "document.querySelector('.card.cell') && location.hash.includes('cell=')")
	p.until("its hour is there", "document.querySelectorAll('.card.cell .chart canvas').length === 3 && document.querySelector('.card.cell .note').textContent === ''")
	cell := eval[string](p, "document.querySelector('.card.cell small').textContent")
	p.until("its numbers are those of the map", fmt.Sprintf(
		"(() => { const a = pingline.cells[%q]; const text = document.querySelector('.card.cell .facts').textContent; return a ? text.includes(a.pings + ' (') && text.includes(a.riders + ': ') && text.includes(%q) : text.includes('No activity') })()", cell, other))
	p.accessible("a cell's card")
	p.picture("cell")
	p.silent()

	p.do(chromedp.Navigate("about:blank"), chromedp.Navigate(s.url()+"/"))
	p.until("the choices are kept", fmt.Sprintf(`window.pingline && pingline.riders > 200 && document.documentElement.dataset.theme === 'light' && document.querySelector('.tools button[aria-label^="Units"]').textContent === %q`, other))

	from := time.Now().Add(-25 * time.Minute).UnixMilli()
	p.until("the address has the place", "location.hash.includes('map=')")
	link := s.url() + "/" + eval[string](p, "location.hash") + fmt.Sprintf("&t=%d", from)
	p.do(chromedp.Navigate("about:blank"), chromedp.Navigate(link))
	p.until("the past is told to be empty", "window.pingline && pingline.problem === 'Nothing is stored of this time here.' && document.querySelector('.banner').textContent.includes('Nothing is stored')")
	eval[any](p, `(() => {
		const speed = document.querySelector('.timebar select')
		speed.value = '60'
		speed.dispatchEvent(new Event('change'))
	})()`)
	p.do(chromedp.Click(`.timebar .round`))
	p.until("it plays", fmt.Sprintf("pingline.at > %d", from))
	type moment struct {
		At, Now float64
		Mode    string
	}
	now := func() moment {
		return eval[moment](p, "({At: pingline.at, Now: performance.now(), Mode: pingline.mode})")
	}
	a := now()
	p.until("minutes have been played", fmt.Sprintf("pingline.mode === 'live' || pingline.at > %f + 600000", a.At))
	// A browser that is slow to answer may have come to its end, where it goes at the pace of life.
	if b := now(); b.Mode != "live" && (b.At-a.At)/(b.Now-a.Now) < 30 {
		t.Errorf("%.0f s were played in %.0f s", (b.At-a.At)/1000, (b.Now-a.Now)/1000)
	}
	p.until("it ends at now", "pingline.mode === 'live' && pingline.link.state === 'live' && pingline.riders > 200")
	p.silent()
}
