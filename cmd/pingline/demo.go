package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"pingline"
	"pingline/internal/influxd"
	"pingline/internal/node"
	"pingline/sim"
	"pingline/sim/audit"
	"pingline/sink/store"
)

type demoCmd struct {
	For         time.Duration `default:"0s" help:"How long the city drives; 0 until Ctrl-C."`
	Riders      int           `default:"40000" help:"Riders in the city."`
	Rate        float64       `default:"20000" help:"Pings a second, of all riders together."`
	Batch       int           `default:"100" help:"Pings in a request."`
	Connections int           `default:"32" help:"Connections that send."`
	Seed        uint64        `default:"1" help:"The same seed gives the same city."`
	MaxError    float64       `default:"10" help:"Metres that a dropped ping may lie off the stored track."`
	Listen      string        `default:"127.0.0.1:8080" help:"Address for pings; another port if it is taken."`
	OpsListen   string        `default:"127.0.0.1:9090" help:"Address for metrics; another port if it is taken."`
	Dir         string        `help:"Directory for log and database, kept afterwards (default: a temporary one)."`
	JSON        bool          `name:"json" help:"Print nothing but the result, as one JSON object."`
}

// Validate is called by kong.
func (c *demoCmd) Validate() error {
	switch {
	case c.For < 0:
		return fmt.Errorf("--for: %v is below 0", c.For)
	case c.Riders < 1 || c.Riders > 10_000_000:
		return fmt.Errorf("--riders: %d is not in [1, 10000000]", c.Riders)
	case !(c.Rate >= 1 && c.Rate <= 1e7):
		return fmt.Errorf("--rate: %v is not in [1, 10000000]", c.Rate)
	case c.Batch < 1 || c.Batch > 20_000:
		return fmt.Errorf("--batch: %d is not in [1, 20000]", c.Batch)
	case c.Connections < 1 || c.Connections > 1024:
		return fmt.Errorf("--connections: %d is not in [1, 1024]", c.Connections)
	}
	return nil
}

// demo is one run: a database, the ingester, a city, and the books of what it
// was told.
type demo struct {
	cmd    *demoCmd
	say    io.Writer // progress
	influx *influxd.Server
	stored store.Reader
	node   *node.Node
	load   *sim.Load
	ledger *audit.Ledger
}

// drainLimit is how long the demo waits for InfluxDB to take what is queued.
const drainLimit = 2 * time.Minute

func (c *demoCmd) Run(p *program) error {
	d := &demo{cmd: c, say: p.stdout}
	if c.JSON {
		d.say = io.Discard
	}
	dir := c.Dir
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "pingline-demo-"); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return usageError{fmt.Errorf("--dir: %w", err)}
	}
	// The parts outlive Ctrl-C: what was taken in is still to be stored and audited.
	life := context.WithoutCancel(p)
	if err := d.start(life, dir, p.stderr); err != nil {
		return err
	}
	defer func() { _ = d.influx.Close() }()
	if err := d.drive(p); err != nil {
		return err
	}
	r, err := d.audit(life)
	if err != nil {
		return err
	}
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(p.stdout, "%s\n", line); err != nil {
		return err
	}
	return r.Err()
}

// start brings up database and ingester and says where to look.
func (d *demo) start(ctx context.Context, dir string, stderr io.Writer) error {
	c := d.cmd
	bin, err := influxd.Find()
	if err != nil {
		return usageError{err}
	}
	fmt.Fprintln(d.say, "starting InfluxDB …")
	d.influx, err = influxd.Start(ctx, influxd.Config{Binary: bin, Dir: filepath.Join(dir, "influxdb"), Bucket: "pingline"})
	if err != nil {
		return err
	}
	cfg := node.DefaultConfig()
	cfg.DataDir = filepath.Join(dir, "pingline")
	cfg.Influx.Host = d.influx.URL()
	cfg.Bound.MaxError = c.MaxError
	cfg.Name = "demo"
	cfg.Logger = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if cfg.Listen, err = freeAddr(c.Listen); err != nil {
		return usageError{fmt.Errorf("--listen: %w", err)}
	}
	if cfg.OpsListen, err = freeAddr(c.OpsListen); err != nil {
		return usageError{fmt.Errorf("--ops-listen: %w", err)}
	}
	cfg.Drain = drainLimit
	if d.node, err = node.Open(ctx, cfg); err != nil {
		return errors.Join(err, d.influx.Close())
	}
	cfg.Influx.Timeout = time.Minute // the audit reads all there is
	if d.stored, err = node.OpenReader(&cfg); err != nil {
		return err
	}
	base := "http://" + d.node.Addr().String()
	interval := time.Duration(float64(c.Riders) / c.Rate * float64(time.Second))
	city, err := sim.NewCity(sim.CityConfig{Seed: c.Seed, Riders: c.Riders, Interval: interval})
	if err != nil {
		return err
	}
	d.ledger = audit.NewLedger()
	d.load, err = sim.NewLoad(sim.LoadConfig{
		URL:         base,
		City:        city,
		Rate:        c.Rate,
		Batch:       c.Batch,
		Connections: c.Connections,
		For:         c.For,
		Ledger:      d.ledger,
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(d.say, "pings     POST %s/v1/pings\nready     %s/readyz\nmetrics   %s\nInfluxDB  %s  (database pingline)\n",
		base, base, d.node.OpsURL(), d.influx.URL())
	if c.For == 0 {
		fmt.Fprintln(d.say, "Ctrl-C stops the city and audits what was stored.")
	}
	return nil
}

// freeAddr returns addr, or its host with a free port if addr is in use.
func freeAddr(addr string) (string, error) {
	ln, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return "", err
		}
		return net.JoinHostPort(host, "0"), nil
	}
	if err != nil {
		return "", err
	}
	return addr, ln.Close()
}

// drive runs the city until ctx ends, or for as long as asked; then it stops
// the ingester, which stores what is held and waits until InfluxDB has it all.
func (d *demo) drive(ctx context.Context) error {
	driving, halt := context.WithCancel(ctx)
	defer halt()
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var g errgroup.Group
	done := make(chan struct{})
	g.Go(func() error {
		defer close(done)
		defer halt() // the city too, should the ingester fail
		return d.node.Run(serving)
	})
	g.Go(func() error {
		defer stop()
		err := d.load.Run(driving)
		fmt.Fprintln(d.say, "the city has stopped; draining …")
		return err
	})
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	meter := meter{demo: d, at: time.Now()}
	for {
		select {
		case <-tick.C:
			meter.print()
		case <-done:
			return g.Wait()
		}
	}
}

// meter prints rates between two moments.
type meter struct {
	demo          *demo
	at            time.Time
	sent, written uint64
}

var breakerNames = [...]string{"closed", "half-open", "open"}

func (m *meter) print() {
	b := m.demo.node.Books()
	sent := m.demo.load.Counters().Sent
	now := time.Now()
	sec := now.Sub(m.at).Seconds()
	fmt.Fprintf(m.demo.say, "sent %6.0f/s  accepted %d  held %d  redundant %d  duplicate %d  kept %4.1f %%  queued %d  written %6.0f/s  breaker %s\n",
		float64(sent-m.sent)/sec,
		b.Verdict(pingline.Accepted), b.Verdict(pingline.Held), b.Verdict(pingline.Redundant), b.Verdict(pingline.Duplicate),
		100*b.Kept(), b.Sink.Pings.Queued, float64(b.Sink.Pings.Written-m.written)/sec, breakerNames[b.Shards[0].Breaker])
	for _, note := range m.demo.node.Notes() {
		fmt.Fprintln(m.demo.say, "  !", note)
	}
	m.at, m.sent, m.written = now, sent, b.Sink.Pings.Written
}

// result is the demo's last line.
type result struct {
	audit.Report
	Gaps map[string]int64 `json:"conservation_gap"`
}

// audit asks InfluxDB for every ping that was acknowledged.
func (d *demo) audit(ctx context.Context) (*result, error) {
	fmt.Fprintln(d.say, "auditing …")
	report, err := audit.Check(ctx, d.ledger, d.stored.Points)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	b := d.node.Books()
	report.Written = b.Sink.Pings.Written
	return &result{Report: report, Gaps: b.Gaps()}, nil
}

// Err tells whether the run kept its promises.
func (r *result) Err() error {
	for equation, gap := range r.Gaps {
		if gap != 0 {
			return fmt.Errorf("the accounts do not add up: %s lacks %d", equation, gap)
		}
	}
	return r.Report.Err()
}
