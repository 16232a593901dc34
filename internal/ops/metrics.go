package ops

import (
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"pingline/sink/route"
)

// Metrics measure times as they happen, since no part counts them. Safe for
// concurrent use.
type Metrics struct {
	commit, commitPings, request, write, freshness *prometheus.HistogramVec

	lastWrite sync.Map // *atomic.Int64, ns, by name of a shard

	recent  recents
	fresh   quantile      // since Freshness was called last
	skipped atomic.Uint64 // points about the node that were not written
}

// NewMetrics returns empty Metrics.
func NewMetrics() *Metrics {
	m := &Metrics{
		commit:      newHistogram("commit_seconds", prometheus.ExponentialBuckets(0.0001, 2, 17)),
		commitPings: newHistogram("commit_pings", prometheus.ExponentialBuckets(1, 4, 10)),
		request:     newHistogram("request_seconds", prometheus.ExponentialBuckets(0.0005, 2, 15)),
		write:       newHistogram("write_seconds", prometheus.ExponentialBuckets(0.001, 2, 15)),
		freshness:   newHistogram("freshness_seconds", prometheus.ExponentialBuckets(0.05, 2, 18)),
	}
	for _, h := range [...]*prometheus.HistogramVec{m.commit, m.commitPings} {
		h.WithLabelValues() // so that they are exposed before the first commit
	}
	return m
}

// newHistogram makes the histogram of that name in numbers.
func newHistogram(metric string, buckets []float64) *prometheus.HistogramVec {
	n := &numbers[slices.IndexFunc(numbers, func(n number) bool { return n.metric == metric })]
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "pingline_" + metric, Help: n.help, Buckets: buckets}, n.labels)
}

// ObserveCommit is told of each commit, and of how many pings were in it.
func (m *Metrics) ObserveCommit(took time.Duration, pings int) {
	m.commit.WithLabelValues().Observe(took.Seconds())
	m.commitPings.WithLabelValues().Observe(float64(pings))
	m.recent.commit.observe(took.Seconds())
}

// ObserveRequest is told of each request that was answered.
func (m *Metrics) ObserveRequest(route string, status int, took time.Duration) {
	m.request.WithLabelValues(route, strconv.Itoa(status)).Observe(took.Seconds())
	if strings.HasPrefix(route, "/v1/") { // probes would hide how long pings take
		m.recent.request.observe(took.Seconds())
	}
}

// ObserveWrite is told of each write to a shard.
func (m *Metrics) ObserveWrite(shard string, seconds float64) {
	m.write.WithLabelValues(shard).Observe(seconds)
	in(&m.recent.writes, shard).observe(seconds)
	last, _ := m.lastWrite.LoadOrStore(shard, new(atomic.Int64))
	last.(*atomic.Int64).Store(int64(seconds * float64(time.Second)))
}

// Writes returns how long the latest write to each shard took.
func (m *Metrics) Writes() map[string]time.Duration {
	latest := make(map[string]time.Duration)
	m.lastWrite.Range(func(shard, took any) bool {
		latest[shard.(string)] = time.Duration(took.(*atomic.Int64).Load())
		return true
	})
	return latest
}

// ObserveFreshness is told of the pings that a lane has stored in a write, of the age of
// each in seconds.
func (m *Metrics) ObserveFreshness(shard, lane string, ages iter.Seq[float64]) {
	h := m.freshness.WithLabelValues(lane)
	for seconds := range ages {
		h.Observe(seconds)
	}
	in(&m.recent.freshness, laneOf{shard, lane}).observeAll(ages)
	if lane != route.Backfill.String() {
		m.fresh.observeAll(ages)
	}
}

// Handler serves the numbers of a node in Prometheus' format.
func (m *Metrics) Handler(p *Parts) http.Handler {
	return promhttp.HandlerFor(m.registry(func() *snapshot { return p.snapshot(m) }), promhttp.HandlerOpts{})
}

// registry has all metrics of Prometheus.
func (m *Metrics) registry(s func() *snapshot) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(m.commit, m.commitPings, m.request, m.write, m.freshness, newCollector(s),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// processMetrics serves the metrics of the process alone.
func processMetrics() http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}

// collector reads the numbers of all parts when asked.
type collector struct {
	snapshot func() *snapshot
	descs    []*prometheus.Desc // of numbers; nil for a number that is not read here
}

func newCollector(s func() *snapshot) *collector {
	c := &collector{s, make([]*prometheus.Desc, len(numbers))}
	for i := range numbers {
		if n := &numbers[i]; n.metric != "" && n.kind != histogram {
			c.descs[i] = n.desc()
		}
	}
	return c
}

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		if d != nil {
			ch <- d
		}
	}
}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.snapshot()
	for i, d := range c.descs {
		if d == nil {
			continue
		}
		kind := prometheus.GaugeValue
		if numbers[i].kind == counter {
			kind = prometheus.CounterValue
		}
		numbers[i].read(s, func(v float64, labels ...string) { ch <- prometheus.MustNewConstMetric(d, kind, v, labels...) })
	}
}
