package sim

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"pingline"
	"pingline/internal/pause"
	"pingline/track"
)

// sender is one connection.
type sender struct {
	*Load
	conn  int
	fleet *fleet
	batch int // pings in a request; less than configured after a 413
	rng   *rand.Rand
	body  []byte       // of the request, as it is sent
	zip   *gzip.Writer // nil if bodies are not compressed
	plain []byte       // the body before it was compressed
}

func newSender(l *Load, conn int, start time.Time) *sender {
	s := &sender{
		Load: l, conn: conn, batch: l.cfg.Batch,
		fleet: newFleet(l.cfg.City, conn, l.cfg.Connections, l.cfg.MaxRiders, l.cfg.Rate, start),
		rng:   rand.New(rand.NewPCG(l.cfg.City.cfg.Seed, uint64(conn))),
	}
	if l.cfg.Gzip {
		s.zip, _ = gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is valid
	}
	return s
}

// run makes pings until making is done and sends them until sending is.
func (s *sender) run(making, sending context.Context) error {
	// First batches differ in size, or all connections would send at once.
	n := max(1, s.batch*(s.conn+1)/s.cfg.Connections)
	l, f := s.Load, s.fleet
	pings := make([]pingline.Ping, 0, s.batch)
	riders, skipped := 0, uint64(0)
	for pause.For(making, f.wait(time.Now(), n, patience)) == nil {
		pings = f.collect(pings[:0], time.Now(), n)
		l.count.riders.Add(int64(len(f.phones) - riders))
		l.count.skipped.Add(f.skipped - skipped)
		riders, skipped = len(f.phones), f.skipped
		if len(pings) == 0 {
			continue
		}
		l.count.sent.Add(uint64(len(pings)))
		if err := s.deliver(sending, pings); err != nil {
			return err
		}
		n = s.batch
	}
	return nil
}

// deliver sends pings until they are answered for good or ctx is done.
func (s *sender) deliver(ctx context.Context, pings []pingline.Ping) error {
	if err := s.encode(pings); err != nil {
		return err
	}
	for try := 0; ; try++ {
		if try > 0 {
			s.count.retries.Add(1)
		}
		a := s.post(ctx)
		switch a.fate() {
		case answered:
			err := s.settle(pings, a)
			if err != nil {
				s.giveUp(pings)
			}
			return err
		case tooLarge:
			if len(pings) == 1 {
				s.forget(pings)
				return nil
			}
			half := len(pings) / 2
			s.batch = max(1, min(s.batch, half))
			if err := s.deliver(ctx, pings[:half]); err != nil {
				s.giveUp(pings[half:])
				return err
			}
			return s.deliver(ctx, pings[half:])
		case refused:
			s.forget(pings)
			return nil
		case hopeless:
			s.forget(pings)
			return fmt.Errorf("send to %s: answered %d %s", s.url, a.status, bytes.TrimSpace(a.body[:min(len(a.body), 200)]))
		}
		if pause.For(ctx, s.backoff(a.retryAfter, try)) != nil {
			s.giveUp(pings)
			return nil //nolint:nilerr // told to stop, which is no error
		}
	}
}

// encode makes pings the body of the next request.
func (s *sender) encode(pings []pingline.Ping) error {
	if s.zip == nil {
		s.body = appendBatch(s.body[:0], pings)
		return nil
	}
	s.plain = appendBatch(s.plain[:0], pings)
	buf := bytes.NewBuffer(s.body[:0])
	s.zip.Reset(buf)
	_, err := s.zip.Write(s.plain)
	if err = errors.Join(err, s.zip.Close()); err != nil {
		return fmt.Errorf("compress a body: %w", err)
	}
	s.body = buf.Bytes()
	return nil
}

func appendBatch(dst []byte, pings []pingline.Ping) []byte {
	dst = append(dst, '[')
	for i := range pings {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = track.AppendPing(dst, &pings[i])
	}
	return append(dst, ']')
}

// post sends the body once.
func (s *sender) post(ctx context.Context) reaction {
	s.count.requests.Add(1)
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(s.body))
	if err != nil {
		return reaction{}
	}
	req.Header.Set("Content-Type", "application/json")
	if s.cfg.Gzip {
		req.Header.Set("Content-Encoding", "gzip")
	}
	a := s.do(req)
	if a.status != http.StatusOK {
		s.count.refuse(a.status)
		// The transport may not be done with the body: it is not ours to reuse.
		s.body = bytes.Clone(s.body)
	}
	return a
}

func (s *sender) do(req *http.Request) reaction {
	resp, err := s.client.Do(req)
	if err != nil {
		return reaction{}
	}
	defer func() { _ = resp.Body.Close() }() // read as far as it matters
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return reaction{}
	}
	return reaction{resp.StatusCode, body, resp.Header.Get("Retry-After")}
}

// backoff returns how long to wait after the try-th refusal: what the answer
// says and up to half as much again, or twice as long each time.
func (s *sender) backoff(retryAfter string, try int) time.Duration {
	if d := parseRetryAfter(retryAfter, time.Now()); d > 0 {
		return d + time.Duration(s.rng.Float64()*float64(d/2))
	}
	limit := min(5*time.Second, 100*time.Millisecond<<min(try, 10))
	return limit/4 + time.Duration(s.rng.Float64()*float64(limit))
}
