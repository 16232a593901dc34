package main

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"

	"pingline/dedupe"
	"pingline/internal/unit"
)

// serveConfig is every setting of the ingester. A flag beats its environment
// variables, in the order given, and those beat the file.
type serveConfig struct {
	Config    configFile `placeholder:"FILE" help:"YAML file with these settings, by flag name."`
	Listen    string     `default:":8080" help:"Address for pings."`
	OpsListen string     `default:"127.0.0.1:9090" help:"Address for metrics and profiles; empty turns it off."`
	DataDir   string     `default:"./pingline-data" help:"Directory of log, cursors, filter state and dead letters."`
	Node      string     `help:"Name of this node in its log and metrics (default: the host's name)."`

	Queue         string     `default:"embedded" help:"The log: embedded, or nats://host,host of a JetStream cluster."`
	QueueMaxBytes unit.Bytes `default:"8GiB" help:"Size at which the log refuses; at most half of the free disk."`

	QueueLease time.Duration `default:"15s" help:"How long a node on nats:// that is silent keeps the log before another node may take it over."`

	Influx influxConfig `embed:"" prefix:"influx-"`
	Spread spreadConfig `embed:""`

	CellRes     int     `default:"5" help:"H3 resolution of the cell tag, 0 to 15."`
	MaxError    float64 `default:"10" help:"Metres that a dropped ping may lie off the stored track; 0 drops only duplicates."`
	AccuracyCap float64 `default:"50" help:"Metres up to which a fix's own accuracy widens its bound; 0 leaves accuracy aside."`

	Filter filterConfig `embed:""`

	MaxAge        time.Duration `default:"720h" help:"How far behind now a ping's ts may be."`
	MaxAhead      time.Duration `default:"2m" help:"How far ahead of now a ping's ts may be."`
	MaxBody       unit.Bytes    `default:"4MiB" help:"Size of a request's body as sent."`
	MaxInflated   unit.Bytes    `default:"16MiB" help:"Size of a request's body decompressed."`
	MaxPings      int           `default:"20000" help:"Pings in a request."`
	MaxInProgress unit.Bytes    `default:"256MiB" help:"Requests in work at once; beyond it they get 503. At most a quarter of the memory limit. A client that is not in --trusted-proxies may have a quarter of it, more while half is free."`

	MaxConnections int       `default:"10000" help:"Connections at once; beyond it one that waits for its client is closed for each that comes. At most what files may be open allow, and what an eighth of the memory limit holds, at 48 KiB each."`
	RiderRate      float64   `default:"10" help:"Pings a second of one rider; beyond it they are shed, or get 429. 0: no limit."`
	RiderBurst     float64   `default:"10000" help:"Pings of one rider that may come at once, after an outage."`
	ClientRate     float64   `default:"0" help:"Pings a second of one client address, a minute's worth at once; beyond it 429. 0: no limit."`
	NewRidersRate  float64   `default:"1000" help:"New riders' devices a second of one client address, two minutes' worth at once; beyond it their pings are shed, or get 429. 0: no limit."`
	ReadRate       float64   `default:"100" help:"Reads a second of one client address, ten seconds' worth at once; beyond it 429. A thousand points or cells count as one read more. 0: no limit."`
	TrustedProxies []network `placeholder:"CIDR" help:"Addresses whose X-Forwarded-For says who the client is. One that sends none is itself the client, and has no share of its own."`

	ShedHold time.Duration `default:"30s" help:"How long there must be room before a level of shedding is left."`

	BatchLines         int           `default:"5000" help:"Lines in a write to InfluxDB."`
	BatchBytes         unit.Bytes    `default:"4MiB" help:"Bytes in a write to InfluxDB, before compression."`
	BatchWait          time.Duration `default:"1s" help:"How long a line may wait for its batch to fill."`
	DeadletterMaxBytes unit.Bytes    `default:"1GiB" help:"Size of refused rows at which writing stops."`

	Rollup         resolutions   `default:"8,6,4" placeholder:"RES,…" help:"H3 resolutions of cell_activity, finest first; off: none."`
	RollupWindows  windows       `default:"10s,1m" placeholder:"TIME,…" help:"Its windows, shortest first, each a multiple of the one before."`
	RollupLateness time.Duration `default:"2m" help:"How long after its end a window takes pings."`

	LogLevel  slog.Level `default:"info" help:"debug, info, warn or error."`
	LogFormat string     `default:"text" enum:"text,json" help:"text or json."`
}

// filterConfig is what the filter is set up with, wherever it runs.
type filterConfig struct {
	LiveGap   time.Duration `default:"30s" help:"Age at most of a moving rider's newest stored ping; 0: no limit."`
	MaxGap    time.Duration `default:"300s" help:"Longest time between a track's stored pings with dropped ones between them; 0: no limit."`
	IdleFlush time.Duration `default:"60s" help:"How long a held ping waits for the next one; 0: until it comes."`
	MaxRiders int           `default:"1000000" help:"Tracks the filter knows at once; beyond, the longest silent is forgotten, those with one ping first."`
}

func (c *filterConfig) config() dedupe.Config {
	cfg := dedupe.DefaultConfig()
	cfg.LiveGap, cfg.MaxGap, cfg.IdleFlush, cfg.MaxRiders = c.LiveGap, c.MaxGap, c.IdleFlush, c.MaxRiders
	return cfg
}

// check returns an error that names the flag and the limit. Kong calls Validate of
// commands only, not of what is embedded in them.
func (c *filterConfig) check() error {
	if c.LiveGap < 0 || c.MaxGap < 0 || c.IdleFlush < 0 {
		return fmt.Errorf("--live-gap, --max-gap, --idle-flush: %v, %v, %v: none may be below 0", c.LiveGap, c.MaxGap, c.IdleFlush)
	}
	if c.MaxRiders < 1 || c.MaxRiders > math.MaxInt32 {
		return fmt.Errorf("--max-riders: %d is not in [1, %d]", c.MaxRiders, math.MaxInt32)
	}
	return nil
}

type influxConfig struct {
	Host      string        `default:"http://localhost:8086" env:"PINGLINE_INFLUX_HOST,INFLUX_HOST" help:"URL of InfluxDB."`
	Token     string        `env:"PINGLINE_INFLUX_TOKEN,INFLUX_TOKEN" help:"Token; user:password on 1.8."`
	TokenFile string        `help:"File that holds the token, read again when it changes."`
	Org       string        `env:"PINGLINE_INFLUX_ORG,INFLUX_ORG" help:"Organization; not on 1.8."`
	Bucket    string        `default:"pingline" env:"PINGLINE_INFLUX_BUCKET,INFLUX_BUCKET_NAME" help:"Bucket; database/retention-policy on 1.8."`
	Timeout   time.Duration `default:"10s" help:"How long a write may take."`
}

// Validate is called by kong; the error names the flag and the limit.
func (c *serveConfig) Validate() error {
	for _, f := range []struct {
		flag   string
		v      float64
		lo, hi float64
	}{
		{"cell-res", float64(c.CellRes), 0, 15},
		{"max-error", c.MaxError, 0, 100_000},
		{"accuracy-cap", c.AccuracyCap, 0, 100_000},
		{"max-pings", float64(c.MaxPings), 1, 65_536},
		{"max-body", float64(c.MaxBody), 1 << 10, 1 << 30},
		{"max-inflated", float64(c.MaxInflated), 1 << 10, 1 << 30},
		{"max-in-progress", float64(c.MaxInProgress), 1 << 20, math.MaxInt64},
		{"max-connections", float64(c.MaxConnections), 1, 1_000_000},
		{"rider-rate", c.RiderRate, 0, 1_000_000},
		{"rider-burst", c.RiderBurst, 1, 1_000_000_000},
		{"client-rate", c.ClientRate, 0, 1_000_000_000},
		{"new-riders-rate", c.NewRidersRate, 0, 1_000_000},
		{"read-rate", c.ReadRate, 0, 1_000_000},
		{"queue-max-bytes", float64(c.QueueMaxBytes), 4 << 20, math.MaxInt64},
		{"batch-lines", float64(c.BatchLines), 1, 1_000_000},
		{"batch-bytes", float64(c.BatchBytes), 32 << 10, 1 << 30},
		{"deadletter-max-bytes", float64(c.DeadletterMaxBytes), 1 << 10, math.MaxInt64},
	} {
		if !(f.v >= f.lo && f.v <= f.hi) {
			return fmt.Errorf("--%s: %v is not in [%v, %v]", f.flag, f.v, f.lo, f.hi)
		}
	}
	for _, f := range []struct {
		flag string
		v    time.Duration
	}{
		{"max-age", c.MaxAge}, {"max-ahead", c.MaxAhead}, {"batch-wait", c.BatchWait}, {"influx-timeout", c.Influx.Timeout},
		{"shed-hold", c.ShedHold},
	} {
		if f.v <= 0 {
			return fmt.Errorf("--%s: %v is not above 0", f.flag, f.v)
		}
	}
	if c.QueueLease < time.Second || c.QueueLease > time.Hour {
		return fmt.Errorf("--queue-lease: %v is not in [1s, 1h]", c.QueueLease)
	}
	if c.RollupLateness < time.Second || c.RollupLateness > time.Hour {
		return fmt.Errorf("--rollup-lateness: %v is not in [1s, 1h]", c.RollupLateness)
	}
	if c.Influx.Token != "" && c.Influx.TokenFile != "" {
		return fmt.Errorf("--influx-token and --influx-token-file: give one of them")
	}
	if err := cmp.Or(c.Filter.check(), c.Spread.check()); err != nil {
		return err
	}
	_, err := newLayout(c)
	return err
}

// configFile is the path of a YAML file whose keys are flags without dashes.
type configFile string

// BeforeResolve is called by kong before it looks for values that no flag gave.
func (configFile) BeforeResolve(ctx *kong.Context, trace *kong.Path) error {
	path := string(ctx.FlagValue(trace.Flag).(configFile))
	if path == "" {
		return nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	var values map[string]any
	if err := yaml.Unmarshal(text, &values); err != nil {
		return fmt.Errorf("--config: %s: %s", path, strings.ReplaceAll(err.Error(), "\n", " "))
	}
	if err := checkKeys(ctx, values); err != nil {
		return fmt.Errorf("--config: %s: %w", path, err)
	}
	ctx.AddResolver(kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		for _, env := range flag.Envs {
			if _, set := os.LookupEnv(env); set {
				return nil, nil // the environment beats the file
			}
		}
		v, ok := values[flag.Name]
		if !ok || v == nil {
			return nil, nil
		}
		list, ok := v.([]any)
		if !ok {
			return fmt.Sprint(v), nil
		}
		each := make([]any, len(list))
		for i, v := range list {
			text, err := flat(v)
			if err != nil {
				return nil, fmt.Errorf("--config: %s: %s: %w", path, flag.Name, err)
			}
			each[i] = text
		}
		return each, nil
	}))
	return nil
}

// flat writes a value of a list as its flag takes it: keys and values of a map
// as key=value,…. A value with a comma would be read as another key.
func flat(v any) (string, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return fmt.Sprint(v), nil
	}
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		text := fmt.Sprint(m[key])
		if strings.Contains(text, ",") {
			return "", fmt.Errorf("%s: %q has a comma", key, text)
		}
		parts = append(parts, key+"="+text)
	}
	return strings.Join(parts, ","), nil
}

// checkKeys refuses a key that is no flag of the command, or has a list or map
// that its flag does not take.
func checkKeys(ctx *kong.Context, values map[string]any) error {
	repeated := make(map[string]bool) // by flag
	for _, flag := range ctx.Flags() {
		repeated[flag.Name] = flag.IsCumulative()
	}
	for key, v := range values {
		many, known := repeated[key]
		if !known || key == "config" || key == "help" {
			return fmt.Errorf("unknown key %q", key)
		}
		switch v.(type) {
		case []any:
			if many {
				continue
			}
		case map[string]any:
		default:
			continue
		}
		if many {
			return fmt.Errorf("key %q takes a list", key)
		}
		return fmt.Errorf("key %q takes one value", key)
	}
	return nil
}
