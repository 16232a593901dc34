package server

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pingline"
	"pingline/ingest/server/minrate"
	"pingline/partition"
	"pingline/query"
	"pingline/sink/store"
)

// longTrack is a store in which every rider has n points, one a second.
func longTrack(n int) query.Sources {
	return query.Sources{
		Track: func(_ context.Context, q store.Query) (query.Points, error) {
			p := query.Points{List: make([]pingline.Entry, min(n, q.Limit))}
			for i := range p.List {
				e := &p.List[i]
				e.Rider, e.At, e.LatE7, e.LonE7, e.Speed, e.Known, e.Cell = q.Rider, int64(i)*1000, 410_000_000+int32(i), -80_000_000, 7.5, pingline.HasSpeed, 0x8539220ffffffff
			}
			return p, nil
		},
		Latest: func(context.Context, string) (query.Points, error) { return query.Points{}, nil },
	}
}

const getTrack = "GET /v1/riders/r/track?limit=10000 HTTP/1.1\r\nHost: x\r\n\r\n"

// deaf asks for long tracks and never reads what comes.
func deaf(t *testing.T, s *Server, host, asks string) *wire {
	w := dialFrom(t, s, host)
	if err := w.tcp().SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	w.say("%s", asks)
	return w
}

// Readers that do not read take what reads may have and no more; other readers
// are refused, and those who send pings notice nothing. When they have had their
// time all is given back.
func TestReadersThatDoNotRead(t *testing.T) {
	var at atomic.Int64 // most bytes of reads seen
	s, _ := testServer(t, Config{Reader: longTrack(10_000), MaxReading: 64 << 20, taker: minrate.Rate{Grace: 3 * time.Second, PerSecond: 1 << 20, Limit: 3 * time.Second}})
	const readers = 300
	for i := range readers {
		deaf(t, s, fmt.Sprint("127.0.2.", 1+i%30), strings.Repeat(getTrack, 3))
	}
	until(t, "reads are stuck", func() bool {
		return s.reads.Slots.Used() >= s.reads.Slots.Most()/2 || s.reads.Bytes.Used() >= s.reads.Bytes.Most()/2
	})
	for i := range 200 {
		at.Store(max(at.Load(), s.reads.Bytes.Used()))
		body := onePing(fmt.Sprint("r-", i), 1)
		w := dialFrom(t, s, "127.0.0.2")
		w.say(post+"Content-Length: %d\r\n\r\n%s", len(body), body)
		if a := w.hear(); a.status != 200 || a.header.Get("Pingline-Shed-Level") != "0" {
			t.Fatalf("a ping: %d %s", a.status, a.body)
		}
		_ = w.Close()
	}
	if n := at.Load(); n == 0 || n > s.reads.Bytes.Most() {
		t.Errorf("answers took %d bytes of %d", n, s.reads.Bytes.Most())
	}
	until(t, "those who do not read are cut off", func() bool { return s.reads.Bytes.Used() == 0 && s.reads.Slots.Used() == 0 })
	if n := s.Stats().InProgress; n != 0 {
		t.Errorf("reads took %d bytes of what is for pings", n)
	}
}

// One client that does not read leaves room for other readers.
func TestReadersOfOneClientLeaveRoom(t *testing.T) {
	s, _ := testServer(t, Config{Reader: longTrack(10_000), taker: minrate.Rate{Grace: time.Minute, PerSecond: 1, Limit: time.Minute}})
	for range 100 {
		deaf(t, s, "127.0.0.9", getTrack)
	}
	until(t, "reads are stuck", func() bool { return s.reads.Slots.Used() > 0 })
	for range 20 {
		w := dialFrom(t, s, "127.0.0.2")
		w.say("%s", getTrack)
		if a := w.hear(); a.status != 200 || len(a.body) < 500_000 {
			t.Errorf("another reader: %d %.200s", a.status, a.body)
		}
		_ = w.Close()
	}
}

// A large answer to pings counts until it has left, too.
func TestVerdictsNobodyTakes(t *testing.T) {
	s, _ := testServer(t, Config{RiderRate: 0, taker: minrate.Rate{Grace: 2 * time.Second, PerSecond: 1 << 30, Limit: 2 * time.Second}})
	body := crowdOf("r", 20_000)
	w := dial(t, s)
	if err := w.tcp().SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	w.say("POST /v1/pings?verdicts=1 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	until(t, "it is answered", func() bool { return s.Stats().Received == 20_000 })
	if n := s.budget.Used(); n < 20_000*verdictBytes/2 {
		t.Errorf("%d bytes are in work while 20,000 verdicts wait to be taken", n)
	}
	until(t, "the client is cut off", func() bool { return s.budget.Used() == 0 })
}

func TestLongAnswers(t *testing.T) {
	s, url := testServer(t, Config{Reader: longTrack(10_000)})
	a, status := get[trackAnswer](t, url+"/v1/riders/r/track?limit=10000")
	if status != 200 || len(a.Pings) != 10_000 {
		t.Fatalf("%d, %d points", status, len(a.Pings))
	}
	for i, p := range a.Pings {
		if p.TS != int64(i)*1000 || *p.Speed != 7.5 {
			t.Fatalf("point %d is %+v", i, p)
		}
	}
	said := send(t, "GET", url+"/v1/riders/r/track?limit=10000", nil, "Accept", mimeGeoJSON)
	var g struct {
		Features []struct {
			Geometry   struct{ Coordinates [][2]float64 }
			Properties struct{ Times []int64 }
		}
	}
	if err := json.Unmarshal([]byte(said.body), &g); err != nil || len(g.Features) != 1 ||
		len(g.Features[0].Geometry.Coordinates) != 10_000 || len(g.Features[0].Properties.Times) != 10_000 {
		t.Errorf("GeoJSON of %d bytes: %v", len(said.body), err)
	}
	old := dial(t, s)
	old.say("GET /v1/riders/r/track?limit=10000 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
	if a := old.hear(); a.status != 200 || a.header.Get("Content-Length") == "" || len(a.body) < 500_000 {
		t.Errorf("HTTP/1.0: %d, %d bytes, %v", a.status, len(a.body), a.header)
	}
	w := dial(t, s)
	w.say("HEAD /v1/riders/r/track?limit=10000 HTTP/1.1\r\nHost: x\r\n\r\n" + healthy)
	resp, err := http.ReadResponse(w.r, &http.Request{Method: "HEAD"})
	if err != nil || resp.StatusCode != 200 || resp.ContentLength < 500_000 {
		t.Fatalf("HEAD: %v %v", resp, err)
	}
	if a := w.hear(); a.body != "ok\n" {
		t.Errorf("behind HEAD: %d %s", a.status, a.body)
	}
	until(t, "all is given back", func() bool { return s.reads.Bytes.Used() == 0 && s.reads.Slots.Used() == 0 })
}

// The longest page can be had where memory is short and shards are many.
func TestLongAnswersOfManyShards(t *testing.T) {
	r := longTrack(10_000)
	r.Shards = 50
	_, url := testServer(t, Config{Reader: r, MaxReading: 16 << 20})
	if a, status := get[trackAnswer](t, url+"/v1/riders/r/track?limit=10000"); status != 200 || len(a.Pings) != 10_000 {
		t.Errorf("%d, %d points", status, len(a.Pings))
	}
}

// A number that JSON cannot say, from another writer, is left out of its point.
func TestPointsOfAnotherWriter(t *testing.T) {
	r := longTrack(3)
	track := r.Track
	r.Track = func(ctx context.Context, q store.Query) (query.Points, error) {
		p, err := track(ctx, q)
		p.List[1].SetOptional(pingline.HasSpeed, 1)
		p.List[1].SetOptional(pingline.HasHeading, 90)
		p.List[1].Speed = float32(math.Inf(1))
		return p, err
	}
	_, url := testServer(t, Config{Reader: r})
	a, status := get[struct{ Pings []map[string]any }](t, url+"/v1/riders/r/track")
	if status != 200 || len(a.Pings) != 3 || a.Pings[0] == nil || a.Pings[2] == nil {
		t.Fatalf("%d, %+v", status, a.Pings)
	}
	if _, there := a.Pings[1]["speed"]; there || a.Pings[1]["heading"] != 90.0 {
		t.Errorf("%+v, want no speed and a heading of 90", a.Pings[1])
	}
}

func TestLinesOfDevices(t *testing.T) {
	r := longTrack(6)
	track := r.Track
	r.Track = func(ctx context.Context, q store.Query) (query.Points, error) {
		p, err := track(ctx, q)
		p.List[1].Device, p.List[4].Device, p.List[5].Device = "b", "b", "a"
		p.List[2].Late = true
		return p, err
	}
	_, url := testServer(t, Config{Reader: r})
	said := send(t, "GET", url+"/v1/riders/r/track", nil, "Accept", mimeGeoJSON)
	var g struct {
		Features []struct {
			Geometry   struct{ Type string }
			Properties struct {
				Device string `json:"device_id"`
				Late   bool
				Times  []int64
			}
		}
	}
	if err := json.Unmarshal([]byte(said.body), &g); err != nil {
		t.Fatalf("%s: %v", said.body, err)
	}
	want := "[{{LineString} { false [0 3000]}} {{MultiPoint} { true [2000]}} {{Point} {a false [5000]}} {{LineString} {b false [1000 4000]}}]"
	if got := fmt.Sprint(g.Features); got != want {
		t.Errorf("features %s, want %s", got, want)
	}
}

func TestReadsHaveARate(t *testing.T) {
	s, url := testServer(t, Config{Reader: longTrack(10_000), ReadRate: 0.1}) // one at once
	path := url + "/v1/riders/r/track?limit=10000"
	if a := send(t, "GET", path, nil); a.status != 200 {
		t.Fatalf("the first: %d %s", a.status, a.body)
	}
	a := send(t, "GET", path, nil)
	if wait, err := strconv.Atoi(a.header.Get("Retry-After")); a.status != 429 || err != nil || wait < 90 {
		t.Errorf("after a track that counts as eleven: %d %.200s, Retry-After %q", a.status, a.body, a.header.Get("Retry-After"))
	}
	other := dialFrom(t, s, "127.0.0.2")
	other.say("%s", getTrack)
	if a := other.hear(); a.status != 200 {
		t.Errorf("another client: %d %.200s", a.status, a.body)
	}
	if a := send(t, "POST", url+"/v1/pings", []byte(onePing("r", 1))); a.status != 200 {
		t.Errorf("its pings: %d %s", a.status, a.body)
	}
}

// One look at the cells of an area serves all who ask for it at about the same
// time, and is forgotten.
func TestOneLookServesAll(t *testing.T) {
	var looks atomic.Int64
	release := make(chan struct{})
	r := query.Sources{Cells: func(partition.Box, int, int) ([]query.Activity, bool, error) {
		looks.Add(1)
		<-release
		return make([]query.Activity, 2000), false, nil
	}}
	s, url := testServer(t, Config{Reader: r, TrustedProxies: localhost})
	var wg sync.WaitGroup
	var bytes atomic.Int64
	for range 20 {
		wg.Go(func() {
			a := send(t, "GET", url+"/v1/cells?bbox=-9,41,-8,42", nil)
			if a.status != 200 || a.header.Get("Content-Type") != mimeGeoJSON {
				t.Errorf("%d %.200s", a.status, a.body)
			}
			bytes.Store(int64(len(a.body)))
		})
	}
	until(t, "all wait", func() bool { return s.reads.Slots.Used() == 20 })
	close(release)
	wg.Wait()
	if n := looks.Load(); n != 1 {
		t.Errorf("%d looks for 20 who ask at once", n)
	}
	send(t, "GET", url+"/v1/cells?bbox=-9,41,-8,42.5", nil)
	if n := looks.Load(); n != 2 {
		t.Errorf("%d looks with another box, want 2", n)
	}
	until(t, "it is forgotten", func() bool { return s.reads.Bytes.Used() == 0 })
	send(t, "GET", url+"/v1/cells?bbox=-9,41,-8,42", nil)
	if n := looks.Load(); n != 3 {
		t.Errorf("%d looks later, want 3", n)
	}
	until(t, "all is given back", func() bool { return s.reads.Bytes.Used() == 0 && s.reads.Slots.Used() == 0 })
}
