package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pingline"
	phones "pingline/client"
)

// asOutbox makes the test binary a phone: its value is the server's URL, the directory of the
// queue, the time of the first ping, and the numbers of the first ping and the one behind the
// last.
const asOutbox = "PINGLINE_TEST_AS_OUTBOX"

// TestOutboxProcess is that phone. It says which pings it has added, which verdicts it was
// told, and ends when nothing waits.
func TestOutboxProcess(t *testing.T) {
	args := strings.Fields(os.Getenv(asOutbox))
	if len(args) == 0 {
		return // it is a part of TestOutboxThroughKills
	}
	var numbers [3]int64
	for i := range numbers {
		var err error
		if numbers[i], err = strconv.ParseInt(args[2+i], 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	began, from, to := numbers[0], numbers[1], numbers[2]
	o, err := phones.Open(phones.Config{
		URL: args[0], Dir: args[1], Batch: 50, Wait: 5 * time.Millisecond, MaxWait: 50 * time.Millisecond,
		Report: func(p *pingline.Ping, v pingline.Verdict, reason string) {
			fmt.Println("told", (p.At-began)/1000, v, reason)
		},
		Repeating: func(why error, _ time.Duration) { fmt.Println("again", why) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- o.Run(t.Context()) }()
	const chunk = 8
	for ; from < to; from += chunk {
		var pings []pingline.Ping
		for n := from; n < min(from+chunk, to); n++ {
			p := pingline.Ping{Rider: "ana", Fix: pingline.Fix{At: began + 1000*n}}
			if err := p.SetPosition(41+float64(n)/1e4, -8.6); err != nil {
				t.Fatal(err)
			}
			pings = append(pings, p)
		}
		if err := o.Add(pings...); err != nil {
			t.Fatal(err)
		}
		fmt.Println("added", min(from+chunk, to))
	}
	if err := o.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	fmt.Println("done")
}

// outboxPhone is a process of TestOutboxProcess, again and again.
type outboxPhone struct {
	mu    sync.Mutex
	added int64
	told  map[int64]string // the first verdict of each ping
	again map[string]int   // why requests were repeated, by its first words
	done  bool
}

// run runs the phone until it ends, or is killed because kill is true.
func (p *outboxPhone) run(t *testing.T, url, dir string, began, to int64, kill func() bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestOutboxProcess$", "-test.timeout=30m")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d %d %d", asOutbox, url, dir, began, p.added, to))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := lines.Text()
		said = append(said, line)
		word, rest, _ := strings.Cut(line, " ")
		number, more, _ := strings.Cut(rest, " ")
		n, err := strconv.ParseInt(number, 10, 64)
		p.mu.Lock()
		switch {
		case word == "added" && err == nil:
			p.added = n
		case word == "told" && err == nil && p.told[n] == "":
			p.told[n] = strings.TrimSpace(more)
		case word == "again":
			why := strings.Join(strings.Fields(rest)[:1], " ")
			if _, status, ok := strings.Cut(rest, "answered "); ok {
				why = strings.Fields(status)[0]
			}
			p.again[why]++
		case word == "done":
			p.done = true
		}
		p.mu.Unlock()
		if kill() {
			_ = cmd.Process.Kill() // and hear what it has said until then
		}
	}
	if err := cmd.Wait(); err != nil && p.done {
		t.Errorf("the phone ended by %v and said %q", err, said[max(0, len(said)-5):])
	}
}

// A phone whose queue is on disk, which is killed several times, as the server is, and whose
// server refuses requests as too large, too many or in trouble, and whose network loses
// requests and answers, has each of its pings stored once.
func TestOutboxThroughKills(t *testing.T) {
	beside(t)
	const pings = 800
	influx := startInflux(t)
	dir, listen := t.TempDir(), freePort(t)
	start := func() *process {
		return serve(t, dir, influx.URL(), "--listen="+listen, "--max-error=0", "--max-pings=30", "--rider-rate=100", "--rider-burst=150", "--batch-wait=50ms")
	}
	server := start()
	to, err := url.Parse(server.url)
	if err != nil {
		t.Fatal(err)
	}
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
	var requests, lost atomic.Int64
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch requests.Add(1) % 7 {
		case 2:
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		case 4: // the request is lost
			panic(http.ErrAbortHandler)
		case 5, 6: // the answer is lost
			lost.Add(1)
			r.Header.Set("X-Lose", "1")
		}
		proxy.ServeHTTP(w, r)
	}))
	front.Config.ErrorLog = log.New(io.Discard, "", 0)
	front.Start()
	t.Cleanup(front.Close)

	phone := &outboxPhone{told: map[int64]string{}, again: map[string]int{}}
	queue := t.TempDir()
	began := time.Now().Add(-time.Hour).Truncate(time.Second).UnixMilli()
	kills, serverKills := 0, 0
	limit, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !phone.done && limit.Err() == nil {
		phone.run(t, front.URL, queue, began, pings, func() bool {
			heard := len(phone.told)
			if heard > (serverKills+1)*pings/4 && serverKills < 2 {
				serverKills++
				server.kill()
				server = start()
			}
			if heard > (kills+1)*pings/5 && kills < 3 {
				kills++
				return true
			}
			return limit.Err() != nil
		})
	}
	if kills != 3 || serverKills != 2 || lost.Load() < 10 {
		t.Errorf("the phone was killed %d times, the server %d times, %d answers were lost", kills, serverKills, lost.Load())
	}
	t.Logf("%d requests, repeated because of %v", requests.Load(), phone.again)
	if phone.again["429"] == 0 || phone.again["503"] == 0 || len(phone.again) < 3 {
		t.Errorf("requests were repeated because of %v", phone.again)
	}
	for n := range int64(pings) {
		if v := phone.told[n]; v != "accepted" && v != "duplicate" {
			t.Errorf("ping %d is told %q", n, v)
		}
	}
	server.settled()
	stored := map[string]int{}
	points, err := influx.Points(t.Context(), "pingline")
	if err != nil {
		t.Fatal(err)
	}
	for _, point := range points {
		if strings.HasPrefix(point, "location,") {
			stored[point[strings.LastIndexByte(point, ' ')+1:]]++
		}
	}
	for n := range int64(pings) {
		if at := fmt.Sprint((began + 1000*n) * 1e6); stored[at] != 1 {
			t.Errorf("ping %d is stored %d times", n, stored[at])
		}
	}
	if len(stored) != pings {
		t.Errorf("%d points are stored, want %d", len(stored), pings)
	}
}
