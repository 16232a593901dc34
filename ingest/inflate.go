package ingest

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
)

// errUnknownEncoding is wrapped by the refusal of a body whose
// Content-Encoding is not one that inflate knows.
var errUnknownEncoding = errors.New("unknown content encoding")

// inflate returns what body holds under a Content-Encoding: identity, gzip or
// zstd, in any case, alone. Several gzip members or zstd frames in a row are one
// body; anything else behind them is an error, and so are none at all. The
// result is a copy, in dst's memory if there is room; what dst held is lost.
//
// It returns an error wrapping errUnknownEncoding, ErrTooLarge for more than
// most bytes, or errMalformed. Whatever body is, no more than twice most is
// allocated, besides the window of the decompressor; no goroutine is started.
func inflate(dst []byte, encoding string, body []byte, most int) ([]byte, error) {
	dst = dst[:0]
	var err error
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "identity":
		if len(body) > most {
			return dst, tooLarge(most)
		}
		return append(dst, body...), nil
	case "gzip":
		dst, err = gunzip(dst, body, most)
	case "zstd":
		dst, err = unzstd(dst, body, most)
	default:
		return dst, &bodyError{errUnknownEncoding, fmt.Sprintf("content encoding %q is not identity, gzip or zstd", encoding)}
	}
	switch {
	case errors.Is(err, ErrTooLarge):
		return dst[:0], err
	case err != nil:
		return dst[:0], &bodyError{errMalformed, fmt.Sprintf("inflate %s: %v", encoding, err)}
	}
	return dst, nil
}

func tooLarge(most int) error {
	return &bodyError{ErrTooLarge, fmt.Sprintf("body is larger than %d bytes when inflated: send it in parts", most)}
}

// gzipReader and zstdReader keep what a decompressor allocates for the next body.
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

// gunzip inflates body into dst.
func gunzip(dst, body []byte, most int) ([]byte, error) {
	r := gzipReaders.Get().(*gzipReader)
	defer gzipReaders.Put(r)
	defer r.from.Reset(nil)
	r.from.Reset(body)
	if err := r.gzip.Reset(&r.from); err != nil {
		return dst, unexpected(err)
	}
	return readAll(dst, &r.gzip, gzipSize(body), most)
}

// gzipSize guesses what body inflates to: its trailer says so, if it is of one
// member and honest. Deflate shrinks nothing to less than a 1032nd.
func gzipSize(body []byte) uint64 {
	said := binary.LittleEndian.Uint32(body[len(body)-4:]) // a header is longer
	return min(uint64(said), 1032*uint64(len(body)))
}

// zstdWindow is the most that a sender may make us look back, in bytes: what
// RFC 9659 allows in HTTP.
const zstdWindow = 8 << 20

func newZstdReader() *zstdReader {
	d, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(1), // in the caller's goroutine
		zstd.WithDecoderMaxMemory(zstdWindow))
	if err != nil {
		panic(err) // only an option out of range could be to blame
	}
	return &zstdReader{zstd: d}
}

// unzstd inflates body into dst.
func unzstd(dst, body []byte, most int) ([]byte, error) {
	var first zstd.Header
	if err := first.Decode(body); err != nil {
		return dst, unexpected(err)
	}
	r := zstdReaders.Get().(*zstdReader)
	defer zstdReaders.Put(r)
	defer r.from.Reset(nil)
	r.from.Reset(body)
	if err := r.zstd.Reset(&r.from); err != nil {
		return dst, err
	}
	return readAll(dst, r.zstd, first.FrameContentSize, most)
}

// readAll reads r to its end into dst; size is a guess of how much that is.
func readAll(dst []byte, r io.Reader, size uint64, most int) ([]byte, error) {
	dst = grow(dst, int(min(size, uint64(most)))+1) // one more shows the end
	for len(dst) <= most {
		if len(dst) == cap(dst) {
			dst = grow(dst, nextSize(cap(dst), most))
		}
		n, err := r.Read(dst[len(dst):min(cap(dst), most+1)])
		dst = dst[:len(dst)+n]
		if err == io.EOF {
			break
		}
		if err != nil {
			return dst, err
		}
	}
	if len(dst) > most {
		return dst, tooLarge(most)
	}
	return dst, nil
}

// nextSize returns the size to try after size: twice as much, but all that is
// allowed from an eighth of it on, so that what is given up stays small.
func nextSize(size, most int) int {
	if size > most/8 {
		return most + 1
	}
	return 2*size + 512
}

func grow(b []byte, size int) []byte {
	if cap(b) >= size {
		return b
	}
	return append(make([]byte, 0, size), b...)
}

// unexpected makes the end of a body where more was due an error.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
