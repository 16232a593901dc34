package sim

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"pingline"
	"pingline/track"
)

// Format is a form of the bodies that a load sends.
type Format string

// The formats. Gzip and Zstd are JSON, compressed.
const (
	JSON   Format = "json"
	NDJSON Format = "ndjson"
	Gzip   Format = "gzip"
	Zstd   Format = "zstd"
)

// bodies makes bodies of pings. It holds one at a time.
type bodies struct {
	format Format
	body   []byte        // as it is sent
	plain  []byte        // before it is compressed
	gzip   *gzip.Writer  // nil unless it is needed
	zstd   *zstd.Encoder // nil unless it is needed
}

func newBodies(f Format) (*bodies, error) {
	e := &bodies{format: f}
	var err error
	switch f {
	case JSON, NDJSON:
	case Gzip:
		e.gzip, err = gzip.NewWriterLevel(nil, gzip.BestSpeed)
	case Zstd:
		e.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	default:
		err = fmt.Errorf("format %q: not json, ndjson, gzip or zstd", f)
	}
	return e, err
}

// encode makes pings the body.
func (e *bodies) encode(pings []pingline.Ping) error { return e.encodeAs(pings, nil) }

// encodeAs is encode of text that spoil has changed, unless it is nil.
func (e *bodies) encodeAs(pings []pingline.Ping, spoil func(plain []byte) []byte) error {
	plain := e.body[:0]
	if e.compressed() {
		plain = e.plain[:0]
	}
	if e.format == NDJSON {
		plain = appendLines(plain, pings)
	} else {
		plain = appendBatch(plain, pings)
	}
	if spoil != nil {
		plain = spoil(plain)
	}
	switch e.format {
	case Gzip:
		buf := bytes.NewBuffer(e.body[:0])
		e.gzip.Reset(buf)
		_, err := e.gzip.Write(plain)
		if err = errors.Join(err, e.gzip.Close()); err != nil {
			return fmt.Errorf("compress a body: %w", err)
		}
		e.body, e.plain = buf.Bytes(), plain
	case Zstd:
		e.body, e.plain = e.zstd.EncodeAll(plain, e.body[:0]), plain
	default:
		e.body = plain
	}
	return nil
}

func (e *bodies) compressed() bool { return e.format == Gzip || e.format == Zstd }

// headers returns the Content-Type and the Content-Encoding of the body, if any.
func (e *bodies) headers() (kind, coding string) {
	switch e.format {
	case NDJSON:
		return "application/x-ndjson", ""
	case Gzip, Zstd:
		return "application/json", string(e.format)
	}
	return "application/json", ""
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

func appendLines(dst []byte, pings []pingline.Ping) []byte {
	for i := range pings {
		dst = append(track.AppendPing(dst, &pings[i]), '\n')
	}
	return dst
}
