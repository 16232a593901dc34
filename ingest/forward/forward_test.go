package forward

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"pingline"
	"pingline/dedupe"
	"pingline/ingest"
	"pingline/ingest/server/certs/certstest"
	"pingline/partition"
)

// patience is for events that come at once on a machine that is not busy.
const patience = 2 * time.Minute

const t0 = 1_760_000_000_000

var secret = []byte("a secret of all the nodes")

// judge is a writer that judges by the time of a ping alone, and knows riders.
type judge struct {
	mu     sync.Mutex
	known  map[string]bool
	pings  int
	jobs   int
	bound  dedupe.Bound
	urgent int
	last   time.Duration // Patience of the last job

	refuse error
	before func(*ingest.Job) // called before a job is judged
}

func verdictOf(p *pingline.Ping) pingline.Verdict {
	return pingline.Accepted + pingline.Verdict(p.At%4)
}

func (g *judge) Submit(j *ingest.Job) error {
	if g.before != nil {
		g.before(j)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	j.Bound, j.New, j.Over, j.Verdicts = g.bound, 0, j.Over[:0], j.Verdicts[:0]
	if len(j.Pings) == 0 {
		return nil
	}
	if g.refuse != nil {
		return g.refuse
	}
	room := len(j.Pings)
	if j.Allowance != nil {
		room = j.Allowance.Room()
	}
	for i := range j.Pings {
		p := &j.Pings[i]
		if !g.known[p.Rider] {
			if j.New == room {
				j.Verdicts, j.Over = append(j.Verdicts, pingline.Shed), append(j.Over, int32(i))
				continue
			}
			j.New++
			if g.known == nil {
				g.known = make(map[string]bool)
			}
			g.known[strings.Clone(p.Rider)] = true
		}
		j.Verdicts = append(j.Verdicts, verdictOf(p))
	}
	if j.Allowance != nil {
		if len(j.Over) == len(j.Pings) {
			if err := j.Allowance.Refusal(); err != nil {
				return err
			}
		}
		j.Allowance.Pay(j.New)
	}
	g.pings, g.jobs, g.last = g.pings+len(j.Pings), g.jobs+1, j.Patience
	if j.Urgent {
		g.urgent++
	}
	return nil
}

// nodes are Forwarders that know one another.
type nodes struct {
	t     testing.TB
	parts int

	mu        sync.Mutex
	addrs     map[int]string // by part
	suspected []string

	list []*Forwarder
	stop []func()
}

func newNodes(t testing.TB, parts int) *nodes {
	return &nodes{t: t, parts: parts, addrs: make(map[int]string)}
}

func (ns *nodes) owner(part int) string {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	return ns.addrs[part]
}

func (ns *nodes) set(part int, addr string) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	ns.addrs[part] = addr
}

func (ns *nodes) suspects() int {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	return len(ns.suspected)
}

// add adds a node that owns a part, or none if own is -1.
func (ns *nodes) add(own int, local func(*ingest.Job) error, change func(*Config)) *Forwarder {
	ns.t.Helper()
	ln := listen(ns.t)
	cfg := Config{
		Parts: ns.parts, Own: own, Local: local, Owner: ns.owner, Name: func(part int) string { return fmt.Sprint("n", part) }, Peer: Security{Secret: secret}, Patience: patience,
		Suspect: func(part int, addr string) {
			ns.mu.Lock()
			defer ns.mu.Unlock()
			ns.suspected = append(ns.suspected, fmt.Sprintf("%d at %s", part, addr))
		},
		Logger: slog.New(slog.DiscardHandler), idle: 50 * time.Millisecond,
	}
	if change != nil {
		change(&cfg)
	}
	f, err := New(cfg, ln)
	if err != nil {
		ns.t.Fatal(err)
	}
	if own >= 0 {
		ns.set(own, f.Addr().String())
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			ns.t.Errorf("node of part %d: %v", own, err)
		}
	})
	ns.t.Cleanup(stop)
	ns.list, ns.stop = append(ns.list, f), append(ns.stop, stop)
	return f
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

// jobOf has pings of riders, interleaved.
func jobOf(riders []string, each int) *ingest.Job {
	j := new(ingest.Job)
	for k := range each {
		for i, r := range riders {
			p := pingline.Ping{Rider: r, Fix: pingline.Fix{At: t0 + int64(i*7+k), LatE7: 410000000, LonE7: int32(-80000000 - i)}}
			j.Pings, j.Cells = append(j.Pings, p), append(j.Cells, 0x85392a8ffffffff)
		}
	}
	return j
}

// ridersOf returns n riders of a part, or of all parts if it is -1.
func ridersOf(part, parts, n int) (list []string) {
	for i := 0; len(list) < n; i++ {
		if r := fmt.Sprintf("r-%d", i); part < 0 || partition.Part(r, parts) == part {
			list = append(list, r)
		}
	}
	return list
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func checkVerdicts(t testing.TB, j *ingest.Job) {
	t.Helper()
	if len(j.Verdicts) != len(j.Pings) {
		t.Fatalf("%d verdicts of %d pings", len(j.Verdicts), len(j.Pings))
	}
	for i := range j.Pings {
		if want := verdictOf(&j.Pings[i]); j.Verdicts[i] != want {
			t.Fatalf("ping %d is %v, want %v", i, j.Verdicts[i], want)
		}
	}
}

func TestVerdictsComeInOrder(t *testing.T) {
	ns := newNodes(t, 4)
	judges := make([]judge, 4)
	for p := range judges {
		judges[p].bound = dedupe.Bound{MaxError: float64(10 + p%2), AccuracyCap: float64(30 - p)}
		ns.add(p, judges[p].Submit, nil)
	}
	away := new(judge)
	without := ns.add(-1, away.Submit, nil)
	riders := ridersOf(-1, 4, 1000)
	for _, f := range []*Forwarder{without, ns.list[1]} {
		j := jobOf(riders, 3)
		if err := f.Submit(j); err != nil {
			t.Fatal(err)
		}
		checkVerdicts(t, j)
		if j.Bound != (dedupe.Bound{MaxError: 11, AccuracyCap: 30}) || len(j.Over) > 0 {
			t.Errorf("bound %+v, %d over", j.Bound, len(j.Over))
		}
		if first := f == without; first != (j.New == 1000) {
			t.Errorf("%d tracks are new", j.New)
		}
	}
	s, own := without.Stats(), ns.list[1].Stats()
	total, want := uint64(0), [pingline.Verdicts]uint64{}
	for _, p := range jobOf(riders, 3).Pings {
		want[verdictOf(&p)]++
	}
	for p := range judges {
		total += ns.list[p].Stats().Taken
	}
	if s.Sent != want || s.Jobs != 4 || s.Messages != 4 || s.InProgress != 0 || away.pings != 0 {
		t.Errorf("counts %+v, want verdicts %v", s, want)
	}
	elsewhere := uint64(3 * (1000 - len(slices.DeleteFunc(slices.Clone(riders), func(r string) bool { return partition.Part(r, 4) != 1 }))))
	if total != 3000+elsewhere || own.Sent[1]+own.Sent[2]+own.Sent[3]+own.Sent[4] != elsewhere {
		t.Errorf("%d pings were taken, %d sent; %d are of other parts", total, own.Sent, elsewhere)
	}
}

func TestJobsOfTheNodeItself(t *testing.T) {
	ns := newNodes(t, 2)
	var here judge
	f := ns.add(0, here.Submit, nil)
	own := jobOf(ridersOf(0, 2, 10), 10)
	if n := testing.AllocsPerRun(100, func() { _ = f.Submit(own) }); n > 0 {
		t.Errorf("pings of the own part take %v allocations", n)
	}
	checkVerdicts(t, own)
	line := jobOf(ridersOf(1, 2, 1), 1)
	line.Entries = []pingline.Entry{{Kind: pingline.Self, Line: "a b=1 2"}}
	if err := f.Submit(line); err != nil {
		t.Errorf("a job with entries: %v", err)
	}
	if err := f.Submit(new(ingest.Job)); err != nil || f.Stats() != (Stats{}) {
		t.Errorf("an empty job: %v, %+v", err, f.Stats())
	}
}

func TestPartWithoutANode(t *testing.T) {
	ns := newNodes(t, 4)
	judges := make([]judge, 4)
	for p := range 3 {
		ns.add(p, judges[p].Submit, nil)
	}
	judges[0].bound.MaxError = 7
	j := jobOf(ridersOf(-1, 4, 100), 1)
	paid := allowance{room: 1000}
	j.Allowance = &paid
	err := ns.list[0].Submit(j)
	if !errors.Is(err, ingest.ErrUnavailable) || err.Error() != "part 3 has no node now: not stored, send again" {
		t.Errorf("%v", err)
	}
	new012 := len(judges[0].known) + len(judges[1].known) + len(judges[2].known)
	s := ns.list[0].Stats()
	if s.Unanswered != uint64(judges[0].pings) || s.Sent != [pingline.Verdicts]uint64{} || s.Away != 1 || j.New != 0 || j.Bound.MaxError != 7 || paid.paid != new012 {
		t.Errorf("counts %+v, bound %+v, %d of %d new tracks were paid", s, j.Bound, paid.paid, new012)
	}
	judges[1].refuse = fmt.Errorf("the log is full: %w", ingest.ErrUnavailable)
	ns.add(3, judges[3].Submit, nil)
	if err := ns.list[0].Submit(j); !errors.Is(err, ingest.ErrUnavailable) || err.Error() != "part 1, node n1: the log is full: not stored, send again" {
		t.Errorf("%v", err)
	}
	judges[2].refuse = ingest.ErrTooLarge
	if err := ns.list[0].Submit(j); !errors.Is(err, ingest.ErrTooLarge) {
		t.Errorf("a part too large, another away: %v", err)
	}
	judges[1].refuse, judges[2].refuse = ingest.ErrOnlyEvents, nil
	if err := ns.list[0].Submit(j); !errors.Is(err, ingest.ErrOnlyEvents) {
		t.Errorf("a part that takes events only: %v", err)
	}
	judges[1].refuse = errors.New("a line without end")
	if err := ns.list[0].Submit(j); !errors.Is(err, ingest.ErrUnavailable) {
		t.Errorf("a part with an error of its own: %v", err)
	}
	judges[1].refuse = nil
	if err := ns.list[0].Submit(j); err != nil {
		t.Fatal(err)
	}
	checkVerdicts(t, j)
	if ns.suspects() > 0 {
		t.Errorf("nodes that answer are suspected: %v", ns.suspected)
	}
}

// A client that prefers so is told the verdicts of the parts that are there.
func TestPartial(t *testing.T) {
	ns := newNodes(t, 4)
	judges := make([]judge, 4)
	for p := range 3 {
		ns.add(p, judges[p].Submit, nil)
	}
	f := ns.list[0]
	submit := func(riders []string) (*ingest.Job, error) {
		j := jobOf(riders, 2)
		j.Partial = true
		return j, f.Submit(j)
	}
	check := func(name, why string, away ...int) {
		t.Helper()
		before, local := f.Stats(), judges[0].pings
		j, err := submit(ridersOf(-1, 4, 1000))
		if err != nil || j.Away == nil || j.Away.Error() != why || len(j.Verdicts) != len(j.Pings) {
			t.Fatalf("%s: %v, away %v, %d verdicts", name, err, j.Away, len(j.Verdicts))
		}
		none, sent := uint64(0), uint64(0)
		for i, v := range j.Verdicts {
			part := partition.Part(j.Pings[i].Rider, 4)
			switch {
			case slices.Contains(away, part):
				if none++; v != 0 {
					t.Fatalf("%s: ping %d of part %d is %v", name, i, part, v)
				}
			case v != verdictOf(&j.Pings[i]):
				t.Fatalf("%s: ping %d of part %d is %v, want %v", name, i, part, v, verdictOf(&j.Pings[i]))
			case part != 0:
				sent++
			}
		}
		now, by := f.Stats(), uint64(0)
		for v := range now.Sent {
			by += now.Sent[v] - before.Sent[v]
		}
		if now.Unavailable-before.Unavailable != none || by != sent || now.Unanswered != before.Unanswered ||
			uint64(len(j.Pings)) != uint64(judges[0].pings-local)+sent+none {
			t.Errorf("%s: counts %+v, were %+v: %d without a verdict, %d of peers", name, now, before, none, sent)
		}
	}
	check("a part without a node", "part 3 has no node now: not stored, send again", 3)
	if j, err := submit(ridersOf(3, 4, 10)); !errors.Is(err, ingest.ErrUnavailable) || j.Away != nil || f.Stats().Unanswered > 0 {
		t.Errorf("no part is there: %v, %v", err, j.Away)
	}
	judges[0].refuse = fmt.Errorf("the log is full: %w", ingest.ErrUnavailable)
	check("the own part and another", "the log is full: not stored, send again", 0, 3)
	judges[0].refuse, judges[1].refuse = nil, ingest.ErrOnlyEvents
	ns.add(3, judges[3].Submit, nil)
	check("a part that takes events only", ingest.ErrOnlyEvents.Error(), 1)
	judges[1].refuse = ingest.ErrTooLarge
	if j, err := submit(ridersOf(-1, 4, 100)); !errors.Is(err, ingest.ErrTooLarge) || j.Away != nil {
		t.Errorf("a part is too large: %v, %v", err, j.Away)
	}
	judges[1].refuse = ingest.ErrOnlyEvents
	fresh := jobOf(ridersOf(-1, 4, 1100)[1000:], 1)
	fresh.Partial, fresh.Allowance = true, new(allowance)
	if err := f.Submit(fresh); err != errOver || fresh.New != 0 {
		t.Errorf("new riders only, a part away: %v", err)
	}
	judges[1].refuse = nil
	if j, err := submit(ridersOf(-1, 4, 1000)); err != nil || j.Away != nil {
		t.Errorf("all parts are there: %v, %v", err, j.Away)
	} else {
		checkVerdicts(t, j)
	}
}

// allowance counts.
type allowance struct{ room, paid int }

var errOver = errors.New("over the rate of new riders")

func (a *allowance) Room() int      { return a.room }
func (a *allowance) Pay(n int)      { a.paid += n }
func (a *allowance) Refusal() error { return errOver }

func TestRoomForNewTracks(t *testing.T) {
	ns := newNodes(t, 2)
	judges := make([]judge, 2)
	for p := range judges {
		ns.add(p, judges[p].Submit, nil)
	}
	f := ns.list[0]
	riders := ridersOf(-1, 2, 40)
	j, a := jobOf(riders, 1), &allowance{room: 3}
	j.Allowance = a
	if err := f.Submit(j); err != nil || j.New != 6 || a.paid != 6 || len(j.Over) != 34 || !slices.IsSorted(j.Over) {
		t.Fatalf("%v: %d new, %d paid, over %v", err, j.New, a.paid, j.Over)
	}
	for i, v := range j.Verdicts {
		_, over := slices.BinarySearch(j.Over, int32(i))
		if want := verdictOf(&j.Pings[i]); over && v != pingline.Shed || !over && v != want {
			t.Errorf("ping %d, beyond the room %v: %v, want %v", i, over, v, want)
		}
	}
	fresh, none := jobOf(ridersOf(-1, 2, 140)[100:], 1), &allowance{}
	fresh.Allowance = none
	if err := f.Submit(fresh); err != errOver || len(fresh.Over) != 40 || fresh.New != 0 || none.paid != 0 {
		t.Errorf("%v: %d over", err, len(fresh.Over))
	}
	known := jobOf(riders, 1)
	known.Allowance = none
	if err := f.Submit(known); err != nil || len(known.Over) != 34 {
		t.Errorf("%v: %d over", err, len(known.Over))
	}
	if s := f.Stats(); s.Unanswered == 0 || s.Away != 0 {
		t.Errorf("counts %+v", s)
	}
	free := jobOf(riders, 1)
	free.Allowance = &allowance{room: 1 << 40}
	if err := f.Submit(free); err != nil || free.New != 34 || len(free.Over) > 0 {
		t.Errorf("%v: %d new, %d over", err, free.New, len(free.Over))
	}
}

// Jobs that come while messages are under way share the next; an urgent job waits for none of them.
func TestJobsShareMessages(t *testing.T) {
	ns := newNodes(t, 2)
	open := make(chan struct{})
	let := sync.OnceFunc(func() { close(open) })
	peer := judge{before: func(j *ingest.Job) {
		if !j.Urgent {
			<-open
		}
	}}
	ns.add(1, peer.Submit, nil)
	f := ns.add(0, new(judge).Submit, nil)
	t.Cleanup(let)
	riders := ridersOf(1, 2, 200)
	var all sync.WaitGroup
	for _, r := range riders {
		all.Go(func() {
			j := jobOf([]string{r}, 2)
			if err := f.Submit(j); err != nil {
				t.Error(err)
			}
			checkVerdicts(t, j)
		})
	}
	until(t, "all jobs wait", func() bool { return f.Stats().InProgress == 200 && f.Stats().Messages > 0 })
	urgent := jobOf(riders[:1], 1)
	urgent.Urgent = true
	if err := f.Submit(urgent); err != nil || peer.urgent != 1 {
		t.Errorf("an urgent job: %v, %d were urgent", err, peer.urgent)
	}
	let()
	all.Wait()
	if s := f.Stats(); s.Messages > 3*mostSent || s.Jobs != 201 || peer.pings != 401 {
		t.Errorf("counts %+v, %d pings were judged", s, peer.pings)
	}
	if peer.last <= 0 || peer.last > patience-time.Second/2 {
		t.Errorf("the owner may take %v", peer.last)
	}
}

// fakePeer is a peer that answers a connection in its own way, and counts connections.
func fakePeer(t testing.TB, answer func(net.Conn)) (addr string, came *atomic.Int64) {
	ln := listen(t)
	came = new(atomic.Int64)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			came.Add(1)
			go func() {
				defer c.Close()
				answer(c)
			}()
		}
	}()
	return ln.Addr().String(), came
}

// respond reads a request and answers it.
func respond(status int, head, body string) func(net.Conn) {
	return func(c net.Conn) {
		for in := bufio.NewReader(c); ; {
			req, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, req.Body)
			fmt.Fprintf(c, "HTTP/1.1 %d x\r\n%sContent-Length: %d\r\n\r\n%s", status, head, len(body), body)
		}
	}
}

func TestPeerDiesBeforeItAnswers(t *testing.T) {
	ns := newNodes(t, 2)
	messages := new(atomic.Int64)
	addr, came := fakePeer(t, func(c net.Conn) {
		if req, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.Copy(io.Discard, req.Body)
			messages.Add(1)
		}
	})
	f := ns.add(0, new(judge).Submit, nil)
	ns.set(1, addr)
	began := time.Now()
	j := jobOf(ridersOf(1, 2, 3), 1)
	err := f.Submit(j)
	if want := "part 1, node n1: the connection was closed before the answer came: "; !errors.Is(err, ingest.ErrUnavailable) || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
	if ns.suspects() != 1 || messages.Load() != 1 {
		t.Errorf("%d suspicions, %d messages", ns.suspects(), messages.Load())
	}
	for range 2000 {
		if err := f.Submit(j); !errors.Is(err, ingest.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	if n, most := came.Load(), int64(time.Since(began)/againEvery)+2; n > most || f.Stats().Messages > uint64(most) {
		t.Errorf("%d connections for 2,000 jobs, more than %d", n, most)
	}
	// Another node takes the part, and later the first address answers again.
	var peer judge
	ns.add(1, peer.Submit, nil)
	if err := f.Submit(j); err != nil {
		t.Error(err)
	}
}

func TestPeerIsBackAtItsAddress(t *testing.T) {
	ns := newNodes(t, 2)
	f := ns.add(0, new(judge).Submit, nil)
	ln := listen(t)
	addr := ln.Addr().String()
	_ = ln.Close()
	ns.set(1, addr)
	j := jobOf(ridersOf(1, 2, 3), 1)
	if err := f.Submit(j); !errors.Is(err, ingest.ErrUnavailable) || !strings.Contains(err.Error(), "part 1, node n1: connection refused: ") {
		t.Fatalf("%v", err)
	}
	peer := newNodes(t, 2)
	again, err := net.Listen("tcp", addr)
	if err != nil {
		t.Skipf("the port was taken meanwhile: %v", err)
	}
	g, err := New(Config{Parts: 2, Own: 1, Local: new(judge).Submit, Owner: peer.owner, Peer: Security{Secret: secret}}, again)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	until(t, "the peer is asked again", func() bool { return f.Submit(j) == nil })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestPeerThatDoesNotAnswer(t *testing.T) {
	ns := newNodes(t, 2)
	end := make(chan struct{})
	addr, _ := fakePeer(t, func(net.Conn) { <-end })
	defer close(end)
	f := ns.add(0, new(judge).Submit, func(c *Config) { c.Patience = 100 * time.Millisecond })
	ns.set(1, addr)
	j := jobOf(ridersOf(-1, 2, 30), 1)
	if err := f.Submit(j); !errors.Is(err, ingest.ErrUnavailable) || !strings.Contains(err.Error(), "part 1, node n1: no answer in time: ") {
		t.Errorf("%v", err)
	}
	until(t, "the peer is suspected", func() bool { return ns.suspects() > 0 })
	j.Patience = time.Millisecond
	if err := f.Submit(j); !errors.Is(err, ingest.ErrUnavailable) {
		t.Errorf("%v", err)
	}
}

// A call is not waited for once its part has no owner, or another: the peer may be suspended.
func TestPeerLosesItsPart(t *testing.T) {
	for now, why := range map[string]string{"": "its node does not answer, and has lost the part", "127.0.0.1:1": "another node has taken the part"} {
		ns := newNodes(t, 2)
		asked, end := make(chan struct{}, 10), make(chan struct{})
		addr, _ := fakePeer(t, func(net.Conn) { asked <- struct{}{}; <-end })
		f := ns.add(0, new(judge).Submit, func(c *Config) { c.Patience = 10 * patience })
		ns.set(1, addr)
		done := make(chan error)
		j := jobOf(ridersOf(-1, 2, 30), 1)
		go func() { done <- f.Submit(j) }()
		<-asked
		ns.set(1, now)
		select {
		case err := <-done:
			if want := "part 1, node n1: " + why + ": not stored, send again"; !errors.Is(err, ingest.ErrUnavailable) || err.Error() != want {
				t.Errorf("%v, want %s", err, want)
			}
		case <-time.After(patience):
			t.Errorf("owner %q: the request waits still", now)
		}
		close(end)
	}
}

// Nodes whose clocks differ too much tell so, and no strangers are told the time.
func TestClocksOfPeers(t *testing.T) {
	for by, want := range map[time.Duration]string{6 * time.Minute: "its clock is 6m", -2 * time.Hour: "its clock is 2h0m"} {
		ns := newNodes(t, 2)
		other := ns.add(1, new(judge).Submit, nil)
		other.seal.now = func() time.Time { return time.Now().Add(by) }
		f := ns.add(0, new(judge).Submit, nil)
		err := f.Submit(jobOf(ridersOf(1, 2, 5), 1))
		side := map[bool]string{true: " ahead of ours", false: " behind ours"}[by > 0]
		if !errors.Is(err, ingest.ErrUnavailable) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), side+": no more than 5m0s is allowed") {
			t.Errorf("%v: %v", by, err)
		}
		if list := f.Trouble(); len(list) != 1 || !strings.HasPrefix(list[0], "part 1, node n1: "+want) {
			t.Errorf("%v: in trouble is %q", by, list)
		}
		resp, err := http.Post("http://"+other.Addr().String()+forwardPath, "", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized || resp.Header.Get(clockHeader) != "" {
			t.Errorf("a stranger gets %d %v", resp.StatusCode, resp.Header)
		}
	}
}

func TestPeersThatAreNotOurs(t *testing.T) {
	for _, tt := range []struct {
		name    string
		change  func(*Config)
		text    string
		suspect bool
		refused uint64
	}{
		{"another secret", func(c *Config) { c.Peer.Secret = []byte("a secret of some others") }, "does not take this node for a peer", false, 1},
		{"another number of parts", func(c *Config) { c.Parts = 8 }, "not the owner of part 1 of 4: this node has part 1 of 8", true, 0},
		{"another part", func(c *Config) { c.Own = 2 }, "not the owner of part 1 of 4: this node has part 2 of 4", true, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ns := newNodes(t, 4)
			var peer judge
			other := ns.add(1, peer.Submit, tt.change)
			f := ns.add(0, new(judge).Submit, nil)
			err := f.Submit(jobOf(ridersOf(1, 4, 5), 1))
			if !errors.Is(err, ingest.ErrUnavailable) || !strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), "secret of") {
				t.Errorf("%v, want %q", err, tt.text)
			}
			if (ns.suspects() > 0) != tt.suspect || other.Stats().Refused != tt.refused || peer.jobs > 0 {
				t.Errorf("suspected %v, %d refused, %d jobs judged", ns.suspected, other.Stats().Refused, peer.jobs)
			}
		})
	}
	for _, tt := range []struct {
		name, head string
		status     int
		body, text string
	}{
		{"a newer form", "", 400, "a message of form 1, this node knows 2", "400, a message of form 1, this node knows 2: "},
		{"an answer that nobody proves", "", 200, "\x01\x01\x00", "its answer is not proved"},
		{"an answer that is proved wrongly", proofHeader + ": 00\r\n", 200, "\x01\x01\x00", "its answer is not proved"},
		{"an error with control characters", "", 500, "a\x00b\x1bc", "500, a?b?c: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ns := newNodes(t, 2)
			addr, _ := fakePeer(t, respond(tt.status, tt.head, tt.body))
			f := ns.add(0, new(judge).Submit, nil)
			ns.set(1, addr)
			if err := f.Submit(jobOf(ridersOf(1, 2, 5), 1)); !errors.Is(err, ingest.ErrUnavailable) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("%v, want %q", err, tt.text)
			}
		})
	}
}

// post sends a body to a node as a peer would.
func post(t testing.TB, addr string, key []byte, at time.Time, body []byte) (status int, answer string) {
	t.Helper()
	s := newSeal(key)
	s.now = func() time.Time { return at }
	req, err := http.NewRequest(http.MethodPost, "http://"+addr+forwardPath, strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	stamp, _ := s.stamp(http.MethodPost, forwardPath, "", body)
	req.Header.Set(peerHeader, stamp)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestMessagesThatAreWrong(t *testing.T) {
	ns := newNodes(t, 2)
	var peer judge
	f := ns.add(1, peer.Submit, nil)
	addr := f.Addr().String()
	good := messageOf(2, 1, jobOf(ridersOf(1, 2, 3), 1))
	nowhere := jobOf(ridersOf(1, 2, 1), 1)
	nowhere.Pings[0].LatE7, nowhere.Pings[0].LonE7 = 0, 0
	now := time.Now()
	change := func(b []byte, i int, v byte) []byte { b = slices.Clone(b); b[i] = v; return b }
	for _, tt := range []struct {
		name   string
		key    []byte
		at     time.Time
		body   []byte
		status int
		text   string
	}{
		{"as it should be", secret, now, good, 200, "\x01\x01\x00"},
		{"four minutes behind", secret, now.Add(-4 * time.Minute), good, 200, "\x01\x01\x00"},
		{"six minutes behind", secret, now.Add(-6 * time.Minute), good, 401, "not proved"},
		{"six minutes ahead", secret, now.Add(6 * time.Minute), good, 401, "not proved"},
		{"another secret", []byte("0123456789abcdef"), now, good, 401, "not proved"},
		{"nothing", secret, now, nil, 400, "form 0"},
		{"a newer form", secret, now, change(good, 0, 2), 400, "a message of form 2, this node knows 1"},
		{"another part", secret, now, change(good, 2, 0), 421, "not the owner of part 0 of 2"},
		{"riders of another part", secret, now, messageOf(2, 1, jobOf(ridersOf(0, 2, 3), 1)), 421, "a ping of part 0"},
		{"a ping that is not valid", secret, now, messageOf(2, 1, nowhere), 400, "position 0,0 is refused"},
		{"no job", secret, now, []byte{form, 2, 1, 0}, 400, "0 jobs"},
		{"cut", secret, now, good[:len(good)-1], 400, "job 1 of 1"},
		{"longer", secret, now, append(slices.Clone(good), 0), 400, "1 bytes behind its end"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if status, text := post(t, addr, tt.key, tt.at, tt.body); status != tt.status || !strings.Contains(text, tt.text) {
				t.Errorf("%d, %q; want %d, %q", status, text, tt.status, tt.text)
			}
		})
	}
	// The body of another request behind a head that is proved, and a head that promises too much.
	stamp, _ := newSeal(secret).stamp(http.MethodPost, forwardPath, "", good)
	for _, tt := range []struct {
		length, body, want string
	}{
		{fmt.Sprint(len(good)), strings.Repeat("x", len(good)), "HTTP/1.1 401 "},
		{fmt.Sprint(maxBody + 1), strings.Repeat("x", 64<<10), "HTTP/1.1 413 "},
	} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\n%s: %s\r\nContent-Length: %s\r\n\r\n%s", forwardPath, peerHeader, stamp, tt.length, tt.body)
		line, err := bufio.NewReader(c).ReadString('\n')
		if !strings.HasPrefix(line, tt.want) {
			t.Errorf("%q, %v, want %s", line, err, tt.want)
		}
		_ = c.Close()
	}
	if s := f.Stats(); s.Refused != 4 || s.Taken != 6 || peer.jobs != 2 {
		t.Errorf("counts %+v, %d jobs", s, peer.jobs)
	}
	if f.inWork.Load() != 0 {
		t.Errorf("%d bytes are in work", f.inWork.Load())
	}
}

func TestTooLargeForAMessage(t *testing.T) {
	ns := newNodes(t, 2)
	f := ns.add(0, new(judge).Submit, nil)
	var peer judge
	ns.add(1, peer.Submit, nil)
	attrs := strings.Repeat("x", 60)
	j := jobOf(ridersOf(1, 2, 100), 400)
	for i := range j.Pings {
		var list []pingline.PointField
		for k := range 10 {
			list = append(list, pingline.Text(fmt.Sprintf("name_of_attribute_%d", k), attrs))
		}
		if i == 0 {
			var err error
			if j.Pings[0].Attrs, err = pingline.NewAttrs(list...); err != nil {
				t.Fatal(err)
			}
		}
		j.Pings[i].Attrs = j.Pings[0].Attrs
	}
	if err := f.Submit(j); !errors.Is(err, ingest.ErrTooLarge) {
		t.Errorf("%v", err)
	}
	j.Pings, j.Cells = j.Pings[:15_000], j.Cells[:15_000] // 12 MB go in a message of their own
	if err := f.Submit(j); err != nil {
		t.Fatal(err)
	}
	checkVerdicts(t, j)
}

func TestPeersByCertificates(t *testing.T) {
	ours, theirs := certstest.New(t, "ours"), certstest.New(t, "theirs")
	secured := func(a, by *certstest.Authority) Security {
		pair := func(p certstest.Pair) tls.Certificate {
			c, err := tls.X509KeyPair(p.Text, p.Key)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		pool := func(a *certstest.Authority) *x509.CertPool { return a.Pool() }
		return Security{
			ServerTLS: &tls.Config{Certificates: []tls.Certificate{pair(a.Server())}, ClientCAs: pool(by), ClientAuth: tls.RequireAndVerifyClientCert},
			ClientTLS: &tls.Config{Certificates: []tls.Certificate{pair(a.Client("node"))}, RootCAs: pool(by)},
		}
	}
	ns := newNodes(t, 2)
	var peer judge
	owner := ns.add(1, peer.Submit, func(c *Config) { c.Peer = secured(ours, ours) })
	f := ns.add(0, new(judge).Submit, func(c *Config) { c.Peer = secured(ours, ours) })
	stranger := ns.add(-1, new(judge).Submit, func(c *Config) { c.Peer = secured(theirs, ours) })
	plain := ns.add(-1, new(judge).Submit, nil)
	j := jobOf(ridersOf(1, 2, 10), 1)
	if err := f.Submit(j); err != nil {
		t.Fatal(err)
	}
	checkVerdicts(t, j)
	for i, wrong := range []*Forwarder{stranger, plain} {
		if err := wrong.Submit(j); !errors.Is(err, ingest.ErrUnavailable) {
			t.Errorf("%v", err)
		}
		until(t, "a handshake fails", func() bool { return owner.Stats().Refused == uint64(i+1) })
	}
	if peer.jobs != 1 {
		t.Errorf("%d jobs were judged", peer.jobs)
	}
}

func TestWrongSettings(t *testing.T) {
	ok := Config{Parts: 2, Local: new(judge).Submit, Owner: func(int) string { return "" }, Peer: Security{Secret: secret}}
	for _, tt := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Parts = 3 }, "3 parts"},
		{func(c *Config) { c.Parts = 128 }, "128 parts"},
		{func(c *Config) { c.Own = 2 }, "part 2"},
		{func(c *Config) { c.Local = nil }, "Local"},
		{func(c *Config) { c.Peer = Security{} }, "set one of them"},
		{func(c *Config) { c.Peer.Secret = []byte("short") }, "5 bytes, fewer than 16"},
		{func(c *Config) { c.Peer.ClientTLS = new(tls.Config) }, "both ends"},
		{func(c *Config) { c.Peer.ClientTLS, c.Peer.ServerTLS = new(tls.Config), new(tls.Config) }, "asked for a certificate"},
	} {
		cfg := ok
		tt.change(&cfg)
		if _, err := New(cfg, listen(t)); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "short") {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
}

func TestNothingIsLeftAfterRun(t *testing.T) {
	before := runtime.NumGoroutine()
	ns := newNodes(t, 2)
	began, open := make(chan struct{}), make(chan struct{})
	peer := judge{before: func(j *ingest.Job) {
		if len(j.Pings) == 1 {
			close(began)
			<-open
		}
	}}
	ns.add(1, peer.Submit, nil)
	f := ns.add(0, new(judge).Submit, nil)
	var all sync.WaitGroup
	for _, r := range ridersOf(1, 2, 50) {
		all.Go(func() {
			if err := f.Submit(jobOf([]string{r}, 2)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	all.Go(func() {
		if err := f.Submit(jobOf(ridersOf(1, 2, 1), 1)); err != nil {
			t.Errorf("a job that was under way: %v", err)
		}
	})
	<-began
	var stopping sync.WaitGroup
	for _, stop := range ns.stop {
		stopping.Go(stop)
	}
	until(t, "the way to peers is shut", func() bool {
		f.mu.RLock()
		defer f.mu.RUnlock()
		return f.stopped
	})
	if err := f.Submit(jobOf(ridersOf(1, 2, 2), 2)); !errors.Is(err, ingest.ErrUnavailable) || !strings.Contains(err.Error(), "shutting down") {
		t.Errorf("a job after Run: %v", err)
	}
	close(open)
	all.Wait()
	stopping.Wait()
	until(t, "as many goroutines as before", func() bool { return runtime.NumGoroutine() <= before })
}

func TestPass(t *testing.T) {
	ns := newNodes(t, 2)
	var got struct {
		uri, auth, forwarded, remote, extra, hop, method string
		again                                            error
	}
	big := strings.Repeat("0123456789", 200_000)
	var owner *Forwarder
	answer := func(c *fasthttp.RequestCtx) {
		h := &c.Request.Header
		got.uri, got.auth, got.method = string(h.RequestURI()), string(h.Peek("Authorization")), string(h.Method())
		got.forwarded, got.remote = string(h.Peek("X-Forwarded-For")), c.RemoteAddr().String()
		got.extra, got.hop = string(h.Peek(peerHeader))+string(h.Peek(clientHeader)), string(h.Peek("X-Hop"))
		_, got.again = owner.Pass(c, ridersOf(0, 2, 1)[0])
		if mine, err := owner.Pass(c, ridersOf(1, 2, 1)[0]); mine || err != nil {
			t.Errorf("a read of the own part: passed %v, %v", mine, err)
		}
		c.SetContentType("application/json")
		c.Response.Header.Set("Etag", `"7"`)
		c.SetStatusCode(206)
		c.SetBodyString(big)
	}
	owner = ns.add(1, new(judge).Submit, func(c *Config) { c.Answer = answer })
	f := ns.add(0, new(judge).Submit, func(c *Config) { c.Answer = func(*fasthttp.RequestCtx) { t.Error("not of this part") } })
	rider := ridersOf(1, 2, 1)[0]
	ask := func(method, uri, who string) (*fasthttp.RequestCtx, bool, error) {
		var req fasthttp.Request
		req.Header.SetMethod(method)
		req.Header.SetRequestURI(uri)
		req.Header.SetHost("api.example.org")
		req.Header.Set("Authorization", "Bearer x")
		req.Header.Set("X-Forwarded-For", "198.51.100.7, 192.0.2.1")
		req.Header.Set("Connection", "X-Hop")
		req.Header.Set("X-Hop", "1")
		req.Header.Set(peerHeader, "made up")
		req.Header.Set(clientHeader, "1.2.3.4:5")
		var c fasthttp.RequestCtx
		c.Init(&req, &net.TCPAddr{IP: net.ParseIP("203.0.113.9"), Port: 4711}, nil)
		passed, err := f.Pass(&c, who)
		return &c, passed, err
	}
	for _, uri := range []string{"/v1/riders/r/track?from=1&to=2&a=%20b+c", "/v1/riders/a%2Fb%20c/../x", "/v1/riders/%C3%BC//y?"} {
		c, passed, err := ask("GET", uri, rider)
		if !passed || err != nil {
			t.Fatalf("passed %v, %v", passed, err)
		}
		r := &c.Response
		if r.StatusCode() != 206 || string(r.Body()) != big || string(r.Header.Peek("Etag")) != `"7"` || string(r.Header.ContentType()) != "application/json" {
			t.Errorf("%d, %d bytes, %s", r.StatusCode(), len(r.Body()), &r.Header)
		}
		if got.uri != strings.TrimSuffix(uri, "?") && got.uri != uri || got.auth != "Bearer x" || got.forwarded != "198.51.100.7, 192.0.2.1" || got.remote != "203.0.113.9:4711" || got.extra+got.hop != "" {
			t.Errorf("the owner got %+v", got)
		}
		if !errors.Is(got.again, ingest.ErrUnavailable) || got.again.Error() != "part 0 is not of this node: not stored, send again" {
			t.Errorf("a read that was passed on is passed on again: %v", got.again)
		}
	}
	if c, passed, err := ask("HEAD", "/v1/riders/r", rider); !passed || err != nil || c.Response.Header.ContentLength() != len(big) || got.method != "HEAD" {
		t.Errorf("HEAD: passed %v, %v, %s", passed, err, &c.Response.Header)
	}
	if _, passed, err := ask("GET", "/", ridersOf(0, 2, 1)[0]); passed || err != nil {
		t.Errorf("a read of the own part: passed %v, %v", passed, err)
	}
	if s := f.Stats(); s.Passed != 4 || owner.Stats().Refused != 0 {
		t.Errorf("counts %+v", s)
	}
	silent, _ := fakePeer(t, func(net.Conn) {})
	denying, _ := fakePeer(t, respond(401, peerHeader+": refused\r\n", "not proved"))
	for addr, want := range map[string]string{"": "part 1 has no node now: ", silent: "the connection was closed", denying: "--peer-secret-file"} {
		ns.set(1, addr)
		if _, passed, err := ask("GET", "/", rider); passed || !errors.Is(err, ingest.ErrUnavailable) || !strings.Contains(err.Error(), want) {
			t.Errorf("passed %v, %v, want %s", passed, err, want)
		}
	}
	for head, want := range map[string]int{"": 401, clientHeader + ": 1.2.3.4:5\r\n": 401} { // nobody's
		c, err := net.Dial("tcp", owner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: x\r\n%s\r\n", head)
		if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || resp.StatusCode != want {
			t.Errorf("%v, %v", resp, err)
		}
		_ = c.Close()
	}
}
