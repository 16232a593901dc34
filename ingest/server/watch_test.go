package server

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/dedupe"
	"pingline/ingest"
	"pingline/ingest/server/minrate"
	"pingline/partition"
	"pingline/query/fleet"
	"pingline/query/stream"
	"pingline/queue"
)

// streamServer runs a server with streams.
func streamServer(t *testing.T, cfg Config, viewers int) (*Server, *stream.Hub, string) {
	t.Helper()
	cfg.Writer, _ = testWriter(t, ingest.WriterConfig{Log: testLog(t, queue.Config{}), Overload: ingest.NewOverload(ingest.OverloadConfig{}), Bound: dedupe.Bound{MaxError: 10}})
	m := fleet.New(fleet.Config{
		Newest: cfg.Writer.NewestPings, MaxRiders: 30_000, Resolutions: []int{8},
		Cells: func(partition.Box, int, int) ([]fleet.Activity, bool, error) {
			return []fleet.Activity{{Cell: 0x8839220f09fffff, Res: 8}}, false, nil
		},
	})
	cfg.Streams, cfg.Resolutions = stream.New(stream.Config{Map: m, Viewers: viewers}), []int{8}
	s, url := testServer(t, cfg)
	return s, cfg.Streams, url
}

// watcher reads the events of a stream.
type watcher struct {
	*bufio.Scanner
	resp *http.Response
}

func watchAt(t *testing.T, url, last string) *watcher {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	w := &watcher{bufio.NewScanner(resp.Body), resp}
	w.Buffer(nil, 4<<20)
	return w
}

// until returns the next event whose text has a word, and its id.
func (w *watcher) until(t *testing.T, word string) (event, id string) {
	t.Helper()
	for w.Scan() {
		switch line := w.Text(); {
		case strings.HasPrefix(line, "id: "):
			id = line[4:]
		case line == "" && strings.Contains(event, word):
			return event, id
		case line == "":
			event = ""
		default:
			event += line + "\n"
		}
	}
	t.Fatalf("the stream ended before %q: %v", word, w.Err())
	return "", ""
}

func TestStream(t *testing.T) {
	s, hub, url := streamServer(t, Config{}, 10)
	send(t, "POST", url+"/v1/pings", []byte(onePing("r-1", 9)))
	path := url + "/v1/stream?bbox=-9,41,-8,42&riders=1&res=8"
	w := watchAt(t, path, "")
	if h := w.resp.Header; w.resp.StatusCode != 200 || h.Get("Content-Type") != "text/event-stream" || h.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v", w.resp.StatusCode, h)
	}
	if event, _ := w.until(t, `"r-1"`); !strings.Contains(event, "event: state\n") || !strings.Contains(event, `"8839220f09fffff"`) || !strings.HasPrefix(event, "retry: 2000\n") {
		t.Errorf("the first event: %s", event)
	}
	send(t, "POST", url+"/v1/pings", []byte(onePing("r-2", 5)))
	event, id := w.until(t, `"r-2"`)
	if !strings.Contains(event, "event: change\n") || strings.Contains(event, `"r-1"`) {
		t.Errorf("the second: %s", event)
	}
	_ = w.resp.Body.Close()
	until(t, "the viewer's place is free", func() bool { return hub.Stats().Viewers == 0 && s.reads.Viewers.Used() == 0 })
	send(t, "POST", url+"/v1/pings", []byte(onePing("r-3", 3)))
	back := watchAt(t, path, id)
	for event := ""; !strings.Contains(event, `"r-3"`); { // in the snapshot of a moment ago, or the next
		if event, _ = back.until(t, "event: "); !strings.Contains(event, "event: change\n") || strings.Contains(event, `"r-2"`) {
			t.Errorf("back again: %s", event)
		}
	}
	if event, _ := watchAt(t, path+"&last_event_id="+id, "").until(t, "data"); !strings.Contains(event, "event: change\n") {
		t.Errorf("back again, by a parameter: %s", event)
	}
	for query, want := range map[string]string{
		"":                         "bbox: ",
		"?bbox=-9,41,-8,42":        "res: and riders=1 are not there",
		"?bbox=-9,41,-8,42&res=7":  "res: 7 is none of the resolutions of --rollup, [8]",
		"?bbox=-9,41,-8,42&res=16": "res: ",
	} {
		if a := send(t, "GET", url+"/v1/stream"+query, nil); a.status != 400 || !strings.Contains(a.body, want) {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
	old := dial(t, s)
	old.say("GET /v1/stream?bbox=-9,41,-8,42&riders=1 HTTP/1.0\r\n\r\n")
	if a := old.hear(); a.status != 400 || !strings.Contains(a.body, "HTTP/1.0: has no streams") {
		t.Errorf("HTTP/1.0: %d %s", a.status, a.body)
	}
	if a := send(t, "HEAD", path, nil); a.status != 200 || a.header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("HEAD: %d %v", a.status, a.header)
	}
	s.over.Force(pingline.MaxLevel, false, "a test")
	if a := send(t, "GET", path, nil); a.status != 503 {
		t.Errorf("overloaded: %d %s", a.status, a.body)
	}
	s.over.Force(0, false, "")
	more := watchAt(t, path, "")
	more.until(t, "state")
	until(t, "no stream counts as a read", func() bool { return s.reads.Slots.Used() == 0 })
	hub.Close()
	if rest, err := io.ReadAll(more.resp.Body); err != nil {
		t.Errorf("the end of a stream is no end of its body: %q %v", rest, err)
	}
}

func TestPlacesOfViewers(t *testing.T) {
	s, hub, url := streamServer(t, Config{}, 8)
	const get = "GET /v1/stream?bbox=-9,41,-8,42&riders=1 HTTP/1.1\r\nHost: x\r\n\r\n"
	for range 4 { // of one client, while half is free
		w := dialFrom(t, s, "127.0.0.9")
		w.say("%s", get)
	}
	until(t, "four look", func() bool { return hub.Stats().Viewers == 4 })
	w := dialFrom(t, s, "127.0.0.9")
	w.say("%s", get)
	if a := w.hear(); a.status != 503 || !strings.Contains(a.body, "8 streams are open, or more than a quarter") {
		t.Errorf("a fifth of one client: %d %s", a.status, a.body)
	}
	for i := range 4 {
		w := dialFrom(t, s, fmt.Sprint("127.0.0.", 10+i))
		w.say("%s", get)
	}
	until(t, "eight look", func() bool { return hub.Stats().Viewers == 8 })
	if a := send(t, "GET", url+"/v1/stream?bbox=-9,41,-8,42&riders=1", nil); a.status != 503 {
		t.Errorf("a ninth: %d %s", a.status, a.body)
	}
}

// Viewers who do not read are cut off and take little memory until then; neither senders
// nor other viewers notice.
func TestViewersThatDoNotRead(t *testing.T) {
	s, hub, url := streamServer(t, Config{taker: minrate.Rate{Grace: 6 * time.Second, PerSecond: 1 << 20, Limit: 6 * time.Second}}, 40)
	for part := range 10 {
		send(t, "POST", url+"/v1/pings", []byte(crowdOf(fmt.Sprint("r-", part, "-"), 2000)))
	}
	path := "/v1/stream?bbox=-180,-90,180,90&riders=1"
	good := watchAt(t, url+path, "")
	good.until(t, "state")
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const deafs = 20
	for i := range deafs {
		w := dialFrom(t, s, fmt.Sprint("127.0.3.", 1+i))
		if err := w.tcp().SetReadBuffer(4 << 10); err != nil {
			t.Fatal(err)
		}
		w.say("GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
	}
	until(t, "all look", func() bool { return hub.Stats().Viewers == deafs+1 })
	runtime.GC()
	runtime.ReadMemStats(&after)
	if n := hub.Stats().Bytes; n > (deafs+1)*stream.ViewerBytes {
		t.Errorf("viewers take %d bytes", n)
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > (deafs+1)*(stream.ViewerBytes+ConnectionBytes) {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	for n := 0; hub.Stats().Cut < deafs; n++ {
		name := fmt.Sprint("new-", n)
		if a := send(t, "POST", url+"/v1/pings", []byte(onePing(name, 1))); a.status != 200 {
			t.Fatalf("a ping: %d %s", a.status, a.body)
		}
		good.until(t, name)
	}
	until(t, "only the viewer who reads is left", func() bool { return hub.Stats().Viewers == 1 })
}

// A viewer who takes a byte a second is cut off, too: it is the time of an event that counts,
// and not that something is read now and then. Others notice nothing.
func TestViewerOfAByteASecond(t *testing.T) {
	s, hub, url := streamServer(t, Config{taker: minrate.Rate{Grace: 6 * time.Second, PerSecond: 1 << 20, Limit: 6 * time.Second}}, 40)
	for part := range 10 {
		send(t, "POST", url+"/v1/pings", []byte(crowdOf(fmt.Sprint("r-", part, "-"), 2000)))
	}
	path := "/v1/stream?bbox=-180,-90,180,90&riders=1"
	good := watchAt(t, url+path, "")
	good.until(t, "state")
	w := dialFrom(t, s, "127.0.3.1")
	if err := w.tcp().SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	w.say("GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
	taken, ended := 0, make(chan struct{})
	go func() {
		defer close(ended)
		for range time.Tick(time.Second) {
			if hub.Stats().Cut > 0 {
				return
			}
			if _, err := w.Read(make([]byte, 1)); err != nil {
				return
			}
			taken++
		}
	}()
	for n := 0; hub.Stats().Cut == 0; n++ {
		name := fmt.Sprint("new-", n)
		if a := send(t, "POST", url+"/v1/pings", []byte(onePing(name, 1))); a.status != 200 {
			t.Fatalf("a ping: %d %s", a.status, a.body)
		}
		good.until(t, name)
	}
	<-ended
	if taken == 0 {
		t.Error("it took nothing: nothing is shown by that")
	}
	until(t, "only the viewer who reads is left", func() bool { return hub.Stats().Viewers == 1 })
}

// Viewers who do not read do not keep the server from stopping.
func TestStopWithViewersThatDoNotRead(t *testing.T) {
	s, hub, url := streamServer(t, Config{Grace: 20 * time.Second, taker: minrate.Rate{Grace: time.Hour, PerSecond: 1, Limit: time.Hour}}, 40)
	for part := range 10 {
		send(t, "POST", url+"/v1/pings", []byte(crowdOf(fmt.Sprint("r-", part, "-"), 2000)))
	}
	for range 3 {
		w := dial(t, s)
		if err := w.tcp().SetReadBuffer(4 << 10); err != nil {
			t.Fatal(err)
		}
		w.say("GET /v1/stream?bbox=-180,-90,180,90&riders=1 HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	until(t, "all look", func() bool { return hub.Stats().Events == 3 })
} // the test's end stops the server, which fails if that takes longer than Grace

// Many viewers who come at once, as after a restart, all have a place.
func TestManyViewersAtOnce(t *testing.T) {
	s, hub, _ := streamServer(t, Config{}, 256)
	for i := range 200 {
		w := dialFrom(t, s, fmt.Sprint("127.0.4.", 1+i))
		w.say("GET /v1/stream?bbox=-9,41,-8,42&riders=1 HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	until(t, "all look", func() bool { return hub.Stats().Viewers == 200 })
}
