package prepared

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"pingline/sim"
)

// requests are those of one connection, in the order in which they are sent.
type requests struct {
	share float64 // of the gap between two requests that the first one waits

	text  []byte // of all requests, with their headers
	list  []requestSpan
	times []stamp
	steps int   // of the stock; the pings of a lap have so many
	step  int64 // ms from one to the next
	begin int64 // ts of the first step of the first lap, ms since 1970
	again bool  // requests without times are sent again
	left  int   // pings to send; negative: no end

	at  int // requests sent in this lap
	lap int
}

// requestSpan is a request in the text.
type requestSpan struct {
	from, to  int
	timesFrom int // its times
	timesTo   int
	pings     int
}

// stamp is where a request has the time of a ping, and which.
type stamp struct {
	at    int // in the text
	step  int32
	phase int32 // ms
}

// make makes the requests of connection number.
func (r *requests) make(cfg *Config, number int) error {
	s := cfg.Stock
	r.steps, r.step, r.begin, r.again = s.steps, s.interval.Milliseconds(), cfg.Begin, cfg.Again
	r.left = -1
	var riders []int
	for i := range s.riders {
		if conn, _ := sim.ConnectionOf(i, cfg.Connections); conn == number {
			riders = append(riders, i)
		}
	}
	if cfg.Format == sim.Gzip || cfg.Format == sim.Zstd {
		plain := *r
		plain.fill(cfg, riders, "")
		return r.compress(&plain, cfg)
	}
	if cfg.Most > 0 {
		r.left = max(1, cfg.Most/cfg.Connections)
	}
	r.fill(cfg, riders, "POST "+cfg.Path+" HTTP/1.1\r\nHost: prepared\r\nContent-Type: "+kindOf(cfg)+"\r\nContent-Length: ")
	return nil
}

func kindOf(cfg *Config) string {
	switch {
	case cfg.Stock.lines:
		return "text/plain"
	case cfg.Format == sim.NDJSON:
		return "application/x-ndjson"
	}
	return "application/json"
}

// fill makes requests that are not compressed; without a head they are bodies.
func (r *requests) fill(cfg *Config, riders []int, head string) {
	body, times, n := []byte(nil), []stamp(nil), 0
	byLine := cfg.Stock.lines || cfg.Format == sim.NDJSON
	flush := func() {
		if n == 0 {
			return
		}
		if !byLine {
			body = append(body, ']')
		}
		q := requestSpan{from: len(r.text), timesFrom: len(r.times), pings: n}
		if head != "" {
			r.text = append(strconv.AppendInt(append(r.text, head...), int64(len(body)), 10), "\r\n\r\n"...)
		}
		for _, t := range times {
			t.at += len(r.text)
			r.times = append(r.times, t)
		}
		r.text = append(r.text, body...)
		q.to, q.timesTo = len(r.text), len(r.times)
		r.list = append(r.list, q)
		body, times, n = body[:0], times[:0], 0
	}
	for step := range cfg.Stock.steps {
		for _, rider := range riders {
			text, at := cfg.Stock.ping(rider, step)
			if len(text) == 0 {
				continue
			}
			if !byLine {
				body = append(body, map[bool]byte{true: '[', false: ','}[n == 0])
			}
			times = append(times, stamp{len(body) + at, int32(step), int32(phase(rider))})
			if body = append(body, text...); byLine {
				body = append(body, '\n')
			}
			if n++; n == cfg.Batch {
				flush()
			}
		}
	}
	flush()
}

// compress makes requests of bodies, until there are enough of them.
func (r *requests) compress(plain *requests, cfg *Config) error {
	z, err := newPacker(cfg.Format)
	if err != nil {
		return err
	}
	for pings := 0; pings*cfg.Connections < cfg.Most; {
		body, n := plain.next()
		if n == 0 {
			break
		}
		packed, err := z.pack(body)
		if err != nil {
			return err
		}
		q := requestSpan{from: len(r.text), pings: n}
		r.text = fmt.Appendf(r.text, "POST %s HTTP/1.1\r\nHost: prepared\r\nContent-Type: %s\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n", cfg.Path, kindOf(cfg), cfg.Format, len(packed))
		r.text = append(r.text, packed...)
		q.to = len(r.text)
		r.list = append(r.list, q)
		pings += n
	}
	return nil
}

// next returns the next request, its pings at their times, and how many they are;
// nil if there is none. The text is valid until the next call.
func (r *requests) next() (text []byte, pings int) {
	if r.left == 0 {
		return nil, 0
	}
	if r.at == len(r.list) {
		if len(r.list) == 0 || len(r.times) == 0 && !r.again {
			return nil, 0
		}
		r.at = 0
		r.lap++
	}
	i := r.at
	r.at++
	if r.lap%2 == 1 && len(r.times) > 0 {
		i = len(r.list) - 1 - i // on the way back
	}
	q := &r.list[i]
	for _, t := range r.times[q.timesFrom:q.timesTo] {
		step := int64(t.step)
		if r.lap%2 == 1 {
			step = int64(r.steps-1) - step
		}
		at := r.begin + (int64(r.lap)*int64(r.steps)+step)*r.step + int64(t.phase)
		strconv.AppendInt(r.text[t.at:t.at], at, 10) // it has 13 digits until 2286
	}
	if r.left > 0 {
		r.left = max(0, r.left-q.pings)
	}
	return r.text[q.from:q.to], q.pings
}

// packer compresses bodies.
type packer struct {
	gzip *gzip.Writer  // nil: zstd
	zstd *zstd.Encoder // nil: gzip
	buf  bytes.Buffer
	out  []byte
}

// newPacker returns a packer for a format: its levels are those of sim.Load.
func newPacker(f sim.Format) (p *packer, err error) {
	p = &packer{}
	if f == sim.Gzip {
		p.gzip, err = gzip.NewWriterLevel(nil, gzip.BestSpeed)
	} else {
		p.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	}
	return p, err
}

// pack returns a compressed body, which is valid until the next call.
func (p *packer) pack(body []byte) ([]byte, error) {
	if p.zstd != nil {
		p.out = p.zstd.EncodeAll(body, p.out[:0])
		return p.out, nil
	}
	p.buf.Reset()
	p.gzip.Reset(&p.buf)
	_, err := p.gzip.Write(body)
	err = errors.Join(err, p.gzip.Close())
	return p.buf.Bytes(), err
}
