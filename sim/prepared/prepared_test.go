package prepared

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"pingline/sim"
)

// begin is ts of the first pings of tests.
const begin = 1_760_000_000_000

func stock(t testing.TB, riders, steps int) *Stock {
	t.Helper()
	city, err := sim.NewCity(sim.CityConfig{Riders: riders, Interval: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewStock(city, riders, steps, begin)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sent is a ping as a server sees it.
type sent struct {
	Rider  string `json:"rider_id"`
	Device string `json:"device_id"`
	At     int64  `json:"ts"`
	Lat    float64
	Lon    float64
}

// ingester is a server that reads pings, and answers as told.
type ingester struct {
	t *testing.T
	*httptest.Server
	answer func(w http.ResponseWriter, pings []sent)

	mu    sync.Mutex
	pings []sent
}

func serve(t *testing.T, answer func(w http.ResponseWriter, pings []sent)) *ingester {
	in := &ingester{t: t, answer: answer}
	in.Server = httptest.NewServer(in)
	t.Cleanup(in.Close)
	return in
}

func (in *ingester) addr() string { return in.Listener.Addr().String() }

func (in *ingester) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	var err error
	switch r.Header.Get("Content-Encoding") {
	case "gzip":
		body, err = gzip.NewReader(body)
	case "zstd":
		body, err = zstd.NewReader(body)
	}
	if err != nil {
		in.t.Error(err)
		return
	}
	text, err := io.ReadAll(body)
	if err != nil {
		in.t.Error(err)
	}
	if r.Header.Get("Content-Type") == "application/x-ndjson" {
		text = append(append([]byte{'['}, bytes.ReplaceAll(bytes.TrimSpace(text), []byte("\n"), []byte(","))...), ']')
	}
	var pings []sent
	if err := json.Unmarshal(text, &pings); err != nil {
		in.t.Errorf("%v: %.200s", err, text)
	}
	in.mu.Lock()
	in.pings = append(in.pings, pings...)
	in.mu.Unlock()
	in.answer(w, pings)
}

func ok(w http.ResponseWriter, pings []sent) { _, _ = w.Write(make([]byte, 1+len(pings))) }

// Each rider's pings arrive in order of time, a step apart, and at the place where the
// rider is: on the way back where he was on the way there.
func TestRidersRideThereAndBack(t *testing.T) {
	const riders, steps = 12, 3
	s := stock(t, riders, steps)
	for _, format := range []sim.Format{sim.JSON, sim.NDJSON, sim.Gzip, sim.Zstd} {
		t.Run(string(format), func(t *testing.T) {
			in := serve(t, ok)
			var answered sync.WaitGroup
			const requests = 4 * 2 * steps
			answered.Add(requests)
			left := requests
			in.answer = func(w http.ResponseWriter, pings []sent) {
				ok(w, pings)
				in.mu.Lock()
				defer in.mu.Unlock()
				if left--; left >= 0 {
					answered.Done()
				}
			}
			g, err := New(t.Context(), Config{Stock: s, Addr: in.addr(), Format: format, Batch: 3, Connections: 1, Begin: begin, Most: 5 * riders * steps})
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				answered.Wait()
				cancel()
			}()
			if _, err := g.Run(ctx, Phase{For: time.Hour}); err != nil && !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			in.mu.Lock()
			defer in.mu.Unlock()
			tracks := make(map[string][]sent)
			for _, p := range in.pings {
				tracks[p.Rider+"/"+p.Device] = append(tracks[p.Rider+"/"+p.Device], p)
			}
			if len(tracks) != riders {
				t.Errorf("pings of %d riders, want %d", len(tracks), riders)
			}
			for name, track := range tracks {
				for n, p := range track {
					if want := track[0].At + int64(n)*1000; p.At != want || n == 0 && (p.At < begin || p.At >= begin+1000) {
						t.Fatalf("%s: ping %d is at %d, want %d", name, n, p.At, want)
					}
					if lap := n / steps; lap > 0 {
						if there := track[lap*steps-1-n%steps]; p.Lat != there.Lat || p.Lon != there.Lon {
							t.Errorf("%s: ping %d is at %v,%v, want %v,%v", name, n, p.Lat, p.Lon, there.Lat, there.Lon)
						}
					}
				}
				if len(track) < steps {
					t.Errorf("%s: %d pings", name, len(track))
				}
			}
		})
	}
}

// A request that leaves late because its connection waits for an answer counts the
// time since it was due.
func TestLatencyCountsFromWhenARequestWasDue(t *testing.T) {
	s := stock(t, 10, 50)
	const stalled = 300 * time.Millisecond
	var stall sync.Once
	in := serve(t, func(w http.ResponseWriter, pings []sent) {
		stall.Do(func() { time.Sleep(stalled) }) // from the first request on, whose connection is the only one
		ok(w, pings)
	})
	g, err := New(t.Context(), Config{Stock: s, Addr: in.addr(), Batch: 1, Connections: 1, Begin: begin})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	// 100 requests/s: those due in the first 200 ms are late by 100 ms at least.
	m, err := g.Run(t.Context(), Phase{Rate: 100, For: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	late := m.Unsent
	for _, took := range m.Latency {
		if took >= 100*time.Millisecond {
			late++
		}
	}
	if late < 10 {
		t.Errorf("%d of %d requests are late, %d were not sent", late, m.Requests, m.Unsent)
	}
	if m.Requests != m.Pings || m.Requests != uint64(len(m.Latency)) || m.Quantile(1) < m.Quantile(0.5) {
		t.Errorf("%+v", m)
	}
}

// The window calls back at both its ends, and the next phase goes on where the last
// one stopped.
func TestPhasesGoOn(t *testing.T) {
	s := stock(t, 10, 5)
	in := serve(t, ok)
	g, err := New(t.Context(), Config{Stock: s, Addr: in.addr(), Batch: 2, Connections: 2, Begin: begin})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	var calls []string
	for range 2 {
		m, err := g.Run(t.Context(), Phase{
			Warm: 20 * time.Millisecond, For: 50 * time.Millisecond,
			Began: func() { calls = append(calls, "began") }, Ended: func() { calls = append(calls, "ended") },
		})
		if err != nil {
			t.Fatal(err)
		}
		if m.Lasts < 50*time.Millisecond {
			t.Errorf("the window was %v long", m.Lasts)
		}
	}
	if got := strings.Join(calls, " "); got != "began ended began ended" {
		t.Errorf("called %s", got)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	newest := make(map[string]int64)
	for _, p := range in.pings {
		if name := p.Rider + "/" + p.Device; p.At <= newest[name] {
			t.Fatalf("%s: %d after %d", name, p.At, newest[name])
		} else {
			newest[name] = p.At
		}
	}
}

// A refusal after which the server closes the connection is one refusal, and the load
// goes on by another connection.
func TestRefusalsAreCounted(t *testing.T) {
	in := serve(t, func(w http.ResponseWriter, _ []sent) {
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	g, err := New(t.Context(), Config{Stock: stock(t, 10, 5), Addr: in.addr(), Batch: 2, Connections: 2, Begin: begin})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	m, err := g.Run(t.Context(), Phase{For: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if m.Requests != 0 || m.Refused[503] == 0 || len(m.Refused) != 1 || m.Quantile(0.5) != 0 {
		t.Errorf("%+v", m)
	}
}

// Requests whose times cannot be changed any more end the load, or begin anew where
// the server does not look into them.
func TestCompressedRequestsRunOut(t *testing.T) {
	s := stock(t, 10, 5)
	in := serve(t, ok)
	for _, again := range []bool{false, true} {
		g, err := New(t.Context(), Config{Stock: s, Addr: in.addr(), Format: sim.Gzip, Batch: 2, Connections: 1, Begin: begin, Most: 40, Again: again})
		if err != nil {
			t.Fatal(err)
		}
		warm := time.Hour // which ends with the requests
		if again {
			warm = 500 * time.Millisecond
		}
		_, err = g.Run(t.Context(), Phase{Warm: warm, For: time.Millisecond})
		if ranOut := err != nil && strings.Contains(err.Error(), "before the window"); ranOut == again {
			t.Errorf("again %v: %v", again, err)
		}
		g.Close()
	}
}

// A load of so many pings ends by itself.
func TestLoadOfSoManyPings(t *testing.T) {
	in := serve(t, ok)
	g, err := New(t.Context(), Config{Stock: stock(t, 10, 5), Addr: in.addr(), Batch: 5, Connections: 1, Begin: begin, Most: 40})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	m, err := g.Run(t.Context(), Phase{For: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if len(in.pings) != 40 || m.Lasts > time.Minute {
		t.Errorf("%d pings arrived in %v", len(in.pings), m.Lasts)
	}
}

func TestBrokenServersEndALoad(t *testing.T) {
	for name, answer := range map[string]string{
		"no answer":    "",
		"not HTTP":     "SSH-2.0-OpenSSH_9.6\r\n\r\n",
		"no status":    "HTTP/1.1 abc\r\n\r\n",
		"short":        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
		"chunked":      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		"wrong length": "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			go func() {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				_, _ = conn.Read(make([]byte, 64<<10))
				_, _ = io.WriteString(conn, answer)
				_ = conn.Close()
			}()
			g, err := New(t.Context(), Config{Stock: stock(t, 10, 5), Addr: ln.Addr().String(), Connections: 1, Batch: 1, Begin: begin})
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			if _, err := g.Run(t.Context(), Phase{For: time.Hour}); err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestTooFewRiders(t *testing.T) {
	if _, err := New(t.Context(), Config{Stock: stock(t, 10, 1), Connections: 6, Batch: 2}); err == nil || !strings.Contains(err.Error(), "too few") {
		t.Errorf("%v", err)
	}
}

// BenchmarkNext is a request on its way: all that a load does for a ping but to write
// it to a socket.
func BenchmarkNext(b *testing.B) {
	var r requests
	if err := r.make(&Config{Stock: stock(b, 1000, 20), Format: sim.JSON, Batch: 100, Connections: 1, Begin: begin}, 0); err != nil {
		b.Fatal(err)
	}
	pings := 0
	b.ReportAllocs()
	for b.Loop() {
		_, n := r.next()
		pings += n
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(pings), "ns/ping")
}

// Lines are the same pings, with their times at the place that a load changes.
func TestLines(t *testing.T) {
	const riders, steps = 40, 3
	city, err := sim.NewCity(sim.CityConfig{Riders: riders, Interval: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	lines, err := NewLines(city, riders, steps, begin)
	if err != nil {
		t.Fatal(err)
	}
	pings := stock(t, riders, steps)
	var r requests
	if err := r.make(&Config{Stock: lines, Path: "/write?precision=ms", Format: sim.NDJSON, Batch: 10, Connections: 1, Begin: begin, Most: riders * steps}, 0); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]int)
	for text, n := r.next(); text != nil; text, n = r.next() {
		head, body, _ := strings.Cut(string(text), "\r\n\r\n")
		if !strings.HasPrefix(head, "POST /write?precision=ms HTTP/1.1\r\n") || strings.Count(body, "\n") != n {
			t.Errorf("%d lines in %s", n, text)
		}
		for line := range strings.Lines(body) {
			got[strings.TrimSuffix(line, "\n")]++
		}
	}
	want := 0
	for rider := range riders {
		for step := range steps {
			text, _ := pings.ping(rider, step)
			if len(text) == 0 {
				continue
			}
			want++
			var p sent
			if err := json.Unmarshal(text, &p); err != nil {
				t.Fatal(err)
			}
			found := false
			for line := range got {
				head, tail := fmt.Sprintf("location,rider=%s lat=%s,lon=%s", p.Rider, strconv.FormatFloat(p.Lat, 'f', -1, 64), strconv.FormatFloat(p.Lon, 'f', -1, 64)), fmt.Sprintf(" %d", p.At)
				found = found || strings.HasPrefix(line, head) && strings.HasSuffix(line, tail)
			}
			if !found {
				t.Errorf("no line of %s", text)
			}
		}
	}
	if len(got) != want {
		t.Errorf("%d lines, want %d: %v", len(got), want, got)
	}
}
