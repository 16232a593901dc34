package merge

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"pingline"
	"pingline/partition"
	"pingline/rollup"
)

// Publication is a message of a part: how far its roll-up is, and some of its totals. A message
// without a part is a mark of a Merger.
type Publication struct {
	Part  int // -1: a mark
	Reach rollup.Reach
	Sums  []rollup.Sums
}

// form is that of a message, its first byte.
const form = 1

// Bounds of a message.
const (
	maxWindows = 64        // lengths of windows
	minSums    = 7 + 8 + 4 // bytes of Sums, at least
	mostMillis = 1 << 53   // ms from 1970
	mostCount  = 1 << 56   // of a count: a sum of the counts of all parts is a uint64
)

// Append appends the message to dst.
func (p *Publication) Append(dst []byte) []byte {
	dst = append(dst, form)
	dst = binary.AppendUvarint(dst, uint64(p.Part+1)) // #nosec G115: not below -1
	dst = binary.AppendUvarint(dst, p.Reach.Commit)
	dst = binary.AppendVarint(dst, p.Reach.Settled)
	dst = binary.AppendUvarint(dst, uint64(len(p.Reach.Windows)))
	for _, w := range p.Reach.Windows {
		dst = binary.AppendUvarint(dst, uint64(w.Window/time.Second)) // #nosec G115: not negative
		dst = binary.AppendVarint(dst, w.Closed)
	}
	dst = binary.AppendUvarint(dst, uint64(len(p.Sums)))
	for i := range p.Sums {
		s := &p.Sums[i]
		dst = binary.LittleEndian.AppendUint64(dst, s.Cell)
		dst = binary.AppendUvarint(dst, uint64(s.Window/time.Second)) // #nosec G115: not negative
		dst = binary.AppendVarint(dst, s.From)
		for _, n := range [...]uint64{s.Pings, s.Riders, s.Moving, s.Speeds, s.SpeedSum} {
			dst = binary.AppendUvarint(dst, n)
		}
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(s.SpeedMax))
	}
	return dst
}

var errMessage = errors.New("no message of a roll-up")

// Decode returns the message in b. An error wraps pingline.ErrNewer if a newer version wrote it.
func Decode(b []byte) (*Publication, error) {
	r := wireReader{b: b}
	if v := r.byte(); r.bad || v != form {
		if !r.bad && v > form {
			return nil, fmt.Errorf("a message of a roll-up, form %d: %w", v, pingline.ErrNewer)
		}
		return nil, errMessage
	}
	p := &Publication{Part: int(r.uint(partition.MaxParts)) - 1} // #nosec G115: at most MaxParts
	p.Reach.Commit, p.Reach.Settled = r.uint(math.MaxUint64), r.millis()
	for range r.uint(maxWindows) {
		p.Reach.Windows = append(p.Reach.Windows, rollup.WindowReach{Window: r.window(), Closed: r.millis()})
	}
	n := r.uint(uint64(len(r.b) / minSums))
	if r.bad {
		return nil, errMessage
	}
	p.Sums = make([]rollup.Sums, 0, n)
	for range n {
		s := rollup.Sums{Cell: r.uint64(), Window: r.window(), From: r.millis()}
		for _, to := range [...]*uint64{&s.Pings, &s.Riders, &s.Moving, &s.Speeds, &s.SpeedSum} {
			*to = r.uint(mostCount)
		}
		s.SpeedMax = math.Float32frombits(r.uint32())
		s.Res = partition.Res(s.Cell)
		if ms := s.Window.Milliseconds(); r.bad || s.From%ms != 0 || s.Pings == 0 || s.Moving > s.Riders || s.SpeedMax != s.SpeedMax {
			return nil, errMessage
		}
		p.Sums = append(p.Sums, s)
	}
	if r.bad || len(r.b) > 0 {
		return nil, errMessage
	}
	return p, nil
}

// wireReader takes a message apart. Behind a value that is not there, or out of bounds, it is bad.
type wireReader struct {
	b   []byte
	bad bool
}

func (r *wireReader) take(n int) []byte {
	if r.bad = r.bad || len(r.b) < n; r.bad {
		return make([]byte, n)
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *wireReader) byte() byte     { return r.take(1)[0] }
func (r *wireReader) uint32() uint32 { return binary.LittleEndian.Uint32(r.take(4)) }
func (r *wireReader) uint64() uint64 { return binary.LittleEndian.Uint64(r.take(8)) }

// uint returns a number of at most most, written in as few bytes as it takes.
func (r *wireReader) uint(most uint64) uint64 {
	v, n := binary.Uvarint(r.b)
	if r.bad = r.bad || n <= 0 || v > most || n > 1 && r.b[n-1] == 0; r.bad {
		return 0
	}
	r.b = r.b[n:]
	return v
}

// millis returns a time, ms since 1970.
func (r *wireReader) millis() int64 {
	v, n := binary.Varint(r.b)
	if r.bad = r.bad || n <= 0 || v > mostMillis || v < -mostMillis || n > 1 && r.b[n-1] == 0; r.bad {
		return 0
	}
	r.b = r.b[n:]
	return v
}

// window returns the length of a window.
func (r *wireReader) window() time.Duration {
	v := r.uint(3600)
	r.bad = r.bad || v == 0
	return max(time.Duration(v), 1) * time.Second // #nosec G115: at most 3600
}
