package simulate

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"pingline/internal/command"
	"pingline/internal/dial"
	"pingline/sim"
	"pingline/sim/fault"
	"pingline/sim/network"
)

// BatchFlag is pings in a request, or like-phones.
type BatchFlag struct {
	N    int // 1 to 1000; 0: each phone sends its own
	text string
}

const (
	mostBatch    = 1000
	defaultBatch = "100" // of --batch
)

// UnmarshalText reads a number, or like-phones.
func (b *BatchFlag) UnmarshalText(text []byte) error {
	b.text = string(text)
	if b.text == "like-phones" {
		b.N = 0
		return nil
	}
	n, err := strconv.Atoi(b.text)
	if err != nil || n < 1 || n > mostBatch {
		return fmt.Errorf("%q is neither like-phones nor a number of pings in [1, %d]", text, mostBatch)
	}
	b.N = n
	return nil
}

func (b BatchFlag) String() string { return b.text }

// CityFlag is where a city is, and how large: its centre in degrees and its radius in
// metres, written lat,lon,radius.
type CityFlag struct {
	Lat, Lon, Radius float64
	text             string
}

// UnmarshalText reads lat,lon or lat,lon,radius.
func (p *CityFlag) UnmarshalText(text []byte) error {
	p.text = string(text)
	parts := strings.Split(p.text, ",")
	numbers := [3]float64{2: 8000}
	if len(parts) < 2 || len(parts) > 3 {
		return fmt.Errorf("%q is not lat,lon,radius such as 41.1579,-8.6291,8000", text)
	}
	for i, part := range parts {
		v, err := strconv.ParseFloat(strings.TrimSpace(part), 64)
		if err != nil {
			return fmt.Errorf("%q is not lat,lon,radius such as 41.1579,-8.6291,8000", text)
		}
		numbers[i] = v
	}
	p.Lat, p.Lon, p.Radius = numbers[0], numbers[1], numbers[2]
	switch {
	case !(p.Lat >= -80 && p.Lat <= 80):
		return fmt.Errorf("latitude %v is not in [-80, 80]", p.Lat)
	case !(p.Lon >= -180 && p.Lon <= 180):
		return fmt.Errorf("longitude %v is not in [-180, 180]", p.Lon)
	case !(p.Radius >= 1500 && p.Radius <= 1e5):
		return fmt.Errorf("radius %v is not in [1500, 100000] metres", p.Radius)
	}
	return nil
}

func (p CityFlag) String() string { return p.text }

// TargetFlags say where pings go, and how they are sent.
type TargetFlags struct {
	Target      string                  `required:"" placeholder:"URL" help:"URL of the ingester, such as http://localhost:8080."`
	Connections int                     `default:"32" help:"Connections that send; each waits for an answer before it sends again."`
	Batch       BatchFlag               `default:"100" help:"Pings in a request, 1 to 1000; or like-phones: each phone sends its own, one or a few at a time."`
	Format      string                  `default:"json" help:"Form of the bodies: json, ndjson, or JSON in gzip or zstd."`
	Header      []command.RequestHeader `sep:"none" placeholder:"NAME: VALUE" help:"Sent with each request, such as one with a key. Repeated."`
	Faults      fault.Spec              `placeholder:"KIND=SHARE,…" help:"Faults of phones and networks, as shares of 1: resend, double, reorder, offline, skew, jump, frozen, zero, teleport, accuracy, malformed, truncated, slow, cut; all is every one that is not named."`
	Network     network.Config          `placeholder:"KEY=VALUE,…" help:"A bad network on the way, such as latency=80ms,jitter=40ms,loss=0.01: what an answer comes later, by how much that differs, the share of packets lost, and by bandwidth=1MB/s what a connection carries."`
	Seed        uint64                  `default:"1" help:"The same seed gives the same phones."`
	Grace       time.Duration           `default:"30s" help:"How long to wait in the end for what is not answered yet."`

	dial.Flags `embed:""`
}

const mostTime = 366 * 24 * time.Hour

func (f *TargetFlags) check() error {
	if err := command.CheckTarget(f.Target); err != nil {
		return err
	}
	if err := f.Check(f.Target); err != nil {
		return err
	}
	switch {
	case f.Connections < 1 || f.Connections > 10_000:
		return fmt.Errorf("--connections: %d is not in [1, 10000]", f.Connections)
	case f.Grace <= 0 || f.Grace > time.Hour:
		return fmt.Errorf("--grace: %v is not in (0s, 1h]", f.Grace)
	}
	switch sim.Format(f.Format) {
	case sim.JSON, sim.NDJSON, sim.Gzip, sim.Zstd:
		return nil
	}
	return fmt.Errorf("--format: %q is not json, ndjson, gzip or zstd", f.Format)
}

// load returns the part of a load's settings that the flags say.
func (f *TargetFlags) load() (sim.LoadConfig, error) {
	secure, err := f.TLS()
	if err != nil {
		return sim.LoadConfig{}, command.Unusable(err)
	}
	cfg := sim.LoadConfig{
		TLS: secure,
		URL: f.Target, Connections: f.Connections, Format: sim.Format(f.Format), Seed: f.Seed, Grace: f.Grace, Faults: f.Faults, Batch: f.Batch.N,
	}
	if f.Batch.N == 0 {
		cfg.LikePhones, cfg.Batch = true, mostBatch
	}
	for _, h := range f.Header {
		cfg.Header = append(cfg.Header, sim.HeaderField(h))
	}
	return cfg, nil
}

// args returns the flags of a command line that sends the same again. Headers are left
// out: they may hold secrets.
func (f *TargetFlags) args() string {
	text := fmt.Sprintf("--target=%s --seed=%d --batch=%v --format=%s --connections=%d", f.Target, f.Seed, f.Batch, f.Format, f.Connections) + f.Args()
	if faults := f.Faults.String(); faults != "" {
		text += " --faults=" + faults
	}
	if f.Network.Set() {
		text += " --network=" + f.Network.String()
	}
	return text
}

// ResultFlags say where the result goes.
type ResultFlags struct {
	AckLog string `placeholder:"FILE" help:"Write every ping and its answer to FILE, a new one, for pingline sim audit."`
	HTML   string `name:"html" placeholder:"FILE" help:"Write a page with plots of latency, rates, verdicts and shedding to FILE."`
	JSON   bool   `name:"json" help:"Print nothing but the result, as one JSON object."`
}

// create opens a file that a flag names, before anything is sent.
func create(flag, file string) (*os.File, error) {
	if file == "" {
		return nil, nil
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, command.Unusable(fmt.Errorf("%s: %w", flag, err))
	}
	return f, nil
}
