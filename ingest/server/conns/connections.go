package conns

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pingline/ingest/server/certs"
	"pingline/ingest/server/framing"
)

// connections are the open connections, at most most. When there is no place, a new
// connection takes the place of a connection that waits for its client, from the client
// with the most connections: the longest waiting between two requests or, if there is
// none, within a request. Connections of trusted proxies, which send for many clients,
// are closed last.
type connections struct {
	most     int
	ours     func(netip.Addr) bool
	tls      *certs.Certificates // nil: connections speak plain HTTP
	unframed bool                // bytes are passed on as they come
	held     func(netip.Addr)    // called with the client whose connections are closed, unless it is trusted

	mu     sync.Mutex // guards the fields below; nothing else is locked under it
	list   []*Conn
	peers  map[peerKey]*peer
	closed uint64 // connections closed to make a place
}

// peer is the client of a number of connections.
type peer struct {
	peerKey
	open int // number of connections
}

// peerKey identifies a peer; a trusted proxy and a client may be in the same network.
type peerKey struct {
	addr netip.Addr // NetworkOf
	ours bool
}

// Conn is a connection that gives its place back when it is closed. Read is for a single
// goroutine, and so is Write.
type Conn struct {
	net.Conn
	tcp  net.Conn // below TLS, or Conn itself
	all  *connections
	peer *peer
	at   int // index in list; -1 when its place is gone

	waits   atomic.Int64  // time since which it waits for its client, ns of clock; 0 if it does not
	within  atomic.Bool   // a request has begun to come, and its answer has not left
	unread  atomic.Bool   // a request was answered before all of it had come
	bounded bool          // LimitBuffer was called
	frames  framing.Guard // used by Read alone
	bad     error         // error that Read returns from now on; used by Read alone
	once    sync.Once
}

// clock is monotonic, in ns, and never 0.
func clock() int64 { return int64(time.Since(clockStart)) + 1 }

var clockStart = time.Now()

// add adds c to the connections, or returns nil if there is no place, because all open
// connections have requests in work.
func (l *connections) add(c net.Conn) *Conn {
	addr := HostOf(c.RemoteAddr())
	own := &Conn{Conn: c, tcp: c, all: l}
	if l.tls != nil {
		own.Conn = l.tls.Wrap(c, true)
	}
	own.waits.Store(clock())
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.list) >= l.most {
		l.makeRoom()
	}
	if len(l.list) >= l.most {
		return nil
	}
	key := peerKey{NetworkOf(addr), l.ours(addr)}
	if own.peer = l.peers[key]; own.peer == nil {
		own.peer = &peer{peerKey: key}
		l.peers[key] = own.peer
	}
	own.peer.open++
	own.at = len(l.list)
	l.list = append(l.list, own)
	return own
}

// candidate is a connection that waits for its client, and may be closed.
type candidate struct {
	*Conn
	since  int64
	within bool
}

// compare sorts connections in the order in which they are closed.
func (a candidate) compare(b candidate) int {
	switch p, q := a.peer, b.peer; {
	case p.ours != q.ours && p.ours:
		return 1
	case p.ours != q.ours:
		return -1
	case p.open != q.open:
		return q.open - p.open
	case a.within != b.within && a.within:
		return 1
	case a.within != b.within:
		return -1
	}
	return cmp.Compare(a.since, b.since)
}

// makeRoom closes the longest waiting connections of the client that has most: a
// hundredth of that client's, at least a single connection, because the search takes a
// while.
func (l *connections) makeRoom() {
	waiting := make([]candidate, 0, len(l.list))
	for _, c := range l.list {
		if since := c.waits.Load(); since > 0 {
			waiting = append(waiting, candidate{c, since, c.within.Load()})
		}
	}
	if len(waiting) == 0 {
		return
	}
	first := slices.MinFunc(waiting, candidate.compare)
	if l.held != nil && !first.peer.ours {
		l.held(first.peer.addr)
	}
	goes := []candidate{first}
	if more := first.peer.open / 100; more > 0 {
		goes = slices.DeleteFunc(waiting, func(c candidate) bool { return c.peer != first.peer })
		slices.SortFunc(goes, candidate.compare)
		goes = goes[:min(len(goes), 1+more)]
	}
	for _, c := range goes {
		l.remove(c.Conn)
		l.closed++
		_ = c.tcp.Close() // its reader or writer gets an error; Conn.Close would wait for mu, and that of TLS for the client
	}
}

// remove frees the place of c, once.
func (l *connections) remove(c *Conn) {
	if c.at < 0 {
		return
	}
	last := len(l.list) - 1
	l.list[last].at, l.list[c.at] = c.at, l.list[last]
	l.list[last] = nil
	l.list, c.at = l.list[:last], -1
	if c.peer.open--; c.peer.open == 0 {
		delete(l.peers, c.peer.peerKey)
	}
}

// count returns the number of open connections, and the number closed to make a place.
func (l *connections) count() (open int64, closed uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(len(l.list)), l.closed
}

// waiting counts the connections that wait for their client, and among them the
// connections within a request.
func (l *connections) waiting() (all, within int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.list {
		if c.waits.Load() > 0 {
			all++
			if c.within.Load() {
				within++
			}
		}
	}
	return all, within
}

// Read passes on the bytes that are framed correctly. It returns an error of framing only
// after the requests before it have been passed on.
func (c *Conn) Read(p []byte) (int, error) {
	if c.bad != nil {
		return 0, c.bad
	}
	c.within.Store(c.frames.Within()) // if not within, every request that came is answered
	c.waits.Store(clock())
	n, err := c.Conn.Read(p)
	c.waits.Store(0)
	if c.all.unframed {
		return n, err
	}
	pass, bad := c.frames.Check(p[:n])
	if bad == nil {
		return n, err
	}
	c.bad = bad
	c.unread.Store(true)
	if !c.frames.Within() {
		p[pass] = 'X' // to fasthttp, a connection that ends before a request is no error
		pass++
	}
	if pass == 0 {
		return 0, bad
	}
	return pass, nil
}

func (c *Conn) Write(p []byte) (int, error) {
	c.within.Store(true)
	c.waits.Store(clock())
	n, err := c.Conn.Write(p)
	c.waits.Store(0)
	return n, err
}

// SetWriteDeadline returns nil even if c was closed to make a place: fasthttp would panic
// at an error, and the next write returns the same error.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	_ = c.Conn.SetWriteDeadline(t)
	return nil
}

// leavingBuffer is the most bytes of a large answer that the system may keep for a client
// that does not take them.
const leavingBuffer = 64 << 10

// LimitBuffer bounds the bytes that the system keeps of answers that are not taken, if c is
// a connection of a Listener. It is called between writes.
func LimitBuffer(c net.Conn) {
	own := of(c)
	if own == nil || own.bounded {
		return
	}
	if tcp, ok := own.tcp.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(leavingBuffer) // the system may not obey
		own.bounded = true
	}
}

// LeaveUnread makes Close throw away the rest of a request that was answered before all
// of it had come, if c is a connection of a Listener: a connection closed with bytes unread
// is reset, and a reset can overtake the answer.
func LeaveUnread(c net.Conn) {
	if own := of(c); own != nil {
		own.unread.Store(true)
	}
}

// Close closes the connection and frees its place, once.
func (c *Conn) Close() (err error) {
	c.once.Do(func() {
		if c.unread.Load() {
			_ = c.SetDeadline(time.Now().Add(lingerFor))
			if secure, ok := c.Conn.(*certs.SecureConn); ok {
				_ = secure.CloseWrite() // fails before the end of the handshake
			}
			linger(c.tcp)
		}
		err = c.Conn.Close()
		c.all.mu.Lock()
		defer c.all.mu.Unlock()
		c.all.remove(c)
	})
	return err
}
