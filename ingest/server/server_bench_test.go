package server

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pingline/dedupe"
	"pingline/ingest"
	"pingline/ingest/auth"
	"pingline/queue"
)

// BenchmarkHTTP is the whole path without a store: requests over 64 loopback
// connections until their answers, each after an fsync. The load is made in the
// same process: bodies are prepared, only times and positions are patched in, so
// that it costs little and allocates nothing. Every eighth ping is a turn. With keys each
// request shows the key of some riders.
func BenchmarkHTTP(b *testing.B) {
	path, secrets := keysOf(b, keyFor("fleet", "write", "r-*"))
	gate := gateOf(b, path, auth.Config{})
	for _, pings := range []int{1, 100, 1000} {
		benchmarkHTTP(b, fmt.Sprint(pings), pings, nil, "")
		benchmarkHTTP(b, fmt.Sprint(pings, "-keys"), pings, gate, "Authorization: Bearer "+secrets["fleet"]+"\r\n")
	}
}

func benchmarkHTTP(b *testing.B, name string, pings int, gate *auth.Gate, header string) {
	b.Run(name, func(b *testing.B) {
		log := testLog(b, queue.Config{})
		w, _ := testWriter(b, ingest.WriterConfig{Log: log, Bound: dedupe.Bound{MaxError: 10, AccuracyCap: 50}})
		s, _ := testServer(b, Config{Gate: gate, Writer: w, RiderRate: 1e6, RiderBurst: 1e9})
		const connections = 64
		clients := make([]*client, connections)
		for i := range clients {
			clients[i] = newClient(b, s.Addr().String(), i, pings, header)
		}
		var left atomic.Int64
		left.Store(int64(b.N))
		var wg sync.WaitGroup
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		cpu := cpuTime(b)
		b.ResetTimer()
		for _, c := range clients {
			wg.Go(func() {
				for left.Add(-1) >= 0 {
					if err := c.request(); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		b.StopTimer()
		b.ReportMetric(float64((cpuTime(b)-cpu).Microseconds())/float64(b.N), "cpu-µs/request")
		runtime.ReadMemStats(&after)
		n := float64(b.N * pings)
		b.ReportMetric(n/b.Elapsed().Seconds(), "pings/s")
		b.ReportMetric(float64(after.Mallocs-before.Mallocs)/n, "allocs/ping")
		b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/n, "B/ping")
		b.ReportMetric(float64(b.N)/float64(max(w.Stats().Commits, 1)), "requests/commit")
		for _, c := range clients {
			_ = c.conn.Close()
		}
	})
}

// BenchmarkKeys is by how many per cent keys make a request dearer, in CPU: two servers take the
// requests of BenchmarkHTTP by turns, a few at a time, and the median of the ratios of turns that
// follow each other is reported, with its quartiles. So a busy machine slows both. Where the
// quartiles are far apart, instructions tell more: BenchmarkHTTP/100-keys under valgrind
// --tool=cachegrind, and in it the functions of ingest/auth, guard and SHA-256.
func BenchmarkKeys(b *testing.B) {
	path, secrets := keysOf(b, keyFor("fleet", "write", "r-*"), keyFor("all", "write", "*"))
	gate := gateOf(b, path, auth.Config{})
	for _, pings := range []int{1, 100, 1000} {
		for _, key := range []string{"fleet", "all"} {
			b.Run(fmt.Sprint(pings, "-", key), func(b *testing.B) {
				header := "Authorization: Bearer " + secrets[key] + "\r\n"
				sides := [2]*side{newSide(b, pings, nil, ""), newSide(b, pings, gate, header)}
				var ratios []float64
				for turn := 0; b.Loop(); turn++ {
					var took [2]time.Duration
					for i := range sides { // the first of a turn is the second of the next
						at := (i + turn) % 2
						took[at] = sides[at].turn(b)
					}
					ratios = append(ratios, 100*(float64(took[1])/float64(took[0])-1))
				}
				slices.Sort(ratios)
				for name, part := range map[string]int{"keys-%": 2, "from-%": 1, "to-%": 3} {
					b.ReportMetric(ratios[part*(len(ratios)-1)/4], name)
				}
			})
		}
	}
}

// side is a server with its clients.
type side struct {
	clients []*client
	turns   int // requests of a client in a turn
}

func newSide(b *testing.B, pings int, gate *auth.Gate, header string) *side {
	log := testLog(b, queue.Config{})
	w, _ := testWriter(b, ingest.WriterConfig{Log: log, Bound: dedupe.Bound{MaxError: 10, AccuracyCap: 50}})
	s, _ := testServer(b, Config{Gate: gate, Writer: w, RiderRate: 1e6, RiderBurst: 1e9})
	a := &side{turns: max(2, 16/pings)}
	for i := range 16 {
		c := newClient(b, s.Addr().String(), i, pings, header)
		b.Cleanup(func() { _ = c.conn.Close() })
		a.clients = append(a.clients, c)
	}
	a.turn(b)
	return a
}

// turn returns the CPU time of some requests of each client.
func (a *side) turn(b *testing.B) time.Duration {
	before := cpuTime(b)
	var wg sync.WaitGroup
	for _, c := range a.clients {
		wg.Go(func() {
			for range a.turns {
				if err := c.request(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return cpuTime(b) - before
}

// cpuTime is the time that this process has been on a processor.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// client sends prepared requests on one connection.
type client struct {
	conn  net.Conn
	r     *bufio.Reader
	out   []byte
	times []int // offsets of the ts in out
	lats  []int // offsets of the last four digits of lat
	at    int64
	step  int
}

func newClient(b testing.TB, addr string, n, pings int, header string) *client {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	c := &client{conn: conn, r: bufio.NewReaderSize(conn, 64<<10), at: time.Now().Add(-700 * time.Hour).UnixMilli()}
	var body bytes.Buffer
	for i := range pings {
		body.WriteString(map[bool]string{true: "[", false: ","}[i == 0])
		fmt.Fprintf(&body, `{"rider_id":"r-%02d-%04d","ts":`, n, i)
		c.times = append(c.times, body.Len())
		fmt.Fprintf(&body, `%013d,"lat":41.%02d`, c.at, i%100)
		c.lats = append(c.lats, body.Len())
		fmt.Fprintf(&body, `%04d,"lon":-8.61%04d,"speed":7.42,"heading":183.5,"accuracy":5,"battery":0.81}`, 0, i)
	}
	body.WriteByte(']')
	head := fmt.Sprintf("POST /v1/pings HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n", header, body.Len())
	c.out = append([]byte(head), body.Bytes()...)
	for i := range c.times {
		c.times[i] += len(head)
		c.lats[i] += len(head)
	}
	return c
}

// request sends every rider's next ping and reads the answer.
func (c *client) request() error {
	c.at += 1000
	c.step++
	lat := c.step % 16
	lat = 1000 + 50*min(lat, 16-lat)
	for i := range c.times {
		strconv.AppendInt(c.out[:c.times[i]], c.at, 10)
		strconv.AppendInt(c.out[:c.lats[i]], int64(lat), 10)
	}
	if _, err := c.conn.Write(c.out); err != nil {
		return err
	}
	return c.answer()
}

func (c *client) answer() error {
	status, err := c.r.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(status, []byte("HTTP/1.1 200")) {
		return fmt.Errorf("answer %q", status)
	}
	length := 0
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) == 2 {
			break
		}
		if v, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			for _, d := range bytes.TrimSpace(v) {
				length = 10*length + int(d-'0')
			}
		}
	}
	_, err = c.r.Discard(length)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}
