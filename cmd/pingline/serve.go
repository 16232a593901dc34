package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/alecthomas/kong"

	"pingline/dedupe"
	"pingline/internal/command"
	"pingline/internal/node"
	"pingline/internal/room"
	"pingline/internal/unit"
)

type serveCmd struct {
	serveConfig `embed:""`
	CheckConfig bool `group:"Checks" env:"-" help:"Check the settings, and exit."`
	Connect     bool `group:"Checks" env:"-" help:"With --check-config: connect to the stores, too, and check rights, retention, clock, disk, open files and files of TLS. Nothing is written."`
}

func (c *serveCmd) Run(p *program) error {
	if c.CheckConfig {
		return c.check(p)
	}
	if c.Connect {
		return command.Unusable(errors.New("--connect is of --check-config: give both"))
	}
	logger, level := c.logger(p)
	stopReading := p.onHangup(func() { c.readAgain(p, logger, level) })
	defer stopReading()
	memory := room.LimitMemory()
	cfg := c.config()
	cfg.Logger, cfg.Version = logger, version
	n, err := node.Open(p, cfg)
	if p.Err() != nil && (errors.Is(err, p.Err()) || errors.Is(err, context.Cause(p))) {
		logger.Info("stopped before any ping was taken", "while", err)
		return nil
	}
	if err != nil {
		return command.Unusable(err)
	}
	logger.Info("taking pings", "url", n.URL()+"/v1/pings", "ops", n.OpsURL(), "stores", n.Stores(), "memory_limit", memory, "version", version)
	serving, stop := context.WithCancel(context.WithoutCancel(p))
	defer stop()
	defer context.AfterFunc(p, func() {
		defer stop()
		leave(n, c.ShutdownDelay, logger)
	})()
	err = n.Run(serving)
	if err == nil {
		pings, lines := n.Queued()
		logger.Info("stopped", "queued_pings", pings, "queued_own_lines", lines)
	}
	return err
}

func (c *serveConfig) logger(p *program) (*slog.Logger, *slog.LevelVar) {
	level := new(slog.LevelVar)
	level.Set(c.LogLevel)
	opts := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(p.Stderr, opts)), level
	}
	return slog.New(slog.NewTextHandler(p.Stderr, opts)), level
}

// serveConfig is every setting of the ingester. A flag beats its environment
// variables, in the order given, and a variable beats the file.
type serveConfig struct {
	Listen        string        `group:"Most used" default:":8080" help:"Address for pings."`
	DataDir       string        `group:"Most used" default:"./pingline-data" help:"Directory of log, cursors, filter state and dead letters."`
	Config        configFile    `group:"Node" placeholder:"FILE" help:"YAML file with these settings, by flag name."`
	OsmandListen  string        `group:"Node" placeholder:"HOST:PORT" help:"Address where / is /v1/osmand, for apps that know only a host and a port, such as :5055."`
	OpsListen     string        `group:"Node" default:"127.0.0.1:9090" help:"Address for metrics and profiles; empty turns it off."`
	Node          string        `group:"Node" help:"Name of this node in its log and metrics (default: the host's name)."`
	Queue         string        `group:"Log" default:"embedded" help:"The log: embedded, nats://host,host of a JetStream cluster, or kafka://host,host of a Kafka."`
	QueueMaxBytes unit.Bytes    `group:"Log" default:"8GiB" help:"Size at which the log refuses, of all --parts together; at most half of the free disk."`
	QueueLease    time.Duration `group:"Log" default:"15s" help:"How long a silent node keeps a log on nats:// or kafka:// before another node may take it over."`
	Standby       bool          `group:"Log" help:"While another node has the log on nats:// or kafka://, wait for it and answer 503, instead of ending."`

	Follow int `group:"Log" default:"2" help:"Logs of other nodes, at most, that a waiting node reads along, so that a takeover reads no state. Each takes the memory of a filter. 0: none."`

	command.PeerFlags `group:"Log" embed:""`

	command.StoreFlags `group:"Stores" embed:""`
	CreateSchema       bool `group:"Stores" default:"true" help:"Make the tables that are missing in a store that has tables. With =false they are only checked. Tables are never altered."`

	CellRes     int     `group:"Stores" default:"5" help:"H3 resolution of the cell tag, 0 to 15."`
	MaxError    float64 `group:"Filter" default:"10" help:"Metres that a dropped ping may lie off the stored track; 0 drops only duplicates."`
	AccuracyCap float64 `group:"Filter" default:"50" help:"Metres up to which a fix's own accuracy widens its bound; 0 leaves accuracy aside."`

	Filter filterConfig `group:"Filter" embed:""`

	MaxAge        time.Duration `group:"Requests" default:"720h" help:"How far behind now a ping's ts may be."`
	MaxAhead      time.Duration `group:"Requests" default:"2m" help:"How far ahead of now a ping's ts may be."`
	WrongClock    string        `group:"Requests" default:"refuse" enum:"refuse,correct" help:"What becomes of a ping beyond those: refuse, or correct: it is stored by its time of receipt, marked clock=corrected and late, or put right if it is off by whole rollovers of the GPS week."`
	MaxBody       unit.Bytes    `group:"Requests" default:"4MiB" help:"Size of a request's body as sent."`
	MaxInflated   unit.Bytes    `group:"Requests" default:"16MiB" help:"Size of a request's body decompressed."`
	MaxPings      int           `group:"Requests" default:"20000" help:"Pings in a request."`
	MaxInProgress unit.Bytes    `group:"Requests" default:"256MiB" help:"Requests in work at once; beyond it they get 503. At most a quarter of the memory limit. A client that is not in --trusted-proxies may have a quarter of it, more while half is free."`

	MaxConnections int       `group:"Clients" default:"10000" help:"Connections at once; beyond it one that waits for its client is closed for each that comes. At most what files may be open allow, and what an eighth of the memory limit holds, at 80 KiB each, 120 KiB with TLS."`
	RiderRate      float64   `group:"Clients" default:"10" help:"Pings a second of one rider; beyond it they are shed, or get 429. 0: no limit."`
	RiderBurst     float64   `group:"Clients" default:"10000" help:"Pings of one rider that may come at once, after an outage."`
	ClientRate     float64   `group:"Clients" default:"0" help:"Pings a second of one client address, a minute's worth at once; beyond it 429. 0: no limit."`
	NewRidersRate  float64   `group:"Clients" default:"1000" help:"New riders' devices a second of one client address, two minutes' worth at once; beyond it their pings are shed, or get 429. 0: no limit."`
	ReadRate       float64   `group:"Clients" default:"100" help:"Reads a second of one client address, ten seconds' worth at once; beyond it 429. A thousand points or cells count as one read more. 0: no limit."`
	TrustedProxies []network `group:"Clients" placeholder:"CIDR" help:"Addresses whose X-Forwarded-For says who the client is. One that sends none is itself the client, and has no share of its own."`
	CorsOrigins    []string  `group:"Clients" placeholder:"ORIGIN" help:"Origins of pages in browsers that may send and read, such as https://app.example.org; *: all. Without it none may."`

	command.AuthFlags `group:"Keys" embed:""`
	command.MapFlags  `group:"Live map" embed:""`
	TLS               command.TLSFlags `group:"TLS" embed:"" prefix:"tls-"`
	command.WaysIn    `embed:""`

	Line                 command.LineFlags `group:"Line protocol" embed:"" prefix:"line-"`
	command.PrivacyFlags `group:"Privacy" embed:""`

	IdleTimeout   time.Duration `group:"Clients" default:"2m" help:"How long a connection may wait for its next request. Behind a load balancer it is to be longer than its own, often 60 s or 600 s."`
	ShutdownDelay time.Duration `group:"Node" default:"0s" help:"How long, told to stop, pings are still taken while /readyz answers 503, so that a load balancer sees it first. A second signal ends it."`

	ShedHold time.Duration `group:"Clients" default:"30s" help:"How long there must be room before a level of shedding is left."`

	BatchLines         int           `group:"Writes" default:"5000" help:"Lines in a write to InfluxDB."`
	BatchBytes         unit.Bytes    `group:"Writes" default:"4MiB" help:"Bytes in a write to InfluxDB, before compression."`
	BatchWait          time.Duration `group:"Writes" default:"1s" help:"How long a line may wait for its batch to fill."`
	RedisFlush         time.Duration `group:"Writes" default:"100ms" help:"The same for a set of Redis, which gets the newest ping of each rider in that time."`
	DeadletterMaxBytes unit.Bytes    `group:"Writes" default:"1GiB" help:"Size of refused rows at which writing stops."`

	Rollup         resolutions   `group:"Roll-up" default:"8,6,4" placeholder:"RES,…" help:"H3 resolutions of cell_activity, finest first; off: none."`
	RollupWindows  windows       `group:"Roll-up" default:"10s,1m" placeholder:"TIME,…" help:"Its windows, shortest first, each a multiple of the one before."`
	RollupLateness time.Duration `group:"Roll-up" default:"2m" help:"How long after its end a window takes pings."`

	RollupMinRiders int        `group:"Roll-up" default:"0" help:"Least riders of a cell and window: the activity of fewer is neither stored nor shown."`
	LogLevel        slog.Level `group:"Node" default:"info" help:"debug, info, warn or error."`
	LogFormat       string     `group:"Node" default:"text" enum:"text,json" help:"text or json."`
}

// Validate is called by kong, whether the settings are only checked or used. The
// error names the flag and the limit, and where the flag's value comes from.
func (c *serveConfig) Validate(ctx *kong.Context) error {
	cfg := c.config()
	err := cfg.Check()
	if c.ShutdownDelay < 0 || c.ShutdownDelay > time.Hour {
		err = &node.SettingError{Flag: "shutdown-delay", Err: fmt.Errorf("%v is not in [0s, 1h]", c.ShutdownDelay)}
	}
	if wrong := new(node.SettingError); errors.As(err, &wrong) {
		if from := source(ctx, wrong.Flag, string(c.Config)); from != "" {
			return fmt.Errorf("--%s (%s): %w", wrong.Flag, from, wrong.Err)
		}
	}
	return err
}

// config binds the flags to the settings of a node.
func (c *serveConfig) config() node.Config {
	cfg := node.Config{
		Listen: c.Listen, OsmandListen: c.OsmandListen, OpsListen: c.OpsListen, DataDir: c.DataDir, Name: c.Node,
		Queue: c.Queue, QueueMax: int64(c.QueueMaxBytes), QueueLease: c.QueueLease, Standby: c.Standby, Follow: c.Follow,

		CreateSchema: c.CreateSchema, CellRes: c.CellRes, Bound: dedupe.Bound{MaxError: c.MaxError, AccuracyCap: c.AccuracyCap}, Filter: c.Filter.config(),

		MaxAge: c.MaxAge, MaxAhead: c.MaxAhead, CorrectClocks: c.WrongClock == "correct", MaxBody: int64(c.MaxBody), MaxInflated: int64(c.MaxInflated), MaxPings: c.MaxPings,
		MaxInProgress: int64(c.MaxInProgress), MaxConnections: c.MaxConnections,
		RiderRate: c.RiderRate, RiderBurst: c.RiderBurst, ClientRate: c.ClientRate, NewRidersRate: c.NewRidersRate,
		ReadRate: c.ReadRate, TrustedProxies: prefixes(c.TrustedProxies), CORSOrigins: c.CorsOrigins, IdleTimeout: c.IdleTimeout, ShedHold: c.ShedHold,

		BatchLines: c.BatchLines, BatchBytes: int64(c.BatchBytes), BatchWait: c.BatchWait, RedisFlush: c.RedisFlush, DeadLettersMax: int64(c.DeadletterMaxBytes),

		Rollup: c.Rollup.list, RollupWindows: c.RollupWindows.list, RollupLateness: c.RollupLateness, RollupMinRiders: c.RollupMinRiders,
	}
	c.StoreFlags.Set(&cfg)
	c.PeerFlags.Set(&cfg)
	c.AuthFlags.Set(&cfg)
	c.MapFlags.Set(&cfg)
	c.PrivacyFlags.Set(&cfg)
	c.TLS.Set(&cfg)
	c.WaysIn.Set(&cfg)
	c.Line.Set(&cfg)
	return cfg
}
