// Package fit reads the positions of FIT files, as sports watches and bicycle computers
// write them.
//
// It promises to return the fixes of all records that have a position, up to where a
// file breaks off, and holds no more of a file than a record. It does not read laps,
// courses or what else a file has.
package fit

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"iter"
	"math"
	"time"

	"github.com/muktihari/fit/decoder"
	"github.com/muktihari/fit/profile/basetype"
	"github.com/muktihari/fit/profile/mesgdef"
	"github.com/muktihari/fit/profile/typedef"
	"github.com/muktihari/fit/proto"

	"pingline"
)

// Magic is in the bytes 8 to 11 of each file.
const Magic = ".FIT"

// Reader reads one file. It is not safe for concurrent use.
type Reader struct {
	next func() (entry, error, bool)
	stop func()
	fail error
}

// entry is a record with a position.
type entry struct {
	number int // of the record in the file, from 1
	fix    pingline.Fix
	err    error // of the position
}

// NewReader returns a reader of in.
func NewReader(in io.Reader) *Reader {
	r := &Reader{}
	r.next, r.stop = iter.Pull2(records(in))
	return r
}

// Next returns the next fix and the number of its record, from 1. A position that is not
// on the globe is an error that wraps pingline.ErrInvalid, and Next goes on behind it.
// Any other error is the last: io.EOF at the end of the file.
func (r *Reader) Next() (pingline.Fix, int, error) {
	if r.fail != nil {
		return pingline.Fix{}, 0, r.fail
	}
	e, err, ok := r.next()
	if !ok {
		err = io.EOF
	}
	if r.fail = err; err != nil {
		return pingline.Fix{}, e.number, err
	}
	return e.fix, e.number, e.err
}

// Close ends the reading. It does not close the file.
func (r *Reader) Close() error {
	r.stop()
	return nil
}

// records decodes a file, which may be several in one.
func records(in io.Reader) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		l := &listener{yield: yield, stop: cancel}
		in := bufio.NewReader(in)
		if _, err := in.Peek(1); err == io.EOF {
			return // an empty file has no fixes
		}
		dec := decoder.New(in, decoder.WithMesgListener(l), decoder.WithBroadcastOnly())
		for dec.Next() {
			if _, err := dec.DecodeWithContext(ctx); err != nil {
				if ctx.Err() == nil {
					yield(entry{number: l.number}, fmt.Errorf("read FIT: %w", err))
				}
				return
			}
		}
	}
}

// listener is told of each message of a file.
type listener struct {
	yield  func(entry, error) bool
	stop   func()
	number int
	ended  bool
	record mesgdef.Record
}

// OnMesg is called by the decoder.
func (l *listener) OnMesg(m proto.Message) {
	if m.Num != typedef.MesgNumRecord || l.ended {
		return
	}
	l.number++
	r := &l.record
	r.Reset(&m)
	if r.PositionLat == basetype.Sint32Invalid || r.PositionLong == basetype.Sint32Invalid || r.Timestamp.Before(time.Unix(0, 0)) {
		return
	}
	if e := (entry{number: l.number}); !l.yield(e.of(r), nil) {
		l.ended = true
		l.stop()
	}
}

// of fills in what a record says.
func (e entry) of(r *mesgdef.Record) entry {
	e.fix.At = r.Timestamp.UnixMilli()
	const degree = 180.0 / (1 << 31) // of a semicircle
	e.err = e.fix.SetPosition(float64(r.PositionLat)*degree, float64(r.PositionLong)*degree)
	set := func(k pingline.Known, values ...float64) {
		for _, v := range values {
			if !math.IsNaN(v) {
				e.fix.SetOptional(k, v)
				return
			}
		}
	}
	set(pingline.HasAltitude, r.EnhancedAltitudeScaled(), r.AltitudeScaled())
	set(pingline.HasSpeed, r.EnhancedSpeedScaled(), r.SpeedScaled())
	if r.GpsAccuracy != basetype.Uint8Invalid {
		set(pingline.HasAccuracy, float64(r.GpsAccuracy))
	}
	return e
}
