package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/klauspost/compress/gzip"

	"pingline"
	"pingline/dedupe"
	"pingline/ingest"
	"pingline/partition"
	"pingline/queue"
	"pingline/sim"
	"pingline/track"
)

const (
	measureFor  = 300 * time.Millisecond // each piece of code, at least
	measureDisk = time.Second
	commitSize  = 64 << 10 // bytes
)

// measureMachine replaces the figures that this machine can tell about itself.
func (c *planCmd) measureMachine(p *program, f *figures) error {
	const source = "measured on this machine"
	rate, err := commitRate(p, c.DataDir)
	if err != nil {
		return usageError{fmt.Errorf("--measure: %w", err)}
	}
	m, err := newSample(c.CellRes)
	if err != nil {
		return err
	}
	f.commits = figure{f.commits.Name, rate, f.commits.Unit, source + ", 64 KiB each, in " + c.DataDir}
	for _, x := range []struct {
		figure *figure
		work   func() (pings int, err error)
	}{
		{&f.decode, m.decode}, {&f.key, m.key}, {&f.judge, m.judge}, {&f.encode, m.encode}, {&f.line, m.line},
	} {
		ns, err := m.time(p, x.work)
		if err != nil {
			return fmt.Errorf("measure %s: %w", x.figure.Name, err)
		}
		x.figure.Value, x.figure.Source = ns, source
	}
	return nil
}

// commitRate returns how many commits a second a log on the disk of dir takes.
func commitRate(p *program, dir string) (rate float64, err error) {
	dir, err = os.MkdirTemp(dir, "pingline-plan-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	log, err := queue.Open(p, queue.Config{Dir: dir})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	payload, commits, began := make([]byte, commitSize), 0, time.Now()
	for ; time.Since(began) < measureDisk; commits++ {
		if _, err := log.Append(p, payload, queue.Totals{}, false); err != nil {
			return 0, err
		}
	}
	return float64(commits) / time.Since(began).Seconds(), nil
}

// sample is the pings of a small city, and all it takes to handle them.
type sample struct {
	pings  []pingline.Ping // in the order they are sent
	body   []byte          // of the first, a batch of them
	now    time.Time
	cells  partition.Cells
	keys   *partition.Keys
	filter *dedupe.Filter
	every  int64 // ms between two pings of a rider
	rounds int64 // how often the filter has judged them all

	decoded ingest.Decoded
	batch   dedupe.Batch
	buf     []byte
	packed  bytes.Buffer
	gzip    *gzip.Writer
}

const (
	sampledRiders = 10_000 // too many for a processor's cache
	sampledRounds = 10     // pings of each
	sampledBatch  = 5000
)

func newSample(cellRes int) (*sample, error) {
	m := &sample{now: time.Now()}
	city, err := sim.NewCity(sim.CityConfig{Riders: sampledRiders})
	if err != nil {
		return nil, err
	}
	m.every = city.Interval().Milliseconds()
	for k := range int64(sampledRounds) {
		at := m.now.UnixMilli() + (k-sampledRounds)*m.every
		for i := range sampledRiders {
			m.pings = append(m.pings, city.Ping(i, at-m.every, at))
		}
	}
	for i := range sampledBatch {
		m.body = append(track.AppendPing(m.body, &m.pings[i]), '\n')
	}
	if m.cells, err = partition.NewCells(cellRes); err != nil {
		return nil, err
	}
	shards, err := partition.NewShards(partition.Shard{Name: "a"})
	if err != nil {
		return nil, err
	}
	if m.keys, err = partition.NewKeys(partition.KeyConfig{Shards: shards}); err != nil {
		return nil, err
	}
	if m.filter, err = dedupe.New(dedupe.DefaultConfig()); err != nil {
		return nil, err
	}
	m.gzip, err = gzip.NewWriterLevel(&m.packed, gzip.BestSpeed)
	return m, err
}

// time returns how many ns work takes for a ping.
func (m *sample) time(p *program, work func() (int, error)) (ns float64, err error) {
	if _, err := work(); err != nil { // once for nothing: buffers grow
		return 0, err
	}
	pings, began := 0, time.Now()
	for time.Since(began) < measureFor {
		n, err := work()
		if err := errors.Join(err, p.Err()); err != nil {
			return 0, err
		}
		pings += n
	}
	return float64(time.Since(began).Nanoseconds()) / float64(pings), nil
}

func (m *sample) decode() (int, error) {
	m.decoded.Reset()
	limits := ingest.Limits{MaxPings: sampledBatch, Times: pingline.TimeLimits{MaxAge: time.Hour, MaxAhead: time.Minute}}
	err := m.decoded.Decode(m.body, limits, m.now)
	return len(m.decoded.Pings), err
}

func (m *sample) key() (int, error) {
	for i := range m.pings {
		p := &m.pings[i]
		m.keys.Of(m.cells.Of(&p.Fix), p.Rider, m.now)
	}
	return len(m.pings), nil
}

// judge lets the filter judge all pings, later each time than the time before.
func (m *sample) judge() (int, error) {
	shift := m.rounds * sampledRounds * m.every
	for i := range m.pings {
		e := pingline.Entry{Ping: m.pings[i]}
		e.At += shift
		m.filter.Judge(&m.batch, &e, dedupe.Bound{MaxError: 10, AccuracyCap: 50}, 1, time.Duration(shift)*time.Millisecond)
		m.batch.Entries, m.batch.Settled = m.batch.Entries[:0], m.batch.Settled[:0]
	}
	m.rounds++
	return len(m.pings), nil
}

func (m *sample) encode() (int, error) {
	m.buf = m.buf[:0]
	for i := range m.pings[:sampledBatch] {
		e := pingline.Entry{Ping: m.pings[i], Verdict: pingline.Accepted, Cell: 0x8539220ffffffff}
		m.buf = pingline.AppendEntry(m.buf, &e, m.now.UnixMilli())
	}
	return sampledBatch, nil
}

// line is what the sink does for each point.
func (m *sample) line() (int, error) {
	m.buf = m.buf[:0]
	for i := range m.pings[:sampledBatch] {
		e := pingline.Entry{Ping: m.pings[i], Verdict: pingline.Accepted, Cell: 0x8539220ffffffff}
		m.buf = pingline.AppendLine(m.buf, &e)
	}
	m.packed.Reset()
	m.gzip.Reset(&m.packed)
	_, err := m.gzip.Write(m.buf)
	return sampledBatch, errors.Join(err, m.gzip.Close())
}
