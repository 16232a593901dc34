package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/internal/influxd"
	"pingline/internal/node"
	"pingline/sink/deadletter"
	"pingline/sink/influx"
	"pingline/sink/influx/influxtest"
	"pingline/sink/store"
)

// output runs pingline with args to its end and returns what it prints.
func output(t *testing.T, args ...string) string {
	t.Helper()
	cmd := pinglineCommand(args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("pingline %q: %v: %s", args, err, stderr.String())
	}
	return string(out)
}

func reader(t *testing.T, server *influxd.Server, bucket string) *influx.Bucket {
	t.Helper()
	return influxtest.Open(t, influxtest.Access(server, bucket))
}

// storedLines returns all points of a bucket as sorted line protocol.
func storedLines(t *testing.T, c *influx.Bucket) (lines []string) {
	t.Helper()
	all := store.Query{From: math.MinInt64 / 1_000_000, To: math.MaxInt64 / 1_000_000}
	err := c.Points(t.Context(), all, func(e *pingline.Entry, _ int64) error {
		lines = append(lines, strings.TrimSpace(string(influx.AppendLine(nil, e))))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return lines
}

// Rows that InfluxDB refuses are seen and put back while the server runs, and
// stored once the cause is gone.
func TestReplayStoresWhatWasRefused(t *testing.T) {
	for version, name := range map[int]string{1: "1.8", 2: "2.x"} {
		t.Run(name, func(t *testing.T) {
			influx := startInfluxWith(t, influxd.Config{Version: version})
			testReplay(t, influx)
		})
	}
}

func testReplay(t *testing.T, influx *influxd.Server) {
	c := reader(t, influx, "pingline")
	at := time.Now().UnixMilli()
	// Another writer has stored another type, in these days and only there. The
	// shards of InfluxDB 1.8 are weeks from Monday to Sunday, and a field's type
	// lives as long as its shard: this week's must not have it.
	old := at - 12*24*3600_000
	for i := range int64(3) {
		influxtest.Write(t, c, fmt.Sprintf("location,rider=stranger event=1.5 %d000000\n", old+i))
	}
	dir := t.TempDir()
	p := serve(t, dir, influx.URL(), "--influx-token="+influx.Token(), "--influx-org="+influx.Org(), "--batch-wait=50ms")
	for i := range int64(3) {
		post(t, p.url, fmt.Appendf(nil, `[{"rider_id":"r-%d","ts":%d,"lat":1,"lon":2,"event":"sos"},{"rider_id":"q-%d","ts":%d,"lat":1,"lon":2}]`, i, old+i, i, at+i))
	}
	dead := `pingline_dead_letters_total{reason="field type conflict",shard="a"}`
	eventually(t, "three rows are refused", func() bool { n, err := p.metric(dead); return err == nil && n == 3 })
	p.settled()
	if n := len(storedLines(t, c)); n != 3 {
		t.Errorf("%d points are stored, want 3", n)
	}

	list := output(t, "deadletter", "list", "--data-dir="+dir)
	if strings.Count(list, `"event":"sos"`) != 3 || !strings.HasSuffix(list, "\n3 dead letters: 3 field type conflict\n") {
		t.Errorf("list prints\n%s", list)
	}
	if out := output(t, "deadletter", "list", "--data-dir="+dir, "--json", "--reason=FLOAT", "--shard=a"); strings.Count(out, "\n") != 3 {
		t.Errorf("list --json prints\n%s", out)
	} else {
		for line := range strings.Lines(out) {
			var l deadletter.Letter
			if err := json.Unmarshal([]byte(line), &l); err != nil || l.Shard != "a" || l.Cause != "field type conflict" || !strings.Contains(l.Reason, "already exists as type float") {
				t.Errorf("list --json prints %q, %v", line, err)
			}
		}
	}
	for _, filter := range []string{"--shard=b", "--reason=retention"} {
		if out := output(t, "deadletter", "list", "--data-dir="+dir, filter); out != "no dead letters\n" {
			t.Errorf("list %s prints %q", filter, out)
		}
		if out := output(t, "deadletter", "replay", "--data-dir="+dir, filter); out != "no dead letters\n" {
			t.Errorf("replay %s prints %q", filter, out)
		}
	}
	if out := output(t, "deadletter", "replay", "--data-dir="+dir, "--dry-run"); out != "would be put back: 3 dead letters: 3 field type conflict\n" {
		t.Errorf("replay --dry-run prints %q", out)
	}

	// As long as the cause is there they come back.
	out := output(t, "deadletter", "replay", "--data-dir="+dir, "--wait=2m")
	if !strings.Contains(out, "3 dead letters are on their way") || !strings.Contains(out, "the server has taken them up") {
		t.Errorf("replay prints %q", out)
	}
	eventually(t, "they are refused again", func() bool { n, err := p.metric(dead); return err == nil && n == 6 })
	p.settled()
	if size, err := p.metric("pingline_dead_letter_bytes"); err != nil || size == 0 {
		t.Errorf("the dead letters take %v bytes, %v", size, err)
	}

	if err := influx.DeleteBefore(t.Context(), "pingline", time.UnixMilli(at-24*3600_000)); err != nil {
		t.Fatal(err)
	}
	output(t, "deadletter", "replay", "--data-dir="+dir, "--wait=2m")
	eventually(t, "they are stored", func() bool { n, err := p.metric(`pingline_written_total{shard="a"}`); return err == nil && n == 6 })
	p.settled()
	if n := len(storedLines(t, c)); n != 6 {
		t.Errorf("%d points are stored, want 6", n)
	}
	if out := output(t, "deadletter", "list", "--data-dir="+dir); out != "no dead letters\n" {
		t.Errorf("list prints %q in the end", out)
	}
	if n, err := p.metric("pingline_replayed_total"); err != nil || n != 6 {
		t.Errorf("%v rows were replayed, %v; want 6", n, err)
	}
	if size, err := p.metric("pingline_dead_letter_bytes"); err != nil || size != 0 {
		t.Errorf("the dead letters take %v bytes in the end, %v", size, err)
	}
}

// letters writes a file of dead letters as a server does and returns their lines.
func letters(t *testing.T, dataDir string, n int) (lines []string) {
	t.Helper()
	dir := filepath.Join(dataDir, node.DeadLetterDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	at := time.Now().UnixMilli()
	for i := range n {
		e := pingline.Entry{Cell: 0x8539220ffffffff}
		e.Rider, e.At = fmt.Sprintf("r-%d", i), at+int64(i)
		if err := e.SetPosition(1, 2); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.TrimSpace(string(influx.AppendLine(nil, &e))))
		l := map[string]any{"at": time.Now(), "shard": "gone", "reason": "no", "status": 400, "line": lines[i]}
		if err := enc.Encode(l); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "deadletter-000001.jsonl"), b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return lines
}

// A replay without a server waits for one. That one is killed again and again
// while it takes the rows up: in the end each is stored.
func TestServerKilledWhileItReplays(t *testing.T) {
	long(t)
	influx := startInflux(t)
	dir := t.TempDir()
	want := letters(t, dir, 30_000)
	out := output(t, "deadletter", "replay", "--data-dir="+dir, "--wait=1ms")
	if !strings.Contains(out, "30000 dead letters are on their way") || !strings.Contains(out, "no server has taken them up so far") {
		t.Errorf("replay prints %q", out)
	}
	if out := output(t, "deadletter", "list", "--data-dir="+dir); out != "no dead letters\n" {
		t.Errorf("list prints %q", out)
	}
	for range 4 {
		p := serve(t, dir, influx.URL(), "--batch-wait=10ms")
		var n float64
		eventually(t, "some are taken up, or all are", func() bool {
			var err error
			n, err = p.metric("pingline_replayed_total")
			return err == nil && (n > 0 || waiting(t, dir) == 0)
		})
		p.kill()
		t.Logf("killed when %v were taken up, with %d files waiting", n, waiting(t, dir))
	}
	p := serve(t, dir, influx.URL())
	eventually(t, "all are taken up", func() bool { return waiting(t, dir) == 0 })
	p.settled()
	if got := storedLines(t, reader(t, influx, "pingline")); !slices.Equal(got, want) {
		t.Errorf("%d points are stored, want %d", len(got), len(want))
	}
}

// waiting returns how many files wait to be taken up.
func waiting(t *testing.T, dataDir string) int {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dataDir, node.DeadLetterDir, "replay", "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

func TestDeadLettersAreUsedWrongly(t *testing.T) {
	empty, used, file := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "file")
	letters(t, used, 1)
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"a directory of nobody":      {"list", "--data-dir=" + empty},
		"no directory":               {"replay", "--data-dir=" + file + "-not-there"},
		"a file":                     {"accept", "--data-dir=" + file, "--shard=a", "--rows=1"},
		"no command":                 {},
		"another command":            {"delete", "--data-dir=" + used},
		"an unknown flag":            {"list", "--data-dir=" + used, "--dry-run"},
		"a shard that can be none":   {"accept", "--data-dir=" + used, "--shard=../x", "--rows=1"},
		"no rows":                    {"accept", "--data-dir=" + used, "--shard=a", "--rows=0"},
		"a number of rows forgotten": {"accept", "--data-dir=" + used, "--shard=a"},
	} {
		t.Run(name, func(t *testing.T) {
			status, said := exits(t, append([]string{"deadletter"}, args...)...)
			if status != exitUsage || strings.Count(said, "\n") != 1 {
				t.Errorf("exit status %d, said %q; want %d and one line", status, said, exitUsage)
			}
		})
	}
	// That no server has worked there is said of what is not there, and of nothing else.
	shared := t.TempDir()
	if err := os.Mkdir(filepath.Join(shared, "part-1"), 0o700); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{
		shared: "pingline: --data-dir: " + shared + " is of a node with --parts: name the directory of a part: " + filepath.Join(shared, "part-1") + "\n",

		empty: "pingline: --data-dir: no server has worked in " + empty + ": dead letters: open " + filepath.Join(empty, node.DeadLetterDir) + ": no such file or directory\n",
		file:  "pingline: --data-dir: dead letters: open " + filepath.Join(file, node.DeadLetterDir) + ": not a directory\n",
	} {
		if _, said := exits(t, "deadletter", "list", "--data-dir="+dir); said != want {
			t.Errorf("of %s it says %q, want %q", dir, said, want)
		}
	}
	// A line that somebody has spoilt is named, and the others are listed.
	path := filepath.Join(used, node.DeadLetterDir, "deadletter-000001.jsonl")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append([]byte("spoilt\n"), b...), 0o600); err != nil {
		t.Fatal(err)
	}
	status, said := exits(t, "deadletter", "list", "--data-dir="+used)
	if status != exitFailed || !strings.Contains(said, "deadletter-000001.jsonl, line 1") || !strings.Contains(said, "1 line cannot be read") {
		t.Errorf("with a line spoilt: exit status %d, said %q", status, said)
	}
}

// Credentials that are refused and a bucket that is missing: the operator is
// told in the log, in /readyz and by a metric, and once they are put right all
// is stored, without a restart.
func TestConfigurationPutRight(t *testing.T) {
	for version, token := range map[int]string{1: "admin:secret", 2: "the-token"} {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			influx := startInfluxWith(t, influxd.Config{Version: version, Token: token})
			testConfigurationPutRight(t, influx)
		})
	}
}

func testConfigurationPutRight(t *testing.T, influx *influxd.Server) {
	dir, tokenFile := t.TempDir(), filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(tokenFile, []byte("nobody:hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := serve(t, dir, influx.URL(), "--influx-token-file="+tokenFile, "--influx-org="+influx.Org(), "--influx-bucket=later")
	tr := drive(t, p.url, 2000)
	told := func(reason, note string) {
		t.Helper()
		eventually(t, "the operator is told of "+reason, func() bool {
			n, err := p.metric(fmt.Sprintf(`pingline_stopped{reason=%q,shard="a"}`, reason))
			status, body := p.readyz()
			return err == nil && n == 1 && status == 200 && strings.Contains(body, note) &&
				regexp.MustCompile(`"level":"ERROR".*"reason":"`+reason+`"`).MatchString(p.said())
		})
	}
	told("credentials", "give a token that is valid")
	tr.more(2000)
	if err := os.WriteFile(tokenFile, []byte(influx.Token()), 0o600); err != nil {
		t.Fatal(err)
	}
	told("missing", map[int]string{1: "create the database", 2: "create it"}[influx.Version()])
	tr.more(2000)
	if err := influx.CreateBucket(t.Context(), "later", 0); err != nil {
		t.Fatal(err)
	}
	tr.more(2000)
	tr.stop()
	if status := p.terminate(); status != exitOK {
		t.Errorf("exit status %d after SIGTERM", status)
	}
	bucket := influxtest.Access(influx, "later")
	bucket.Token, bucket.TokenFile = "", tokenFile
	p = serve(t, dir, influx.URL(), "--influx-token-file="+tokenFile, "--influx-org="+influx.Org(), "--influx-bucket=later")
	p.settled()
	tr.auditIn(bucket)
	if status, body := p.readyz(); status != 200 || strings.Contains(body, "shard a") {
		t.Errorf("readyz in the end: %d %s", status, body)
	}
	if out := output(t, "deadletter", "list", "--data-dir="+dir); out != "no dead letters\n" {
		t.Errorf("dead letters: %s", out)
	}
}
