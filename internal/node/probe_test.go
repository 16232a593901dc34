package node

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pingline/internal/influxd"
)

// logged is what a node has logged so far, safe to write to from several goroutines.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// A bucket that is missing is told at the start, once, before any ping has come; the
// node takes pings meanwhile.
func TestMissingBucketIsToldAtTheStart(t *testing.T) {
	server := influxd.RunTest(t)
	var log logged
	cfg := DefaultConfig()
	cfg.Name, cfg.Listen, cfg.OpsListen, cfg.DataDir = "n", "127.0.0.1:0", "", t.TempDir()
	cfg.Influx.Host, cfg.Influx.Bucket = server.URL(), "nothing"
	cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	n, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- n.Run(ctx) }()
	const told = `msg="a store is not as it should be; pings are taken all the same" shard=a check=bucket found="\"nothing\" is not there" remedy="create it, or name another;`
	deadline := time.Now().Add(10 * time.Minute)
	for !strings.Contains(log.String(), told) && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if said := log.String(); strings.Count(said, told) != 1 || strings.Count(said, "not as it should be") != 1 {
		t.Errorf("logged %s", said)
	}
}

// A node that cannot listen leaves nothing on the disk.
func TestTakenPortLeavesNoDirectory(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for _, flag := range []string{"--listen", "--osmand-listen", "--mqtt-listen", "--ops-listen"} {
		cfg := DefaultConfig()
		cfg.Name, cfg.Listen, cfg.OpsListen, cfg.DataDir = "n", "127.0.0.1:0", "127.0.0.1:0", filepath.Join(t.TempDir(), "data")
		switch flag {
		case "--listen":
			cfg.Listen = taken.Addr().String()
		case "--osmand-listen":
			cfg.OsmandListen = taken.Addr().String()
		case "--mqtt-listen":
			cfg.MQTT.Listen = taken.Addr().String()
		default:
			cfg.OpsListen = taken.Addr().String()
		}
		_, err := Open(t.Context(), cfg)
		if err == nil || !strings.HasPrefix(err.Error(), flag+": listen tcp ") || !strings.Contains(err.Error(), "address already in use") {
			t.Errorf("%s: %v", flag, err)
		}
		if _, err := os.Stat(cfg.DataDir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: a directory was made: %v", flag, err)
		}
	}
}

// The error about a directory that another node works in names the flag.
func TestLockedDirectoryNamesItsFlag(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Name, cfg.Listen, cfg.OpsListen, cfg.DataDir = "n", "127.0.0.1:0", "", t.TempDir()
	n, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.close() }()
	if _, err := Open(t.Context(), cfg); err == nil || !strings.HasPrefix(err.Error(), "--data-dir: open log: lock ") || !strings.HasSuffix(err.Error(), ": in use by another process") {
		t.Errorf("says %v", err)
	}
}

// A URL can be asked as it is printed.
func TestURLOfAllAddresses(t *testing.T) {
	for addr, want := range map[string]string{
		"[::]:8080": "http://localhost:8080", "0.0.0.0:8080": "http://localhost:8080",
		"127.0.0.1:8080": "http://127.0.0.1:8080", "[::1]:8080": "http://[::1]:8080",
	} {
		tcp, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := new(Node).urlOf(tcp); got != want {
			t.Errorf("%s is %s, want %s", addr, got, want)
		}
	}
}

// The check before a start asks the servers that pings are taken from, too.
func TestTryWaysIn(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "hunter2-of-a-test")
	cfg := DefaultConfig()
	cfg.DataDir = t.TempDir()
	cfg.KafkaIn.URL, cfg.SQSIn.URL = "kafka://127.0.0.1:1/pings", "sqs+http://127.0.0.1:1/pings"
	list, err := Try(t.Context(), &cfg)
	if err != nil {
		t.Fatal(err)
	}
	failed := map[string]int{}
	for _, f := range list {
		if f.What == "reachable" && f.Remedy != "" && !strings.Contains(f.Found+f.Remedy, "hunter2") {
			failed[f.Of]++
		}
	}
	if failed["kafka-in"] != 1 || failed["sqs-in"] != 1 {
		t.Errorf("%+v", list)
	}
}
