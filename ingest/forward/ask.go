package forward

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/valyala/fasthttp"
)

// A question to another node is a form, the number of parts and the part that is asked, as in a message, and behind them
// bytes that this package does not read. Its answer is bytes alone, proved as that to a message.

// Ask asks the owner of another part, whose Tell answers, and returns the answer, in the memory of dst if there is room.
// An error wraps ingest.ErrUnavailable. The owner may know who it answers only by the secret or the certificate of
// nodes: a question is not a client's.
func (f *Forwarder) Ask(part int, question, dst []byte) ([]byte, error) {
	return f.AskFor(AskTimeout, part, question, dst)
}

// AskFor is Ask with another limit of time, for a question that is not answered out of memory. The owner goes on
// with it when the limit is over.
func (f *Forwarder) AskFor(limit time.Duration, part int, question, dst []byte) ([]byte, error) {
	to, n, err := f.owner(part)
	if err != nil {
		return nil, err
	}
	answer, cause := n.question(limit, part, question, dst)
	if cause != "" {
		return nil, to.refusal(cause)
	}
	return answer, nil
}

// owner returns the owner of another part, and a call that is refused in its name. An error wraps
// ingest.ErrUnavailable.
func (f *Forwarder) owner(part int) (to *call, n *neighbour, err error) {
	to = &call{part: part}
	if to.addr = f.cfg.Owner(part); to.addr == "" {
		return nil, nil, unowned(part, noNode)
	}
	to.node = f.cfg.Name(part)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped {
		return nil, nil, to.refusal("shutting down")
	}
	return to, f.neighbour(to.addr), nil
}

// question asks the peer, or returns why there is no answer. Pings may still be sent to a peer that is slow to answer.
func (n *neighbour) question(limit time.Duration, part int, question, dst []byte) (answer []byte, cause string) {
	now := time.Now()
	n.used.Store(now.UnixNano())
	n.mu.Lock()
	cause = n.away(now)
	n.mu.Unlock()
	if cause != "" {
		return nil, cause
	}
	f := n.f
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	req.Header.SetMethod(fasthttp.MethodPost)
	req.SetRequestURI(f.scheme() + n.addr + askPath)
	head := binary.AppendUvarint(binary.AppendUvarint([]byte{form}, uint64(f.cfg.Parts)), uint64(part))
	req.SetBodyRaw(append(head, question...))
	mac := ""
	if f.seal != nil {
		var stamp string
		stamp, mac = f.seal.stamp(fasthttp.MethodPost, askPath, "", req.Body())
		req.Header.Set(peerHeader, stamp)
	}
	if err := n.asks.DoTimeout(req, resp, limit); err != nil {
		if !errors.Is(err, fasthttp.ErrTimeout) && !errors.Is(err, fasthttp.ErrNoFreeConns) && !errors.Is(err, fasthttp.ErrBodyTooLarge) {
			n.asks.CloseIdleConnections() // of a process that has ended
			f.cfg.Suspect(part, n.addr)
		}
		return nil, short(err)
	}
	body := resp.Body()
	switch status := resp.StatusCode(); {
	case status == fasthttp.StatusUnauthorized:
		return nil, n.notTaken(resp)
	case status == fasthttp.StatusMisdirectedRequest:
		f.cfg.Suspect(part, n.addr)
		fallthrough
	case status != fasthttp.StatusOK:
		return nil, fmt.Sprintf("%d, %s", status, printable(body[:min(len(body), maxCause)]))
	case f.seal != nil && !f.seal.proves(string(resp.Header.Peek(proofHeader)), mac, body):
		return nil, notProved
	}
	n.up()
	return append(dst[:0], body...), ""
}
