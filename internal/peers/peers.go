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
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/sync/errgroup"

	"pingline/ingest"
	"pingline/ingest/forward"
	"pingline/internal/ops"
	"pingline/internal/parts"
	"pingline/partition"
	"pingline/query/gather"
	"pingline/queue"
)

// Config sets up Peers. All of it but Logger is required.
type Config struct {
	Sharing
	Queue   queue.Config // URL, Node and Lease
	Dir     string       // data directory, in which each part has one
	Waiting func(why string)
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
	owners    func() []parts.PartOwner
	forwarder *forward.Forwarder
}

// Open listens, or returns nil if there are no peers.
func Open(cfg Config) (*Peers, error) {
	if !cfg.On() {
		return nil, nil
	}
	p := &Peers{cfg: cfg}
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
		if q.URL != queue.Embedded && !queue.OnKafka(q.URL) { // where there are no parts
			if err := parts.Agree(ctx, parts.Config{URL: q.URL, Parts: 1, Logger: q.Logger}); err != nil {
				return err
			}
		}
		return open(q, dir)
	}
	part, err := parts.Take(ctx, p.look(), func(part int, of queue.Config) error {
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
	p.owners = p.directory.Parts
	return nil
}

func (p *Peers) look() parts.Config {
	c := &p.cfg
	return parts.Config{
		URL: c.Queue.URL, Parts: c.Parts, Dir: c.Dir, Node: c.Queue.Node, Addr: p.addr, Lease: c.Queue.Lease, Waiting: c.Waiting, Logger: c.Logger,
	}
}

// Serve has peers' pings judged by local, the reads that they pass on answered by answer, and their own questions by
// tell, once Run is called.
func (p *Peers) Serve(local func(*ingest.Job) error, answer fasthttp.RequestHandler, tell func(question, dst []byte) ([]byte, error)) (err error) {
	if p == nil {
		return nil
	}
	p.forwarder, err = forward.New(forward.Config{
		Parts: p.cfg.Parts, Own: p.part, Local: local, Owner: p.directory.Owner, Name: p.directory.Name, Suspect: p.directory.Suspect,
		Answer: answer, Tell: tell, Peer: p.security, Logger: p.cfg.Logger,
	}, p.ln)
	return err
}

// Run runs the takers of requests until ctx is cancelled or something fails, and returns when all
// have ended. Peers are answered, and sent pings, until the last request of the takers is answered:
// none that has begun is refused because the node stops.
func (p *Peers) Run(ctx context.Context, takers ...func(context.Context) error) error {
	if p == nil {
		return inOrder(ctx, takers)
	}
	return inOrder(ctx, takers, p.directory.Run, p.forwarder.Run)
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
	if p != nil {
		cfg.Parts, cfg.Own, cfg.Logger = p.cfg.Parts, p.part, p.cfg.Logger
		cfg.Ask = func(part int, question, dst []byte) ([]byte, error) { return p.forwarder.Ask(part, question, dst) }
	}
	return gather.New(cfg)
}

// Name returns the name in rows of the roll-up of this part, or "" without peers: whichever node
// counts it, its rows are the same.
func (p *Peers) Name() string {
	if p == nil {
		return ""
	}
	return "part-" + strconv.Itoa(p.part)
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
	of := p.owners()[part]
	if of.Free {
		return fmt.Sprintf("the rider is of part %d, which has no node now", part)
	}
	return fmt.Sprintf("the rider is of part %d: ask node %s", part, of.Node)
}

// Notes returns sentences if parts have no node, one of our name, or one that takes no pings of us.
func (p *Peers) Notes() (notes []string) {
	if p == nil || p.owners == nil {
		return nil
	}
	var without, namesake []string
	for _, of := range p.owners() {
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

// Routes returns the route that tells who has the parts.
func (p *Peers) Routes() []ops.AdminRoute {
	if p == nil {
		return nil
	}
	return []ops.AdminRoute{{Pattern: "GET /v1/parts", Handler: p.tell, About: "which node has which riders"}}
}

func (p *Peers) tell(w http.ResponseWriter, _ *http.Request) {
	type partOwner struct {
		Part  int    `json:"part"`
		Node  string `json:"node"`
		Peer  string `json:"peer"`
		Since string `json:"since,omitempty"`
		Own   bool   `json:"own"`
	}
	list := []partOwner{}
	for _, of := range p.owners() {
		row := partOwner{Part: of.Part, Own: of.Part == p.part}
		switch {
		case row.Own:
			row.Node, row.Peer = p.cfg.Queue.Node, p.addr
		case !of.Free: // else they are of the node that had it
			row.Node, row.Peer = of.Node, of.Addr
		}
		if !of.Free {
			row.Since = of.Since.UTC().Format(time.RFC3339)
		}
		list = append(list, row)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(struct {
		Parts []partOwner `json:"parts"`
	}{list}) // a client that is gone does not matter
}

// Close stops to listen, and to follow who has the parts. It may be called after Run, or instead.
func (p *Peers) Close() error {
	if p == nil {
		return nil
	}
	if p.directory != nil {
		p.directory.Close()
	}
	_ = p.ln.Close() // it may be closed already
	return nil
}

// NoChange returns why shards cannot be changed while pings are taken, or "".
func (p *Peers) NoChange() string {
	if p == nil {
		return ""
	}
	return "shards are not changed while several nodes write to them: stop all nodes, and start them with other --shard"
}
