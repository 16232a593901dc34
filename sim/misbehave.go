package sim

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"time"

	"pingline"
	"pingline/client"
	"pingline/internal/pause"
	"pingline/sim/fault"
)

// misbehave sends what a faulty phone or network makes of a request before it gets
// through whole: a body that is no JSON, or half of one. The answers are honoured and
// forgotten: the pings come again.
func (s *sender) misbehave(ctx context.Context, pings []pingline.Ping, r *shipment) error {
	for _, k := range []fault.Fault{fault.Malformed, fault.Truncated} {
		if !r.Has(k) {
			continue
		}
		r.Mask &^= 1 << k
		if err := s.encodeBroken(pings, k); err != nil {
			return err
		}
		body, length := io.Reader(bytes.NewReader(s.body)), len(s.body)
		if k == fault.Truncated && r.shape&1 == 0 { // the connection ends before the body does
			body, length = &cutReader{rest: s.body}, 2*len(s.body)
		}
		a := s.post(ctx, body, length)
		if fateOf(&a) != client.Again || a.Status == 0 {
			continue
		}
		if pause.For(ctx, s.backoff(&a, 0)) != nil {
			return nil //nolint:nilerr // told to stop, which the next attempt sees
		}
	}
	return nil
}

// cutReader gives what it has, and then ends the request.
type cutReader struct{ rest []byte }

func (r *cutReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, context.Canceled
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// attempt sends the body once, with the faults that befall it: those of the network
// once, a slow sender each time.
func (s *sender) attempt(ctx context.Context, r *shipment, try int) client.Response {
	if r.Mask == 0 {
		return s.post(ctx, bytes.NewReader(s.body), len(s.body))
	}
	switch {
	case r.Has(fault.Cut):
		r.Mask &^= 1 << fault.Cut
		return s.postAndCut(ctx)
	case r.Has(fault.Resend):
		r.Mask &^= 1 << fault.Resend
		if a := s.post(ctx, bytes.NewReader(s.body), len(s.body)); fateOf(&a) != client.Judged {
			return a
		}
		return client.Response{ShedLevel: -1} // the phone never hears of it
	case r.Has(fault.Double):
		r.Mask &^= 1 << fault.Double
		return s.postTwice(ctx)
	case r.Has(fault.Slow) && try == 0:
		return s.post(ctx, &slowReader{ctx: ctx, rest: s.body, chunk: len(s.body)/slowChunks + 1, wait: slowWait(r.shape)}, len(s.body))
	}
	return s.post(ctx, bytes.NewReader(s.body), len(s.body))
}

// postAndCut sends the body and closes the connection as soon as it is sent.
func (s *sender) postAndCut(ctx context.Context) client.Response {
	ctx, cut := context.WithCancel(ctx)
	defer cut()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { cut() }})
	s.post(ctx, bytes.NewReader(s.body), len(s.body))
	return client.Response{ShedLevel: -1} // an answer that was faster is not read
}

// postTwice sends the body twice at the same time, on two connections, and returns
// the answer to one of them.
func (s *sender) postTwice(ctx context.Context) client.Response {
	twin := *s
	twin.bodies = &bodies{format: s.format, body: bytes.Clone(s.body)}
	done := make(chan client.Response, 1)
	go func() { done <- twin.post(ctx, bytes.NewReader(twin.body), len(twin.body)) }()
	a := s.post(ctx, bytes.NewReader(s.body), len(s.body))
	if other := <-done; a.Status != http.StatusOK {
		return other
	}
	return a
}

// slowReader gives a body in chunks, each after a wait.
type slowReader struct {
	ctx   context.Context
	rest  []byte
	chunk int
	wait  time.Duration
}

const slowChunks = 20

// slowWait returns the time between two chunks: a body takes 1 to 8 s.
func slowWait(shape uint64) time.Duration {
	return time.Second/slowChunks + time.Duration(shape>>32%7000)*time.Millisecond/slowChunks
}

func (r *slowReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	if err := pause.For(r.ctx, r.wait); err != nil {
		return 0, err
	}
	n := copy(p, r.rest[:min(r.chunk, len(r.rest))])
	r.rest = r.rest[n:]
	return n, nil
}

// encodeBroken makes the body one that is no JSON, or half of one.
func (s *sender) encodeBroken(pings []pingline.Ping, k fault.Fault) error {
	return s.encodeAs(pings, func(plain []byte) []byte {
		if k == fault.Truncated {
			return plain[:len(plain)/2]
		}
		i := bytes.LastIndexByte(plain, '}')
		return append(append(plain[:i:i], '#'), plain[i:]...)
	})
}
