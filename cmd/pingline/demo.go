package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"pingline"
	"pingline/dashboards/livemap"
	"pingline/internal/command"
	"pingline/internal/influxd"
	"pingline/internal/node"
	"pingline/internal/terminal"
	"pingline/internal/unit"
	"pingline/internal/visitors"
	"pingline/sim"
	"pingline/sim/audit"
)

type demoCmd struct {
	For         time.Duration `default:"0s" help:"How long the city drives; 0 until Ctrl-C."`
	Riders      int           `default:"20000" help:"Riders in the city; the live map draws each up to 25,000."`
	Rate        float64       `default:"20000" help:"Pings a second, of all riders together."`
	Batch       int           `default:"100" help:"Pings in a request."`
	Connections int           `default:"32" help:"Connections that send."`
	Seed        uint64        `default:"1" help:"The same seed gives the same city."`
	MaxError    float64       `default:"10" help:"Metres that a dropped ping may lie off the stored track."`
	Listen      string        `default:"127.0.0.1:8080" help:"Address for pings; another port if it is taken."`
	OpsListen   string        `default:"127.0.0.1:9090" help:"Address for metrics; another port if it is taken."`
	PhoneListen string        `placeholder:"ADDRESS" help:"Address for the phones of visitors in the same network, such as :8443, with TLS and a code to scan; another port if it is taken (default: none)."`
	Dir         string        `help:"Directory for log and database, kept afterwards (default: a temporary one)."`
	JSON        bool          `name:"json" help:"Print nothing but the result, as one JSON object."`

	command.MapFlags `embed:""`
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
	case !(c.MaxError >= 0 && c.MaxError <= 1e5):
		return fmt.Errorf("--max-error: %v is not in [0, 100000]", c.MaxError)
	case c.Batch < 1 || c.Batch > 20_000:
		return fmt.Errorf("--batch: %d is not in [1, 20000]", c.Batch)
	case c.Connections < 1 || c.Connections > 1024:
		return fmt.Errorf("--connections: %d is not in [1, 1024]", c.Connections)
	}
	return nil
}

// demo is a run: a database, the ingester, a city, and the city's books of the
// answers it got.
type demo struct {
	cmd     *demoCmd
	say     io.Writer       // for lines that stay
	board   *terminal.Board // for the figures, on a terminal
	influx  *influxd.Server
	running atomic.Pointer[influxd.Server] // influx, for another goroutine
	stored  *node.StoredRows
	node    *node.Node
	phones  *visitors.Entrance // nil: none
	load    *sim.Load
	ledger  *audit.Ledger
}

// drainLimit is how long the demo waits for InfluxDB to take the queued
// points.
const drainLimit = 2 * time.Minute

func (c *demoCmd) Run(p *program) error {
	d := &demo{cmd: c, say: p.Stdout}
	if c.JSON {
		d.say = io.Discard
	} else if d.board = terminal.NewBoard(p.Stdout); d.board != nil {
		d.say = d.board
	}
	dir := c.Dir
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "pingline-demo-"); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		defer onSecondSignal(func() { d.abort(dir, p.Stderr) })()
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return command.Unusable(fmt.Errorf("--dir: %w", err))
	}
	// The parts outlive Ctrl-C, since accepted pings are still to be stored and
	// audited.
	life := context.WithoutCancel(p)
	if err := d.start(life, dir, p.Stderr); err != nil {
		return err
	}
	defer func() { _ = errors.Join(d.phones.Close(), d.influx.Close()) }()
	if err := d.drive(p); err != nil {
		return err
	}
	r, err := d.audit(life)
	if err != nil {
		return err
	}
	if err := r.print(p.Stdout, c.JSON); err != nil {
		return err
	}
	return r.Err()
}

// abort ends the process and leaves nothing of it in dir.
func (d *demo) abort(dir string, stderr io.Writer) {
	if db := d.running.Load(); db != nil {
		db.Kill()
	}
	fmt.Fprintln(stderr, "pingline: told twice to end: nothing is audited")
	if err := removeInUse(dir); err != nil {
		fmt.Fprintln(stderr, "pingline:", err)
	}
	os.Exit(exitFailed)
}

// start starts the database and the ingester and prints their addresses.
func (d *demo) start(ctx context.Context, dir string, stderr io.Writer) error {
	c := d.cmd
	bin, err := influxd.Find()
	if err != nil {
		return command.Unusable(err)
	}
	d.influx, err = influxd.Start(ctx, influxd.Config{Binary: bin, Dir: filepath.Join(dir, "influxdb"), Bucket: "pingline"})
	if err != nil {
		return err
	}
	d.running.Store(d.influx)
	cfg := node.DefaultConfig()
	cfg.DataDir = filepath.Join(dir, "pingline")
	cfg.Influx.Host = d.influx.URL()
	cfg.Bound.MaxError = c.MaxError
	cfg.Name, cfg.Version = "demo", version
	c.MapFlags.Set(&cfg)
	cfg.Logger = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if cfg.Listen, err = freeAddr(c.Listen); err != nil {
		return command.Unusable(fmt.Errorf("--listen: %w", err))
	}
	if cfg.OpsListen, err = freeAddr(c.OpsListen); err != nil {
		return command.Unusable(fmt.Errorf("--ops-listen: %w", err))
	}
	cfg.Drain = drainLimit
	if d.node, err = node.Open(ctx, cfg); err != nil {
		return errors.Join(err, d.influx.Close())
	}
	cfg.Influx.Timeout = time.Minute // the audit reads all points
	if d.stored, err = node.OpenStored(&cfg); err != nil {
		return err
	}
	base := d.node.URL()
	interval := time.Duration(float64(c.Riders) / c.Rate * float64(time.Second))
	city, err := sim.NewCity(sim.CityConfig{Seed: c.Seed, Riders: c.Riders, Interval: interval})
	if err != nil {
		return err
	}
	d.ledger = audit.NewLedger()
	d.load, err = sim.NewLoad(sim.LoadConfig{
		URL:         base,
		Phones:      city,
		Rate:        c.Rate,
		Batch:       c.Batch,
		Connections: c.Connections,
		For:         c.For,
		Ledger:      d.ledger,
	})
	if err != nil {
		return err
	}
	page := "page      %s/ (what is where)"
	if livemap.Built() {
		page = "map       %s/"
	}
	fmt.Fprintf(d.say, page+"\npings     POST %s/v1/pings\nready     %s/readyz\nmetrics   %s\nInfluxDB  %s (database pingline)\n",
		base, base, base, d.node.OpsURL(), d.influx.URL())
	if c.PhoneListen != "" {
		at, err := freeAddr(c.PhoneListen)
		if err == nil {
			d.phones, err = visitors.Open(visitors.Config{Listen: at, To: base})
		}
		if err != nil {
			return command.Unusable(err)
		}
		d.phones.Print(d.say)
	}
	if c.For == 0 && d.board == nil {
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
// the ingester, which stores held pings and waits until InfluxDB has all
// points.
func (d *demo) drive(ctx context.Context) error {
	driving, halt := context.WithCancel(ctx)
	defer halt()
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var g errgroup.Group
	done := make(chan struct{})
	g.Go(func() error {
		defer close(done)
		defer halt() // ends the city too if the ingester fails
		return d.node.Run(serving)
	})
	g.Go(func() error { return d.phones.Run(serving) })
	stopped := make(chan struct{})
	g.Go(func() error {
		defer stop()
		defer close(stopped)
		return d.load.Run(driving)
	})
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	meter := meter{demo: d, began: time.Now(), at: time.Now()}
	for {
		select {
		case <-tick.C:
			meter.show()
		case <-stopped:
			stopped = nil
			fmt.Fprintln(d.say, "the city has stopped; draining …")
		case <-done:
			meter.show() // the final figures
			return g.Wait()
		}
	}
}

// meter shows the present figures, and rates since it last did.
type meter struct {
	demo          *demo
	began, at     time.Time
	sent, written uint64
}

// figures are the numbers to show at a moment.
type figures struct {
	sent, written     float64 // a second
	answered, waiting uint64  // pings
	kept              float64 // part of the answered pings that is stored, or would be if the city stopped now
	breaker           string
}

var breakerNames = [...]string{"closed", "half-open", "open"}

func (m *meter) read() (f figures) {
	b := m.demo.node.Books()
	sent, now := m.demo.load.Counters().Sent, time.Now()
	sec := max(now.Sub(m.at).Seconds(), 1e-3)
	f.sent, f.written = float64(sent-m.sent)/sec, float64(b.Sink.Pings.Written-m.written)/sec
	m.at, m.sent, m.written = now, sent, b.Sink.Pings.Written
	// A held ping is stored when the city stops. A duplicate was answered before.
	f.answered = b.Verdict(pingline.Accepted) + b.Verdict(pingline.Held) + b.Verdict(pingline.Redundant)
	f.kept = float64(b.Verdict(pingline.Accepted)+b.Writer.Promoted+uint64(b.Writer.Holding)) / float64(max(f.answered, 1))
	f.waiting, f.breaker = b.Sink.Pings.Queued, breakerNames[b.Shards[0].Breaker]
	return f
}

// show draws the figures in place on a terminal, and prints a line elsewhere.
func (m *meter) show() {
	f, d := m.read(), m.demo
	for _, note := range d.node.Notes() {
		fmt.Fprintln(d.say, "  !", note)
	}
	if d.board == nil {
		breaker := ""
		if f.breaker != breakerNames[0] {
			breaker = ", breaker " + f.breaker
		}
		fmt.Fprintf(d.say, "sent %s/s, answered %s, kept %.1f %%, waiting %s, written %s/s%s\n",
			short(f.sent), short(float64(f.answered)), 100*f.kept, short(float64(f.waiting)), short(f.written), breaker)
		return
	}
	rate := d.cmd.Rate
	cells := []terminal.Cell{
		{Name: "sent", Share: f.sent / rate, Color: terminal.Green, Text: fmt.Sprintf("%s pings/s, %s answered", short(f.sent), short(float64(f.answered)))},
		{Name: "kept", Share: f.kept, Color: terminal.Yellow, Text: fmt.Sprintf("%.1f %% of them", 100*f.kept)},
		{Name: "written", Share: f.written / rate, Color: terminal.Blue, Text: short(f.written) + " points/s"},
		{Name: "waiting", Share: float64(f.waiting) / (10 * rate), Color: terminal.Red, Text: fmt.Sprintf("%s pings; InfluxDB %s", short(float64(f.waiting)), answers[f.breaker])},
	}
	elapsed := time.Since(m.began).Round(time.Second)
	if d.cmd.For > 0 {
		cells = append(cells, terminal.Cell{Name: "time", Share: elapsed.Seconds() / d.cmd.For.Seconds(), Text: fmt.Sprintf("%v of %v", min(elapsed, d.cmd.For), d.cmd.For)})
	} else {
		cells = append(cells, terminal.Cell{Name: "time", Share: -1, Text: fmt.Sprintf("%v; Ctrl-C stops the city, and audits", elapsed)})
	}
	_ = d.board.Draw(cells) // a closed terminal does not stop the city
}

// answers tell how InfluxDB answers, by the state of the breaker.
var answers = map[string]string{"closed": "takes all", "half-open": "is tried again", "open": "takes nothing"}

// short writes a number with commas between thousands, and large numbers in
// millions.
func short(v float64) string {
	if v >= 1e6 {
		return unit.Comma(math.Round(v/1e5)/10) + " M"
	}
	return unit.Comma(math.Round(v))
}

// audit asks InfluxDB for every ping that was acknowledged.
func (d *demo) audit(ctx context.Context) (*demoResult, error) {
	fmt.Fprintln(d.say, "auditing …")
	report, err := audit.Check(ctx, d.ledger, d.stored.Points)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	b := d.node.Books()
	report.Written = b.Sink.Pings.Written
	return &demoResult{Report: report, Gaps: b.Gaps()}, nil
}
