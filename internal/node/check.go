package node

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"time"

	"pingline/dashboards/livemap"
	"pingline/internal/room"
	"pingline/internal/unit"
	"pingline/partition"
	"pingline/queue"
	"pingline/rollup"
	"pingline/sink/sets"
)

// SettingError names a setting that is not valid, and says why.
type SettingError struct {
	Flag string // flag of pingline serve, without dashes
	Err  error
}

func (e *SettingError) Error() string { return "--" + e.Flag + ": " + e.Err.Error() }

func (e *SettingError) Unwrap() error { return e.Err }

func wrong(flag, format string, args ...any) error {
	return &SettingError{flag, fmt.Errorf(format, args...)}
}

// Check returns a *SettingError of a setting that is out of its range, or contradicts
// another. It touches neither network nor disk; every other refusal of Open depends
// on one or both of them.
func (c *Config) Check() error {
	for _, check := range []func() error{c.checkPlaces, c.checkCounts, c.checkSizes, c.checkRates, c.checkTimes, c.checkFilter, c.checkStores} {
		if err := check(); err != nil {
			return err
		}
	}
	for _, check := range []func() (string, error){
		c.Access.Check, c.Privacy.Check, c.MQTT.Upstream.Check, c.Lines.Check, c.KafkaIn.Check, c.SQSIn.Check, c.TLS.Check,
	} {
		if flag, err := check(); err != nil {
			return &SettingError{flag, err}
		}
	}
	if c.Access.With("cert") && c.TLS.ClientCA == "" {
		return wrong("auth", "cert takes --tls-client-ca, the authorities of the certificates")
	}
	if _, err := newLayout(c); err != nil {
		return err
	}
	_, _, err := c.lineStore()
	return err
}

func (c *Config) checkPlaces() error {
	for _, f := range c.listeners() {
		if err := room.CheckAddress(f.addr); err != nil && (f.addr != "" || f.flag == "listen") {
			return &SettingError{f.flag, err}
		}
	}
	for _, origin := range c.CORSOrigins {
		if u, err := url.Parse(origin); origin != "*" && origin != "null" && (err != nil || u.Scheme == "" || u.Host == "" || u.Scheme+"://"+u.Host != origin) {
			return wrong("cors-origins", "%q is neither an origin such as https://app.example.org nor *", origin)
		}
	}
	if err := livemap.CheckTiles(c.TileURL); err != nil {
		return &SettingError{"tile-url", err}
	}
	if c.DataDir == "" {
		return wrong("data-dir", "names no directory")
	}
	if c.Standby && c.Queue == queue.Embedded {
		return wrong("standby", "is for a log that nodes share: give --queue=nats://host,host or kafka://host,host")
	}
	if c.Follow < 0 || c.Follow > partition.MaxParts {
		return wrong("follow", "%d is not in [0, %d]", c.Follow, partition.MaxParts)
	}
	if flag, err := c.Peers.Check(c.Queue, c.QueueMax); err != nil {
		return &SettingError{flag, err}
	}
	if err := queue.CheckURL(c.Queue); err != nil {
		return &SettingError{"queue", err}
	}
	if err := rollup.CheckNode(c.Name); err != nil {
		return &SettingError{"node", err}
	}
	return nil
}

// listeners are the addresses to listen on, "" for none, and their flags.
func (c *Config) listeners() []struct{ flag, addr string } {
	return []struct{ flag, addr string }{{"listen", c.Listen}, {"osmand-listen", c.OsmandListen}, {"mqtt-listen", c.MQTT.Listen}, {"ops-listen", c.OpsListen}, {"peer-listen", c.Peers.Listen}}
}

func (c *Config) checkCounts() error {
	for _, f := range []struct {
		flag      string
		v, lo, hi int
	}{
		{"cell-res", c.CellRes, 0, 15},
		{"max-pings", c.MaxPings, 1, 65_536},
		{"max-connections", c.MaxConnections, 1, 1_000_000},
		{"batch-lines", c.BatchLines, 1, 1_000_000},
		{"rollup-min-riders", c.RollupMinRiders, 0, 1_000_000},
		{"max-riders", c.Filter.MaxRiders, 1, math.MaxInt32},
	} {
		if f.v < f.lo || f.v > f.hi {
			return wrong(f.flag, "%d is not in [%d, %d]", f.v, f.lo, f.hi)
		}
	}
	return nil
}

func (c *Config) checkSizes() error {
	for _, f := range []struct {
		flag      string
		v, lo, hi int64 // bytes; hi 0 means no limit
	}{
		{"max-body", c.MaxBody, 1 << 10, 1 << 30},
		{"max-inflated", c.MaxInflated, 1 << 10, 1 << 30},
		{"max-in-progress", c.MaxInProgress, 1 << 20, 0},
		{"queue-max-bytes", c.QueueMax, 4 << 20, 0},
		{"batch-bytes", c.BatchBytes, 32 << 10, 1 << 30},
		{"deadletter-max-bytes", c.DeadLettersMax, 1 << 10, 0},
	} {
		lo, hi := unit.Bytes(f.lo), unit.Bytes(f.hi)
		switch {
		case f.hi == 0 && f.v < f.lo:
			return wrong(f.flag, "%v is less than %v", unit.Bytes(f.v), lo)
		case f.hi > 0 && (f.v < f.lo || f.v > f.hi):
			return wrong(f.flag, "%v is not in [%v, %v]", unit.Bytes(f.v), lo, hi)
		}
	}
	return nil
}

func (c *Config) checkRates() error {
	for _, f := range []struct {
		flag      string
		v, lo, hi float64
	}{
		{"max-error", c.Bound.MaxError, 0, 100_000},
		{"accuracy-cap", c.Bound.AccuracyCap, 0, 100_000},
		{"rider-rate", c.RiderRate, 0, 1_000_000},
		{"rider-burst", c.RiderBurst, 1, 1_000_000_000},
		{"client-rate", c.ClientRate, 0, 1_000_000_000},
		{"new-riders-rate", c.NewRidersRate, 0, 1_000_000},
		{"read-rate", c.ReadRate, 0, 1_000_000},
	} {
		if !(f.v >= f.lo && f.v <= f.hi) {
			return wrong(f.flag, "%s is not in [%s, %s]", unit.Number(f.v), unit.Number(f.lo), unit.Number(f.hi))
		}
	}
	if !(c.HotCellRate > 0) {
		return wrong("hot-cell-rate", "%v is not above 0", c.HotCellRate)
	}
	return nil
}

func (c *Config) checkTimes() error {
	for _, f := range []struct {
		flag string
		v    time.Duration
	}{
		{"max-age", c.MaxAge}, {"max-ahead", c.MaxAhead}, {"batch-wait", c.BatchWait}, {"redis-flush", c.RedisFlush}, {"influx-timeout", c.Influx.Timeout},
		{"shed-hold", c.ShedHold},
	} {
		if f.v <= 0 {
			return wrong(f.flag, "%v is not above 0", f.v)
		}
	}
	for _, f := range []struct {
		flag string
		v    time.Duration
	}{{"queue-lease", c.QueueLease}, {"rollup-lateness", c.RollupLateness}} {
		if f.v < time.Second || f.v > time.Hour {
			return wrong(f.flag, "%v is not in [1s, 1h]", f.v)
		}
	}
	if c.IdleTimeout < time.Millisecond || c.IdleTimeout > 24*time.Hour {
		return wrong("idle-timeout", "%v is not in [1ms, 24h]", c.IdleTimeout)
	}
	return nil
}

func (c *Config) checkFilter() error {
	for _, f := range []struct {
		flag string
		v    time.Duration
	}{{"live-gap", c.Filter.LiveGap}, {"max-gap", c.Filter.MaxGap}, {"idle-flush", c.Filter.IdleFlush}, {"shard-handover", c.HandOver}} {
		if f.v < 0 {
			return wrong(f.flag, "%v is below 0", f.v)
		}
	}
	if len(c.Rollup) == 0 {
		return nil
	}
	if err := rollup.CheckResolutions(c.Rollup); err != nil {
		return &SettingError{"rollup", err}
	}
	if err := rollup.CheckWindows(c.RollupWindows); err != nil {
		return &SettingError{"rollup-windows", err}
	}
	return nil
}

func (c *Config) checkStores() error {
	if c.Influx.Token != "" && c.Influx.TokenFile != "" {
		return wrong("influx-token", "and --influx-token-file: %w", errors.New("give only one of the two"))
	}
	names := map[string]bool{}
	for _, s := range c.Shards {
		if s.DropSet && s.Set == "" {
			return wrong("shard", "name=%s: on-full=drop-set is of a set that is not %s: name one with set=", s.Name, sets.Main)
		}
		if names[s.Name] {
			return wrong("shard", "name %q is there twice", s.Name)
		}
		names[s.Name] = true
	}
	all := c.setNames()
	for _, set := range all {
		if len(all) > 1 && names[set] {
			return wrong("shard", "%q names a shard and a set: a route could not tell them apart", set)
		}
	}
	if main := func(s ShardConfig) bool { return s.Set == "" }; len(c.Shards) > 0 && !slices.ContainsFunc(c.Shards, main) {
		return wrong("shard", "each belongs to a set: leave set= out of those of the main set")
	}
	return c.checkRoutes(all)
}

func (c *Config) checkRoutes(all []string) error {
	kinds, fed := map[string]bool{}, map[string]bool{sets.Main: true}
	for _, r := range c.Routes {
		if kinds[r.Kind] {
			return wrong("route", "%s has two", r.Kind)
		}
		kinds[r.Kind] = true
	}
	for _, r := range sets.Complete(c.Routes) {
		seen := map[string]string{}
		for _, to := range r.To {
			set := c.setOf(to.Name)
			switch {
			case set == "":
				return wrong("route", "no shard is named %q, and no set", to.Name)
			case to.Bucket != "" && set == to.Name:
				return wrong("route", "%s=%s/%s: a bucket belongs to a shard, and %q is a set", r.Kind, to.Name, to.Bucket, to.Name)
			case seen[set] != "":
				return wrong("route", "%s: %s and %s are in the same set", r.Kind, seen[set], to.Name)
			}
			seen[set], fed[set] = to.Name, true
		}
	}
	for _, set := range all {
		if !fed[set] {
			return wrong("shard", "nothing goes to the set %q: name it in --route, such as --route=location=main,%s", set, set)
		}
	}
	if err := sets.CheckLatest(c.Routes, func(name string) bool { return c.latestOnly(c.setOf(name)) }); err != nil {
		return &SettingError{"route", err}
	}
	return nil
}
