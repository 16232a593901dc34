package main

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pingline/internal/influxd"
	"pingline/sink/deadletter"
)

// upgrade is a data directory of an earlier version, and what that version would
// have stored from it. tools/upgrade makes both.
type upgrade struct {
	t       *testing.T
	dir     string
	shards  []string
	servers []*influxd.Server

	Flags            []string
	Until            int64 // points about the node up to here, in ms, are from the directory
	Points, Replayed map[string][]string
	Letters          map[string]int
	Again            []struct {
		Ping    json.RawMessage
		Verdict string
	}
}

// A data directory that an earlier version has left, in order or killed, is opened by
// this one with nothing lost: what waited in the log is stored, points of the roll-up
// and about the node included, pings sent again are known, and the dead letters are
// listed and can be put back. So it is if the first starts are killed, at any moment.
func TestUpgrade(t *testing.T) {
	long(t)
	beside(t)
	found, err := filepath.Glob("../../testdata/upgrade/*.tar.gz")
	if err != nil || len(found) < 2 {
		t.Fatalf("data directories %v, %v", found, err)
	}
	for _, path := range found {
		name := strings.TrimSuffix(filepath.Base(path), ".tar.gz")
		t.Run(name, func(t *testing.T) {
			u := unpackUpgrade(t, path)
			u.start()
			u.check()
		})
		t.Run(name+"/first starts killed", func(t *testing.T) {
			u := unpackUpgrade(t, path)
			u.killWhileStarting()
			u.start()
			u.killWhileWriting()
			u.check()
		})
	}
}

func unpackUpgrade(t *testing.T, path string) *upgrade {
	t.Helper()
	u := &upgrade{t: t, dir: t.TempDir()}
	text, err := os.ReadFile(strings.TrimSuffix(path, ".tar.gz") + ".json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, u); err != nil {
		t.Fatal(err)
	}
	if err := unpack(path, u.dir); err != nil {
		t.Fatal(err)
	}
	u.shards = slices.Sorted(maps.Keys(u.Points))
	for _, shard := range u.shards {
		if len(u.Points[shard]) == 0 {
			t.Fatalf("no points of shard %s: the test shows nothing", shard)
		}
	}
	return u
}

func unpack(path, dir string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		to := filepath.Join(dir, filepath.FromSlash(h.Name))
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		text, err := io.ReadAll(r)
		if err == nil {
			err = os.WriteFile(to, text, 0o600)
		}
		if err != nil {
			return err
		}
	}
}

// start runs an empty InfluxDB for each shard.
func (u *upgrade) start() {
	u.t.Helper()
	for range u.shards {
		u.servers = append(u.servers, startInflux(u.t))
	}
}

// args are the flags of serve; while there is no InfluxDB they name none that answers.
func (u *upgrade) args() []string {
	args := slices.Clone(u.Flags)
	for i, shard := range u.shards {
		url := fmt.Sprintf("http://127.0.0.1:%d", i+1)
		if u.servers != nil {
			url = u.servers[i].URL()
		}
		args = append(args, fmt.Sprintf("--shard=name=%s,url=%s", shard, url))
	}
	return args
}

func (u *upgrade) serve() *process {
	u.t.Helper()
	return serve(u.t, u.dir, "", u.args()...)
}

// killWhileStarting kills one start after the other, each a little later than the
// one before, until one has come as far as taking pings.
func (u *upgrade) killWhileStarting() {
	u.t.Helper()
	for i := 1; ; i++ {
		cmd := pinglineCommand(append([]string{
			"serve", "--data-dir=" + u.dir, "--listen=127.0.0.1:0", "--ops-listen=", "--log-level=debug",
		}, u.args()...)...)
		stderr, err := cmd.StderrPipe()
		if err != nil {
			u.t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			u.t.Fatal(err)
		}
		kill := time.AfterFunc(time.Duration(i)*10*time.Millisecond, func() { _ = cmd.Process.Kill() })
		text, err := io.ReadAll(stderr)
		kill.Stop()
		_ = cmd.Wait() // it was killed: its state says so
		if err != nil {
			u.t.Fatal(err)
		}
		if cmd.ProcessState.Exited() {
			u.t.Fatalf("start %d ends by itself: %s", i, text)
		}
		if strings.Contains(string(text), "taking pings") {
			u.t.Logf("killed %d times while it started", i-1)
			return
		}
	}
}

// killWhileWriting kills the process when it has written more than at the last
// time, and at last when it has taken up all rows on their way back.
func (u *upgrade) killWhileWriting() {
	u.t.Helper()
	for range 3 {
		p := u.serve()
		eventually(u.t, "something is written", func() bool {
			pings, err := p.metrics("pingline_written_total{")
			lines, lerr := p.metrics("pingline_lines_written_total{")
			behind, berr := p.metrics("pingline_queue_commits{")
			return errors.Join(err, lerr, berr) == nil && (slices.Max(append(pings, lines...)) > 0 || slices.Max(behind) == 0)
		})
		p.kill()
	}
	p := u.serve()
	eventually(u.t, "rows are taken up", func() bool { return waiting(u.t, u.dir) == 0 })
	p.kill()
}

// check compares what this version stores with what the earlier one would have.
func (u *upgrade) check() {
	u.t.Helper()
	p := u.serve()
	u.stores(p, u.Points)

	list := output(u.t, "deadletter", "list", "--data-dir="+u.dir, "--json")
	letters := make(map[string]int)
	for line := range strings.Lines(list) {
		var l deadletter.Letter
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			u.t.Fatal(err)
		}
		letters[l.Cause]++
		if l.Entry.IsLine() {
			u.t.Errorf("a row of ours is not known as such: %s", line)
		}
	}
	if !maps.Equal(letters, u.Letters) {
		u.t.Errorf("dead letters %v, want %v", letters, u.Letters)
	}
	for _, again := range u.Again {
		if verdict := sendAgain(u.t, p.url, again.Ping); verdict != again.Verdict {
			u.t.Errorf("%s is sent again: %s, want %s", again.Ping, verdict, again.Verdict)
		}
	}

	output(u.t, "deadletter", "replay", "--data-dir="+u.dir, "--wait=2m")
	all := make(map[string][]string)
	for _, shard := range u.shards {
		all[shard] = replace(u.Points[shard], u.Replayed[shard])
	}
	u.stores(p, all)
	if out := output(u.t, "deadletter", "list", "--data-dir="+u.dir); out != "no dead letters\n" {
		u.t.Errorf("list prints %q in the end", out)
	}
	if status := p.terminate(); status != exitOK {
		u.t.Errorf("exit status %d after SIGTERM", status)
	}
	if damage, err := filepath.Glob(filepath.Join(u.dir, "deadletter", "replay", "*")); err != nil || len(damage) != 0 {
		u.t.Errorf("left over in the end: %v, %v", damage, err)
	}
}

// stores waits until the shards have as many points as wanted, and compares.
func (u *upgrade) stores(p *process, want map[string][]string) {
	u.t.Helper()
	for i, shard := range u.shards {
		var got []string
		for limit := time.Now().Add(patience); ; {
			got = u.stored(i)
			if len(got) >= len(want[shard]) || time.Now().After(limit) {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		p.settled()
		got = u.stored(i)
		if missing := without(want[shard], got); len(missing) > 0 {
			u.t.Errorf("shard %s lacks %d of %d points: %s", shard, len(missing), len(want[shard]), some(missing))
		}
		if more := without(got, want[shard]); len(more) > 0 {
			u.t.Errorf("shard %s has %d points besides: %s", shard, len(more), some(more))
		}
	}
	if damaged, err := p.metric("pingline_queue_damage_total"); err != nil || damaged != 0 {
		u.t.Errorf("%v damaged commits, %v", damaged, err)
	}
}

// stored returns the points of a shard, without those that are about the node since
// the directory was left.
func (u *upgrade) stored(i int) []string {
	u.t.Helper()
	points, err := u.servers[i].Points(u.t.Context(), "pingline")
	if err != nil {
		u.t.Fatal(err)
	}
	return slices.DeleteFunc(points, func(p string) bool {
		at, err := strconv.ParseInt(p[strings.LastIndexByte(p, ' ')+1:], 10, 64)
		return strings.HasPrefix(p, "pingline") && (err != nil || at > u.Until*1_000_000)
	})
}

// replace returns old and new points, without the old ones of a series and time that
// a new one has: a late ping that is sent again is stored again in its place, and has
// another count of skipped pings.
func replace(old, points []string) []string {
	at := func(p string) string { return p[:strings.IndexByte(p, ' ')] + p[strings.LastIndexByte(p, ' '):] }
	all := make(map[string]string)
	for _, p := range slices.Concat(old, points) {
		all[at(p)] = p
	}
	return slices.Sorted(maps.Values(all))
}

func without(list, other []string) (rest []string) {
	for _, s := range list {
		if _, found := slices.BinarySearch(other, s); !found {
			rest = append(rest, s)
		}
	}
	return rest
}

func some(list []string) string { return "\n" + strings.Join(list[:min(len(list), 10)], "\n") }

// sendAgain returns the verdict of one ping.
func sendAgain(t *testing.T, url string, ping []byte) string {
	t.Helper()
	resp, err := http.Post(url+"/v1/pings?verdicts=1", "application/json", strings.NewReader(string(ping)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var said struct{ Verdicts []string }
	if err := json.NewDecoder(resp.Body).Decode(&said); err != nil || len(said.Verdicts) != 1 {
		t.Fatalf("%s is answered with %s %v, %v", ping, resp.Status, said, err)
	}
	return said.Verdicts[0]
}
