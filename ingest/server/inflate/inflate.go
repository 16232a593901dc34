// Package inflate decompresses the bodies of requests, with bounds: of the result, and
// of the memory that a sender can make a decompressor take.
//
// It promises that memory is charged before it is taken, and that a body that is cut off
// or damaged is refused. It does not stream: a body and its result are in memory whole.
package inflate

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"pingline/ingest/phone"
)

// Body decodes body by its Content-Encoding: identity, gzip or zstd, in any case, a
// single coding. Several gzip members or zstd frames in a row are decoded as a single
// body; an empty body, or other bytes behind the last, are an error. The result is a
// copy, in dst's memory if there is room; the contents of dst are lost.
//
// It returns an error wrapping phone.ErrEncoding, phone.ErrTooLarge for more than most
// bytes, phone.ErrMalformed, or the error of charge. Charge is called before memory is
// taken, the decompressor's window included, and again to give the window back.
// No body makes it allocate more than twice most besides the window, or start a
// goroutine.
func Body(dst []byte, encoding string, body []byte, most int, charge func(n int64) error) ([]byte, error) {
	in := inflation{dst: dst[:0], most: most, charge: charge}
	var err error
	switch named(encoding) {
	case asIs:
		err = in.readAll(bytes.NewReader(body), uint64(len(body)))
	case asGzip:
		err = in.gunzip(body)
	case asZstd:
		err = in.unzstd(body)
	default:
		return in.dst, Check(encoding)
	}
	switch {
	case err == nil:
		return in.dst, nil
	case errors.Is(err, phone.ErrTooLarge), errors.Is(err, in.refused):
		return in.dst[:0], err
	}
	return in.dst[:0], &phone.Error{Kind: phone.ErrMalformed, Text: fmt.Sprintf("inflate %s: %v", encoding, err)}
}

// Check returns an error wrapping phone.ErrEncoding if Body does not know an encoding.
func Check(encoding string) error {
	if named(encoding) == notKnown {
		return &phone.Error{Kind: phone.ErrEncoding, Text: fmt.Sprintf("content encoding %q is not identity, gzip or zstd", encoding)}
	}
	return nil
}

type coding uint8

const (
	notKnown coding = iota
	asIs
	asGzip
	asZstd
)

// named returns the coding that an encoding names, in any case.
func named(encoding string) coding {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "identity":
		return asIs
	case "gzip":
		return asGzip
	case "zstd":
		return asZstd
	}
	return notKnown
}

// inflation is a body being inflated.
type inflation struct {
	dst     []byte
	most    int
	charge  func(n int64) error
	refused error // error of charge
}

func (in *inflation) pay(n int64) error {
	in.refused = in.charge(n)
	return in.refused
}

func tooLarge(most int) error {
	return &phone.Error{Kind: phone.ErrTooLarge, Text: fmt.Sprintf("body is larger than %d bytes when inflated: send it in parts", most)}
}

// gzipReader and zstdReader keep the memory of a decompressor for the next body.
type gzipReader struct {
	from bytes.Reader
	gzip gzip.Reader
}

type zstdReader struct {
	from bytes.Reader
	zstd *zstd.Decoder
}

var (
	gzipReaders = sync.Pool{New: func() any { return new(gzipReader) }}
	zstdReaders = sync.Pool{New: func() any { return newZstdReader() }}
)

// gzipWindow is the memory of a gzipReader, in bytes.
const gzipWindow = 64 << 10

func (in *inflation) gunzip(body []byte) error {
	if err := in.pay(gzipWindow); err != nil {
		return err
	}
	defer func() { _ = in.charge(-gzipWindow) }() // giving back is not refused
	r := gzipReaders.Get().(*gzipReader)
	defer gzipReaders.Put(r)
	defer r.from.Reset(nil)
	r.from.Reset(body)
	if err := r.nextMember(); err != nil {
		return err
	}
	return in.readAll(r, gzipSize(body))
}

// nextMember begins to read a member. The library is not left to find the next member,
// because it takes a header that is cut within its name for the end of the body.
func (r *gzipReader) nextMember() error {
	if err := r.gzip.Reset(&r.from); err != nil {
		return unexpected(err)
	}
	r.gzip.Multistream(false)
	return nil
}

// Read reads all members in a row.
func (r *gzipReader) Read(p []byte) (int, error) {
	n, err := r.gzip.Read(p)
	if err == io.EOF && r.from.Len() > 0 {
		err = r.nextMember()
	}
	return n, err
}

// gzipSize guesses the size of the result, in bytes. The trailer has it, if body has a
// single member and is honest. Deflate shrinks nothing to less than a 1032nd.
func gzipSize(body []byte) uint64 {
	said := binary.LittleEndian.Uint32(body[len(body)-4:]) // in range: body has at least a header, which is longer
	return min(uint64(said), 1032*uint64(len(body)))
}

// zstdWindow is the largest window, in bytes, that a sender may ask for: the limit of
// RFC 9659 for HTTP.
const zstdWindow = 8 << 20

func newZstdReader() *zstdReader {
	d, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(1), // in the caller's goroutine
		zstd.WithDecoderMaxMemory(zstdWindow))
	if err != nil {
		panic(err) // only an option out of range is an error
	}
	return &zstdReader{zstd: d}
}

// zstdBlock is the memory of a decoder besides its window, in bytes.
const zstdBlock = 1 << 20

func (in *inflation) unzstd(body []byte) error {
	var first zstd.Header
	if err := first.Decode(body); err != nil {
		return unexpected(err)
	}
	window := int64(min(largestWindow(body), zstdWindow) + zstdBlock)
	if err := in.pay(window); err != nil {
		return err
	}
	defer func() { _ = in.charge(-window) }() // giving back is not refused
	r := zstdReaders.Get().(*zstdReader)
	defer zstdReaders.Put(r)
	defer r.from.Reset(nil)
	r.from.Reset(body)
	if err := r.zstd.Reset(&r.from); err != nil {
		return err
	}
	return in.readAll(r.zstd, first.FrameContentSize)
}

// largestWindow returns the largest window that a frame of body asks for, in bytes. It
// walks from block to block; a broken block ends the walk, as it ends decoding.
func largestWindow(body []byte) (most uint64) {
	for len(body) > 0 {
		var h zstd.Header
		rest, err := h.DecodeAndStrip(body)
		if err != nil {
			return most
		}
		if h.Skippable {
			body = rest[min(uint64(h.SkippableSize), uint64(len(rest))):]
			continue
		}
		if most = max(most, h.WindowSize); h.SingleSegment {
			most = max(most, h.FrameContentSize)
		}
		body = body[min(h.HeaderSize, len(body)):]
		for last := false; !last; {
			if len(body) < 3 {
				return most
			}
			block := uint32(body[0]) | uint32(body[1])<<8 | uint32(body[2])<<16
			size := int(block >> 3)
			if block>>1&3 == 1 { // a run of a repeated byte
				size = 1
			}
			last = block&1 == 1
			body = body[min(3+size, len(body)):]
		}
		if h.HasCheckSum {
			body = body[min(4, len(body)):]
		}
	}
	return most
}

// readAll reads r to its end into dst; size is a guess of its length.
func (in *inflation) readAll(r io.Reader, size uint64) error {
	if err := in.grow(int(min(size, uint64(in.most))) + 1); err != nil { // a byte more shows the end
		return err
	}
	for len(in.dst) <= in.most {
		if len(in.dst) == cap(in.dst) {
			if err := in.grow(nextSize(cap(in.dst), in.most)); err != nil {
				return err
			}
		}
		n, err := r.Read(in.dst[len(in.dst):min(cap(in.dst), in.most+1)])
		in.dst = in.dst[:len(in.dst)+n]
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if len(in.dst) > in.most {
		return tooLarge(in.most)
	}
	return nil
}

func (in *inflation) grow(size int) error {
	if more := size - cap(in.dst); more > 0 {
		if err := in.pay(int64(more)); err != nil {
			return err
		}
	}
	in.dst = Grow(in.dst, size)
	return nil
}

// nextSize returns the size to try after size: twice as much, or most if size is above
// an eighth of most, so that the memory given up stays small.
func nextSize(size, most int) int {
	if size > most/8 {
		return most + 1
	}
	return 2*size + 512
}

// Grow returns b in memory that has room for size bytes, itself if it has.
func Grow(b []byte, size int) []byte {
	if cap(b) >= size {
		return b
	}
	return append(make([]byte, 0, size), b...)
}

// unexpected turns io.EOF, where more bytes were due, into an error.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
