package node

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"pingline"
	"pingline/dedupe"
	"pingline/ingest/auth/access"
	"pingline/ingest/auth/token"
	"pingline/ingest/kafka"
	"pingline/ingest/mqtt/subscriber"
	"pingline/ingest/phone/lineprotocol"
	"pingline/ingest/privacy"
	"pingline/ingest/server/certs"
	"pingline/ingest/sqs"
	"pingline/internal/peers"
	"pingline/partition"
	"pingline/sink/sets"
)

// Config is every setting of a node. Open sets no default but for Name and
// Logger, DefaultConfig does; and it needs a Config that Check has passed. Errors
// name the setting's flag of pingline serve.
type Config struct {
	Listen       string // address for pings
	Lines        lineprotocol.Config
	LinesTo      string // SHARD or SHARD/BUCKET of lines that are passed on; "" is the first InfluxDB
	OsmandListen string // address for apps that speak osmand and know no path; "" is none
	MQTT         MQTT
	KafkaIn      kafka.Topic // a topic from which pings are taken
	SQSIn        sqs.Inlet   // a queue from which pings are taken
	OpsListen    string      // address for metrics and profiles; "" turns them off
	DataDir      string      // directory of log, cursors, filter state and dead letters
	Name         string      // of the node in its log and metrics; "" means the host's

	Queue      string        // "embedded", nats://host,host, or kafka://host,host
	QueueMax   int64         // bytes at which the log refuses appends
	QueueLease time.Duration // how long a silent node keeps a log on servers
	Standby    bool          // Open waits while another node has the log on servers
	Follow     int           // logs of other nodes that are read along meanwhile
	Peers      peers.Sharing

	Influx      Influx
	Shards      []ShardConfig // given instead of Influx.Host
	Routes      []sets.Route
	PartitionBy partition.By
	HotCellRate float64       // pings/s of a part of a cell at which it is split
	HotCells    string        // file of cells to split beforehand; "" means none
	HandOver    time.Duration // how long a shard is down before other shards stand in; 0: never
	Moved       []string      // shards that were removed and whose points are elsewhere

	CreateSchema bool // make the tables that are missing in a store that has tables

	CellRes int // H3 resolution of the cell tag, 0 to 15
	Bound   dedupe.Bound
	Filter  dedupe.Config

	MaxAge, MaxAhead     time.Duration // how far a ping's ts may be behind and ahead of now
	CorrectClocks        bool          // correct the ts of a ping beyond them, rather than refuse it
	MaxBody, MaxInflated int64         // bytes of a request's body, as sent and decompressed
	MaxPings             int           // of a request
	MaxInProgress        int64         // bytes of requests in progress, if memory allows

	MaxConnections int     // if files and memory allow
	RiderRate      float64 // pings/s; 0: no limit, as for the other rates
	RiderBurst     float64 // pings
	ClientRate     float64 // pings/s
	NewRidersRate  float64 // tracks/s
	ReadRate       float64 // reads/s
	TrustedProxies []netip.Prefix
	CORSOrigins    []string // origins of web pages that may send and read: https://host, or *

	Access  access.Settings
	Secrets string // file of secrets by which riders' OwnTracks encrypts; "": none
	Privacy privacy.DoorSettings
	TLS     certs.Config // of all listeners; its Riders, Nameless, Logger and Failures are not set here

	Basemap         string // file of PMTiles with a street map below the live map; "" is none
	TileURL         string // of an online map below the live map, with {z}, {x} and {y}; "" is none
	TileAttribution string // whom the live map names for it

	IdleTimeout time.Duration // longest time between two requests of a connection

	ShedHold time.Duration // how long there must be room before a level is left

	BatchLines     int
	BatchBytes     int64
	BatchWait      time.Duration
	RedisFlush     time.Duration // the same, of a set of Redis
	DeadLettersMax int64         // bytes at which writing to the stores stops

	Rollup         []int // H3 resolutions, finest first; empty: no roll-up
	RollupWindows  []time.Duration
	RollupLateness time.Duration

	RollupMinRiders int // cells and windows with fewer riders are neither stored nor shown

	Version string // of the program, as the server tells it

	Drain  time.Duration // how long Run may wait, once told to stop, until all entries are written; 0 leaves them queued
	Logger *slog.Logger  // nil means slog.Default()
}

// DefaultConfig returns the settings of pingline serve without a flag.
func DefaultConfig() Config {
	return Config{
		Listen: ":8080", OpsListen: "127.0.0.1:9090", DataDir: "./pingline-data",
		Queue: "embedded", QueueMax: 8 << 30, QueueLease: 15 * time.Second, Follow: 2, Peers: peers.Sharing{Parts: 1},
		Influx:      Influx{Host: "http://localhost:8086", Bucket: "pingline", Timeout: 10 * time.Second},
		PartitionBy: partition.ByCellAndRider, HotCellRate: 1000, HandOver: 10 * time.Minute, CreateSchema: true,
		CellRes: 5, Bound: dedupe.Bound{MaxError: 10, AccuracyCap: 50}, Filter: dedupe.DefaultConfig(),
		Access:  access.Settings{Ways: []string{"none"}, JWT: token.Config{RiderClaim: "sub", ScopeClaim: "scope", ScopePrefix: "pingline:", Skew: 30 * time.Second}},
		Privacy: privacy.DoorSettings{Pings: "drop", Events: []string{"*"}},
		Lines:   lineprotocol.Config{Riders: slices.Clone(lineprotocol.DefaultRiders)},
		MaxAge:  720 * time.Hour, MaxAhead: 2 * time.Minute, MaxBody: 4 << 20, MaxInflated: 16 << 20, MaxPings: 20_000, MaxInProgress: 256 << 20,
		MaxConnections: 10_000, RiderRate: 10, RiderBurst: 10_000, NewRidersRate: 1000, ReadRate: 100, IdleTimeout: 2 * time.Minute, ShedHold: 30 * time.Second,
		BatchLines: 5000, BatchBytes: 4 << 20, BatchWait: time.Second, RedisFlush: 100 * time.Millisecond, DeadLettersMax: 1 << 30,
		Rollup: []int{8, 6, 4}, RollupWindows: []time.Duration{10 * time.Second, time.Minute}, RollupLateness: 2 * time.Minute,
	}
}

// MQTT has the settings of the ways in by MQTT.
type MQTT struct {
	Listen   string              // address of the node's own broker; "" is none
	Upstream subscriber.Upstream // a broker of others, at which the node subscribes
}

// Influx has the settings of each InfluxDB that its ShardConfig does not set.
type Influx struct {
	Host      string // URL of the only InfluxDB, if there are no Shards
	Token     string // user:password on 1.8
	TokenFile string // file that has the token, instead of Token
	Org       string
	Bucket    string
	Timeout   time.Duration // of a write

	CAFile   string       // PEM, authorities that may sign its certificate; "" means the system's
	CertFile string       // PEM, our client certificate
	KeyFile  string       // PEM, key of CertFile
	Header   []HeaderLine // sent with each request, for a proxy in between
}

// HeaderLine is a line of a request's head. Its value is a secret: no error quotes it.
type HeaderLine struct{ Name, Value string }

// UnmarshalText reads Name: value. It returns no error, since that would be printed
// with the secret text: Check does.
func (h *HeaderLine) UnmarshalText(text []byte) error {
	name, value, ok := strings.Cut(string(text), ":")
	if !ok {
		name, value = "", "" // Check refuses an empty name
	}
	*h = HeaderLine{strings.TrimSpace(name), strings.TrimSpace(value)}
	return nil
}

func (h HeaderLine) String() string { return h.Name }

// ShardConfig is the settings of one of several stores. An empty setting is taken
// from Influx.
type ShardConfig struct {
	Name, URL, Org, Bucket, TokenFile string
	CAFile, CertFile, KeyFile         string
	Weight                            float64
	Set                               string // "" means the main set
	DropSet                           bool   // its set is given up when the log is filling up

	Settings string // key=value,…, of keys that only the shard's kind of store has
}

// UnmarshalText reads name=…,url=…,….
func (s *ShardConfig) UnmarshalText(text []byte) error {
	*s = ShardConfig{Weight: 1}
	seen := map[string]bool{}
	for part := range strings.SplitSeq(string(text), ",") {
		key, value, ok := strings.Cut(part, "=")
		if hostOf(s.URL, key, part) {
			s.URL += "," + part
			continue
		}
		if !ok || value == "" {
			return fmt.Errorf("%q is not of the form key=value; a space in a value is written %%20, a comma %%2C", part)
		}
		if seen[key] {
			return fmt.Errorf("%s is given twice", key)
		}
		seen[key] = true
		if err := s.set(key, value); err != nil {
			return err
		}
	}
	switch {
	case s.Name == "":
		return errors.New("a shard needs a name")
	case s.URL == "":
		return fmt.Errorf("shard %s needs a url", s.Name)
	}
	kind, err := kindOf(s.URL)
	if err != nil {
		return fmt.Errorf("name=%s: %w", s.Name, err)
	}
	for _, key := range slices.Sorted(maps.Keys(seen)) {
		if !slices.Contains(shardKeys, key) && !slices.Contains(kind.keys, key) {
			return fmt.Errorf("name=%s: a shard of %s has no %s, only %s", s.Name, kind.name, key, strings.Join(slices.Concat(shardKeys, kind.keys), ", "))
		}
	}
	return nil
}

// hostOf reports whether a part of a --shard that begins with text is a further host of the URL
// before it. Behind a slash there is none, unless that is in a password, which no error may show.
func hostOf(url, text, part string) bool {
	kind, err := kindOf(url)
	_, rest, _ := strings.Cut(url, "://")
	ended := strings.Contains(rest, "/") && !strings.Contains(part, "@")
	return err == nil && kind.hosts && !ended && !slices.Contains(shardKeys, text) && !slices.Contains(kind.keys, text)
}

// shardKeys are the keys of a --shard of any kind.
var shardKeys = []string{"name", "url", "weight", "set", "on-full"}

func (s *ShardConfig) set(key, value string) (err error) {
	switch key {
	case "name":
		s.Name, err = value, pingline.CheckName(key, value)
	case "url":
		s.URL = value
	case "org":
		s.Org, err = sets.Unescape(key, value)
	case "bucket":
		s.Bucket, err = sets.Unescape(key, value)
	case "token-file":
		s.TokenFile = value
	case "ca-file":
		s.CAFile = value
	case "cert-file":
		s.CertFile = value
	case "key-file":
		s.KeyFile = value
	case "set":
		if s.Set, err = value, pingline.CheckName(key, value); value == sets.Main {
			s.Set = ""
		}
	case "on-full":
		if s.DropSet = value == "drop-set"; !s.DropSet && value != "wait" {
			err = fmt.Errorf("on-full: %q is neither wait, the default, nor drop-set", value)
		}
	case "weight":
		if s.Weight, err = strconv.ParseFloat(value, 64); err != nil || !(s.Weight >= partition.MinWeight && s.Weight <= partition.MaxWeight) {
			err = fmt.Errorf("weight: %q is not in [%v, %v]", value, partition.MinWeight, partition.MaxWeight)
		}
	case "prefix", "tags", "expire", "changes", "stream-length":
		s.Settings += key + "=" + value + ","
	default:
		err = fmt.Errorf("unknown key %q: the keys are name, url, org, bucket, token-file, ca-file, cert-file, key-file, weight, set, on-full", key)
	}
	return err
}
