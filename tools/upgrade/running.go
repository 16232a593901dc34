package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"pingline/internal/influxd"
	"pingline/internal/pause"
)

// running is a process of the earlier version.
type running struct {
	cmd      *exec.Cmd
	url, ops string
	said     bytes.Buffer
	seen     map[string]int // pings by verdict
}

// flags are the flags with which the directories are made and opened: they keep
// times at minutes, and let no verdict depend on the age of pings.
var flags = []string{
	"--node=upgraded", "--max-age=876000h", "--shard-handover=0", "--idle-flush=8s", "--batch-wait=100ms", "--rider-rate=0",
	"--rollup=8,6", "--rollup-windows=2s,10s", "--rollup-lateness=3s",
}

// serve runs the earlier version on data until it takes pings.
func serve(ctx context.Context, binary, data string, servers []*influxd.Server) (*running, error) {
	n := &running{seen: make(map[string]int)}
	var addr [2]string
	for i := range addr {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		addr[i] = ln.Addr().String()
		_ = ln.Close()
	}
	n.url, n.ops = "http://"+addr[0], "http://"+addr[1]
	args := append([]string{"serve", "--data-dir=" + data, "--listen=" + addr[0], "--ops-listen=" + addr[1]}, flags...)
	for i, s := range servers {
		args = append(args, fmt.Sprintf("--shard=name=%s,url=%s", shards[i], s.URL()))
	}
	n.cmd = exec.Command(binary, args...) //nolint:gosec // running it is the purpose
	n.cmd.Stderr = &n.said
	if err := n.cmd.Start(); err != nil {
		return nil, err
	}
	err := until(ctx, "it takes pings", func() bool {
		resp, err := request(ctx, http.MethodGet, n.url+"/readyz", "")
		return err == nil && resp.status == http.StatusOK
	})
	if err != nil {
		n.kill()
		return nil, fmt.Errorf("%w; it said %s", err, n.said.String())
	}
	return n, nil
}

func (n *running) kill() {
	_ = n.cmd.Process.Kill()
	_ = n.cmd.Wait()
}

func (n *running) terminate() error {
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return n.cmd.Wait()
}

// send returns the verdicts of the pings in body.
func (n *running) send(ctx context.Context, body []byte) ([]string, error) {
	resp, err := request(ctx, http.MethodPost, n.url+"/v1/pings?verdicts=1", string(body))
	if err != nil {
		return nil, err
	}
	var said struct{ Verdicts []string }
	if err := json.Unmarshal(resp.text, &said); err != nil || len(said.Verdicts) == 0 {
		return nil, fmt.Errorf("%s is answered with %d %s, %w", body, resp.status, resp.text, err)
	}
	return said.Verdicts, nil
}

// settled waits until everything is written, and no ping is held.
func (n *running) settled(ctx context.Context) error {
	return until(ctx, "everything is written", func() bool {
		behind := n.metrics(ctx, "pingline_queue_commits{")
		held := n.metrics(ctx, "pingline_holding ")
		lines := n.metrics(ctx, `pingline_conservation_gap{equation="lines"} `)
		return len(behind) > 0 && slices.Max(behind) == 0 && len(held) == 1 && held[0] == 0 && len(lines) == 1 && lines[0] == 0 && n.quiet(ctx)
	})
}

// quiet reports whether the roll-up has nothing more to write.
func (n *running) quiet(ctx context.Context) bool {
	points := n.metrics(ctx, "pingline_rollup_points_total{")
	if pause.For(ctx, 15*time.Second) != nil { // longer than a window and its lateness
		return true
	}
	return slices.Equal(points, n.metrics(ctx, "pingline_rollup_points_total{"))
}

// written waits until all but the lines of our own are in a shard.
func (n *running) written(ctx context.Context, shard string) error {
	return until(ctx, "shard "+shard+" has its pings", func() bool {
		waiting := n.metrics(ctx, `pingline_queue_pings{lane="live",shard="`+shard+`"}`)
		return len(waiting) == 1 && waiting[0] == 0
	})
}

// waits waits until so many entries of a lane wait.
func (n *running) waits(ctx context.Context, lane string, count float64) error {
	return until(ctx, fmt.Sprintf("%v entries of lane %s wait", count, lane), func() bool {
		sum := 0.0
		for _, shard := range shards {
			for _, v := range n.metrics(ctx, fmt.Sprintf(`pingline_queue_commits{lane=%q,shard=%q}`, lane, shard)) {
				sum += v
			}
		}
		return sum >= count
	})
}

func (n *running) metrics(ctx context.Context, prefix string) (values []float64) {
	resp, err := request(ctx, http.MethodGet, n.ops+"/metrics", "")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(resp.text)) {
		if !strings.HasPrefix(line, prefix) {
			continue
		}
		line = strings.TrimSpace(line)
		v, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err == nil {
			values = append(values, v)
		}
	}
	return values
}

var tally = regexp.MustCompile(`(\d+) ([a-z ]+)`)

// letters returns the dead letters of data by cause, as the command tells them.
func letters(binary, data string) (map[string]int, error) {
	text, err := output(binary, "deadletter", "list", "--data-dir="+data)
	if err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	_, causes, _ := strings.Cut(lines[len(lines)-1], ": ")
	found := make(map[string]int)
	for _, m := range tally.FindAllStringSubmatch(causes, -1) {
		if found[m[2]], err = strconv.Atoi(m[1]); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func output(binary string, args ...string) (string, error) {
	cmd := exec.Command(binary, args...) //nolint:gosec // running it is the purpose
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	return string(out), err
}

type response struct {
	status int
	text   []byte
}

func request(ctx context.Context, method, url, body string) (*response, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return &response{resp.StatusCode, text}, err
}

// until waits up to five minutes for done.
func until(ctx context.Context, what string, done func() bool) error {
	for limit := time.Now().Add(5 * time.Minute); !done(); {
		if time.Now().After(limit) {
			return fmt.Errorf("never: %s", what)
		}
		if err := pause.For(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}
