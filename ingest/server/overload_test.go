package server

import (
	"bytes"
	"context"
	"encoding/json"
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
	"pingline/ingest/phone"
	"pingline/ingest/phone/native"
	"pingline/queue"
)

func TestAnswersSayTheLevel(t *testing.T) {
	o := ingest.NewOverload(ingest.OverloadConfig{})
	w, _ := testWriter(t, ingest.WriterConfig{Log: testLog(t, queue.Config{}), Overload: o, Bound: dedupe.Bound{MaxError: 10}})
	s, url := testServer(t, Config{Writer: w, MaxInProgress: 1 << 20})
	for level := range pingline.MaxLevel + 1 {
		o.Force(level, false, "a test")
		want := fmt.Sprint(level)
		for _, a := range []answer{
			send(t, "POST", url+"/v1/pings", []byte(onePing("r", 1))),
			send(t, "POST", url+"/v1/pings", []byte("{")),
		} {
			if got := a.header.Get("Pingline-Shed-Level"); got != want {
				t.Errorf("level %d: %d %s says level %q", level, a.status, a.body, got)
			}
		}
		use(s.budget, 1<<20)
		if a := send(t, "POST", url+"/v1/pings", []byte(onePing("r", 1))); a.status != 503 || a.header.Get("Pingline-Shed-Level") != want {
			t.Errorf("level %d: %d says level %q", level, a.status, a.header.Get("Pingline-Shed-Level"))
		}
		use(s.budget, -1<<20)
		var said struct {
			Level int
			Notes []string
		}
		if err := json.Unmarshal([]byte(send(t, "GET", url+"/readyz", nil).body), &said); err != nil {
			t.Fatal(err)
		}
		noted := len(said.Notes) == 4 && said.Notes[0] == "level "+want+": a test" &&
			strings.HasPrefix(said.Notes[1], "clients that send most of the pings: 127.0.0.1 ") &&
			strings.HasPrefix(said.Notes[2], `riders of most of the pings: "r" `) &&
			strings.HasPrefix(said.Notes[3], "clients with most of the refused requests: 127.0.0.1 ")
		if said.Level != level || noted != (level > 0) || level == 0 && len(said.Notes) > 0 {
			t.Errorf("level %d: readyz says %+v", level, said)
		}
	}
}

func TestThePastWaitsAtLevel2(t *testing.T) {
	o := ingest.NewOverload(ingest.OverloadConfig{})
	w, _ := testWriter(t, ingest.WriterConfig{Log: testLog(t, queue.Config{}), Overload: o, Bound: dedupe.Bound{MaxError: 10}})
	_, url := testServer(t, Config{Writer: w})
	old := onePing("r", 400)
	sos := strings.Replace(onePing("r", 350), "{", `{"event":"sos",`, 1)
	for _, tt := range []struct {
		name, body    string
		level, status int
		earliest      int // Retry-After, seconds
	}{
		{"all of it old", "[" + old + "," + onePing("q", 301) + "]", 2, 503, 30},
		{"old, at level 1", old, 1, 200, 0},
		{"one is new", "[" + old + "," + onePing("r", 1) + "]", 2, 200, 0},
		{"one has an event", "[" + onePing("s", 500) + "," + sos + "]", 2, 200, 0},
		{"empty", "[]", 2, 200, 0},
		{"invalid", `{"rider_id":7}`, 2, 400, 0},
		{"new, at level 4", onePing("t", 1), 4, 503, 5},
		{"an event, at level 4", "[" + onePing("s", 1) + "," + strings.Replace(onePing("t", 1), "{", `{"event":"sos",`, 1) + "]", 4, 200, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o.Force(tt.level, false, "a test")
			a := send(t, "POST", url+"/v1/pings", []byte(tt.body))
			wait := 0
			_, _ = fmt.Sscan(a.header.Get("Retry-After"), &wait)
			if a.status != tt.status || wait < tt.earliest || (wait > 0) != (tt.earliest > 0) {
				t.Errorf("%d %s, Retry-After %d; want %d, at least %d", a.status, a.body, wait, tt.status, tt.earliest)
			}
		})
	}
}

// A request that ran out of patience leaves nothing of its pings and its body in
// the writer's queue.
func TestWithdrawnRequestsTakeNoMemory(t *testing.T) {
	log := testLog(t, queue.Config{})
	w, err := ingest.OpenWriter(context.Background(), ingest.WriterConfig{Log: log, Filter: dedupe.DefaultConfig(), Patience: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	// The writer does not run, as when it waits for the log.
	s, err := New(Config{Listen: "127.0.0.1:0", Writer: w, Cells: testCells, Protocols: []phone.Protocol{native.Protocol}, MaxInProgress: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	defer func() { cancel(); <-done }()
	var b bytes.Buffer
	now := time.Now().UnixMilli()
	for i := range 10_000 {
		fmt.Fprintf(&b, `{"rider_id":"r%d","ts":%d,"lat":41.1,"lon":-8.6,"trip_id":"%s"}`+"\n", i, now, strings.Repeat("t", 60))
	}
	heap := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	for range 20 {
		r, err := http.Post("http://"+s.Addr().String()+"/v1/pings", "", bytes.NewReader(b.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
		if r.StatusCode != http.StatusServiceUnavailable {
			t.Fatal(r.Status)
		}
	}
	if n := w.Waiting(); n != 0 {
		t.Fatalf("%d withdrawn requests are in the queue", n)
	}
	if grown := heap() - before; grown > 16<<20 {
		t.Errorf("20 withdrawn requests of %d bytes take %d bytes", b.Len(), grown)
	}
}
