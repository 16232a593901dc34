// Command upgrade makes the data directories that later versions must open with
// nothing lost, by running a real build of an earlier version against two real
// InfluxDB 1.8. Each becomes NAME-clean or NAME-killed.tar.gz, after SIGTERM and
// after kill -9. A .json beside it has the points that the earlier version itself
// would have stored from it, and its answers to pings that are sent again.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"pingline/internal/influxd"
)

func main() {
	var binary, name, out string
	flag.StringVar(&binary, "pingline", "", "the build of the earlier version")
	flag.StringVar(&name, "name", "", "its version")
	flag.StringVar(&out, "out", "testdata/upgrade", "where the files go")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, binary, name, out); err != nil {
		fmt.Fprintln(os.Stderr, "upgrade:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, binary, name, out string) error {
	if binary == "" || name == "" {
		return fmt.Errorf("give -pingline and -name")
	}
	dir, err := os.MkdirTemp("", "upgrade-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	m := &making{binary: binary, dir: dir, data: filepath.Join(dir, "data")}
	defer m.close()
	if err := m.refuseSome(ctx); err != nil {
		return fmt.Errorf("make dead letters: %w", err)
	}
	if err := m.letWait(ctx); err != nil {
		return fmt.Errorf("leave rows waiting: %w", err)
	}
	if err := m.node.terminate(); err != nil {
		return err
	}
	if err := m.finish(ctx, filepath.Join(out, name+"-clean")); err != nil {
		return err
	}
	if err := m.getAhead(ctx); err != nil {
		return fmt.Errorf("get ahead of the checkpoint: %w", err)
	}
	m.node.kill()
	if err := m.replay("--shard=b"); err != nil {
		return err
	}
	return m.finish(ctx, filepath.Join(out, name+"-killed"))
}

// expectation is the result that opening a data directory must have.
type expectation struct {
	Flags    []string            `json:"flags"`    // of pingline serve, without --shard
	Until    int64               `json:"until"`    // ms; points of the measurements pingline… up to it are from the directory
	Points   map[string][]string `json:"points"`   // by shard, as influxd.Server.Points writes them
	Letters  map[string]int      `json:"letters"`  // the dead letters by cause
	Again    []again             `json:"again"`    // pings sent again, after all Points are stored
	Replayed map[string][]string `json:"replayed"` // further points that are stored once the dead letters are put back
}

type again struct {
	Ping    json.RawMessage `json:"ping"`
	Verdict string          `json:"verdict"`
}

// finish packs the directory, and has the earlier version store the contents of a
// copy.
func (m *making) finish(ctx context.Context, path string) error {
	until := time.Now().UnixMilli()
	copied := filepath.Join(m.dir, filepath.Base(path))
	if err := os.CopyFS(copied, os.DirFS(m.data)); err != nil {
		return err
	}
	if err := pack(path+".tar.gz", m.data); err != nil {
		return err
	}
	o, err := m.store(ctx, copied, until)
	if err != nil {
		return fmt.Errorf("store %s: %w", path, err)
	}
	text, err := json.MarshalIndent(o, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path+".json", append(text, '\n'), 0o644) // nolint:gosec // the file goes into the repository
}

func (m *making) store(ctx context.Context, data string, until int64) (*expectation, error) {
	o := &expectation{Flags: flags, Until: until}
	var servers []*influxd.Server
	for _, shard := range shards {
		s, err := influxd.Start(ctx, influxd.Config{Dir: filepath.Join(data+"-influx", shard)})
		if err != nil {
			return nil, err
		}
		defer func() { _ = s.Close() }()
		servers = append(servers, s)
	}
	n, err := serve(ctx, m.binary, data, servers)
	if err != nil {
		return nil, err
	}
	defer n.kill()
	if o.Points, err = n.stored(ctx, servers, until, nil); err != nil {
		return nil, err
	}
	if o.Letters, err = letters(m.binary, data); err != nil {
		return nil, err
	}
	for _, ping := range m.sent {
		verdicts, err := n.send(ctx, ping)
		if err != nil {
			return nil, err
		}
		o.Again = append(o.Again, again{ping, verdicts[0]})
	}
	if _, err := output(m.binary, "deadletter", "replay", "--data-dir="+data, "--wait=1m"); err != nil {
		return nil, err
	}
	o.Replayed, err = n.stored(ctx, servers, until, o.Points)
	return o, err
}

// stored waits until all is written, and returns the points of each shard that are
// not in known. It leaves out points about the node itself that are younger than
// until, ms.
func (n *running) stored(ctx context.Context, servers []*influxd.Server, until int64, known map[string][]string) (map[string][]string, error) {
	if err := n.settled(ctx); err != nil {
		return nil, err
	}
	found := make(map[string][]string)
	for i, shard := range shards {
		points, err := servers[i].Points(ctx, "pingline")
		if err != nil {
			return nil, err
		}
		found[shard] = slices.DeleteFunc(points, func(p string) bool {
			at, err := strconv.ParseInt(p[strings.LastIndexByte(p, ' ')+1:], 10, 64)
			return strings.HasPrefix(p, "pingline") && (err != nil || at > until*1_000_000) || slices.Contains(known[shard], p)
		})
	}
	return found, nil
}
