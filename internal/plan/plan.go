// Package plan works out what a fleet asks of the machines, and whether one
// InfluxDB is enough. It is arithmetic on a Config and on Figures that were
// measured, each of which is told with its source. It measures nothing itself but
// how often a disk takes a commit: see CommitRate.
package plan

import (
	"time"

	"pingline/dedupe"
	"pingline/internal/unit"
)

// Config is a fleet, and how it is to be served.
type Config struct {
	Riders     int           // who send at once, when most do
	Interval   time.Duration // between two pings of a rider
	PerRequest int           // pings
	Hours      float64       // a day that it is as busy as that

	MaxError float64 // metres, of the filter
	Filter   dedupe.Config

	NewRegions float64 // part of a day's cells that a rider was not in before
	Area       float64 // km² that riders are spread over; 0: ten on each
	Rollup     bool

	Retention unit.Span  // of points in InfluxDB
	Outage    unit.Span  // of InfluxDB, that the log is to hold
	Replicas  int        // copies of the log
	QueueMax  unit.Bytes // size of the log

	BatchLines int
	BatchWait  time.Duration

	ServerPoints float64 // points/s that one InfluxDB can take; 0: as measured
	ServerSeries float64
	ServerDisk   unit.Bytes
	Cores        int // of a machine that runs pingline serve
}

// DefaultConfig returns the defaults of pingline plan: all but Riders.
func DefaultConfig() Config {
	return Config{
		Interval: 5 * time.Second, PerRequest: 1, Hours: 24,
		MaxError: 10, Filter: dedupe.DefaultConfig(),
		NewRegions: 0.1, Rollup: true,
		Retention: unit.Span(30 * unit.Day), Outage: unit.Span(time.Hour), Replicas: 1, QueueMax: 8 << 30,
		BatchLines: 5000, BatchWait: time.Second,
		ServerSeries: 1e6, ServerDisk: 2 << 40, Cores: 8,
	}
}

// Plan is what a fleet asks of each part of the way, at its busiest unless it
// says a day. Rates are a second, sizes bytes. Its JSON is that of pingline plan.
type Plan struct {
	cfg     Config
	figures *Figures

	Verdict string   `json:"verdict"` // how many InfluxDB servers it takes, and why
	Advice  []string `json:"advice"`  // what else there is to know
	Fleet

	Pings    float64 `json:"pings_per_second"`
	Requests float64 `json:"requests_per_second"`
	Commits  float64 `json:"commits_per_second"`
	Points   float64 `json:"points_per_second"` // of location and of the roll-up
	Located  float64 `json:"location_points_per_second"`
	Rolled   float64 `json:"rollup_points_per_second"`
	Writes   float64 `json:"writes_per_second"` // to all servers

	Series    float64 `json:"series"` // in all that is kept
	SeriesDay float64 `json:"series_per_day"`

	LogRate   float64    `json:"log_bytes_per_second"`
	LogDay    float64    `json:"log_bytes_per_day"`
	LogOutage float64    `json:"log_bytes_for_outage"`
	LogFor    unit.Bytes `json:"queue_max_bytes"` // size of each log that the outage takes
	CatchUp   float64    `json:"catch_up_s"`      // until InfluxDB has what an outage held back; 0 if there was none

	InfluxDay    float64 `json:"influx_bytes_per_day"`
	InfluxDisk   float64 `json:"influx_bytes"`
	InfluxMemory float64 `json:"influx_memory_bytes"`
	InfluxCores  float64 `json:"influx_cores"`

	IngestCores float64 `json:"ingest_cores"`
	WriterBusy  float64 `json:"writer_busy"` // of one thread
	RiderMemory float64 `json:"filter_memory_bytes"`
	NetworkIn   float64 `json:"network_in_bytes_per_second"`
	NetworkOut  float64 `json:"network_out_bytes_per_second"`

	Servers

	Ingesters   int         `json:"ingesters"`
	Techniques  []Technique `json:"techniques"`
	Assumptions []Figure    `json:"assumptions"`

	rollupSeries float64
	cells        float64 // that the roll-up writes a point for, 10 s at its finest
	batch        float64 // lines in a write to InfluxDB
}

// Fleet is what was asked.
type Fleet struct {
	Riders    int     `json:"riders"`
	Interval  float64 `json:"interval_s"`
	Kept      float64 `json:"kept"` // part of the pings
	Retention float64 `json:"retention_days"`
	Outage    float64 `json:"outage_s"`
}

// Servers is how many InfluxDB servers it takes: for each of points, series and
// disk by itself, and for all.
type Servers struct {
	Shards   int     `json:"shards"` // the most of them
	ByPoints int     `json:"shards_for_points"`
	BySeries int     `json:"shards_for_series"`
	ByDisk   int     `json:"shards_for_disk"`
	Each     float64 `json:"server_points_per_second"` // that one of so many is to take, with headroom
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
