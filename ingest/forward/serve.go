package forward

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"pingline/ingest"
)

const (
	bodyTimeout     = 10 * time.Second // for a message to arrive
	mostConnections = 1024
	mostInWork      = 256 << 20 // bytes of messages whose jobs are judged
	mostQuestion    = 64 << 10  // bytes
)

// serve answers a request of a peer.
func (f *Forwarder) serve(c *fasthttp.RequestCtx) {
	head, p := &c.Request.Header, proof{}
	if f.seal != nil {
		var ok bool
		p, ok = f.seal.check(string(head.Peek(peerHeader)), string(head.Method()), string(head.RequestURI()), string(head.Peek(clientHeader)))
		if !ok {
			f.refuse(c)
			if p.clocks {
				c.Response.Header.Set(clockHeader, strconv.FormatInt(f.seal.now().Unix(), 10))
			}
			return
		}
	}
	switch {
	case head.IsPost() && string(head.RequestURI()) == forwardPath:
		f.take(c, p)
	case head.IsPost() && string(head.RequestURI()) == askPath && f.cfg.Tell != nil:
		f.tell(c, p.sum, p.mac)
	case (head.IsGet() || head.IsHead()) && f.cfg.Answer != nil:
		f.answer(c)
	default:
		deny(c, fasthttp.StatusNotFound, "no such route")
		c.SetConnectionClose() // a body may be left
	}
}

// deny refuses a request. The header tells the refusal from an answer to a read.
func deny(c *fasthttp.RequestCtx, status int, text string) {
	c.Error(text, status)
	c.Response.Header.Set(peerHeader, "refused")
}

// refuse refuses a request of which nothing was read but its head.
func (f *Forwarder) refuse(c *fasthttp.RequestCtx) {
	f.refused.Add(1)
	deny(c, fasthttp.StatusUnauthorized, "not proved to be a peer")
	c.SetConnectionClose()
}

// take has the jobs of a message judged.
func (f *Forwarder) take(c *fasthttp.RequestCtx, p proof) {
	size := c.Request.Header.ContentLength()
	if size < 0 || size > maxBody {
		deny(c, fasthttp.StatusRequestEntityTooLarge, "a message of unknown length, or too long")
		c.SetConnectionClose()
		return
	}
	defer f.inWork.Add(-int64(size))
	if f.inWork.Add(int64(size)) > mostInWork {
		deny(c, fasthttp.StatusServiceUnavailable, "too much is in work for peers")
		c.SetConnectionClose()
		return
	}
	b := f.parcels.Get().(*bundle)
	defer f.forget(b)
	b.body = slices.Grow(b.body[:0], size)[:size]
	if !f.read(c, b.body, p.sum) {
		return
	}
	if err := b.decode(f.cfg.Parts, f.cfg.Own); err != nil {
		status := fasthttp.StatusBadRequest
		if errors.Is(err, errNotOurs) {
			status = fasthttp.StatusMisdirectedRequest
		}
		deny(c, status, err.Error())
		return
	}
	if f.judge(b.jobs) == len(b.jobs) {
		deny(c, fasthttp.StatusMisdirectedRequest, ingest.ErrStopped.Error())
		return
	}
	b.answer = appendAnswer(b.answer[:0], b.jobs)
	if f.seal != nil {
		c.Response.Header.Set(proofHeader, f.seal.prove(p.mac, b.answer))
	}
	c.SetBody(b.answer) // copies
}

// read reads a body whose hash is sum, or refuses the request.
func (f *Forwarder) read(c *fasthttp.RequestCtx, body []byte, sum string) bool {
	if in := c.RequestBodyStream(); len(body) > 0 {
		if _, err := io.ReadFull(in, body); err != nil {
			deny(c, fasthttp.StatusBadRequest, "a message that ends early")
			c.SetConnectionClose()
			return false
		}
	}
	if f.seal != nil && subtle.ConstantTimeCompare([]byte(hashOf(body)), []byte(sum)) != 1 {
		f.refuse(c)
		return false
	}
	return true
}

// tell answers a question of a peer.
func (f *Forwarder) tell(c *fasthttp.RequestCtx, sum, mac string) {
	size := c.Request.Header.ContentLength()
	if size < 0 || size > mostQuestion {
		deny(c, fasthttp.StatusRequestEntityTooLarge, "a question of unknown length, or too long")
		c.SetConnectionClose()
		return
	}
	body := make([]byte, size)
	if !f.read(c, body, sum) {
		return
	}
	d := wire{b: body}
	switch v, parts, part := d.u8(), d.uvarint(), d.uvarint(); {
	case v != form:
		deny(c, fasthttp.StatusBadRequest, fmt.Sprintf("a question of form %d, this node knows %d", v, form))
		return
	case d.bad || parts != uint64(f.cfg.Parts) || part != uint64(f.cfg.Own):
		deny(c, fasthttp.StatusMisdirectedRequest, fmt.Sprintf("a question to part %d of %d: this node has part %d of %d", part, parts, f.cfg.Own, f.cfg.Parts))
		return
	}
	answer, err := f.cfg.Tell(d.b, nil)
	if err != nil {
		deny(c, fasthttp.StatusServiceUnavailable, err.Error())
		return
	}
	if f.seal != nil {
		c.Response.Header.Set(proofHeader, f.seal.prove(mac, answer))
	}
	c.Response.SetBodyRaw(answer)
}

// judge has jobs judged together, so that they are of the same commit. It returns how many were not, as the part is on
// its way to another node.
func (f *Forwarder) judge(jobs []*posted) (stopped int) {
	var all sync.WaitGroup
	for _, p := range jobs[1:] {
		all.Go(func() { p.err = f.cfg.Local(&p.job) })
	}
	jobs[0].err = f.cfg.Local(&jobs[0].job)
	all.Wait()
	taken := uint64(0)
	for _, p := range jobs {
		if p.err == nil {
			taken += uint64(len(p.job.Pings))
		}
		if errors.Is(p.err, ingest.ErrStopped) {
			stopped++
		}
	}
	f.counts.Lock()
	f.stats.Taken += taken
	f.counts.Unlock()
	return stopped
}

// forget keeps the memory of a message, unless it is large.
func (f *Forwarder) forget(b *bundle) {
	if !b.large() {
		f.parcels.Put(b)
	}
}

// large reports whether the memory of b is too much to be kept: each of its jobs has that of the
// largest that was in its place.
func (b *bundle) large() bool {
	pings := 0
	for _, p := range b.jobs[:cap(b.jobs)] {
		if p != nil {
			pings += cap(p.job.Pings)
		}
	}
	return cap(b.body) > mostKeptBytes || pings > mostPings
}

// passedOn marks a request as a read that a peer has passed on.
type passedOn struct{}

// answer answers a read that a peer passes on, as that of the peer's client.
func (f *Forwarder) answer(c *fasthttp.RequestCtx) {
	client, err := netip.ParseAddrPort(string(c.Request.Header.Peek(clientHeader)))
	if err != nil {
		deny(c, fasthttp.StatusBadRequest, "a read without its client")
		return
	}
	c.Request.Header.Del(peerHeader)
	c.Request.Header.Del(clientHeader)
	c.SetUserValue(passedOn{}, true)
	c.SetRemoteAddr(net.TCPAddrFromAddrPort(client))
	defer c.SetRemoteAddr(nil)
	f.cfg.Answer(c)
}
