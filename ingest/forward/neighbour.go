package forward

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// AskTimeout is how long Ask waits: readers wait for it where a node is silent.
const AskTimeout = 300 * time.Millisecond

const (
	forwardPath = "/v1/forward"
	askPath     = "/v1/ask"

	// mostSent is the most messages to a peer under way, of each kind: one that is judged, one that waits for its
	// commit, and one on each way.
	mostSent = 4

	// againEvery is the time between two attempts to reach a peer that does not answer.
	againEvery = 200 * time.Millisecond

	dialTimeout   = time.Second
	mostReads     = 16               // passed to a peer at a time: each may have an answer of mostAnswer
	mostAnswer    = 64 << 20         // bytes of the answer to a read
	mostAsked     = 8                // connections to a peer for questions
	mostTold      = 16 << 20         // bytes of the answer to a question
	mostVerdicts  = 2 << 20          // bytes of the answer to a message
	readTimeout   = 30 * time.Second // for the answer to a read
	forgottenIn   = 10 * time.Minute // a peer to which nothing was sent
	headBytes     = 24 << 10         // the longest head: that of a client's read, and more
	mostKeptBytes = 4 << 20          // of the memory of a message
)

// neighbour is a peer as this node sends to it: queues of calls, and connections.
type neighbour struct {
	f    *Forwarder
	addr string

	messages, reads, asks fasthttp.HostClient
	used                  atomic.Int64 // ns since 1970, when something was last sent

	mu     sync.Mutex // guards the fields below; taken behind Forwarder.mu, nothing else is locked under it
	usual  sendQueue
	urgent sendQueue // with messages of its own: it waits for no job that is not urgent
	cause  string    // why the peer does not answer; "" if it does, as far as is known
	again  time.Time // when it is tried again, if it does not
}

// sendQueue holds the calls that wait for a message.
type sendQueue struct {
	calls   []*call
	sending int // messages under way
}

// neighbour returns the peer at an address. The caller holds f.mu.
func (f *Forwarder) neighbour(addr string) *neighbour {
	if n := f.peers[addr]; n != nil {
		return n
	}
	now := time.Now()
	for at, n := range f.peers {
		if now.Sub(time.Unix(0, n.used.Load())) > forgottenIn && n.idle() {
			n.close()
			delete(f.peers, at)
		}
	}
	n := &neighbour{f: f, addr: addr}
	n.used.Store(now.UnixNano())
	for _, c := range [...]*fasthttp.HostClient{&n.messages, &n.reads, &n.asks} {
		*c = fasthttp.HostClient{
			Addr: addr, Dial: dial, IsTLS: f.cfg.Peer.ClientTLS != nil, TLSConfig: f.cfg.Peer.ClientTLS,
			MaxConns: 2 * mostSent, MaxIdleConnDuration: f.cfg.idle, MaxIdemponentCallAttempts: 1,
			ReadBufferSize: headBytes, WriteTimeout: readTimeout, MaxResponseBodySize: mostVerdicts,
			NoDefaultUserAgentHeader: true, DisablePathNormalizing: true,
		}
	}
	n.reads.MaxConns, n.reads.MaxResponseBodySize, n.reads.MaxConnWaitTimeout = mostReads, mostAnswer, time.Second
	n.asks.MaxConns, n.asks.MaxResponseBodySize, n.asks.MaxConnWaitTimeout, n.asks.Dial = mostAsked, mostTold, AskTimeout, dialSoon
	f.peers[addr] = n
	return n
}

func dialSoon(addr string) (net.Conn, error) { return net.DialTimeout("tcp", addr, AskTimeout) }

func dial(addr string) (net.Conn, error) { return net.DialTimeout("tcp", addr, dialTimeout) }

func (n *neighbour) idle() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.usual.sending+n.urgent.sending+n.reads.PendingRequests()+n.asks.PendingRequests() == 0
}

func (n *neighbour) close() {
	n.messages.CloseIdleConnections()
	n.reads.CloseIdleConnections()
	n.asks.CloseIdleConnections()
}

// add takes a call for the next message, or answers it at once if the peer does not answer. The caller holds f.mu, and
// Run has not ended.
func (n *neighbour) add(c *call) {
	now := time.Now()
	n.used.Store(now.UnixNano())
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.away(now); err != "" {
		c.finish(unjudged{error: c.refusal(err)})
		return
	}
	b := &n.usual
	if c.urgent {
		b = &n.urgent
	}
	b.calls = append(b.calls, c)
	if b.sending < mostSent {
		b.sending++
		n.f.sending.Add(1)
		go n.send(b)
	}
}

// away returns why the peer is not asked now, or "". Of a peer that does not answer, one in againEvery may try. The
// caller holds n.mu.
func (n *neighbour) away(now time.Time) string {
	if n.cause == "" {
		return ""
	}
	if now.Before(n.again) {
		return n.cause
	}
	n.again = now.Add(againEvery)
	return ""
}

// mail is a message on its way, with all its memory, which is used again.
type mail struct {
	calls []*call
	body  []byte
	req   fasthttp.Request
	resp  fasthttp.Response
}

// send sends messages until no call waits.
func (n *neighbour) send(b *sendQueue) {
	defer n.f.sending.Done()
	m := n.f.mails.Get().(*mail)
	for n.take(b, m) {
		n.exchange(m)
	}
	clear(m.calls)
	if cap(m.body) <= mostKeptBytes {
		n.f.mails.Put(m)
	}
}

// take fills m with calls that wait, of a single part, and reports whether there are any.
func (n *neighbour) take(b *sendQueue, m *mail) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(m.calls)
	m.calls = m.calls[:0]
	now, size, left := time.Now(), 0, b.calls[:0]
	for i, c := range b.calls {
		switch {
		case !now.Before(c.until): // nobody waits for it
			continue
		case len(m.calls) > 0 && (c.part != m.calls[0].part || size+len(c.entries) > fullMessage || len(m.calls) == mostJobs):
			left = append(left, b.calls[i])
			continue
		}
		m.calls, size = append(m.calls, c), size+len(c.entries)
	}
	clear(b.calls[len(left):])
	b.calls = left
	if len(m.calls) == 0 {
		b.sending--
		return false
	}
	return true
}

// exchange sends a message and answers its calls.
func (n *neighbour) exchange(m *mail) {
	part := m.calls[0].part
	cause, detail, suspect, down, judged := n.ask(m)
	if cause == "" {
		n.up()
		for _, c := range m.calls {
			c.done <- struct{}{}
		}
		return
	}
	if down {
		n.down(part, cause, detail)
	}
	if suspect {
		n.f.cfg.Suspect(part, n.addr)
	}
	if !judged && !down { // else it could not be reached
		n.f.moved[part].Store(time.Now().UnixNano())
	}
	for _, c := range m.calls {
		err := c.refusal(cause)
		if !judged {
			err = unjudged{error: err, moved: !down}
		}
		c.finish(err)
	}
}

// ask sends a message. It returns "" if the answer is that of the calls; otherwise why there is none, for clients and for
// the log, whether another node may own the part, whether the peer is to be left alone for a while, and whether calls
// may have been judged.
func (n *neighbour) ask(m *mail) (cause, detail string, suspect, down, judged bool) {
	f := n.f
	until := m.calls[0].until
	for _, c := range m.calls[1:] {
		if c.until.After(until) {
			until = c.until
		}
	}
	m.body = appendMessage(m.body[:0], f.cfg.Parts, m.calls, time.Now())
	f.messages.Add(1)
	f.jobs.Add(uint64(len(m.calls)))
	m.req.Reset()
	m.req.Header.SetMethod(fasthttp.MethodPost)
	m.req.SetRequestURI(f.scheme() + n.addr + forwardPath)
	m.req.SetBodyRaw(m.body)
	mac := ""
	if f.seal != nil {
		var stamp string
		stamp, mac = f.seal.stamp(fasthttp.MethodPost, forwardPath, "", m.body)
		m.req.Header.Set(peerHeader, stamp)
	}
	if err := n.messages.DoDeadline(&m.req, &m.resp, until); err != nil {
		dial := new(net.OpError)
		return short(err), err.Error(), true, true, !errors.As(err, &dial) || dial.Op != "dial"
	}
	cause, suspect, down = n.answered(m, mac)
	return cause, cause, suspect, down, m.resp.StatusCode() != fasthttp.StatusMisdirectedRequest
}

// answered reads the answer to a message with that MAC, as ask returns it.
func (n *neighbour) answered(m *mail, mac string) (cause string, suspect, down bool) {
	body, seal := m.resp.Body(), n.f.seal
	switch status := m.resp.StatusCode(); {
	case status == fasthttp.StatusUnauthorized:
		return n.notTaken(&m.resp), false, true
	case status == fasthttp.StatusMisdirectedRequest:
		return printable(body[:min(len(body), maxCause)]), true, false
	case status != fasthttp.StatusOK:
		return fmt.Sprintf("%d, %s", status, printable(body[:min(len(body), maxCause)])), false, status != fasthttp.StatusServiceUnavailable
	case seal != nil && !seal.proves(string(m.resp.Header.Peek(proofHeader)), mac, body):
		return notProved, true, true
	}
	if err := decodeAnswer(body, m.calls); err != nil {
		return err.Error(), true, true
	}
	return "", false, false
}

// notTaken is why a peer judges nothing: its clock is another, which it tells, or its secret.
func (n *neighbour) notTaken(resp *fasthttp.Response) string {
	if theirs := resp.Header.Peek(clockHeader); n.f.seal != nil && len(theirs) > 0 {
		if by, off := n.f.seal.differs(string(theirs)); off {
			return by + ": no more than " + validFor.String() + " is allowed"
		}
	}
	return "it does not take this node for a peer: is --peer-secret-file the same?"
}

// notProved is why an answer counts for nothing: another program may have come to have the address.
const notProved = "its answer is not proved: is --peer-secret-file the same?"

func (f *Forwarder) scheme() string {
	if f.cfg.Peer.ClientTLS != nil {
		return "https://"
	}
	return "http://"
}

// up notes that the peer answers.
func (n *neighbour) up() {
	n.mu.Lock()
	was := n.cause
	n.cause = ""
	n.mu.Unlock()
	if was != "" {
		n.f.cfg.Logger.Info("a node of another part answers again", "addr", n.addr)
	}
}

// down notes that the peer does not answer, and answers the calls that wait for it. Only the log is told the detail.
func (n *neighbour) down(part int, cause, detail string) {
	n.mu.Lock()
	was := n.cause
	n.cause, n.again = cause, time.Now().Add(againEvery)
	for _, b := range [...]*sendQueue{&n.usual, &n.urgent} {
		for _, c := range b.calls {
			c.finish(unjudged{error: c.refusal(cause)})
		}
		clear(b.calls)
		b.calls = b.calls[:0]
	}
	n.mu.Unlock()
	n.close() // connections to a process that has ended
	if was == "" {
		n.f.cfg.Logger.Warn("a node of another part does not answer: pings of that part are refused", "part", part, "addr", n.addr, "error", printable([]byte(detail)))
	}
}
