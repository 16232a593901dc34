// Package unreadtest runs a real VictoriaMetrics and a real QuestDB for tests.
package unreadtest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"pingline/internal/jvm"
)

// Env names the variable with the program of VictoriaMetrics.
const Env = "PINGLINE_TEST_VICTORIAMETRICS"

// Instance is a server that runs as long as a test.
type Instance struct {
	Addr string // host:port of its HTTP

	// Count returns how many positions of riders whose name begins with a text the server has,
	// as it says itself, and of how many riders they are.
	Count func(prefix string) (rows, riders int, err error)

	Kill    func()
	Restart func() error
}

// port returns one that is free.
func port(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}

// get returns the answer to a request.
func get(at string, params url.Values) ([]byte, error) {
	resp, err := http.Get(at + "?" + params.Encode())
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode > 299 {
		err = fmt.Errorf("%s: %s", resp.Status, text)
	}
	return text, err
}

// QuestDB runs one.
func QuestDB(t testing.TB) *Instance {
	t.Helper()
	jvm.Need(t, "questdb")
	s := &Instance{Addr: port(t)}
	p := jvm.Start(t, jvm.Java{
		Jars: "questdb", Main: "io.questdb.ServerMain", Args: []string{"-d", t.TempDir()},
		JVM: []string{"-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"},
		Env: []string{"QDB_HTTP_BIND_TO=" + s.Addr, "QDB_HTTP_MIN_NET_BIND_TO=" + port(t), "QDB_PG_ENABLED=false", "QDB_LINE_TCP_ENABLED=false", "QDB_TELEMETRY_ENABLED=false"},
		Ready: func() error {
			_, err := s.Exec("SELECT 1")
			return err
		},
	})
	s.Kill, s.Restart = p.Kill, p.Restart
	s.Count = func(prefix string) (rows, riders int, err error) {
		var said struct{ Dataset [][]int }
		text, err := s.Exec("SELECT count(), count_distinct(rider) FROM location WHERE rider LIKE '" + prefix + "%'")
		if err == nil {
			err = json.Unmarshal(text, &said)
		}
		if err != nil || len(said.Dataset) != 1 {
			return 0, 0, errors.Join(err, fmt.Errorf("answer %s", text))
		}
		return said.Dataset[0][0], said.Dataset[0][1], nil
	}
	return s
}

// Exec runs a statement of QuestDB.
func (s *Instance) Exec(statement string) ([]byte, error) {
	return get("http://"+s.Addr+"/exec", url.Values{"query": {statement}})
}

// VictoriaMetrics runs one that keeps one sample of a ms.
func VictoriaMetrics(t testing.TB) *Instance {
	t.Helper()
	program := os.Getenv(Env)
	if program == "" {
		t.Skip("needs VictoriaMetrics: make test-stores builds it and runs this test")
	}
	s, dir := &Instance{Addr: port(t)}, t.TempDir()
	var cmd *exec.Cmd
	s.Kill = func() {
		if cmd != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			cmd = nil
		}
	}
	s.Restart = func() error {
		s.Kill()
		cmd = exec.Command(program, "-storageDataPath="+dir, "-httpListenAddr="+s.Addr, "-retentionPeriod=100y", "-dedup.minScrapeInterval=1ms",
			"-search.latencyOffset=0s", "-memory.allowedBytes=64MB")
		if err := cmd.Start(); err != nil {
			cmd = nil
			return err
		}
		var err error
		for end := time.Now().Add(jvm.Patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if _, err = get("http://"+s.Addr+"/health", nil); err == nil {
				return nil
			}
		}
		return err
	}
	t.Cleanup(s.Kill)
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	s.Count = func(prefix string) (rows, riders int, err error) {
		if _, err := get("http://"+s.Addr+"/internal/force_flush", nil); err != nil { // what was taken is shown
			return 0, 0, err
		}
		text, err := get("http://"+s.Addr+"/api/v1/export", url.Values{"match[]": {`{__name__="location_lat",rider=~"` + prefix + `.*"}`}})
		if err != nil {
			return 0, 0, err
		}
		known := map[string]bool{}
		lines := bufio.NewScanner(strings.NewReader(string(text)))
		lines.Buffer(nil, 16<<20)
		for lines.Scan() {
			var series struct {
				Metric     map[string]string
				Timestamps []int64
			}
			if err := json.Unmarshal(lines.Bytes(), &series); err != nil {
				return 0, 0, err
			}
			rows += len(series.Timestamps)
			known[series.Metric["rider"]] = true
		}
		return rows, len(known), lines.Err()
	}
	return s
}
