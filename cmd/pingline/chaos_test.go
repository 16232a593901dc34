package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"pingline/sim/audit"
)

// lorises are connections that send a byte now and then, some in the middle of a
// header, some in that of a body. One that is cut off comes again.
func lorises(n int, addr string) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	for i := range n {
		done.Go(func() {
			for ctx.Err() == nil {
				loris(ctx, i, addr)
			}
		})
	}
	return func() { cancel(); done.Wait() }
}

func loris(ctx context.Context, i int, addr string) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
		return
	}
	defer c.Close()
	said := "POST /v1/pings HTTP/1.1\r\nHost: x\r\n"
	switch i % 3 {
	case 1:
		said += "Content-Length: 4000000\r\n\r\n" + strings.Repeat(" ", 10_000)
	case 2:
		said += "Transfer-Encoding: chunked\r\n\r\nfffff\r\n"
	}
	_, err = io.WriteString(c, said)
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for err == nil {
		_, err = io.WriteString(c, " ")
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// newBomb returns a body of about a mebibyte that inflates to a gibibyte.
func newBomb(t *testing.T) []byte {
	t.Helper()
	return bombOf(t, 1<<20)
}

// bombOf returns a body of at least n bytes that inflates to 1,000 times as many.
func bombOf(t *testing.T, n int) []byte {
	t.Helper()
	const mebibyte = 1 << 20
	var once bytes.Buffer
	z, zeros := gzip.NewWriter(&once), make([]byte, mebibyte)
	var ends [2]int
	for i := range ends {
		if _, err := z.Write(zeros); err != nil {
			t.Fatal(err)
		}
		if err := z.Flush(); err != nil {
			t.Fatal(err)
		}
		ends[i] = once.Len()
	}
	// The second mebibyte is whole bytes and refers back to nothing but zeros: as
	// it follows the first it can follow itself, and is compressed only once.
	bomb := bytes.Clone(once.Bytes()[:ends[0]])
	size, sum := uint32(mebibyte), crc32.ChecksumIEEE(zeros)
	for again := once.Bytes()[ends[0]:ends[1]]; len(bomb) < n; size += mebibyte {
		bomb, sum = append(bomb, again...), crc32.Update(sum, crc32.IEEETable, zeros)
	}
	bomb = append(bomb, 0x03, 0x00) // an empty block, the last one
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(bomb, sum), size)
}

// A bomb is a valid body: it is refused for its size, and for nothing else.
func TestBombInflates(t *testing.T) {
	z, err := gzip.NewReader(bytes.NewReader(bombOf(t, 20_000)))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, z); err != nil || n < 20_000_000 {
		t.Errorf("a bomb of 20,000 bytes inflates to %d: %v", n, err)
	}
}

// throwBomb posts a bomb and returns the status, 0 if there was no answer.
func throwBomb(url string, bomb []byte) int {
	req, err := http.NewRequest(http.MethodPost, url+"/v1/pings", bytes.NewReader(bomb))
	if err != nil {
		panic(err)
	}
	req.Header.Set("Content-Encoding", "gzip")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if errors.Join(err, resp.Body.Close()) != nil {
		return 0
	}
	return resp.StatusCode
}

func needsChaos(t *testing.T) {
	t.Helper()
	if *chaos == 0 {
		t.Skip("an experiment: make chaos runs it")
	}
}

// 500 slow lorises and a bomb a second against honest requests: an experiment
// that prints how long these take, in quiet and then.
func TestHostileClients(t *testing.T) {
	needsChaos(t)
	influx := startInflux(t)
	p := serve(t, t.TempDir(), influx.URL())
	bomb := newBomb(t)
	measure := func(name string) time.Duration {
		c := startCrowd(t, p.url, 5000, audit.NewLedger())
		began := time.Now()
		time.Sleep(20 * time.Second)
		c.end()
		t.Log(name)
		c.report(time.Since(began), false)
		t.Logf("memory in use: %d MiB", p.rss())
		return quantile(c.honest, 0.99)
	}
	measure("warming up")
	quiet := measure("quiet")
	stopLorises := lorises(500, strings.TrimPrefix(p.url, "http://"))
	stop, bombed := make(chan struct{}), make(chan int)
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		thrown := 0
		for {
			select {
			case <-stop:
				bombed <- thrown
				return
			case <-tick.C:
			}
			if status := throwBomb(p.url, bomb); status != http.StatusRequestEntityTooLarge {
				t.Errorf("a bomb was answered %d", status)
			}
			thrown++
		}
	}()
	eventually(t, "the lorises are connected", func() bool {
		n, err := p.metric("pingline_connections")
		return err == nil && n > 450
	})
	hostile := measure("500 lorises and a bomb a second")
	close(stop)
	t.Logf("%d bombs; p99 of honest requests %v in quiet, %v then: %.1f times", <-bombed, quiet, hostile, float64(hostile)/float64(quiet))
	stopLorises()
	if hostile > 4*quiet {
		t.Errorf("the p99 of honest requests rose to %.1f times its quiet value, want at most 4", float64(hostile)/float64(quiet))
	}
}

// Faults in a random order, for as long as asked, from a seed that is printed;
// at the end everything that was answered for is stored.
func TestChaos(t *testing.T) {
	needsChaos(t)
	seed := *chaosSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-chaos=%v -chaos-seed=%d", *chaos, seed)
	rng := rand.New(rand.NewPCG(seed, 13))
	influx := startInflux(t)
	proxy := newThrottle(t, influx.URL(), 0)
	dir, listen := t.TempDir(), freePort(t)
	start := func() *process {
		return serve(t, dir, proxy.URL, "--listen="+listen, "--queue-max-bytes=64MiB", "--shed-hold=5s")
	}
	p := start()
	ledger := audit.NewLedger()
	c := startCrowd(t, p.url, 10_000, ledger)
	sos := c.startRescue(true)
	bomb := newBomb(t)
	began := time.Now()
	seconds := func(most int) time.Duration {
		return time.Duration(100+rng.IntN(1000*most)) * time.Millisecond
	}
	faults := []struct {
		name string
		do   func()
	}{
		{"InfluxDB is killed", func() {
			influx.Kill()
			time.Sleep(seconds(10))
			if err := influx.Restart(context.Background()); err != nil {
				t.Fatal(err)
			}
		}},
		{"InfluxDB is frozen", func() {
			err := influx.Pause()
			time.Sleep(seconds(20))
			if err := errors.Join(err, influx.Continue()); err != nil {
				t.Fatal(err)
			}
		}},
		{"InfluxDB is slow", func() {
			proxy.limit(float64(500 + rng.IntN(5000)))
			time.Sleep(seconds(20))
			proxy.limit(0)
		}},
		{"pingline is killed", func() { p.kill(); p = start() }},
		{"pingline is killed twice", func() { p.kill(); p = start(); time.Sleep(seconds(1)); p.kill(); p = start() }},
		{"pingline is stopped", func() {
			if status := p.terminate(); status != exitOK {
				t.Errorf("exit status %d after SIGTERM", status)
			}
			p = start()
		}},
		{"bombs", func() {
			for range 1 + rng.IntN(20) {
				if status := throwBomb(p.url, bomb); status != http.StatusRequestEntityTooLarge && status != http.StatusServiceUnavailable {
					t.Errorf("a bomb was answered %d", status)
				}
			}
		}},
		{"lorises", func() {
			stop := lorises(100+rng.IntN(400), listen)
			time.Sleep(seconds(10))
			stop()
		}},
		{"quiet", func() { time.Sleep(seconds(5)) }},
	}
	most, counts := 0, map[string]int{}
	for time.Since(began) < *chaos && !t.Failed() {
		f := faults[rng.IntN(len(faults))]
		counts[f.name]++
		t.Logf("%5.1f s: %s", time.Since(began).Seconds(), f.name)
		f.do()
		most = max(most, p.rss())
	}
	c.end()
	c.report(time.Since(began), true)
	t.Logf("%d SOS, %d tries again; faults: %v; memory in use at most %d MiB after a fault", sos.sent.Load(), sos.again.Load(), counts, most)
	if most > 300 {
		t.Errorf("memory rose to %d MiB, want at most 300", most)
	}
	p.settled()
	auditCrowd(t, p, dir, influx, ledger)
}
