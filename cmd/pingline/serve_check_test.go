package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"pingline/internal/influxd"
)

// Each check of serve's surroundings is a line, with a remedy if it fails, and
// nothing is written: neither to the bucket nor to the disk.
func TestCheckConfigConnects(t *testing.T) {
	for _, version := range []int{1, 2} {
		server := influxd.Run(t, influxd.Config{Version: version})
		if err := server.SetRetention(t.Context(), server.Bucket(), 14*24*time.Hour); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "never-made")
		args := []string{
			"serve", "--check-config", "--connect", "--influx-host=" + server.URL(), "--influx-token=" + server.Token(), "--influx-org=" + server.Org(),
			"--influx-bucket=" + server.Bucket(), "--data-dir=" + dir, "--queue-max-bytes=4MiB", "--max-connections=100",
		}
		status, stdout, stderr := runs(t, append(args, "--max-age=7d")...)
		var checks []string
		for line := range strings.Lines(stdout) {
			if !regexp.MustCompile(`^ok      (shard a|disk|files): [a-z ]+: .+\n$`).MatchString(line) {
				t.Errorf("printed %q", line)
			}
			checks = append(checks, strings.Split(line, ": ")[1])
		}
		if got := strings.Join(checks, ", "); status != exitOK || stderr != "" || got != "reachable, clock, bucket, write, read, retention, room for the log, may be open" {
			t.Errorf("exit status %d, checked %s, said %q", status, got, stderr)
		}
		status, stdout, stderr = runs(t, append(args, "--queue-max-bytes=1000TiB")...)
		for _, want := range []string{
			"failed  shard a: retention: pings are kept for 14d, and --max-age takes pings up to 30d old; set --max-age=14d",
			"failed  disk: room for the log: ", "ok      shard a: write: ",
		} {
			if !strings.Contains(stdout, want) {
				t.Errorf("said\n%swant %q", stdout, want)
			}
		}
		if status != exitFailed || stderr != "pingline: 2 checks failed\n" {
			t.Errorf("exit status %d, said %q", status, stderr)
		}
		if points, err := server.Points(t.Context(), server.Bucket()); version == 1 && (err != nil || len(points) != 0) {
			t.Errorf("the bucket has %q, %v", points, err)
		}
		if left, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(left) != 0 {
			t.Errorf("checking left %v, %v", left, err)
		}
	}
}

// A store that is not there is one line; those of other shards are checked all the same.
func TestCheckConfigOfADeadShard(t *testing.T) {
	server := influxd.RunTest(t)
	status, stdout, stderr := runs(t, "serve", "--check-config", "--connect", "--data-dir="+t.TempDir(), "--queue-max-bytes=4MiB", "--max-connections=100",
		"--shard=name=live,url="+server.URL()+",bucket="+server.Bucket(), "--shard=name=dead,url=http://127.0.0.1:1")
	if status != exitFailed || stderr != "pingline: 1 check failed\n" || strings.Count(stdout, "shard dead: ") != 1 ||
		!strings.Contains(stdout, "failed  shard dead: reachable: ") || strings.Count(stdout, "ok      shard live: ") != 6 {
		t.Errorf("exit status %d, printed\n%s, said %q", status, stdout, stderr)
	}
}

func TestConnectIsOfCheckConfig(t *testing.T) {
	status, stdout, stderr := runs(t, "serve", "--connect")
	if status != exitUsage || stdout != "" || !strings.Contains(stderr, "--connect is of --check-config") {
		t.Errorf("exit status %d, said %q %q", status, stdout, stderr)
	}
	status, stdout, stderr = runs(t, "serve", "--check-config", "--connect", "--data-dir="+filepath.Join(writeFile(t, ""), "x"), "--influx-host=http://127.0.0.1:1")
	if status != exitFailed || !strings.Contains(stdout, "name another --data-dir") {
		t.Errorf("a file as data directory: exit status %d, said %q %q", status, stdout, stderr)
	}
	status, _, stderr = runs(t, "serve", "--config="+writeFile(t, "connect: true"))
	if status != exitUsage || !strings.Contains(stderr, `unknown key "connect"`) {
		t.Errorf("in the file: exit status %d, said %q", status, stderr)
	}
}
