package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pingline/internal/influxd"
	"pingline/internal/pause"
	"pingline/tools/cluster/history"
)

// printer writes lines with the time since it began. Safe for concurrent use.
type printer struct {
	to    io.Writer
	began time.Time

	mu sync.Mutex // held while a line is written; nothing else is locked under it
}

func (p *printer) line(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.to, "%6.1fs  %s\n", time.Since(p.began).Seconds(), fmt.Sprintf(format, args...))
}

// site is the installation.
type site struct {
	o       runFlags
	say     *printer
	influx  *influxd.Server
	servers []*subprocess
	nodes   []*pinglineNode
	ports   ports
	wires   wires
	clients string           // URLs of the servers, by no wire
	past    *history.Archive // of the log

	ctx   context.Context // of what runs beside it, until close
	stop  context.CancelFunc
	tasks sync.WaitGroup

	reading context.Context // of the log, while pings come
	read    context.CancelFunc
	hasRead chan struct{} // closed when that is over

	mu     sync.Mutex // guards what follows; nothing else is locked under it
	ending bool       // nobody who ends is started again
}

// pinglineNode is a node and how it was last seen.
type pinglineNode struct {
	*subprocess
	url, ops string
	influx   string                 // URL
	binary   atomic.Pointer[string] // that the next start runs
	clock    skew

	mu   sync.Mutex // guards seen; nothing else is locked under it
	seen string     // takesPings, or why it does not
}

const takesPings = "takes pings"

func (n *pinglineNode) saw() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.seen
}

func newSite(o runFlags, say *printer) (*site, error) {
	s := &site{o: o, say: say, ports: make(ports), wires: wires{on: o.chaos}}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.reading, s.read = context.WithCancel(s.ctx)
	s.hasRead = make(chan struct{})
	var clients []string
	var err error
	if s.servers, clients, err = s.newServers(); err != nil {
		return nil, err
	}
	s.clients = "nats://" + strings.Join(clients, ",nats://")
	secret := filepath.Join(o.dir, "peers.secret")
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails
	if err := os.WriteFile(secret, []byte(hex.EncodeToString(random)+"\n"), 0o600); err != nil {
		return nil, err
	}
	for i := range o.nodes {
		n, err := s.newNode(i, clients, secret)
		if err != nil {
			return nil, err
		}
		s.nodes = append(s.nodes, n)
	}
	return s, nil
}

// newNode returns a node that does not run yet.
func (s *site) newNode(i int, servers []string, secret string) (*pinglineNode, error) {
	o, name := &s.o, nodeName(i)
	ports, err := s.ports.free(3)
	if err != nil {
		return nil, err
	}
	n := &pinglineNode{
		subprocess: &subprocess{name: name, log: filepath.Join(o.dir, name+".log")},
		url:        fmt.Sprintf("http://127.0.0.1:%d", ports[0]), ops: fmt.Sprintf("http://127.0.0.1:%d", ports[1]),
		clock: skew{file: filepath.Join(o.dir, name+".clock")},
	}
	n.clock.set(0)
	n.binary.Store(&o.binary)
	if o.old != "" {
		n.binary.Store(&o.old)
	}
	var nats []string
	for k, at := range servers {
		if at, err = s.wires.lay(natsWire(i, k), at); err != nil {
			return nil, err
		}
		nats = append(nats, "nats://"+at)
	}
	args := []string{
		"serve", "--node=" + name, "--data-dir=" + filepath.Join(o.dir, name), "--queue=" + strings.Join(nats, ","), "--queue-lease=" + o.lease.String(),
		"--queue-max-bytes=1GiB", "--new-riders-rate=0", "--read-rate=0", "--log-format=json",
		fmt.Sprintf("--listen=127.0.0.1:%d", ports[0]), fmt.Sprintf("--ops-listen=127.0.0.1:%d", ports[1]),
	}
	if o.old == "" {
		args = append(args, fmt.Sprintf("--follow=%d", o.follow))
	}
	if o.parts == 1 {
		args = append(args, "--standby")
	} else {
		listen := fmt.Sprintf("127.0.0.1:%d", ports[2])
		address, err := s.wires.lay(peerWire(i), listen)
		if err != nil {
			return nil, err
		}
		args = append(args, fmt.Sprintf("--parts=%d", o.parts), "--peer-listen="+listen, "--peer-address="+address, "--peer-secret-file="+secret)
	}
	n.command = func() *exec.Cmd {
		cmd := exec.Command(*n.binary.Load(), append(args, "--influx-host="+n.influx)...)
		cmd.Env = append(os.Environ(), "PROGRAM_CLOCK_SKEW="+n.clock.file) // of a program that is built for it
		return cmd
	}
	n.ended = func(status error) { s.mourn(n.subprocess, status) }
	return n, nil
}

// mourn starts a subprocess that ended by itself again, as a supervisor does.
func (s *site) mourn(m *subprocess, status error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		return
	}
	s.tasks.Go(func() {
		s.say.line("%s ended by itself, and is started again: %s: %s", m.name, exitStatus(status), told(m.last()))
		if pause.For(s.ctx, time.Second) == nil {
			_ = m.start() // else somebody else has started it
		}
	})
}

// told returns the message and the error of a line of the log of a node.
func told(line string) string {
	var of struct{ Msg, Err, Error string }
	if json.Unmarshal([]byte(line), &of) == nil && of.Msg != "" {
		return strings.TrimSpace(of.Msg + " " + of.Err + of.Error)
	}
	return line
}

// open starts everything, and returns once all riders have a node that takes their pings.
func (s *site) open(ctx context.Context) (err error) {
	starting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if s.influx, err = influxd.Start(starting, influxd.Config{Dir: filepath.Join(s.o.dir, "influxdb"), Bucket: "pingline"}); err != nil {
		return err
	}
	for _, m := range s.servers {
		if err := m.start(); err != nil {
			return err
		}
	}
	if err := s.readAlong(starting); err != nil {
		return err
	}
	s.tasks.Go(func() {
		defer close(s.hasRead)
		s.past.Follow(s.reading)
	})
	for i, n := range s.nodes {
		at, err := s.wires.lay(influxWire(i), strings.TrimPrefix(s.influx.URL(), "http://"))
		if err != nil {
			return err
		}
		n.influx = "http://" + at
		if err := n.start(); err != nil {
			return err
		}
		s.tasks.Go(func() { s.watch(n) })
	}
	if err := s.serves(starting); err != nil {
		return err
	}
	for _, n := range s.nodes {
		s.say.line("node %s      %s  %s", n.name, n.url, n.saw())
	}
	s.say.line("servers     %s", strings.Join(s.names(s.servers), ", "))
	s.say.line("InfluxDB    %s (database pingline)", s.influx.URL())
	return nil
}

// readAlong connects to the servers, once they are there.
func (s *site) readAlong(ctx context.Context) (err error) {
	for {
		if s.past, err = history.New(s.clients, s.o.parts); err == nil {
			return nil
		}
		if pause.For(ctx, lookEvery) != nil {
			return err
		}
	}
}

func (s *site) names(of []*subprocess) (list []string) {
	for _, m := range of {
		list = append(list, m.name)
	}
	return list
}

// serves returns once as many nodes take pings as there are parts.
func (s *site) serves(ctx context.Context) error {
	for len(s.ready()) < s.o.parts {
		if pause.For(ctx, 20*time.Millisecond) != nil {
			var errs []error
			for _, n := range s.nodes {
				errs = append(errs, fmt.Errorf("node %s: %s: %s", n.name, n.saw(), told(n.last())))
			}
			return errors.Join(append(errs, fmt.Errorf("%d nodes do not take pings: %w", s.o.parts, ctx.Err()))...)
		}
	}
	return nil
}

// well returns once all parts have nodes, and all other nodes wait: none is about to find out that
// its log is another's, and to end.
func (s *site) well(ctx context.Context) error {
	for !s.rests() {
		if pause.For(ctx, lookEvery) != nil {
			return errors.Join(fmt.Errorf("not all nodes are well: %w", ctx.Err()), s.serves(ctx))
		}
	}
	return nil
}

func (s *site) rests() bool {
	for _, n := range s.nodes {
		if saw := n.saw(); saw != takesPings && !strings.HasPrefix(saw, "standby: ") {
			return false
		}
	}
	return len(s.ready()) == s.o.parts
}

// ready returns the URLs of the nodes that took pings when they were last looked at.
func (s *site) ready() (list []string) {
	for _, n := range s.nodes {
		if n.saw() == takesPings {
			list = append(list, n.url)
		}
	}
	return list
}

const lookEvery = 200 * time.Millisecond

// watch looks at /readyz of a node, as a load balancer does, and says what is new.
func (s *site) watch(n *pinglineNode) {
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	since := time.Now()
	for pause.For(s.ctx, lookEvery) == nil {
		now := look(s.ctx, client, n)
		n.mu.Lock()
		before := n.seen
		n.seen = now
		n.mu.Unlock()
		if now == before {
			continue
		}
		if before != "" {
			s.say.line("%s %s (%.1f s after: %s)", n.name, now, time.Since(since).Seconds(), before)
		}
		since = time.Now()
	}
}

// look returns how a node does.
func look(ctx context.Context, client *http.Client, n *pinglineNode) string {
	switch there, frozen := n.runs(); {
	case !there:
		return "is dead"
	case frozen:
		return "stands still"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.url+"/readyz", http.NoBody)
	if err != nil {
		return err.Error()
	}
	resp, err := client.Do(req)
	if err != nil {
		return "does not answer"
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusOK {
		return takesPings
	}
	var of struct{ Reason string }
	if err := json.NewDecoder(resp.Body).Decode(&of); err != nil || of.Reason == "" {
		return fmt.Sprintf("answers %d", resp.StatusCode)
	}
	reason, _, _ := strings.Cut(of.Reason, ", since ")
	return reason
}

// find returns the subprocess of a name, nil if there is none.
func (s *site) find(name string) *subprocess {
	for _, m := range s.servers {
		if m.name == name {
			return m
		}
	}
	for _, n := range s.nodes {
		if n.name == name {
			return n.subprocess
		}
	}
	return nil
}

// end has nobody started again from now on.
func (s *site) end() {
	s.mu.Lock()
	s.ending = true
	s.mu.Unlock()
}

// close ends everything at once.
func (s *site) close() {
	s.end()
	s.stop()
	s.tasks.Wait()
	for _, n := range s.nodes {
		n.kill()
	}
	for _, m := range s.servers {
		m.kill()
	}
	if s.past != nil {
		s.past.Close()
	}
	s.wires.close()
	if s.influx != nil {
		s.influx.Kill()
		_ = s.influx.Close()
	}
}
