// Package plan works out the load of a fleet on the machines, and whether a
// single InfluxDB is enough. It is arithmetic on a Config and on Figures that
// were measured, each with its source. It measures only how often a disk takes a
// commit: see CommitRate.
package plan

import (
	"time"

	"pingline/dedupe"
	"pingline/internal/unit"
)

// Config is a fleet, and how it is to be served.
type Config struct {
	Riders     int           // riders who send at the busiest time
	Interval   time.Duration // between two pings of a rider
	PerRequest int           // pings
	Hours      float64       // hours a day that are as busy as that

	MaxError float64 // metres, bound of the filter
	Filter   dedupe.Config

	NewRegions float64 // part of a day's cells that a rider was not in before
	Area       float64 // km² over which riders are spread; 0: ten riders on each km²
	Rollup     bool

	Retention unit.Span  // how long InfluxDB keeps points
	Outage    unit.Span  // longest outage of InfluxDB that the log is to hold
	Replicas  int        // copies of the log
	QueueMax  unit.Bytes // size of the log

	BatchLines int
	BatchWait  time.Duration

	ServerPoints float64 // points/s that an InfluxDB can take; 0: as measured
	ServerSeries float64
	ServerDisk   unit.Bytes
	Cores        int        // of a machine that runs pingline serve
	Memory       unit.Bytes // of the same
}

// DefaultConfig returns the defaults of pingline plan: all but Riders.
func DefaultConfig() Config {
	return Config{
		Interval: 5 * time.Second, PerRequest: 1, Hours: 24,
		MaxError: 10, Filter: dedupe.DefaultConfig(),
		NewRegions: 0.1, Rollup: true,
		Retention: unit.Span(30 * unit.Day), Outage: unit.Span(time.Hour), Replicas: 1, QueueMax: 8 << 30,
		BatchLines: 5000, BatchWait: time.Second,
		ServerSeries: 1e6, ServerDisk: 2 << 40, Cores: 8, Memory: 16 << 30,
	}
}

// Plan is the load of a fleet on each part that pings pass, at its busiest unless
// it says a day. Rates are a second, sizes bytes. Its JSON is the output of
// pingline plan.
type Plan struct {
	cfg     Config
	figures *Figures

	Verdict string   `json:"verdict"` // how many InfluxDB servers the fleet needs, and why
	Advice  []string `json:"advice"`  // further advice
	Fleet

	Pings    float64 `json:"pings_per_second"`
	Requests float64 `json:"requests_per_second"`
	Commits  float64 `json:"commits_per_second"`
	Points   float64 `json:"points_per_second"` // of location and of the roll-up
	Located  float64 `json:"location_points_per_second"`
	Rolled   float64 `json:"rollup_points_per_second"`
	Writes   float64 `json:"writes_per_second"` // to all servers

	Series    float64 `json:"series"` // in all points that are kept
	SeriesDay float64 `json:"series_per_day"`

	LogRate   float64    `json:"log_bytes_per_second"`
	LogDay    float64    `json:"log_bytes_per_day"`
	LogOutage float64    `json:"log_bytes_for_outage"`
	LogFor    unit.Bytes `json:"queue_max_bytes"` // size of the log, of all parts of a cluster, that holds the outage
	CatchUp   float64    `json:"catch_up_s"`      // seconds until InfluxDB has the points of an outage; 0 without an outage

	InfluxDay    float64 `json:"influx_bytes_per_day"`
	InfluxDisk   float64 `json:"influx_bytes"`
	InfluxMemory float64 `json:"influx_memory_bytes"`
	InfluxCores  float64 `json:"influx_cores"`

	IngestCores float64 `json:"ingest_cores"`
	WriterBusy  float64 `json:"writer_busy"` // part of a thread
	RiderMemory float64 `json:"filter_memory_bytes"`
	NetworkIn   float64 `json:"network_in_bytes_per_second"`
	NetworkOut  float64 `json:"network_out_bytes_per_second"`

	Servers

	Nodes

	Techniques  []Technique `json:"techniques"`
	Assumptions []Figure    `json:"assumptions"`

	rollupSeries float64
	cells        float64 // cells of the finest resolution with a point in a window of 10 s
	batch        float64 // lines in a write to InfluxDB
}

// Fleet is the Config of a Plan, in its JSON.
type Fleet struct {
	Riders    int     `json:"riders"`
	Interval  float64 `json:"interval_s"`
	Kept      float64 `json:"kept"` // part of the pings
	Retention float64 `json:"retention_days"`
	Outage    float64 `json:"outage_s"`
}

// Servers is how many InfluxDB servers the fleet needs: for points, for series
// and for disk alone, and in all.
type Servers struct {
	Shards   int     `json:"shards"` // the largest of the three
	ByPoints int     `json:"shards_for_points"`
	BySeries int     `json:"shards_for_series"`
	ByDisk   int     `json:"shards_for_disk"`
	Each     float64 `json:"server_points_per_second"` // that each of Shards servers is to take, with headroom
}

// New works a plan out.
func New(cfg Config, f Figures) *Plan {
	p := work(cfg, f)
	p.Verdict = p.verdict()
	p.Advice = append([]string{}, p.advice()...)
	p.Techniques = []Technique{p.filter(), p.batching(), p.rollingUp(), p.queueing(), p.sharding()}
	p.Assumptions = p.figures.list()
	return p
}
