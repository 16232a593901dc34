package rider

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/internal/command"
	"pingline/internal/node"
	"pingline/internal/rights"
)

// remove deletes a rider and returns the report.
func (r *rig) remove(rider string) (m rights.Removal) {
	r.t.Helper()
	out, said, err := run(r.t, &DeleteCmd{ID: ID{rider}, Server: r.opsURL(), Wait: patience})
	if err != nil {
		r.t.Fatalf("%v: %s", err, said)
	}
	if err := json.Unmarshal([]byte(out), &m); err != nil {
		r.t.Fatalf("%s: %v", out, err)
	}
	r.t.Logf("%s", out)
	return m
}

// quick leaves out the roll-up, which reads the log for some minutes again after a start.
func quick(c *node.Config) { c.Rollup = nil }

// filesWith returns the files below a directory in which a text is found. The room that a log
// holds back is left out: it is a megabyte of random bytes, and has any four with ease.
func filesWith(t testing.TB, dir, text string) (names []string) {
	t.Helper()
	for {
		names = nil
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || d.Name() == "spare" {
				return err
			}
			b, err := os.ReadFile(path)
			if err == nil && bytes.Contains(b, []byte(text)) {
				names = append(names, path)
			}
			return err
		})
		if err == nil {
			return names
		}
		// A node that runs renames files after they were listed.
		if _, gone := os.Stat(dir); gone != nil || !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

// answers returns the answers of InfluxDB when it is asked for all that it has in a bucket:
// points, series, and the values of tags.
func (r *rig) answers(bucket string) string {
	r.t.Helper()
	var all strings.Builder
	if r.db.Version() == 1 {
		points, err := r.db.Points(r.t.Context(), bucket)
		if err != nil {
			r.t.Fatal(err)
		}
		all.WriteString(strings.Join(points, "\n"))
	}
	for _, q := range []string{"SHOW SERIES", `SHOW TAG VALUES WITH KEY = "rider"`, `SELECT * FROM "location"`} {
		req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, r.db.URL()+"/query?"+url.Values{"db": {bucket}, "q": {q}}.Encode(), nil)
		if err != nil {
			r.t.Fatal(err)
		}
		if r.db.Token() != "" {
			req.Header.Set("Authorization", "Token "+r.db.Token())
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			r.t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			r.t.Fatalf("%s: %s %s", q, resp.Status, text)
		}
		fmt.Fprintf(&all, "%s: %s\n", q, text)
	}
	return all.String()
}

// gone checks that nothing of a rider is left, and that others are there.
func (r *rig) gone(rider, other string) {
	r.t.Helper()
	found := false
	for _, bucket := range buckets {
		said := r.answers(bucket)
		if strings.Contains(said, rider) {
			for line := range strings.Lines(said) {
				if at := strings.Index(line, rider); at >= 0 {
					r.t.Errorf("bucket %s names %s: %.60s … %.200s", bucket, rider, line, line[max(at-80, 0):])
				}
			}
		}
		found = found || strings.Contains(said, other)
	}
	if !found {
		r.t.Errorf("no bucket names %s", other)
	}
	if names := filesWith(r.t, r.cfg.DataDir, rider); len(names) > 0 {
		r.t.Errorf("%s is in %v", rider, names)
	}
	resp, err := http.Get(r.node.URL() + "/v1/riders/" + url.PathEscape(rider))
	if err != nil {
		r.t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		r.t.Errorf("the newest ping of %s: %s", rider, resp.Status)
	}
}

// After a removal no byte of the rider's id is left: in the answers of InfluxDB, in the
// dead letters, or in any file of the data directory. Others lose nothing.
func TestRemovedIsGone(t *testing.T) {
	for _, version := range []int{1, 2} {
		t.Run(fmt.Sprint("InfluxDB ", version), func(t *testing.T) {
			r := startRig(t, version, quick)
			const rider, other = "ana the rider's, \"id\"", "bo-of-the-others"
			letters(t, r, rider, other)
			r.post(append(ride(rider, 150), ride(other, 150)...)...)
			r.written()
			before, _ := r.export(other, nil)
			if list, _ := r.export(rider, nil); len(list) < 20 {
				t.Fatalf("%d pings are known", len(list))
			}
			if names := filesWith(t, r.cfg.DataDir, rider); len(names) == 0 {
				t.Fatal("no file names the rider")
			}
			m := r.remove(rider)
			removed := 0
			for _, s := range m.Shards {
				removed += s.Removed
				if s.Remaining != 0 {
					t.Errorf("shard %s: %d remain", s.Shard, s.Remaining)
				}
			}
			if len(m.Shards) != 3 || m.Shards[0].Removed == 0 || m.Shards[1].Removed == 0 || m.Shards[2].Removed != 6 || removed < 20 || m.Held == 0 || m.Tracks != 2 || m.Rider != "" || !strings.HasPrefix(m.Log, "no file") {
				t.Errorf("the report: %+v", m)
			}
			if m.DeadLetters != 1 {
				t.Errorf("%d dead letters were removed, want 1", m.DeadLetters)
			}
			r.gone(rider, other)
			r.written()
			marks := 0
			for _, bucket := range buckets {
				if points, err := r.db.Points(t.Context(), bucket); version == 1 && err == nil {
					marks += strings.Count("\n"+strings.Join(points, "\n"), "\n"+rights.Measurement)
				}
			}
			if version == 1 && marks != 1 {
				t.Errorf("%d points tell of the removal, want 1", marks)
			}
			after, _ := r.export(other, nil)
			if len(after) != len(before) {
				t.Errorf("%d pings of the other rider are left of %d", len(after), len(before))
			}
			b := r.node.Books()
			for equation, gap := range b.Gaps() {
				if gap != 0 {
					t.Errorf("equation %s has a gap of %d", equation, gap)
				}
			}

			r.post(ride(rider, 60)...) // times of before, sent now: the rider is new
			r.written()
			sent := ride(rider, 60)
			list, _ := r.export(rider, nil)
			if len(list) < 10 {
				t.Errorf("%d pings of %d are there after the rider is back", len(list), len(sent))
			}
			r.stop()
			r.start()
			if again, _ := r.export(rider, nil); len(again) < len(list) {
				t.Errorf("%d pings of %d are there after a restart", len(again), len(list))
			}
		})
	}
}

// letters writes a dead letter of each of some riders.
func letters(t *testing.T, r *rig, riders ...string) {
	t.Helper()
	for _, rider := range riders {
		line, err := json.Marshal(map[string]any{
			"at": time.Now(), "shard": "s0", "cause": "other", "reason": "refused " + rider,
			"ping": map[string]any{"rider_id": rider, "ts": time.Now().UnixMilli(), "lat": 41, "lon": 29},
		})
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(filepath.Join(r.cfg.DataDir, node.DeadLetterDir, "deadletter-000001.jsonl"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = f.Write(append(line, '\n')); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
}

// A rider who goes on sending is removed up to a moment, and loses nothing of later: pings
// from before it are gone, pings from behind it are there.
func TestRemovedWhileSending(t *testing.T) {
	r := startRig(t, 1, func(c *node.Config) {
		quick(c)
		c.Bound.MaxError, c.Bound.AccuracyCap, c.RiderRate = 0, 0, 0 // each ping is stored
	})
	const step = 10 // ms; there are more pings of the days until now than any machine sends
	first := time.Now().Add(-20 * 24 * time.Hour).UnixMilli()
	ping := func(i int) pingline.Ping {
		p := pingline.Ping{Rider: "r-1", Fix: pingline.Fix{At: first + int64(i)*step}}
		if err := p.SetPosition(41+float64(i%97)/1e4, 29); err != nil {
			t.Fatal(err)
		}
		return p
	}
	sent := 0
	send := func(n int) {
		var list []pingline.Ping
		for range n {
			list = append(list, ping(sent))
			sent++
		}
		r.post(list...)
	}
	send(1000)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan error, 1)
	go func() {
		_, _, err := run(t, &DeleteCmd{ID: ID{"r-1"}, Server: r.opsURL(), Wait: patience})
		done <- err
		stop()
	}()
	for ctx.Err() == nil {
		send(20)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	send(100)
	r.written()
	list, _ := r.export("r-1", nil)
	if len(list) == 0 {
		t.Fatal("nothing is left of what came behind")
	}
	from := int(list[0].TS-first) / step
	if from < 1000 || from > sent-100 || len(list) != sent-from {
		t.Errorf("of %d pings, those from %d on are there: %d", sent, from, len(list))
	}
	for i := range list {
		if want := first + int64(from+i)*step; list[i].TS != want {
			t.Fatalf("ping %d is of %d, want %d", i, list[i].TS, want)
		}
	}
}

// A removal waits for a shard that is away, and nothing of the rider is written meanwhile.
func TestRemovedWhileAShardIsAway(t *testing.T) {
	r := startRig(t, 1, quick)
	r.post(append(ride("r-of-before", 100), ride("r-other", 100)...)...)
	r.written()
	r.db.Kill()
	r.post(ride("r-of-before", 50)...)
	out, said, err := run(t, &DeleteCmd{ID: ID{"r-of-before"}, Server: r.opsURL(), Wait: 2 * time.Second})
	if err == nil || !strings.Contains(err.Error(), "goes on") {
		t.Errorf("%s %s %v", out, said, err)
	}
	if err := r.db.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	m := r.remove("r-of-before") // once more: it begins anew
	if m.Step != rights.Finished {
		t.Errorf("%+v", m)
	}
	r.gone("r-of-before", "r-other")
}

// A request that is left in the data directory is taken up by the next start.
func TestRemovedAtTheNextStart(t *testing.T) {
	r := startRig(t, 1, quick)
	r.post(append(ride("r-of-before", 100), ride("r-other", 100)...)...)
	r.written()
	r.stop()
	out, _, err := run(t, &DeleteCmd{ID: ID{"r-of-before"}, Server: "http://x", DataDir: r.cfg.DataDir})
	if err != nil {
		t.Fatal(err)
	}
	id := strings.Fields(out)[1]
	r.start()
	cmd := &DeleteCmd{Server: r.opsURL()}
	r.until("the end of the removal", func() bool {
		m, err := cmd.removal(t.Context(), http.MethodGet, []string{"v1", "removals", id}, http.StatusOK)
		return err == nil && m.Step == rights.Finished
	})
	r.gone("r-of-before", "r-other")
}

// A request is not left where no node takes it up, or one that has other riders.
func TestRemovalInADirectoryOfParts(t *testing.T) {
	dir := t.TempDir()
	part := filepath.Join(dir, "part-1")
	if err := os.Mkdir(part, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{dir, part, part + "/"} {
		out, _, err := run(t, &DeleteCmd{ID: ID{"r"}, Server: "http://x", DataDir: at})
		if !errors.As(err, new(command.UsageError)) || !strings.Contains(err.Error(), "is of a node with --parts: ask a running node, by --server") || out != "" {
			t.Errorf("%s: %q, %v", at, out, err)
		}
		if list, err := os.ReadDir(part); err != nil || len(list) > 0 {
			t.Errorf("%s: %v was left, %v", at, list, err)
		}
	}
	t.Chdir(part)
	if _, _, err := run(t, &DeleteCmd{ID: ID{"r"}, Server: "http://x", DataDir: "."}); !errors.As(err, new(command.UsageError)) {
		t.Errorf("in the directory of a part: %v", err)
	}
}
