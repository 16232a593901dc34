package server

import (
	"bytes"
	"io"
	"net/netip"
	"time"

	"github.com/gofiber/fiber/v2"

	"pingline/ingest"
	"pingline/ingest/server/rate"
	"pingline/query"
)

// Limits of reads, so that readers never crowd out pings: how many are in work and
// what they take is limited in a budget of their own, until their answers have
// left. A client may have a part of both, as of the budget of requests.
const (
	readsAtOnce = 32
	readBytes   = 64 << 10 // what a read takes besides its points

	pointBytes = 512 // a stored point in memory, and once more for each shard that is asked
	leftBytes  = 256 // a stored point that waits to leave

	readsBurst     = 10   // seconds' worth of reads that a client may ask for at once
	pointsOfOne    = 1000 // points or cells that cost as much as a read
	readersTracked = 1 << 14
)

// reads answers what is asked for. It is safe for concurrent use.
type reads struct {
	reader   *query.Reader
	senders  *senders
	over     *ingest.Overload
	held     *sharesHeld
	maxAhead time.Duration // of the clocks of phones: the end of a track if none is asked for
	taker    minRate       // of answers

	slots   budget        // reads in work
	answers budget        // bytes of reads in work, until their answers have left
	rates   *rate.Buckets // reads of a client
	recent  recentAreas
	served  []string // paths
}

// readInWork is a read in work. What it took is given back when its answer has left.
type readInWork struct {
	sender  netip.Addr
	client  uint64 // sender's key
	slot    claim  // one of readsAtOnce
	bytes   claim
	leaving bool // the answer is on its way
	also    func()
}

// bounded lets a read in work if its client is within its rate and there is room.
func (s *reads) bounded(read func(c *fiber.Ctx, r *readInWork) error) fiber.Handler {
	return func(c *fiber.Ctx) error {
		addr, ours := s.senders.client(c)
		r := &readInWork{sender: addr, client: s.senders.keyOf(addr)}
		if !ours {
			if wait := s.rates.Take(r.client, 1, time.Now()); wait > 0 {
				return &rateError{"this client asks more often than it may: ask again later", wait}
			}
		}
		r.slot, r.bytes = s.slots.claim(r.client, ours), s.answers.claim(r.client, ours)
		defer func() {
			if !r.leaving {
				r.drop()
			}
		}()
		if !r.slot.take(1) {
			if r.slot.byShare(1) {
				s.held.note(shareOfReads, addr, time.Now())
			}
			return readLater("%d reads are in progress, or more than a quarter of that of this client", s.slots.most)
		}
		if err := s.chargeRead(r, readBytes); err != nil {
			return err
		}
		return read(c, r)
	}
}

func (s *reads) chargeRead(r *readInWork, n int64) error {
	if r.bytes.take(n) {
		return nil
	}
	if r.bytes.byShare(n) {
		s.held.note(shareOfReads, r.sender, time.Now())
	}
	return readLater("answers take more than %d bytes, or of this client more than a quarter of that", s.answers.most)
}

func (r *readInWork) drop() {
	r.slot.drop()
	r.bytes.drop()
	if r.also != nil {
		r.also()
	}
}

// answer sends what from has, of size bytes or -1 for not known. A small answer is
// sent whole, with its length; of any other, r lasts until it has left. A client
// of HTTP/1.0 knows no chunks.
func (s *reads) answer(c *fiber.Ctx, r *readInWork, contentType string, from io.Reader, size int) error {
	c.Set(fiber.HeaderContentType, contentType)
	if c.Request().Header.IsHead() { // it is told the length, and a body of chunks would leave a line behind
		n, err := io.Copy(io.Discard, from)
		if err != nil {
			return err
		}
		size = int(n)
	}
	whole := int64(wholeAnswer)
	if size < 0 && !c.Request().Header.IsHTTP11() {
		whole = s.answers.most
	}
	if size <= wholeAnswer && !c.Request().Header.IsHead() {
		head, err := io.ReadAll(io.LimitReader(from, whole+1))
		switch {
		case err != nil:
			return err
		case len(head) <= wholeAnswer:
			c.Response().SetBodyRaw(head)
			return nil
		case int64(len(head)) <= whole:
			size = len(head)
		}
		if err := s.chargeRead(r, int64(cap(head))); err != nil {
			return err
		}
		from = io.MultiReader(bytes.NewReader(head), from)
	}
	r.leaving = true
	leave(c, s.taker, from, size, r.drop)
	return nil
}

// pieces is an answer made piece by piece, as it leaves.
type pieces struct {
	next func(dst []byte) []byte // appends the next piece, nothing at the end
	buf  []byte
	at   int
}

func (p *pieces) Read(dst []byte) (int, error) {
	if p.at == len(p.buf) {
		p.buf, p.at = p.next(p.buf[:0]), 0
		if len(p.buf) == 0 {
			return 0, io.EOF
		}
	}
	n := copy(dst, p.buf[p.at:])
	p.at += n
	return n, nil
}

// inTurn is the pieces of each of several answers, one behind the other.
func inTurn(list ...func(dst []byte) []byte) *pieces {
	return &pieces{next: func(dst []byte) []byte {
		for len(list) > 0 {
			if dst = list[0](dst); len(dst) > 0 {
				return dst
			}
			list = list[1:]
		}
		return dst
	}}
}

// text is one piece.
func text(s string) func(dst []byte) []byte {
	return func(dst []byte) []byte {
		dst, s = append(dst, s...), ""
		return dst
	}
}

// eachOf is n items with commas between, some in a piece.
func eachOf(n int, item func(dst []byte, i int) []byte) func(dst []byte) []byte {
	const some = 32
	i := 0
	return func(dst []byte) []byte {
		for end := min(i+some, n); i < end; i++ {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = item(dst, i)
		}
		return dst
	}
}
