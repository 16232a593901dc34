// Package cut has TCP connections go through this process, where they can be cut, in either
// direction alone.
//
// A connection that is cut stays open at both ends, and so does one that is made meanwhile: bytes
// wait, here and in the kernel, as on a network that loses each packet. Afterwards they arrive,
// however late, or the connection breaks and they are gone.
package cut

import (
	"errors"
	"io"
	"net"
	"sync"
)

// Relay is an address whose connections go on to another. Safe for concurrent use.
type Relay struct {
	to string
	ln net.Listener

	mu     sync.Mutex // guards what follows; nothing else is locked under it
	moved  *sync.Cond // of mu: a cut is mended, or a connection is over
	cuts   [2]int     // that hold bytes to the address, and bytes from there
	links  map[*relayed]bool
	closed bool
}

// relayed is a connection.
type relayed struct {
	client, server net.Conn

	// Guarded by Relay.mu.
	ended int  // ways
	over  bool // it passes nothing any more
}

// New returns a Relay to host:port that listens at a free port of this machine.
func New(to string) (*Relay, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &Relay{to: to, ln: ln, links: make(map[*relayed]bool)}
	r.moved = sync.NewCond(&r.mu)
	go r.accept()
	return r, nil
}

// Addr returns host:port at which r listens.
func (r *Relay) Addr() string { return r.ln.Addr().String() }

// Cut holds bytes to the address, bytes from there, or both, until heal is called. Then they are
// delivered, or each connection there is breaks. Cuts may overlap: bytes pass once all are healed.
// Heal must be called once.
func (r *Relay) Cut(to, from bool) (heal func(deliver bool)) {
	r.change(to, from, 1)
	return func(deliver bool) {
		if !deliver {
			r.breakAll()
		}
		r.change(to, from, -1)
	}
}

func (r *Relay) change(to, from bool, by int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for way, held := range [2]bool{to, from} {
		if held {
			r.cuts[way] += by
		}
	}
	r.moved.Broadcast()
}

func (r *Relay) breakAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for l := range r.links {
		r.end(l)
	}
}

// Close ends all connections.
func (r *Relay) Close() {
	_ = r.ln.Close()
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.breakAll()
}

func (r *Relay) accept() {
	for {
		client, err := r.ln.Accept()
		if err != nil {
			return
		}
		go r.join(client)
	}
}

// join connects a client to the address.
func (r *Relay) join(client net.Conn) {
	server, err := net.Dial("tcp", r.to)
	if err != nil {
		reset(client)
		return
	}
	l := &relayed{client: client, server: server}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		reset(client)
		reset(server)
		return
	}
	r.links[l] = true
	go r.pass(l, 0, server, client)
	go r.pass(l, 1, client, server)
}

// reset closes a connection at once.
func reset(c net.Conn) {
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

// end breaks a connection. The caller holds mu.
func (r *Relay) end(l *relayed) {
	if l.over {
		return
	}
	l.over = true
	delete(r.links, l)
	reset(l.client)
	reset(l.server)
	r.moved.Broadcast()
}

// pass copies one way.
func (r *Relay) pass(l *relayed, way int, to, from net.Conn) {
	b := make([]byte, 1<<16)
	for {
		n, err := from.Read(b)
		if !r.free(l, way) {
			return
		}
		_, failure := to.Write(b[:n])
		switch {
		case failure == nil && err == nil:
		case failure == nil && errors.Is(err, io.EOF) && to.(*net.TCPConn).CloseWrite() == nil:
			r.done(l) // the other way may have bytes still
			return
		default:
			r.mu.Lock()
			defer r.mu.Unlock()
			r.end(l)
			return
		}
	}
}

// done takes note that a way has ended, and closes the connection behind the second.
func (r *Relay) done(l *relayed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l.ended++; l.ended == 2 && !l.over {
		l.over = true
		delete(r.links, l)
		_, _ = l.client.Close(), l.server.Close()
	}
}

// free returns whether the connection lasts, once its way is not cut.
func (r *Relay) free(l *relayed, way int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.cuts[way] > 0 && !l.over {
		r.moved.Wait()
	}
	return !l.over
}
