package sim

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"pingline"
)

// wirePing is what of a ping the tests' ingester looks at.
type wirePing struct {
	Rider  string `json:"rider_id"`
	Device string `json:"device_id"`
	At     int64  `json:"ts"`
}

// mishap is what an ingester does instead of answering 200; 0 is nothing.
type mishap struct {
	status     int
	retryAfter string
	lose       bool                // take the pings and break the connection
	away       func(wirePing) bool // answer 207, without a verdict for these pings
	delay      time.Duration       // before it answers
}

// ingester is an HTTP server of the ingester's form, in memory, whose faults
// the tests choose. It takes in each ping once and says duplicate afterwards.
type ingester struct {
	t     *testing.T
	fault func(n int, pings []wirePing) mishap // of the n-th request, from 0

	lenient bool // of bodies that are broken, and of pings out of order

	mu    sync.Mutex
	times []time.Time // when requests came
	sizes []int
	taken map[wirePing]bool
	order map[string][]int64 // ts by track, as they came first
	conns chan net.Conn
	done  chan struct{}
}

// serve starts an ingester and returns it and a way to it.
func serve(t *testing.T, f func(n int, pings []wirePing) mishap) (*ingester, *http.Transport) {
	in := &ingester{
		t: t, fault: f, taken: make(map[wirePing]bool), order: make(map[string][]int64),
		conns: make(chan net.Conn), done: make(chan struct{}),
	}
	server := &http.Server{Handler: in}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		if err := server.Serve(in); err != http.ErrServerClosed {
			t.Errorf("serve: %v", err)
		}
	}()
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			here, there := net.Pipe()
			select {
			case in.conns <- there:
				return here, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-in.done:
				return nil, net.ErrClosed
			}
		},
		MaxIdleConnsPerHost: 100,
	}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := server.Shutdown(context.Background()); err != nil { // waits for slow handlers
			t.Errorf("stop the ingester: %v", err)
		}
		<-stopped
	})
	return in, transport
}

func (in *ingester) Accept() (net.Conn, error) {
	select {
	case c := <-in.conns:
		return c, nil
	case <-in.done:
		return nil, net.ErrClosed
	}
}

func (in *ingester) Close() error   { close(in.done); return nil }
func (in *ingester) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

func (in *ingester) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	pings, whole := in.decode(r)
	in.mu.Lock()
	n := len(in.times)
	in.times, in.sizes = append(in.times, time.Now()), append(in.sizes, len(pings))
	var f mishap
	if in.fault != nil {
		f = in.fault(n, pings)
	}
	in.mu.Unlock()
	time.Sleep(f.delay)
	if !whole {
		f.status = http.StatusBadRequest
	}
	if f.status != 0 {
		w.Header().Set("Retry-After", f.retryAfter)
		w.WriteHeader(f.status)
		if _, err := fmt.Fprintf(w, `{"error":"fault of status %d"}`, f.status); err != nil {
			in.t.Errorf("answer: %v", err)
		}
		return
	}
	if f.away != nil {
		w.WriteHeader(http.StatusMultiStatus)
	}
	verdicts := in.take(pings, f.away)
	if f.lose {
		panic(http.ErrAbortHandler)
	}
	if err := writeAnswer(w, verdicts, r.URL.RawQuery == "verdicts=1"); err != nil {
		in.t.Errorf("answer: %v", err)
	}
}

func writeAnswer(w io.Writer, verdicts []pingline.Verdict, list bool) error {
	var counts [pingline.Verdicts]int
	names, retry := make([]string, len(verdicts)), []int{}
	for i, v := range verdicts {
		counts[v]++
		if names[i] = v.String(); v == 0 {
			names[i], retry = "unavailable", append(retry, i)
		}
	}
	answer := map[string]any{"max_error": 10, "accuracy_cap": 50, "unavailable": len(retry), "retry": retry}
	for v := pingline.Accepted; int(v) < pingline.Verdicts; v++ {
		answer[v.String()] = counts[v]
	}
	if list {
		answer["verdicts"] = names
	}
	return json.NewEncoder(w).Encode(answer)
}

// decode returns the pings of a body, and whether it is whole.
func (in *ingester) decode(r *http.Request) (pings []wirePing, whole bool) {
	pings, err := decodeBody(r)
	if err != nil && !in.lenient {
		in.t.Errorf("decode a body: %v", err)
	}
	return pings, err == nil
}

func decodeBody(r *http.Request) (pings []wirePing, err error) {
	body := io.Reader(r.Body)
	switch r.Header.Get("Content-Encoding") {
	case "gzip":
		if body, err = gzip.NewReader(body); err != nil {
			return nil, err
		}
	case "zstd":
		z, err := zstd.NewReader(body)
		if err != nil {
			return nil, err
		}
		defer z.Close()
		body = z
	}
	dec := json.NewDecoder(body)
	if r.Header.Get("Content-Type") != "application/x-ndjson" {
		return pings, dec.Decode(&pings)
	}
	for {
		var p wirePing
		switch err := dec.Decode(&p); err {
		case nil:
			pings = append(pings, p)
		case io.EOF:
			return pings, nil
		default:
			return nil, err
		}
	}
}

// take takes pings in but those that are away, and fails the test at one that is out of order.
func (in *ingester) take(pings []wirePing, away func(wirePing) bool) []pingline.Verdict {
	in.mu.Lock()
	defer in.mu.Unlock()
	verdicts := make([]pingline.Verdict, len(pings))
	for i, p := range pings {
		if away != nil && away(p) {
			continue
		}
		verdicts[i] = pingline.Duplicate
		if in.taken[p] {
			continue
		}
		verdicts[i] = pingline.Accepted
		in.taken[p] = true
		track := p.Rider + " " + p.Device
		if o := in.order[track]; len(o) > 0 && p.At <= o[len(o)-1] && !in.lenient {
			in.t.Errorf("%s: ping of %d came after that of %d", strings.TrimSpace(track), p.At, o[len(o)-1])
		}
		in.order[track] = append(in.order[track], p.At)
	}
	return verdicts
}
