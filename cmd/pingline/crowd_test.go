package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pingline"
	"pingline/sim/audit"
	"pingline/track"
)

// crowd offers pings at a set rate, whatever it is answered: what was refused is
// offered again at the next turn, not when the answer says. Of each request some
// pings are of riders who ping every second, and the others of riders who catch up
// on the last hours, half a minute a ping: these cannot be shed as too close.
type crowd struct {
	t      *testing.T
	url    string
	ledger *audit.Ledger
	stop   chan struct{}
	done   sync.WaitGroup
	client http.Client

	mu      sync.Mutex
	offered uint64 // pings, each time
	shed    uint64
	answers map[int]int     // requests by status, 0: no answer
	refused []time.Duration // how long answers of 429 and 503 took
	honest  []time.Duration // how long answers of 200 took
	wrong   []string        // answers that no client should get
}

const (
	crowdConnections = 125
	crowdBatch       = 100
	crowdRegular     = 40 // pings of a request that are of those who ping every second
)

func startCrowd(t *testing.T, url string, rate int, ledger *audit.Ledger) *crowd {
	c := &crowd{
		t: t, url: url, ledger: ledger, stop: make(chan struct{}), answers: map[int]int{},
		client: http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: crowdConnections}},
	}
	every := time.Duration(crowdConnections * crowdBatch * int(time.Second) / rate)
	for n := range crowdConnections {
		c.done.Go(func() { c.member(n, every) })
	}
	t.Cleanup(func() { c.end(); c.client.CloseIdleConnections() })
	return c
}

// end stops the crowd; what was refused last is never sent again.
func (c *crowd) end() {
	c.mu.Lock()
	select {
	case <-c.stop:
	default:
		close(c.stop)
	}
	c.mu.Unlock()
	c.done.Wait()
}

func (c *crowd) member(n int, every time.Duration) {
	turn := time.NewTicker(every)
	defer turn.Stop()
	past := time.Now().Add(-6 * time.Hour).UnixMilli()
	var pings []pingline.Ping
	for round := 0; ; {
		select {
		case <-c.stop:
			for i := range pings { // stored or not: nobody was told
				c.ledger.Add(&pings[i], 0, 0, 0)
			}
			return
		case <-turn.C:
		}
		if pings == nil {
			pings = c.pings(n, round, past, every)
			round++
		}
		if c.offer(pings) {
			pings = nil
		}
	}
}

// pings makes the next request of member n: each round half of its catching
// riders send one ping, and those who ping every second so many that they do.
func (c *crowd) pings(n, round int, past int64, every time.Duration) []pingline.Ping {
	list := make([]pingline.Ping, crowdBatch)
	now := time.Now().UnixMilli()
	turns := int(time.Second / every) // until a regular one pings again
	for i := range list {
		p := &list[i]
		if i < crowdRegular {
			p.Rider, p.At = fmt.Sprintf("reg-%d-%d-%d", n, round%max(turns, 1), i), now
		} else {
			p.Rider, p.At = fmt.Sprintf("late-%d-%d-%d", n, round%2, i), past+int64(round)*30_000
		}
		if err := p.SetPosition(41+float64(round%1000)/1e4, -8-float64(i)/1e3); err != nil {
			panic(err)
		}
	}
	return list
}

// offer sends pings once and reports whether they are dealt with.
func (c *crowd) offer(pings []pingline.Ping) bool {
	took, status, verdicts := c.send(pings)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offered += uint64(len(pings))
	c.answers[status]++
	switch status {
	case http.StatusOK:
		c.honest = append(c.honest, took)
		for _, v := range verdicts {
			if v == pingline.Shed {
				c.shed++
			}
		}
		return true
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		c.refused = append(c.refused, took)
	}
	return false
}

// send posts pings, keeps the books and checks the answer's form.
func (c *crowd) send(pings []pingline.Ping, headers ...string) (took time.Duration, status int, verdicts []pingline.Verdict) {
	body := []byte{'['}
	for i := range pings {
		if i > 0 {
			body = append(body, ',')
		}
		body = track.AppendPing(body, &pings[i])
	}
	req, err := http.NewRequest(http.MethodPost, c.url+"/v1/pings?verdicts=1", bytes.NewReader(append(body, ']')))
	if err != nil {
		panic(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	began := time.Now()
	resp, err := c.client.Do(req)
	if err != nil {
		return 0, 0, nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, 0, nil
	}
	took = time.Since(began)
	switch resp.StatusCode {
	case http.StatusOK:
		verdicts, err = c.settle(pings, text)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err != nil || n < 1 {
			c.complain(fmt.Sprintf("%d with Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After")))
		}
	default:
		err = fmt.Errorf("%d %s", resp.StatusCode, text)
	}
	if err != nil {
		c.complain(err.Error())
	}
	return took, resp.StatusCode, verdicts
}

func (c *crowd) complain(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.wrong) < 10 {
		c.wrong = append(c.wrong, what)
	}
}

// settle enters an answer of 200 into the ledger.
func (c *crowd) settle(pings []pingline.Ping, text []byte) ([]pingline.Verdict, error) {
	var said struct {
		MaxError    float32  `json:"max_error"`
		AccuracyCap float32  `json:"accuracy_cap"`
		Verdicts    []string `json:"verdicts"`
	}
	if err := json.Unmarshal(text, &said); err != nil || len(said.Verdicts) != len(pings) {
		return nil, fmt.Errorf("200 %s: %w", text, err)
	}
	verdicts := make([]pingline.Verdict, len(pings))
	for i, name := range said.Verdicts {
		for v := pingline.Accepted; int(v) < pingline.Verdicts; v++ {
			if v.String() == name {
				verdicts[i] = v
			}
		}
		c.ledger.Add(&pings[i], verdicts[i], said.MaxError, said.AccuracyCap)
	}
	return verdicts, nil
}

// quantile returns the value that a share q of list is not above.
func quantile(list []time.Duration, q float64) time.Duration {
	if len(list) == 0 {
		return 0
	}
	list = slices.Sorted(slices.Values(list))
	return list[min(int(q*float64(len(list))), len(list)-1)].Round(100 * time.Microsecond)
}

// report logs what the crowd did and was told, and fails the test for answers
// that no client should get.
func (c *crowd) report(took time.Duration, noAnswers bool) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t.Logf("offered %.0f pings/s for %v; requests by status %v; %d pings shed", float64(c.offered)/took.Seconds(), took.Round(time.Second), c.answers, c.shed)
	c.t.Logf("answers of 200: %d, p50 %v, p99 %v; refused: %d, p50 %v, p99 %v", len(c.honest), quantile(c.honest, 0.5), quantile(c.honest, 0.99),
		len(c.refused), quantile(c.refused, 0.5), quantile(c.refused, 0.99))
	for _, what := range c.wrong {
		c.t.Errorf("an answer of %s", what)
	}
	if n := c.answers[0]; n > 0 && !noAnswers {
		c.t.Errorf("%d requests got no answer", n)
	}
}

// rescue sends an SOS a second: each must be taken at once, or, where the process
// may be gone, as soon as it is back.
type rescue struct {
	*crowd
	sent, again atomic.Int64
}

func (c *crowd) startRescue(mayWait bool) *rescue {
	r := &rescue{crowd: c}
	c.done.Go(func() {
		second := time.NewTicker(time.Second)
		defer second.Stop()
		for {
			select {
			case <-c.stop:
				return
			case <-second.C:
			}
			r.call(mayWait)
		}
	})
	return r
}

func (r *rescue) call(mayWait bool) {
	n := r.sent.Add(1)
	p := pingline.Ping{Rider: fmt.Sprintf("sos-%d", n%7), Event: "sos"}
	p.At = time.Now().UnixMilli()
	if err := p.SetPosition(41, -8-float64(n)/1e4); err != nil {
		panic(err)
	}
	for try := 0; ; try++ {
		took, status, verdicts := r.send([]pingline.Ping{p}, "Pingline-Priority", "critical")
		switch {
		case status == http.StatusOK && (verdicts[0] == pingline.Accepted || try > 0 && verdicts[0] == pingline.Duplicate):
			return
		case !mayWait || try > 600:
			r.complain(fmt.Sprintf("%d %v after %v to an SOS", status, verdicts, took))
			return
		}
		r.again.Add(1)
		time.Sleep(100 * time.Millisecond)
	}
}

// throttle lets so many points a second through to InfluxDB.
type throttle struct {
	*httptest.Server
	mu   sync.Mutex
	rate float64 // points/s; 0: as many as come
	next time.Time
}

func newThrottle(t *testing.T, influxURL string, rate float64) *throttle {
	to, err := url.Parse(influxURL)
	if err != nil {
		t.Fatal(err)
	}
	th := &throttle{rate: rate}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.ErrorLog = log.New(io.Discard, "", 0) // InfluxDB is away on purpose
	th.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		time.Sleep(th.due(lines(body)))
		r.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { th.CloseClientConnections(); th.Close() })
	return th
}

// limit lets rate points a second through from now on, 0: all.
func (th *throttle) limit(rate float64) {
	th.mu.Lock()
	defer th.mu.Unlock()
	th.rate = rate
}

// due returns how long n points have to wait for those before them.
func (th *throttle) due(n int) time.Duration {
	th.mu.Lock()
	defer th.mu.Unlock()
	if th.rate == 0 {
		return 0
	}
	now := time.Now()
	if th.next.Before(now) {
		th.next = now
	}
	th.next = th.next.Add(time.Duration(float64(n) / th.rate * 1e9))
	return th.next.Sub(now)
}

// lines counts the lines of a body, compressed or not.
func lines(body []byte) int {
	if z, err := gzip.NewReader(bytes.NewReader(body)); err == nil {
		if plain, err := io.ReadAll(z); err == nil {
			body = plain
		}
	}
	return bytes.Count(body, []byte("\n"))
}
