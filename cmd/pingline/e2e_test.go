package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pingline/internal/influxd"
	"pingline/sim/audit"
	"pingline/sink/influx/influxtest"
)

// The process may be killed at any moment: every acknowledged ping is stored.
func TestKilledFiveTimes(t *testing.T) {
	influx := startInflux(t)
	dir, listen := t.TempDir(), freePort(t)
	rng := rand.New(rand.NewPCG(11, 12))
	p := serve(t, dir, influx.URL(), "--listen="+listen)
	tr := driveOften(t, p.url, 5000)
	for range 5 {
		tr.more(1000 + rng.Uint64N(8000))
		p.kill()
		p = serve(t, dir, influx.URL(), "--listen="+listen)
	}
	tr.more(2000)
	tr.stop()
	dropsSome(t, restartAndAudit(t, p, tr, dir, influx.URL()))
}

// restartAndAudit stops p cleanly, which stores what is held, lets another
// process bring all of it to InfluxDB, and audits.
func restartAndAudit(t *testing.T, p *process, tr *traffic, dir, influxURL string, args ...string) audit.Report {
	t.Helper()
	if status := p.terminate(); status != exitOK {
		t.Errorf("exit status %d after SIGTERM", status)
	}
	p = serve(t, dir, influxURL, args...)
	p.settled()
	return tr.audit(influxURL)
}

// dropsSome fails a test whose audit found every ping stored: it says nothing
// about bounds.
func dropsSome(t *testing.T, r audit.Report) {
	t.Helper()
	if r.Stored > r.Sent/4*3 {
		t.Errorf("%d of %d pings are stored: too few were dropped to show anything", r.Stored, r.Sent)
	}
}

// away is how long InfluxDB is: shorter with -short.
func away() time.Duration {
	if testing.Short() {
		return 3 * time.Second
	}
	return 10 * time.Second
}

// InfluxDB is killed for ten seconds, then frozen for ten: pings stay accepted,
// memory stays small, nothing is lost.
func TestInfluxDies(t *testing.T) {
	beside(t)
	influx := startInflux(t)
	dir := t.TempDir()
	p := serve(t, dir, influx.URL())
	tr := drive(t, p.url, 5000)
	most := 0
	watch := func(d time.Duration) {
		second := time.NewTicker(time.Second)
		defer second.Stop()
		for end := time.Now().Add(d); time.Now().Before(end); <-second.C {
			most = max(most, p.rss())
		}
	}
	tr.more(5000)
	influx.Kill()
	watch(away())
	if err := influx.Restart(context.Background()); err != nil {
		t.Fatal(err)
	}
	tr.more(5000)
	if err := influx.Pause(); err != nil {
		t.Fatal(err)
	}
	watch(away())
	if err := influx.Continue(); err != nil {
		t.Fatal(err)
	}
	tr.more(5000)
	watch(time.Second)
	tr.stop()
	if c := tr.load.Counters(); len(c.Refused) > 0 {
		t.Errorf("requests were refused while InfluxDB was away: %v", c.Refused)
	}
	t.Logf("most memory in use: %d MiB", most)
	if most >= 300 && !underRace {
		t.Errorf("memory rose to %d MiB, want less than 300", most)
	}
	p.settled()
	restartAndAudit(t, p, tr, dir, influx.URL())
}

// An InfluxDB 2.x dies under load, then the process does: what was acknowledged
// is in its bucket, written with a token that may do nothing else.
func TestInflux2Dies(t *testing.T) {
	influx := startInfluxWith(t, influxd.Config{Version: 2, Org: "city hall", Bucket: "pings/raw"})
	token, err := influx.CreateToken(t.Context(), influx.Bucket(), true, true)
	if err != nil {
		t.Fatal(err)
	}
	tokenFile := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(tokenFile, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	args := []string{"--listen=" + freePort(t), "--influx-org=city hall", "--influx-bucket=pings/raw", "--influx-token-file=" + tokenFile}
	p := serve(t, dir, influx.URL(), args...)
	tr := drive(t, p.url, 5000)
	written := func() bool {
		n, err := p.metric(`pingline_written_total{shard="a"}`)
		return err == nil && n > 0
	}
	eventually(t, "pings are written", written)
	influx.Kill()
	tr.more(10_000)
	if c := tr.load.Counters(); len(c.Refused) > 0 {
		t.Errorf("requests were refused while InfluxDB was away: %v", c.Refused)
	}
	if err := influx.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	tr.more(5000)
	p.kill()
	p = serve(t, dir, influx.URL(), args...)
	eventually(t, "pings are written again", written)
	tr.stop()
	if status := p.terminate(); status != exitOK {
		t.Errorf("exit status %d after SIGTERM", status)
	}
	p = serve(t, dir, influx.URL(), args...)
	p.settled()
	bucket := influxtest.Access(influx, influx.Bucket())
	bucket.Token, bucket.TokenFile = "", tokenFile
	tr.auditIn(bucket)
	if out := p.said(); strings.Contains(out, token) {
		t.Errorf("the log tells the token:\n%s", out)
	}
}

// With InfluxDB away a small log fills: requests are refused whole and told when
// to come back; once InfluxDB is back, all is stored and pings are taken again.
func TestQueueFull(t *testing.T) {
	long(t)
	beside(t)
	influx := startInflux(t)
	influx.Kill()
	dir := t.TempDir()
	p := serve(t, dir, influx.URL(), "--queue-max-bytes=4MiB", "--max-error=0", "--shed-hold=1s")
	tr := drive(t, p.url, 20_000)
	eventually(t, "requests are refused", func() bool { return tr.load.Counters().Refused[http.StatusServiceUnavailable] > 0 })
	status, body := p.readyz()
	if status != http.StatusServiceUnavailable || !strings.Contains(body, "full") {
		t.Errorf("readyz with a full log: %d %s", status, body)
	}
	c, resp := &client{t: t, ledger: tr.ledger}, new(http.Response)
	// Of a new rider each: a second ping of one is shed before there is no room.
	riders := 0
	eventually(t, "a request of one ping is refused, too", func() bool {
		one := madeUp(1, 1)
		riders++
		one[0].Rider = fmt.Sprint("newcomer-", riders)
		_, resp = c.request(p.url, one)
		return resp.StatusCode != http.StatusOK
	})
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("pings with a full log: %s, Retry-After %q", resp.Status, resp.Header.Get("Retry-After"))
	}
	before := tr.answered()
	if err := influx.Restart(context.Background()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "pings are taken again", func() bool { return tr.answered() > before+20_000/fewer })
	tr.stop()
	p.settled()
	restartAndAudit(t, p, tr, dir, influx.URL())
}

// The disk fills under the process and is freed again: the same, and the
// process goes on by itself.
func TestDiskFull(t *testing.T) {
	influx := startInflux(t)
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("needs to mount a small tmpfs: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", dir).Run() })
	p := serve(t, filepath.Join(dir, "data"), influx.URL())
	tr := driveOften(t, p.url, 2000)
	tr.more(2000)
	ballast := filepath.Join(dir, "ballast")
	fill(t, ballast)
	eventually(t, "requests are refused", func() bool { return tr.load.Counters().Refused[http.StatusServiceUnavailable] > 0 })
	eventually(t, "readyz names the disk", func() bool {
		status, body := p.readyz()
		return status == http.StatusServiceUnavailable && strings.Contains(body, "no space left on "+dir) && !strings.Contains(body, "full in")
	})
	began := time.Now()
	resp, err := http.Post(p.url+"/v1/pings", "", strings.NewReader(fmt.Sprintf(`{"rider_id":"r","ts":%d,"lat":41,"lon":-8}`, began.UnixMilli())))
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if took := time.Since(began); resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(text), "no space left on "+dir) || took > 9*time.Second {
		t.Errorf("pings on a full disk: %s %s after %v, want 503 at once with the reason", resp.Status, text, took) // an append has 10 s
	}
	before := tr.answered()
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	eventually(t, "pings are taken again", func() bool { return tr.answered() > before+2000 })
	if status, body := p.readyz(); status != http.StatusOK {
		t.Errorf("readyz after space was freed: %d %s", status, body)
	}
	tr.stop()
	p.settled()
	dropsSome(t, restartAndAudit(t, p, tr, filepath.Join(dir, "data"), influx.URL()))
}

// The data directory, or a part of it, is deleted under the process: nothing is
// answered 200 from then on, and readyz says why.
func TestDataDirectoryDeleted(t *testing.T) {
	for _, part := range []string{"", "log", "filter"} {
		t.Run("data/"+part, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			p := serve(t, dir, "http://127.0.0.1:1")
			post := func(i int) int {
				t.Helper()
				body := fmt.Sprintf(`{"rider_id":"r-%d","ts":%d,"lat":41,"lon":-8}`, i, time.Now().UnixMilli())
				resp, err := http.Post(p.url+"/v1/pings", "", strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
				return resp.StatusCode
			}
			if status := post(0); status != http.StatusOK {
				t.Fatal(status)
			}
			if v, err := p.metric("pingline_log_trouble"); err != nil || v != 0 {
				t.Errorf("pingline_log_trouble %v (%v), want 0", v, err)
			}
			if err := os.RemoveAll(filepath.Join(dir, part)); err != nil {
				t.Fatal(err)
			}
			if status := post(1); part != "filter" && status != http.StatusServiceUnavailable {
				t.Errorf("the first request after it was deleted: %d, want 503", status)
			}
			eventually(t, "pings are refused", func() bool { return post(2) == http.StatusServiceUnavailable })
			eventually(t, "readyz says why", func() bool {
				status, body := p.readyz()
				return status == http.StatusServiceUnavailable && strings.Contains(body, "deleted or replaced")
			})
			if v, err := p.metric("pingline_log_trouble"); err != nil || v != 1 {
				t.Errorf("pingline_log_trouble %v (%v), want 1", v, err)
			}
		})
	}
}

// fill writes to path until its disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size >= 1; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
}

func TestTerminatedUnderLoad(t *testing.T) {
	influx := startInflux(t)
	dir, listen := t.TempDir(), freePort(t)
	p := serve(t, dir, influx.URL(), "--listen="+listen)
	tr := driveOften(t, p.url, 5000)
	tr.more(10_000)
	if status := p.terminate(); status != exitOK {
		t.Errorf("exit status %d after SIGTERM under load", status)
	}
	p = serve(t, dir, influx.URL(), "--listen="+listen)
	tr.more(10_000)
	tr.stop()
	dropsSome(t, restartAndAudit(t, p, tr, dir, influx.URL()))
}

func TestSecondProcess(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir, "http://127.0.0.1:1")
	status, message := exits(t, "serve", "--data-dir="+dir, "--listen=127.0.0.1:0", "--ops-listen=")
	if status != exitUsage || strings.Count(message, "\n") != 1 {
		t.Errorf("a second process on the same directory: exit status %d, said %q; want %d and one line", status, message, exitUsage)
	}
}

func TestBusyPort(t *testing.T) {
	p := serve(t, t.TempDir(), "http://127.0.0.1:1")
	status, message := exits(t, "serve", "--data-dir="+t.TempDir(), "--listen="+strings.TrimPrefix(p.url, "http://"), "--ops-listen=")
	if status != exitUsage || !strings.Contains(message, "address already in use") || strings.Count(message, "\n") != 1 {
		t.Errorf("a busy port: exit status %d, said %q", status, message)
	}
}

// A mebibyte that inflates to a gibibyte is refused at little cost.
func TestGzipBomb(t *testing.T) {
	p := serve(t, t.TempDir(), "http://127.0.0.1:1")
	bomb := newBomb(t)
	most := 0
	for range 20 {
		if status := throwBomb(p.url, bomb); status != http.StatusRequestEntityTooLarge {
			t.Fatalf("a bomb: %d, want 413", status)
		}
		most = max(most, p.rss())
	}
	t.Logf("most memory in use: %d MiB", most)
	if most >= 200 && !underRace {
		t.Errorf("memory rose to %d MiB, want less than 200", most)
	}
}

// Without InfluxDB the process starts, accepts and waits.
func TestStartsWithoutInflux(t *testing.T) {
	p := serve(t, t.TempDir(), "http://127.0.0.1:1")
	body := fmt.Sprintf(`[{"rider_id":"r","ts":%d,"lat":1,"lon":2}]`, time.Now().UnixMilli())
	if resp := post(t, p.url, []byte(body)); resp.StatusCode != http.StatusOK {
		t.Errorf("a ping without InfluxDB: %s", resp.Status)
	}
	if status, body := p.readyz(); status != http.StatusOK {
		t.Errorf("readyz without InfluxDB: %d %s", status, body)
	}
	if n, err := p.metric(`pingline_queued_pings`); err != nil || n != 1 {
		t.Errorf("%v pings are queued (%v), want 1", n, err)
	}
}

func post(t *testing.T, url string, body []byte) *http.Response {
	t.Helper()
	resp, err := http.Post(url+"/v1/pings", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return resp
}
