package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pingline/internal/node"
	"pingline/internal/pause"
	"pingline/internal/unit"
	"pingline/sim"
	"pingline/sim/audit"
	"pingline/tools/cluster/history"
)

// balancer sends each request to the next of the nodes that take pings, and holds it back while
// there is none: the city waits longer each time that a request fails. Safe for concurrent use.
type balancer struct {
	to    http.RoundTripper
	ready func() []string // URLs
	next  atomic.Uint64
}

// RoundTrip implements http.RoundTripper. A request that reached no node goes to another.
func (b *balancer) RoundTrip(r *http.Request) (*http.Response, error) {
	for again := false; ; again = true {
		list := b.ready()
		if again || len(list) == 0 {
			if err := pause.For(r.Context(), 50*time.Millisecond); err != nil {
				return nil, err
			}
		}
		if len(list) == 0 {
			continue
		}
		resp, err := b.try(r, list[b.next.Add(1)%uint64(len(list))])
		if dial := new(net.OpError); errors.As(err, &dial) && dial.Op == "dial" && r.GetBody != nil {
			continue
		}
		return resp, err
	}
}

// try sends a copy of a request to a node.
func (b *balancer) try(r *http.Request, to string) (*http.Response, error) {
	at, err := url.Parse(to)
	if err != nil {
		return nil, err
	}
	out := r.Clone(r.Context())
	out.URL.Host, out.Host = at.Host, at.Host
	if r.GetBody != nil {
		if out.Body, err = r.GetBody(); err != nil {
			return nil, err
		}
	}
	resp, err := b.to.RoundTrip(out)
	if resp != nil && resp.StatusCode == http.StatusServiceUnavailable {
		resp.Header.Set("Retry-After", "1") // or the silences were the city's
	}
	return resp, err
}

// cityDrive is the city that sends.
type cityDrive struct {
	*site
	load   *sim.Load
	ledger *audit.Ledger
	halt   context.CancelFunc
	done   chan error
	silent silences
}

// silences are the times without any answer.
type silences struct {
	mu      sync.Mutex    // guards what follows; nothing else is locked under it
	longest time.Duration // so far
	many    int           // of more than a second
}

// drive starts the city.
func (s *site) drive(o runFlags) (*cityDrive, error) {
	city, err := sim.NewCity(sim.CityConfig{Seed: o.seed, Riders: o.riders, Interval: time.Duration(float64(o.riders) / o.rate * float64(time.Second))})
	if err != nil {
		return nil, err
	}
	t := &cityDrive{site: s, ledger: audit.NewLedger(), done: make(chan error, 1)}
	t.ledger.Now = func() int64 { return time.Now().UnixMilli() }
	s.past.Tell(t.ledger.Record) // the roll-up has counted it again
	t.load, err = sim.NewLoad(sim.LoadConfig{
		URL: s.nodes[0].url, Phones: city, Seed: o.seed, Rate: o.rate, Batch: o.batch, Ledger: audit.Tee(t.ledger, s.past), Grace: patience, Timeout: 5 * time.Second,
		Transport: &balancer{to: &http.Transport{MaxIdleConnsPerHost: 16}, ready: s.ready},
	})
	if err != nil {
		return nil, err
	}
	var ctx context.Context
	ctx, t.halt = context.WithCancel(s.ctx)
	go func() { t.done <- t.load.Run(ctx) }()
	s.tasks.Go(func() { t.report(ctx) })
	return t, nil
}

// answered returns how many pings have a verdict.
func (t *cityDrive) answered() uint64 {
	c := t.load.Counters()
	return c.Answered()
}

// report says every ten seconds how the city does, and measures its silences.
func (t *cityDrive) report(ctx context.Context) {
	const tick = 50 * time.Millisecond
	last, at, told, before := t.answered(), time.Now(), time.Now(), uint64(0)
	for pause.For(ctx, tick) == nil {
		n, now := t.answered(), time.Now()
		if n == last {
			continue
		}
		if gap := now.Sub(at); gap > time.Second {
			t.say.line("answers again, after %.1f s without any", gap.Seconds())
			t.silent.mu.Lock()
			t.silent.many++
			t.silent.longest = max(t.silent.longest, gap)
			t.silent.mu.Unlock()
		}
		last, at = n, now
		if since := now.Sub(told); since >= 10*time.Second {
			t.say.line("%s pings answered, %s/s; nodes that take pings: %d", unit.Comma(float64(n)), unit.Comma(math.Round(float64(n-before)/since.Seconds())), len(t.ready()))
			told, before = now, n
		}
	}
}

// result is the end of a run.
type result struct {
	audit.Report
	logs    *history.LogReport
	refused map[int]uint64 // requests by status; 0: no answer
	longest time.Duration  // without any answer
	many    int
	errs    []error
}

func (r *result) sentence() string {
	again := fmt.Sprintf("%s without an answer", unit.Comma(float64(r.refused[0])))
	for _, status := range slices.Sorted(maps.Keys(r.refused)) {
		if status > 0 {
			again += fmt.Sprintf(", %s after %d", unit.Comma(float64(r.refused[status])), status)
		}
	}
	return fmt.Sprintf("%s; lost %d, out of bound %d; requests sent again: %s; without any answer for more than 1 s: %d times, %.1f s at most",
		r.Sentence(), r.Lost, r.OutOfBound, again, r.many, r.longest.Seconds())
}

func (r *result) err() error { return errors.Join(append(r.errs, r.Err(), r.logs.Err())...) }

// finish waits until all that was sent is answered, ends all nodes in order, which stores what
// they hold, has them started again bring it all to InfluxDB, and audits.
func (t *cityDrive) finish(ctx context.Context) (*result, error) {
	limited := func(do func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		return do(ctx)
	}
	t.say.line("the city stops")
	if err := limited(t.well); err != nil {
		return nil, err
	}
	t.halt()
	if err := <-t.done; err != nil {
		return nil, fmt.Errorf("the city: %w", err)
	}
	r := &result{refused: t.load.Counters().Refused}
	t.silent.mu.Lock()
	r.longest, r.many = t.silent.longest, t.silent.many
	t.silent.mu.Unlock()
	if n := t.load.Counters().Unanswered; n > 0 {
		r.errs = append(r.errs, fmt.Errorf("%d pings have no answer", n))
	}
	if err := limited(t.balanced); err != nil {
		r.errs = append(r.errs, err)
	}
	t.say.line("all nodes end, which stores what they hold, and start again")
	r.errs = append(r.errs, t.endNodes()...)
	for _, n := range t.nodes {
		if err := n.start(); err != nil {
			return nil, err
		}
	}
	if err := limited(t.settled); err != nil {
		return nil, err
	}
	t.say.line("auditing …")
	return r, t.audit(ctx, r)
}

// endNodes ends all nodes in order: first those that wait, as an owner leaves what it holds to a node that reads along.
func (t *cityDrive) endNodes() (errs []error) {
	var owners, rest []*pinglineNode
	for _, n := range t.nodes {
		if n.saw() == takesPings {
			owners = append(owners, n)
		} else {
			rest = append(rest, n)
		}
	}
	for _, list := range [][]*pinglineNode{rest, owners} {
		ended := make(chan error)
		for _, n := range list {
			go func() { ended <- n.stop(patience) }()
		}
		for range list {
			if err := <-ended; err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errs
}

// audit holds the store and the logs against the answers.
func (t *cityDrive) audit(ctx context.Context, r *result) error {
	cfg := node.DefaultConfig()
	cfg.Influx.Host, cfg.Influx.Timeout = t.influx.URL(), time.Minute
	stored, err := node.OpenStored(&cfg)
	if err != nil {
		return err
	}
	how := audit.Config{Totals: stored.PointsNamed, Lateness: 2 * time.Minute}
	if t.o.clock {
		how.Lateness -= mostStep // a window closes so much earlier by a clock that is ahead
	}
	t.read()
	<-t.hasRead
	r.logs, err = t.past.Check(ctx) // first: it tells the ledger more
	if err == nil {
		r.Report, err = how.Check(ctx, t.ledger, stored.Points)
	}
	return errors.Join(err, stored.Close())
}

// balanced returns once the counts of each process that takes pings add up: while pings come they
// need not.
func (t *cityDrive) balanced(ctx context.Context) error {
	for {
		var why error
		for _, n := range t.nodes {
			if n.saw() == takesPings {
				why = errors.Join(why, gap(ctx, n))
			}
		}
		if why == nil {
			return nil
		}
		if pause.For(ctx, lookEvery) != nil {
			return fmt.Errorf("before the end: %w", why)
		}
	}
}

// gap returns an error unless the counts of a node add up.
func gap(ctx context.Context, n *pinglineNode) error {
	list, err := metrics(ctx, n.ops)
	if err != nil {
		return fmt.Errorf("node %s: %w", n.name, err)
	}
	sums := 0
	for name, value := range list {
		if strings.HasPrefix(name, "pingline_conservation_gap{") {
			if sums++; value != "0" {
				return fmt.Errorf("node %s: %s is %s", n.name, name, value)
			}
		}
	}
	if sums == 0 {
		return fmt.Errorf("node %s tells no sums of its counts", n.name)
	}
	return nil
}

// settled returns once there is a node for each part whose log has been written to InfluxDB.
func (t *cityDrive) settled(ctx context.Context) error {
	for {
		done := 0
		var why error
		for _, n := range t.nodes {
			if n.saw() != takesPings {
				continue
			}
			if err := atEnd(ctx, n.ops); err != nil {
				why = err
			} else {
				done++
			}
		}
		if done >= t.o.parts {
			return nil
		}
		if err := pause.For(ctx, lookEvery); err != nil {
			return fmt.Errorf("%d of %d nodes have written all: %w", done, t.o.parts, errors.Join(err, why))
		}
	}
}

// atEnd returns nil if all lanes of a node are at the end of its log.
func atEnd(ctx context.Context, ops string) error {
	list, err := metrics(ctx, ops)
	if err != nil {
		return err
	}
	lanes := 0
	for name, value := range list {
		waits := strings.HasPrefix(name, "pingline_queue_commits{") || strings.HasPrefix(name, "pingline_conservation_gap{") || name == "pingline_queued_pings"
		if waits && value != "0" {
			return errors.New(name + " " + value)
		}
		if strings.HasPrefix(name, "pingline_queue_commits{") {
			lanes++
		}
	}
	if lanes < 4 {
		return fmt.Errorf("%d lanes", lanes)
	}
	return nil
}

// metrics returns the values that a node tells, by name.
func metrics(ctx context.Context, ops string) (map[string]string, error) {
	text, err := get(ctx, ops+"/metrics")
	if err != nil {
		return nil, err
	}
	list := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		list[name] = value
	}
	return list, nil
}

// get returns the answer of a node.
func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody) // #nosec G704: a node of ours
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req) // #nosec G704: likewise
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(resp.Body)
	return text, errors.Join(err, resp.Body.Close())
}
