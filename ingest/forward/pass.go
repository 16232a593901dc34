package forward

import (
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"pingline/partition"
)

// hops are the headers of a connection, not of a request or an answer.
var hops = []string{
	fasthttp.HeaderConnection, fasthttp.HeaderKeepAlive, fasthttp.HeaderProxyAuthenticate, fasthttp.HeaderProxyAuthorization,
	"Proxy-Connection", fasthttp.HeaderTE, fasthttp.HeaderTrailer, fasthttp.HeaderTransferEncoding, fasthttp.HeaderUpgrade, fasthttp.HeaderExpect,
}

// Pass has a read of a rider (GET or HEAD, without a body) answered by the owner of the rider's part, which sees the
// client's request line, headers and address. It returns false if the part is the node's own. The error of an owner who
// is unknown or silent, or of a read that was passed on before, wraps ingest.ErrUnavailable.
//
// A client certificate is not passed on: its holder has to show a key to read from another node.
func (f *Forwarder) Pass(c *fasthttp.RequestCtx, rider string) (passed bool, err error) {
	part := partition.Part(rider, f.cfg.Parts)
	if part == f.cfg.Own {
		return false, nil
	}
	if c.UserValue(passedOn{}) != nil {
		return false, unowned(part, "is not of this node")
	}
	to, n, err := f.owner(part)
	if err != nil {
		return false, err
	}
	if cause := n.pass(c, part); cause != "" {
		return false, to.refusal(cause)
	}
	f.passed.Add(1)
	return true, nil
}

// pass asks the peer, and makes its answer that of c, or returns why there is none.
func (n *neighbour) pass(c *fasthttp.RequestCtx, part int) (cause string) {
	now := time.Now()
	n.used.Store(now.UnixNano())
	n.mu.Lock()
	cause = n.away(now)
	n.mu.Unlock()
	if cause != "" {
		return cause
	}
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	c.Request.Header.CopyTo(&req.Header)
	for name := range strings.SplitSeq(string(req.Header.Peek(fasthttp.HeaderConnection)), ",") {
		req.Header.Del(strings.TrimSpace(name))
	}
	for _, h := range hops {
		req.Header.Del(h)
	}
	req.Header.Del(fasthttp.HeaderContentLength) // a body stays here: the next read would be taken for it
	req.Header.ResetConnectionClose()
	uri := req.URI()
	uri.DisablePathNormalizing = true
	uri.SetScheme(strings.TrimSuffix(n.f.scheme(), "://"))
	uri.SetHost(n.addr) // the client may have named none, and nobody reads it there
	client := clientOf(c.RemoteAddr())
	req.Header.Set(clientHeader, client)
	if s := n.f.seal; s != nil {
		stamp, _ := s.stamp(string(req.Header.Method()), string(uri.RequestURI()), client, nil)
		req.Header.Set(peerHeader, stamp)
	}
	if err := n.reads.DoTimeout(req, resp, readTimeout); err != nil {
		cause = short(err)
		if err != fasthttp.ErrBodyTooLarge && err != fasthttp.ErrNoFreeConns && err != fasthttp.ErrTimeout { // a slow read is no silent peer
			n.down(part, cause, err.Error())
			n.f.cfg.Suspect(part, n.addr)
		}
		return cause
	}
	n.up()
	if len(resp.Header.Peek(peerHeader)) > 0 { // the peer's, not the answer of its routes
		if resp.StatusCode() == fasthttp.StatusUnauthorized {
			return n.notTaken(resp)
		}
		return printable(resp.Body()[:min(len(resp.Body()), maxCause)])
	}
	for _, h := range hops {
		resp.Header.Del(h)
	}
	resp.Header.CopyTo(&c.Response.Header)
	if c.IsHead() {
		c.Response.SkipBody = true
		return ""
	}
	c.Response.SwapBody(resp.SwapBody(nil))
	return ""
}

// clientOf returns the address of a client, and its port if it has one.
func clientOf(addr net.Addr) string {
	if tcp, ok := addr.(*net.TCPAddr); ok {
		at := tcp.AddrPort()
		return netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port()).String()
	}
	return "0.0.0.0:0"
}
