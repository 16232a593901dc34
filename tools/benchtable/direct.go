package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"pingline/internal/influxd"
	"pingline/internal/pause"
	"pingline/internal/unit"
	"pingline/sim"
	"pingline/sim/prepared"
)

// direct is the outcome for pings on the way to a real InfluxDB.
type direct struct {
	rate          float64 // pings/s that were answered
	drained       float64 // seconds until the last was stored
	answered      float64 // pings
	points        float64 // stored of them
	lost          float64 // that are to be stored, and are not
	refused       int     // requests
	unsent        uint64  // requests that were due
	p50, p99      time.Duration
	cpu, storeCPU time.Duration
}

// compareDirect measures how many pings a second a real InfluxDB takes as lines, as fast as it
// answers, and then sends so many times as many to a pingline that writes to a new InfluxDB,
// each ping when a phone would send it.
func compareDirect(ctx context.Context, o *options, out, progress io.Writer) error {
	before := lookAround(o.data)
	plain, err := o.phonesWrite(ctx)
	if err != nil {
		return fmt.Errorf("straight to InfluxDB: %w", err)
	}
	fmt.Fprintf(progress, "straight to InfluxDB: %.0f points/s\n", plain.rate)
	o.riders = max(leastRiders, int(o.times*plain.rate))
	through, err := o.pinglineWrites(ctx)
	if err != nil {
		return fmt.Errorf("through pingline: %w", err)
	}
	before.Version, before.LoadAfter = o.version, loadAverage()
	fmt.Fprintf(out, "%s\nEach for %s.\n\n", before.markdown(), o.lasts)
	fmt.Fprint(out, "| | pings/s | p50 | p99 ms | points of a ping | InfluxDB, CPU-s/M points | CPU-s/M pings: InfluxDB | pingline | behind at the end, s | lost | refused, unsent requests |\n|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, row := range []struct {
		name string
		*direct
	}{{"phones write lines", plain}, {fmt.Sprintf("× %g through pingline, live", o.times), through}} {
		million := row.answered / 1e6
		fmt.Fprintf(out, "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %d, %d |\n", row.name, unit.Comma(round(row.rate)), digits(ms(row.p50)), digits(ms(row.p99)),
			digits(row.points/row.answered), digits(row.storeCPU.Seconds()/row.points*1e6), digits(row.storeCPU.Seconds()/million), digits(row.cpu.Seconds()/million),
			digits(row.drained), unit.Comma(row.lost), row.refused, row.unsent)
	}
	return nil
}

// How phones send to pingline, and how many there are at least for that.
const (
	directBatch       = 100
	directConnections = 64
	leastRiders       = directBatch * directConnections
)

// linesInRequest is how many lines a request of phones to InfluxDB has: more than a phone would
// send, so that InfluxDB is at its best.
const linesInRequest = 5000

const linesPath = "/write?db=pings&precision=ms"

// openStore runs a new InfluxDB.
func (o *options) openStore(ctx context.Context, name string) (*influxd.Server, error) {
	return influxd.Start(ctx, influxd.Config{Dir: filepath.Join(o.data, name), Bucket: "pings", Env: []string{"INFLUXDB_DATA_MAX_VALUES_PER_TAG=0"}}) // more riders than its limit of 100,000
}

// phonesWrite writes lines as fast as InfluxDB answers.
func (o *options) phonesWrite(ctx context.Context) (d *direct, failure error) {
	store, err := o.openStore(ctx, "direct")
	if err != nil {
		return nil, err
	}
	defer func() { failure = errors.Join(failure, store.Close(), os.RemoveAll(filepath.Join(o.data, "direct"))) }()
	stock, begin, err := o.city(prepared.NewLines)
	if err != nil {
		return nil, err
	}
	address, err := url.Parse(store.URL())
	if err != nil {
		return nil, err
	}
	cfg := prepared.Config{
		Stock: stock, Addr: address.Host, Path: linesPath, Format: sim.NDJSON,
		Batch: min(linesInRequest, o.riders/8), Connections: 8, Begin: begin - 1000, Most: o.riders,
	}
	// The first line of a series costs far more than those behind it.
	first, err := prepared.New(ctx, cfg)
	if err != nil {
		return nil, err
	}
	_, err = first.Run(ctx, prepared.Phase{For: patience})
	if err = errors.Join(err, first.Close()); err != nil {
		return nil, err
	}
	cfg.Begin, cfg.Most = begin, 0
	g, err := prepared.New(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer func() { failure = errors.Join(failure, g.Close()) }()
	d = &direct{}
	var from, to time.Duration
	read := func(cpu *time.Duration) func() {
		return func() {
			var err error
			*cpu, err = cpuOf(store.PID())
			failure = errors.Join(failure, err)
		}
	}
	m, err := g.Run(ctx, prepared.Phase{For: o.lasts, Began: read(&from), Ended: read(&to)})
	if err != nil {
		return nil, err
	}
	d.storeCPU = to - from
	d.take(m)
	d.points = d.answered // InfluxDB answers once a line is stored
	return d, failure
}

// pinglineWrites sends pings to pingline when they are due.
func (o *options) pinglineWrites(ctx context.Context) (d *direct, failure error) {
	store, err := o.openStore(ctx, "behind")
	if err != nil {
		return nil, err
	}
	defer func() { failure = errors.Join(failure, store.Close(), os.RemoveAll(filepath.Join(o.data, "behind"))) }()
	stock, begin, err := o.city(prepared.NewStock)
	if err != nil {
		return nil, err
	}
	l := &lab{options: o, stock: stock, store: store.URL()}
	server, err := l.start(ctx, pinglineServer)
	if err != nil {
		return nil, err
	}
	defer func() {
		failure = errors.Join(failure, server.stop(), os.RemoveAll(l.logDir()))
	}()
	if err := l.introduce(ctx, server, begin); err != nil {
		return nil, err
	}
	g, err := prepared.New(ctx, prepared.Config{Stock: stock, Addr: server.addr, Batch: directBatch, Connections: directConnections, Begin: begin})
	if err != nil {
		return nil, err
	}
	defer func() { failure = errors.Join(failure, g.Close()) }()
	if _, err := behind(ctx, server); err != nil {
		return nil, err
	}
	d = &direct{}
	cpu := func(sign time.Duration) {
		own, err := server.used()
		its, err2 := cpuOf(store.PID())
		d.cpu, d.storeCPU = d.cpu+sign*own.cpu, d.storeCPU+sign*its
		failure = errors.Join(failure, err, err2)
	}
	already, err := countPoints(ctx, store)
	if err != nil {
		return nil, err
	}
	m, err := g.Run(ctx, prepared.Phase{Rate: float64(o.riders), For: o.lasts, Began: func() { cpu(-1) }, Ended: func() { cpu(1) }})
	if err != nil {
		return nil, err
	}
	d.take(m)
	if d.drained, err = behind(ctx, server); err != nil {
		return nil, err
	}
	began := time.Now()
	for { // the last, which behind does not wait for
		now, err := server.scrape(ctx)
		if err != nil {
			return nil, err
		}
		stored, err := countPoints(ctx, store)
		if err != nil {
			return nil, err
		}
		d.points = stored - already
		d.lost = now[`pingline_pings_total{verdict="accepted"}`] + now[`pingline_held_total{fate="promoted"}`] - stored
		if d.lost == 0 || time.Since(began) > patience {
			return d, failure
		}
		if err := pause.For(ctx, 200*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// city returns a city's pings that begin about now.
func (o *options) city(stockOf func(sim.Phones, int, int, int64) (*prepared.Stock, error)) (*prepared.Stock, int64, error) {
	city, err := sim.NewCity(sim.CityConfig{Riders: o.riders, Interval: time.Second})
	if err != nil {
		return nil, 0, err
	}
	begin := time.Now().UnixMilli()
	stock, err := stockOf(city, o.riders, o.steps, begin)
	return stock, time.Now().UnixMilli(), err
}

func (d *direct) take(m *prepared.Measured) {
	d.rate, d.answered = float64(m.Pings)/m.Lasts.Seconds(), float64(m.Pings)
	d.p50, d.p99, d.unsent = m.Quantile(0.5), m.Quantile(0.99), m.Unsent
	for _, n := range m.Refused {
		d.refused += int(n)
	}
}

// countPoints returns how many positions an InfluxDB has.
func countPoints(ctx context.Context, store *influxd.Server) (float64, error) {
	text, err := get(ctx, store.URL()+"/query?db=pings&q="+url.QueryEscape("SELECT count(lat) FROM location"))
	if err != nil {
		return 0, err
	}
	var answer struct {
		Results []struct {
			Series []struct{ Values [][]any }
		}
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return 0, err
	}
	if len(answer.Results) == 0 || len(answer.Results[0].Series) == 0 {
		return 0, nil // none yet
	}
	n, ok := answer.Results[0].Series[0].Values[0][1].(float64)
	if !ok {
		return 0, fmt.Errorf("InfluxDB counts %s", text)
	}
	return n, nil
}
