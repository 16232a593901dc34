package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"pingline/internal/pause"
	"pingline/sim"
	"pingline/sim/prepared"
)

// lab measures.
type lab struct {
	*options
	stock *prepared.Stock
	store string             // URL of the store
	rates map[string]float64 // pings/s that were measured, of the load and server
}

// benchFigures are those of one server under one load.
type benchFigures struct {
	Load     string  `json:"load"`
	Format   string  `json:"format"`
	Server   string  `json:"server"`
	Rate     float64 `json:"pings_per_s"`          // as fast as the answers come
	CPU      float64 `json:"cpu_s_per_m"`          // of the server, seconds for a million pings
	LoadCPU  float64 `json:"load_cpu_s_per_m"`     // of the load and the store that keeps nothing
	LogCPU   float64 `json:"log_cpu_s_per_m"`      // of the servers of the log
	Written  float64 `json:"written_bytes"`        // to disks, for a ping, by the server and those of the log
	FullP50  float64 `json:"full_p50_ms"`          // of requests, at that rate
	Allocs   float64 `json:"allocations_per_ping"` // of the server, at that rate
	Peak     float64 `json:"peak_mib"`             // resident memory of the server, at most
	Behind   float64 `json:"behind_s"`             // after that rate, until the store had what it was behind
	HalfRate float64 `json:"half_pings_per_s"`     // that was sent
	HalfCPU  float64 `json:"half_cpu_s_per_m"`     // of the server
	P50      float64 `json:"p50_ms"`               // of requests, at half the rate, since they were due
	P99      float64 `json:"p99_ms"`
	P999     float64 `json:"p999_ms"`
	Unsent   float64 `json:"unsent"`     // requests that were due and not sent in time
	Kept     float64 `json:"kept_ratio"` // stored pings ÷ all, at the full rate
	Untaken  float64 `json:"untaken"`    // pings shed or rejected, and requests refused
	Commit   float64 `json:"pings_per_commit"`
}

func (f *benchFigures) String() string {
	return fmt.Sprintf("%s %s %s: %.0f pings/s, %.2f CPU-s/M (load %.2f), half load p50 %.2f ms, p99 %.2f ms, %.0f MiB",
		f.Server, f.Load, f.Format, f.Rate, f.CPU, f.LoadCPU, f.P50, f.P99, f.Peak)
}

// measure starts a server, loads it as fast as it answers, lets it write what it is
// behind, and loads it with half of that rate.
func (l *lab) measure(ctx context.Context, c trafficCase, kind serverKind) (f *benchFigures, failure error) {
	server, err := l.start(ctx, kind)
	if err != nil {
		return nil, err
	}
	defer func() {
		failure = errors.Join(failure, server.stop(), os.RemoveAll(l.logDir()))
	}()
	begin := time.Now().Add(-c.load.age).UnixMilli()
	if err := l.introduce(ctx, server, begin); err != nil {
		return nil, err
	}
	g, err := prepared.New(ctx, prepared.Config{
		Stock: l.stock, Addr: server.addr, Format: c.format, Batch: c.load.batch, Connections: c.load.connections,
		Begin: begin, Most: l.most(c, kind), Again: kind == floorServer,
	})
	if err != nil {
		return nil, err
	}
	defer func() { failure = errors.Join(failure, g.Close()) }()
	f = &benchFigures{Load: c.load.name, Format: string(c.format), Server: string(kind)}
	profile := l.takeProfile(ctx, server, kind)
	full, err := l.phase(ctx, server, g, 0)
	if err = errors.Join(err, profile()); err != nil {
		return nil, err
	}
	f.Rate, f.CPU, f.LoadCPU, f.FullP50 = full.rate(), full.perMillion(full.cpu), full.perMillion(full.own), ms(full.Quantile(0.5))
	f.LogCPU, f.Written = full.perMillion(full.logs), float64(full.written)/float64(max(1, full.Pings))
	f.Allocs = full.counted[mallocs] / float64(max(1, full.Pings))
	l.remember(c, kind, f.Rate)
	if f.Behind, err = behind(ctx, server); err != nil {
		return nil, err
	}
	peak, err := server.peak()
	if err != nil {
		return nil, err
	}
	f.Peak = float64(peak) / (1 << 20)
	half, err := l.phase(ctx, server, g, l.lesser(c, f.Rate)/2)
	if err != nil {
		return nil, err
	}
	f.HalfRate, f.HalfCPU, f.Unsent = half.rate(), half.perMillion(half.cpu), float64(half.Unsent)
	f.P50, f.P99, f.P999 = ms(half.Quantile(0.5)), ms(half.Quantile(0.99)), ms(half.Quantile(0.999))
	for _, m := range []*phaseFigures{full, half} {
		for _, n := range m.Refused {
			f.Untaken += float64(n)
		}
	}
	now, err := server.scrape(ctx)
	if err != nil {
		return nil, err
	}
	if all := full.counted[`pingline_pings_total`]; all > 0 {
		f.Kept = (full.counted[`pingline_pings_total{verdict="accepted"}`] + full.counted[`pingline_held_total{fate="promoted"}`]) / all
	}
	f.Untaken += now[`pingline_pings_total{verdict="shed"}`] + now[`pingline_pings_total{verdict="rejected"}`]
	if n := now["pingline_commit_pings_count"]; n > 0 {
		f.Commit = now["pingline_commit_pings_sum"] / n
	}
	return f, nil
}

// introduce sends some pings of every rider: of a rider who is new, each ping is stored,
// and that is not to be measured.
func (l *lab) introduce(ctx context.Context, server *installation, begin int64) error {
	const pings = 3 // of each
	connections := min(16, l.riders)
	g, err := prepared.New(ctx, prepared.Config{
		Stock: l.stock, Addr: server.addr, Batch: min(1000, l.riders/connections), Connections: connections,
		Begin: begin - pings*1000, Most: pings * l.riders,
	})
	if err != nil {
		return err
	}
	_, err = g.Run(ctx, prepared.Phase{For: patience})
	return errors.Join(err, g.Close())
}

// takeProfile begins a CPU profile of pingline, if one is asked for and was not taken
// yet, and returns a function that waits for it.
func (l *lab) takeProfile(ctx context.Context, server *installation, kind serverKind) (wait func() error) {
	if l.profile == "" || kind != pinglineServer {
		return func() error { return nil }
	}
	path := l.profile
	l.profile = ""
	done := make(chan error, 1)
	go func() {
		text, err := get(ctx, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", server.nodes[0].ops, max(1, int((l.warm+l.lasts).Seconds()))))
		if err == nil {
			err = os.WriteFile(path, []byte(text), 0o644) //nolint:gosec // a report, for all to read
		}
		done <- err
	}()
	return func() error { return <-done }
}

// phaseFigures are the measurements of a phase, and the resources it used.
type phaseFigures struct {
	*prepared.Measured
	cpu, own time.Duration      // of the server, and of this process
	logs     time.Duration      // of the servers of the log
	written  int64              // bytes, by both kinds of servers
	counted  map[string]float64 // by the server
}

func (p *phaseFigures) rate() float64 { return float64(p.Pings) / p.Lasts.Seconds() }

// perMillion returns seconds for a million pings.
func (p *phaseFigures) perMillion(used time.Duration) float64 {
	return used.Seconds() / float64(max(1, p.Pings)) * 1e6
}

func (l *lab) phase(ctx context.Context, server *installation, g *prepared.Generator, rate float64) (*phaseFigures, error) {
	f := &phaseFigures{counted: make(map[string]float64)}
	var failure error
	count := func(sign float64) {
		counted, err := server.scrape(ctx)
		for name, v := range counted {
			f.counted[name] += sign * v
		}
		failure = errors.Join(failure, err)
	}
	clock := func(sign time.Duration) {
		u, err := server.used()
		f.cpu += sign * u.cpu
		f.logs += sign * u.logs
		f.written += int64(sign) * u.written
		f.own += sign * ownCPU()
		failure = errors.Join(failure, err)
	}
	var err error
	f.Measured, err = g.Run(ctx, prepared.Phase{
		Rate: rate, Warm: l.warm, For: l.lasts,
		Began: func() { count(-1); clock(-1) }, // the counting itself is not measured
		Ended: func() { clock(1); count(1) },
	})
	return f, errors.Join(failure, err)
}

// lesser returns the lowest rate that was measured of a load if all servers are to have the same
// half load, else rate.
func (l *lab) lesser(c trafficCase, rate float64) float64 {
	if !l.nodes {
		return rate
	}
	for _, kind := range l.kinds() {
		if of := l.rates[c.load.name+string(kind)]; of > 0 {
			rate = min(rate, of)
		}
	}
	return rate
}

// ownCPU returns the CPU time that this process has taken.
func ownCPU() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // it cannot fail for oneself
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Pings that wait for the store and are not behind: those of some batches.
const (
	waiting     = 20_000
	mostBehind  = 15 * time.Second
	queuedPings = "pingline_queued_pings"
)

// behind waits until few pings wait for the store, and returns how many seconds it
// took.
func behind(ctx context.Context, server *installation) (float64, error) {
	began := time.Now()
	for {
		now, err := server.scrape(ctx)
		if err != nil {
			return 0, err
		}
		took := time.Since(began)
		if now[queuedPings] <= waiting || took > mostBehind {
			return took.Seconds(), nil
		}
		if err := pause.For(ctx, 50*time.Millisecond); err != nil {
			return 0, err
		}
	}
}

// remember keeps a rate, for how many pings are made next.
func (l *lab) remember(c trafficCase, kind serverKind, rate float64) {
	if l.rates == nil {
		l.rates = make(map[string]float64)
	}
	name := c.load.name + string(kind)
	l.rates[name] = max(l.rates[name], rate)
}

// most returns how many pings are made where they are compressed: more than are sent at
// the highest rate that was measured of this load, first at that rate and then at half.
func (l *lab) most(c trafficCase, kind serverKind) int {
	switch {
	case c.format != sim.Gzip && c.format != sim.Zstd:
		return 0
	case kind == floorServer:
		return min(l.riders*l.steps, int(c.load.guess)) // they are sent again
	}
	rate := l.rates[c.load.name+string(kind)]
	if rate == 0 {
		rate = c.load.guess
	}
	return int(max(2.2*rate, c.load.guess) * (l.warm + l.lasts).Seconds())
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
