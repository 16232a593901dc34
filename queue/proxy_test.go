package queue

import (
	"net"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// proxy stands between a log and its server and can hold back what either says.
type proxy struct {
	servers  []string // the first that answers is taken
	listener net.Listener

	mu       sync.Mutex
	released *sync.Cond
	held     [2]bool // requests, answers
	first    bool    // of the first connection only, that of a log's appends
	waiting  [2]int  // bytes that are held
	links    []*link
	stranded []*link
}

// link is one connection through a proxy.
type link struct {
	client, server net.Conn
	first          bool
	stranded       bool
	passing        sync.WaitGroup
}

func startProxy(t testing.TB, srv *server.Server) *proxy {
	t.Helper()
	return startProxyTo(t, srv.Addr().String())
}

func startProxyTo(t testing.TB, servers ...string) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{servers: servers, listener: ln}
	p.released = sync.NewCond(&p.mu)
	t.Cleanup(func() {
		ln.Close()
		p.cut()
		p.hold(false, false)
		p.deliver()
	})
	go p.accept()
	return p
}

func (p *proxy) url() string { return "nats://" + p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		backend, err := p.dial()
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		l := &link{client: client, server: backend, first: len(p.links) == 0}
		p.links = append(p.links, l)
		p.mu.Unlock()
		l.passing.Go(func() { p.pass(l, 0, backend, client) })
		l.passing.Go(func() { p.pass(l, 1, client, backend) })
	}
}

func (p *proxy) dial() (conn net.Conn, err error) {
	for _, server := range p.servers {
		if conn, err = net.Dial("tcp", server); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// pass copies one way, as long as that way is not held.
func (p *proxy) pass(l *link, way int, to, from net.Conn) {
	defer to.Close()
	b := make([]byte, 1<<16)
	for {
		n, err := from.Read(b)
		p.mu.Lock()
		p.waiting[way] += n
		for p.held[way] && (l.first || !p.first) || l.stranded {
			p.released.Wait()
		}
		p.waiting[way] -= n
		p.mu.Unlock()
		if _, werr := to.Write(b[:n]); err != nil || werr != nil {
			return
		}
	}
}

// hold says which ways are held from now on.
func (p *proxy) hold(requests, answers bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held, p.first = [2]bool{requests, answers}, false
	p.released.Broadcast()
}

// holdAppends is hold for the connection of the appends only.
func (p *proxy) holdAppends(requests, answers bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held, p.first = [2]bool{requests, answers}, true
	p.released.Broadcast()
}

// holds returns how many bytes of requests and of answers are held.
func (p *proxy) holds() (requests, answers int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waiting[0], p.waiting[1]
}

// cut breaks every connection, and what is held on its way is gone.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.links {
		l.client.Close()
		l.server.Close()
	}
	p.links = nil
}

// strand breaks every connection to the clients; what is held on its way to the
// server waits there until deliver, whatever new connections carry.
func (p *proxy) strand() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.links {
		l.stranded = true
		l.client.Close()
	}
	p.stranded, p.links = append(p.stranded, p.links...), nil
}

// deliver lets the server have what was stranded, and returns when it has read
// it to the end.
func (p *proxy) deliver() {
	p.mu.Lock()
	list := p.stranded
	p.stranded = nil
	for _, l := range list {
		l.stranded = false
	}
	p.released.Broadcast()
	p.mu.Unlock()
	for _, l := range list {
		l.passing.Wait()
	}
}
