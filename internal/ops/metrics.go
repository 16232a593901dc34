package ops

import (
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"pingline"
	"pingline/sink"
)

// Metrics are measured as it happens: times, which no part counts. Safe for
// concurrent use.
type Metrics struct {
	commit      prometheus.Histogram
	commitPings prometheus.Histogram
	request     *prometheus.HistogramVec
	write       *prometheus.HistogramVec
	freshness   *prometheus.HistogramVec
	recent      recents
}

// NewMetrics returns Metrics of nothing.
func NewMetrics() *Metrics {
	return &Metrics{
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "pingline_commit_seconds",
			Help:    "Time an append to the log took.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 17),
		}),
		commitPings: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "pingline_commit_pings",
			Help:    "Pings answered for by one append.",
			Buckets: prometheus.ExponentialBuckets(1, 4, 10),
		}),
		request: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "pingline_request_seconds",
			Help:    "Time from a request's arrival to its answer.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15),
		}, []string{"route", "status"}),
		write: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "pingline_write_seconds",
			Help:    "Time a write to the store took.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 15),
		}, []string{"shard"}),
		freshness: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "pingline_freshness_seconds",
			Help:    "Age of a ping when it was stored: now − ts.",
			Buckets: prometheus.ExponentialBuckets(0.05, 2, 18),
		}, []string{"lane"}),
	}
}

// ObserveCommit is told of each commit, and of how many pings were in it.
func (m *Metrics) ObserveCommit(took time.Duration, pings int) {
	m.commit.Observe(took.Seconds())
	m.commitPings.Observe(float64(pings))
}

// ObserveRequest is told of each request that was answered.
func (m *Metrics) ObserveRequest(route string, status int, took time.Duration) {
	m.request.WithLabelValues(route, strconv.Itoa(status)).Observe(took.Seconds())
}

// ObserveWrite is told of each write to a shard.
func (m *Metrics) ObserveWrite(shard string, seconds float64) {
	m.write.WithLabelValues(shard).Observe(seconds)
	m.recent.of(shard).write.observe(seconds)
}

// ObserveFreshness is told of each ping that a lane has stored, and of its age.
func (m *Metrics) ObserveFreshness(shard, lane string, seconds float64) {
	m.freshness.WithLabelValues(lane).Observe(seconds)
	m.recent.of(shard).freshness.observe(seconds)
}

// Handler serves the metrics of a node in Prometheus' format.
func (m *Metrics) Handler(p *Parts, self *Self) http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(m.commit, m.commitPings, m.request, m.write, m.freshness, counts{p, self},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}

// counts reads the counts of all parts when asked.
type counts struct {
	*Parts
	self *Self
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("pingline_"+name, help, labels, nil)
}

var (
	descPings       = desc("pings_total", "Pings by verdict, as of the end of their request.", "verdict")
	descHeld        = desc("held_total", "Held pings by what became of them.", "fate")
	descHolding     = desc("holding", "Pings held now.")
	descKept        = desc("kept_ratio", "Stored pings ÷ valid pings since the start.")
	descRejected    = desc("rejected_total", "Invalid pings by field.", "reason")
	descOutOfRange  = desc("out_of_range_total", "Optional numbers out of range, taken as unknown, by field.", "field")
	descWritten     = desc("written_total", "Pings stored, by the shard that took them.", "shard")
	descLines       = desc("lines_written_total", "Lines of our own stored, by the shard that took them.", "shard")
	descDead        = desc("dead_letters_total", "Pings the store refused, kept as dead letters.", "shard", "reason")
	descUnkept      = desc("dead_letters_unkept_total", "Of dead_letters_total, pings beyond the store's retention that were counted only: no room for more of them.", "shard")
	descDeadBytes   = desc("dead_letter_bytes", "Size of the dead letters, those that wait to be replayed included.")
	descDeadMost    = desc("dead_letter_max_bytes", "Size of the dead letters at which writing stops.")
	descReplayed    = desc("replayed_total", "Dead letters put back into the log.")
	descStopped     = desc("stopped", "1 while a shard stands still until an operator puts something right.", "shard", "reason")
	descQueueBytes  = desc("queue_bytes", "Size of the log.")
	descQueueAll    = desc("queue_pings_total", "Pings in the log that wait for the store, now, exactly.")
	descQueuePings  = desc("queue_pings", "Pings (lane own: lines) in the log that wait for the store. An estimate by lane; the sum is exact.", "shard", "lane")
	descQueueLag    = desc("queue_commits", "Commits of the log that a lane has not passed.", "shard", "lane")
	descQueueOldest = desc("queue_oldest_seconds", "Age of the oldest commit that waits.", "shard", "lane")
	descTrouble     = desc("log_trouble", "1 while appends cannot be made durable; /readyz says why.")
	descDamage      = desc("queue_damage_total", "Commits of the log that are damaged or missing.")
	descBreaker     = desc("breaker_state", "0 closed, 1 half-open, 2 open.", "shard")
	descInFlight    = desc("writes_in_flight", "Writes to the store under way.", "shard")
	descLimit       = desc("writes_limit", "Writes to the store that may be under way at once.", "shard")
	descSinkBytes   = desc("sink_bytes", "What batches on their way to the store take, and what is known of the commits they come from.")
	descHandedOver  = desc("handed_over", "1 while others stand in for a shard that is down.", "shard")
	descBusy        = desc("writer_busy_ratio", "Share of its life the writer spent on commits.")
	descFilter      = desc("filter_riders", "Tracks the filter knows.")
	descNew         = desc("new_tracks_total", "Tracks that the filter did not know.")
	descEvicted     = desc("filter_evicted_total", "Tracks forgotten for lack of room.")
	descLate        = desc("late_total", "Pings stored out of order.")
	descConflicts   = desc("conflicts_total", "Pings at an instant known with another position.")
	descReloads     = desc("reloads_total", "Times the state was read from the log anew.")
	descLevel       = desc("shed_level", "How much is given up, 0 to 4.")
	descFull        = desc("queue_full_seconds", "Time until the log is full at this rate; infinite if it will not be.")
	descInProgress  = desc("in_progress_bytes", "What requests in work take.")
	descReading     = desc("reading_bytes", "What reads in work take, until their answers have left.")
	descConnections = desc("connections", "Open connections.")
	descTurnedAway  = desc("connections_refused_total", "Connections refused, each one too many.")
	descDisplaced   = desc("connections_displaced_total", "Connections closed while they waited for their client, so that another had a place.")
	descSkipped     = desc("self_skipped_total", "Lines about ourselves not written, for overload or a log that does not take them.")
	descMemory      = desc("memory_bytes", "Memory of a part that grows with what comes in.", "account")
	descMemoryMost  = desc("memory_max_bytes", "What that part may take.", "account")
	descGap         = desc("conservation_gap", "What an equation of the accounts lacks; 0 when no request is in work.", "equation")
)

func (c counts) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

func (c counts) Collect(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	b := c.Books()
	for v := pingline.Accepted; int(v) < pingline.Verdicts; v++ {
		counter(descPings, b.Verdict(v), v.String())
	}
	counter(descHeld, b.Writer.Promoted, "promoted")
	counter(descHeld, b.Writer.Covered, "covered")
	gauge(descKept, b.Kept())
	gauge(descHolding, float64(b.Writer.Holding))
	for field, n := range b.Server.Reasons {
		counter(descRejected, n, field)
	}
	for field, n := range b.Server.OutOfRange {
		counter(descOutOfRange, n, field)
	}
	for i := range b.Shards {
		c.collectShard(&b.Shards[i], counter, gauge)
	}
	if size, err := c.Sink.DeadLetters().Bytes(); err == nil {
		gauge(descDeadBytes, float64(size))
	}
	gauge(descSinkBytes, float64(c.Sink.Memory()))
	gauge(descDeadMost, float64(c.DeadLetters))
	counter(descReplayed, b.Writer.Replayed)
	gauge(descQueueBytes, float64(c.Log.Bytes()))
	gauge(descQueueAll, float64(b.Sink.Pings.Queued))
	gauge(descTrouble, bit(c.Log.Trouble() != nil))
	counter(descDamage, b.Damaged)
	gauge(descBusy, b.Writer.Busy.Seconds()/b.Uptime.Seconds())
	gauge(descFilter, float64(b.Writer.Riders))
	counter(descNew, b.Writer.New)
	counter(descEvicted, b.Writer.Evicted)
	counter(descLate, b.Writer.Late)
	counter(descConflicts, b.Writer.Conflicts)
	counter(descReloads, b.Writer.Reloads)
	gauge(descLevel, float64(c.Overload.Level()))
	full := math.Inf(1)
	if d, ok := c.Overload.Full(); ok {
		full = d.Seconds()
	}
	gauge(descFull, full)
	gauge(descInProgress, float64(b.Server.InProgress))
	gauge(descReading, float64(b.Server.Reading))
	gauge(descConnections, float64(b.Server.Connections))
	counter(descTurnedAway, b.Server.TurnedAway)
	counter(descDisplaced, b.Server.Displaced)
	counter(descSkipped, c.self.skipped.Load())
	if c.Rollup != nil {
		collectRollup(c.Rollup.Stats(), counter, gauge)
	}
	for _, a := range c.accounts(&b) {
		gauge(descMemory, float64(a.bytes), a.name)
		gauge(descMemoryMost, float64(a.most), a.name)
	}
	for equation, gap := range b.Gaps() {
		gauge(descGap, float64(gap), equation)
	}
}

func (c counts) collectShard(st *sink.Stats, counter func(*prometheus.Desc, uint64, ...string), gauge func(*prometheus.Desc, float64, ...string)) {
	counter(descWritten, st.Written, st.Shard)
	counter(descLines, st.Lines, st.Shard)
	for reason, n := range st.DeadLetters {
		counter(descDead, n, st.Shard, reason)
	}
	counter(descUnkept, st.Unkept, st.Shard)
	for _, l := range st.Lanes {
		gauge(descQueuePings, float64(l.Queued), st.Shard, l.Lane)
		gauge(descQueueLag, float64(l.Behind), st.Shard, l.Lane)
		gauge(descQueueOldest, l.Oldest.Seconds(), st.Shard, l.Lane)
	}
	gauge(descBreaker, float64(st.Breaker), st.Shard)
	gauge(descInFlight, float64(st.InFlight), st.Shard)
	gauge(descLimit, float64(st.Limit), st.Shard)
	gauge(descHandedOver, bit(st.HandedOver), st.Shard)
	for _, reason := range sink.Stops {
		gauge(descStopped, bit(st.Stopped == reason), st.Shard, reason)
	}
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
