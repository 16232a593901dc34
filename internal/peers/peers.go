// Package peers has a node share the riders with other nodes. Riders are spread over parts; a part
// is a log with all that belongs to it, and has one node. A node has one part, or waits for one. It
// takes requests for all riders: pings of other parts go to the nodes that have them, and so do
// reads of a rider. Reads over all riders are put together from all nodes.
//
// All methods may be called on a nil *Peers, a node that takes all riders by itself.
package peers

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/sync/errgroup"

	"pingline/ingest"
	"pingline/ingest/forward"
	"pingline/internal/follow"
	"pingline/internal/parts"
	"pingline/internal/resharding"
	"pingline/partition"
	"pingline/query/gather"
	"pingline/query/status"
	"pingline/queue"
)

// Config sets up Peers. All of it but Logger is required.
type Config struct {
	Sharing
	Queue   queue.Config // URL, Node and Lease
	Dir     string       // data directory, in which each part has one
	Waiting func(why string)
	Spare   *follow.Spare // reads logs along while the node waits
	Version string
	State   func() status.State // of the node; it is called once Serve was
	Logger  *slog.Logger
}

// Peers are the other nodes.
type Peers struct {
	cfg       Config
	addr      string
	ln        net.Listener
	security  forward.Security
	part      int
	directory *parts.Directory
	forwarder *forward.Forwarder
	gatherer  *gather.Gatherer
	drain     *drain
	view      atomic.Pointer[outlook]
	waits     atomic.Pointer[string] // why there is no part yet
	merging   merging
	clocks    atomic.Pointer[[]string] // notes about those of other nodes; nil until they were compared
}

// Open listens, or returns nil if there are no peers.
func Open(cfg Config) (*Peers, error) {
	if !cfg.On() {
		return nil, nil
	}
	p := &Peers{cfg: cfg, drain: newDrain(cfg.Dir)}
	starting := "starting"
	p.waits.Store(&starting)
	var err error
	if err := leftovers(cfg.Dir); err != nil {
		return nil, fmt.Errorf("--data-dir: %w", err)
	}
	if p.security, err = cfg.security(); err != nil {
		return nil, err
	}
	if p.ln, err = net.Listen("tcp", cfg.Listen); err != nil {
		return nil, fmt.Errorf("--peer-listen: %w", err)
	}
	if p.addr, err = cfg.address(p.ln); err != nil {
		_ = p.ln.Close()
		return nil, err
	}
	return p, nil
}

// Take has open open the log of a part that is free; it waits for one. It returns the directory
// of the part, or, without peers, dir.
func (p *Peers) Take(ctx context.Context, q queue.Config, dir string, open func(q queue.Config, dir string) error) error {
	if p == nil {
		if q.URL != queue.Embedded {
			if err := unread(dir); err != nil {
				return err
			}
		}
		if q.URL != queue.Embedded && !queue.OnKafka(q.URL) { // where there are no parts
			if err := parts.Agree(ctx, parts.Config{URL: q.URL, Parts: 1, Logger: q.Logger}); err != nil {
				return err
			}
		}
		return open(q, dir)
	}
	part, err := p.take(ctx, func(part int, of queue.Config) error {
		own := q
		own.MaxBytes /= int64(p.cfg.Parts)
		own.Stream, own.Addr, own.Idle, own.Standby = of.Stream, of.Addr, of.Idle, of.Standby
		return open(own, parts.Dir(p.cfg.Dir, part))
	})
	if err != nil {
		return err
	}
	p.part = part
	if p.directory, err = parts.OpenDirectory(ctx, p.look()); err != nil {
		return err
	}
	p.view.Store(&outlook{own: part, owners: p.directory.Parts})
	return nil
}

// take takes a part, once and as long as the node is not drained.
func (p *Peers) take(ctx context.Context, open func(part int, of queue.Config) error) (int, error) {
	for {
		stop := p.watch(ctx)
		err := p.drain.over(ctx, func() {
			p.cfg.Spare.Follow() // none
			p.wait("drained: takes no part until pingline cluster resume")
		})
		stop()
		if err != nil {
			return 0, err
		}
		taking, stop := context.WithCancel(ctx)
		p.drain.until(stop)
		part, err := parts.Take(taking, p.look(), open)
		stop()
		if err == nil || ctx.Err() != nil || !p.drain.on() {
			return part, err
		}
	}
}

// watch has a node that is drained know who has the parts, as far as the servers can be asked, until stop.
func (p *Peers) watch(ctx context.Context) (stop func()) {
	if !p.drain.on() {
		return func() {}
	}
	d, err := parts.OpenDirectory(ctx, p.look())
	if err != nil {
		p.cfg.Logger.Warn("who has the parts is not known", "error", err)
		return func() {}
	}
	p.view.Store(&outlook{own: -1, owners: d.Parts})
	ctx, stop = context.WithCancel(ctx)
	go func() { _ = d.Run(ctx) }() // never fails
	return stop
}

// wait tells why there is no part yet.
func (p *Peers) wait(why string) {
	p.waits.Store(&why)
	if p.cfg.Waiting != nil {
		p.cfg.Waiting(why)
	}
}

// Until returns a context that ends with ctx, or when the node is drained.
func (p *Peers) Until(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithCancel(ctx)
	if p != nil {
		p.drain.until(stop)
	}
	return ctx, stop
}

func (p *Peers) look() parts.Config {
	c := &p.cfg
	see := func(owners func() []parts.PartOwner) { p.view.Store(&outlook{own: -1, owners: owners}) }
	return parts.Config{
		URL: c.Queue.URL, Parts: c.Parts, Dir: c.Dir, Node: c.Queue.Node, Addr: p.addr, Lease: c.Queue.Lease, Waiting: p.wait, Follow: c.Spare.Follow, Looking: see, Logger: c.Logger,
	}
}

// Serve has peers' pings judged by local, the reads that they pass on answered by answer, and their own questions by
// tell, once Run is called.
func (p *Peers) Serve(local func(*ingest.Job) error, answer fasthttp.RequestHandler, tell func(question, dst []byte) ([]byte, error)) (err error) {
	if p == nil {
		return nil
	}
	p.forwarder, err = forward.New(forward.Config{
		Parts: p.cfg.Parts, Own: p.part, Local: local, Owner: p.directory.Owner, Name: p.directory.Name, Suspect: p.directory.Suspect, LetGo: p.directory.LetGo,
		Answer: answer, Tell: tell, Peer: p.security, Logger: p.cfg.Logger,
	}, p.ln)
	p.view.Store(&outlook{own: p.part, owners: p.directory.Parts, serves: true})
	return err
}

// Run runs the takers of requests until ctx is cancelled or something fails, and returns when all
// have ended. Peers are answered, and sent pings, until the last request of the takers is answered:
// none that has begun is refused because the node stops.
func (p *Peers) Run(ctx context.Context, takers ...func(context.Context) error) error {
	if p == nil {
		return inOrder(ctx, takers)
	}
	return inOrder(ctx, takers, p.directory.Run, p.forwarder.Run, p.compareClocks)
}

// inOrder runs parts until ctx is cancelled or one fails. Those behind end after those before.
func inOrder(ctx context.Context, before []func(context.Context) error, behind ...func(context.Context) error) error {
	g, ctx := errgroup.WithContext(ctx)
	last, stop := context.WithCancel(context.WithoutCancel(ctx))
	for _, run := range behind {
		g.Go(func() error { return run(last) })
	}
	g.Go(func() error {
		defer stop()
		first, ctx := errgroup.WithContext(ctx)
		for _, run := range before {
			first.Go(func() error { return run(ctx) })
		}
		return first.Wait()
	})
	return g.Wait()
}

// Submit has a job judged: see forward.Forwarder. It is nil without peers.
func (p *Peers) Submit() func(*ingest.Job) error {
	if p == nil {
		return nil
	}
	return func(j *ingest.Job) error { return p.forwarder.Submit(j) }
}

// Pass answers a read of a rider by the node that has the rider, and reports false if that is this
// one. It is nil without peers.
func (p *Peers) Pass() func(c *fasthttp.RequestCtx, rider string) (bool, error) {
	if p == nil {
		return nil
	}
	return func(c *fasthttp.RequestCtx, rider string) (bool, error) { return p.forwarder.Pass(c, rider) }
}

// Gatherer returns a Gatherer for reads over all riders, which tells the other nodes of this one as cfg says.
func (p *Peers) Gatherer(cfg gather.Config) *gather.Gatherer {
	if p == nil {
		return gather.New(cfg)
	}
	cfg.Parts, cfg.Own, cfg.Logger = p.cfg.Parts, p.part, p.cfg.Logger
	cfg.Ask = func(part int, question, dst []byte) ([]byte, error) { return p.forwarder.Ask(part, question, dst) }
	cfg.State = func() []byte {
		text, _ := json.Marshal(p.ownState()) // numbers and texts: it cannot fail
		return text
	}
	p.gatherer = gather.New(cfg)
	return p.gatherer
}

// Elsewhere returns why a rider is not of this node's part, or "".
func (p *Peers) Elsewhere(rider string) string {
	if p == nil {
		return ""
	}
	part := partition.Part(rider, p.cfg.Parts)
	if part == p.part {
		return ""
	}
	of := p.view.Load().owners()[part]
	if of.Free {
		return fmt.Sprintf("the rider is of part %d, which has no node now", part)
	}
	return fmt.Sprintf("the rider is of part %d: ask node %s", part, of.Node)
}

// Notes returns sentences if parts have no node, one of our name, one that takes no pings of us, or one whose clock is
// another.
func (p *Peers) Notes() (notes []string) {
	if p == nil {
		return nil
	}
	v := p.view.Load()
	if v == nil {
		return nil
	}
	var without, namesake []string
	for _, of := range v.owners() {
		switch {
		case of.Part == p.part:
		case of.Free:
			without = append(without, strconv.Itoa(of.Part))
		case of.Node == p.cfg.Queue.Node:
			namesake = append(namesake, strconv.Itoa(of.Part))
		}
	}
	switch len(without) {
	case 0:
	case 1:
		notes = append(notes, "part "+without[0]+" has no node: requests with its riders get 503")
	default:
		notes = append(notes, "parts "+strings.Join(without, ", ")+" have no node: requests with their riders get 503")
	}
	if len(namesake) > 0 {
		notes = append(notes, fmt.Sprintf("--node: the node of part %s is called %s, too: statistics of both are mixed up, and brokers take both for one; give each node a name of its own",
			strings.Join(namesake, ", "), p.cfg.Queue.Node))
	}
	if p.forwarder != nil {
		notes = append(notes, p.forwarder.Trouble()...)
	}
	if apart := p.clocks.Load(); apart != nil {
		notes = append(notes, *apart...)
	}
	if p.merging.merger != nil {
		notes = append(notes, p.merging.merger.Notes()...)
	}
	return notes
}

// Stats returns the counts of the forwarder, nil without peers.
func (p *Peers) Stats() *forward.Stats {
	if p == nil || p.forwarder == nil {
		return nil
	}
	s := p.forwarder.Stats()
	return &s
}

// Close stops to listen, and to follow who has the parts. It may be called after Run, or instead.
func (p *Peers) Close() error {
	if p == nil {
		return nil
	}
	if p.directory != nil {
		p.directory.Close()
	}
	if p.merging.feed != nil {
		p.merging.feed.Close()
	}
	_ = p.ln.Close() // it may be closed already
	return nil
}

// Across reaches the other parts for a change of shards. It is the zero value without peers.
func (p *Peers) Across() resharding.Across {
	if p == nil {
		return resharding.Across{}
	}
	return resharding.Across{
		Parts: p.cfg.Parts, Own: p.part,
		Ask: func(part int, question []byte, patience time.Duration) ([]byte, error) {
			return p.forwarder.AskFor(patience, part, question, nil)
		},
		Name: func(part int) string {
			if part == p.part {
				return p.cfg.Queue.Node
			}
			return p.directory.Name(part)
		},
	}
}
