package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// hostile are clients of other addresses than the honest ones who do harm, each in
// its own way.
type hostile struct {
	addr   string
	url    string
	ctx    context.Context
	cancel context.CancelFunc
	all    sync.WaitGroup

	mu      sync.Mutex
	answers map[string]map[int]int // by who asked, and status
}

func startHostile(url string) *hostile {
	h := &hostile{url: url, addr: strings.TrimPrefix(url, "http://"), answers: map[string]map[int]int{}}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	for i := range 60 { // who asks for much and reads nothing
		h.all.Go(func() { h.readNothing(i) })
	}
	h.all.Go(func() { // who sends a byte now and then
		stop := lorises(100, h.addr)
		<-h.ctx.Done()
		stop()
	})
	for i, way := range []struct {
		name  string
		every time.Duration
		gzip  bool
		body  func(n int) string
		more  []string // header
	}{
		// 100,000 new riders a minute, half of them ahead of time.
		{"new riders", 600 * time.Millisecond, true, func(n int) string { return newRiders("new", n, 500, 0) }, nil},
		{"riders ahead", 600 * time.Millisecond, true, func(n int) string { return newRiders("ahead", n, 500, 110*time.Second) }, nil},
		{"a parked fleet", 500 * time.Millisecond, false, func(n int) string { return parked(n%10, 500) }, nil},
		{"a rider of many devices", time.Second, true, func(n int) string { return devices(n, 200) }, nil},
		{"liars", 500 * time.Millisecond, true, func(n int) string { return newRiders("liar", n%5, 5000, 0) }, []string{"Pingline-Priority", "critical"}},
		{"bombs", 5 * time.Second, true, func(int) string { return strings.Repeat(" ", 32<<20) }, nil},
	} {
		client := &http.Client{Timeout: 30 * time.Second, Transport: fromAddress(fmt.Sprintf("127.0.1.%d", i+1))}
		h.all.Go(func() {
			h.each(way.every, func(n int) { h.post(client, way.name, way.body(n), way.gzip, way.more) })
			client.CloseIdleConnections()
		})
	}
	client := &http.Client{Timeout: 30 * time.Second, Transport: fromAddress("127.0.1.50")}
	h.all.Go(func() {
		h.each(200*time.Millisecond, func(n int) {
			path := []string{"/v1/cells?bbox=-180,-90,180,90&res=7", "/v1/riders/many", "/v1/cells?bbox=-9,41,-8,42", "/v1/riders/many/track?from=0&limit=10000"}[n%4]
			h.get(client, path)
		})
		client.CloseIdleConnections()
	})
	return h
}

// each does something every so often until it is over.
func (h *hostile) each(every time.Duration, do func(n int)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-h.ctx.Done():
			return
		case <-tick.C:
			do(n)
		}
	}
}

func (h *hostile) stop() {
	h.cancel()
	h.all.Wait()
}

func (h *hostile) post(client *http.Client, name, body string, zip bool, header []string) {
	var b bytes.Buffer
	b.WriteString(body)
	if zip {
		b.Reset()
		z := gzip.NewWriter(&b)
		_, _ = io.WriteString(z, body) // into memory
		_ = z.Close()
	}
	req, err := http.NewRequestWithContext(h.ctx, http.MethodPost, h.url+"/v1/pings", &b)
	if err != nil {
		panic(err)
	}
	if zip {
		req.Header.Set("Content-Encoding", "gzip")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	h.note(name, client, req)
}

func (h *hostile) get(client *http.Client, path string) {
	req, err := http.NewRequestWithContext(h.ctx, http.MethodGet, h.url+path, nil)
	if err != nil {
		panic(err)
	}
	h.note("readers", client, req)
}

func (h *hostile) note(name string, client *http.Client, req *http.Request) {
	status := 0
	if resp, err := client.Do(req); err == nil {
		status = resp.StatusCode
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.answers[name] == nil {
		h.answers[name] = map[int]int{}
	}
	h.answers[name][status]++
}

func (h *hostile) report(t *testing.T) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(h.answers)) {
		t.Logf("%s: requests by status %v", name, h.answers[name])
	}
}

// readNothing asks for as much as there is, and takes none of the answer.
func (h *hostile) readNothing(i int) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 2, byte(i%6+1))}}
	path := []string{"/v1/riders/many/track?from=0&limit=10000", "/v1/cells?bbox=-9,41,-8,42", "/v1/riders/many"}[i%3]
	for h.ctx.Err() == nil {
		c, err := dialer.DialContext(h.ctx, "tcp", h.addr)
		if err == nil {
			_ = c.(*net.TCPConn).SetReadBuffer(2048)
			for range 20 { // one behind the other
				if _, err = io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
					break
				}
			}
		}
		select {
		case <-h.ctx.Done():
		case <-time.After(20 * time.Second):
		}
		if c != nil {
			_ = c.Close()
		}
	}
}

// newRiders is a ping of each of some riders whom nobody has heard of.
func newRiders(kind string, n, riders int, ahead time.Duration) string {
	at := time.Now().Add(ahead).UnixMilli()
	return ndjsonOf(riders, func(i int) string {
		return fmt.Sprintf(`{"rider_id":"%s-%d-%d","ts":%d,"lat":%.5f,"lon":%.5f}`, kind, n, i, at, 41+float64(n%997)/1000, -8-float64(i)/1000)
	})
}

// parked is a ping of each rider of a fleet that stands still.
func parked(n, riders int) string {
	at := time.Now().UnixMilli()
	return ndjsonOf(riders, func(i int) string {
		return fmt.Sprintf(`{"rider_id":"parked-%d-%d","ts":%d,"lat":41.5,"lon":%.5f,"speed":0}`, n, i, at, -8-float64(i)/1000)
	})
}

// devices is a ping of each of some new devices of one rider.
func devices(n, count int) string {
	at := time.Now().UnixMilli()
	return ndjsonOf(count, func(i int) string {
		return fmt.Sprintf(`{"rider_id":"many","device_id":"d-%d-%d","ts":%d,"lat":41.2,"lon":-8.6}`, n, i, at+int64(i))
	})
}

func ndjsonOf(n int, ping func(i int) string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(ping(i))
		b.WriteByte('\n')
	}
	return b.String()
}
