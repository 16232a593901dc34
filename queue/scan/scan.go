// Package scan finds the records that a stream holds without reading through it:
// the first, the last, the places where records are lost, and the number at each
// sequence.
//
// It relies on little: a stream gives its messages in order, may leave some out,
// and may wrongly say once, where it has found damage, that there are no more. Each
// question costs a few requests, more if more is damaged, but never in proportion
// to the stream.
package scan

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"pingline/queue/record"
)

// Next asks a stream for the first message at or behind sequence from, and returns
// its sequence and its data, or sequence 0 if the stream says that there is none.
type Next func(ctx context.Context, from uint64) (seq uint64, data []byte, err error)

// Stored is a record and the sequence at which the stream keeps it.
type Stored struct {
	record.Record
	Seq uint64
}

// Offset is by how much the number is ahead of the sequence.
func (s *Stored) Offset() uint64 { return s.Number - s.Seq }

// Survey has the extent of the records that a stream holds, and its gaps.
type Survey struct {
	First, Last *Stored // records that can be read; nil if there is none
	Numbering   Numbering
	missing     []Gap // gaps between First and Last that the stream knows of
}

// Gap is a run of sequences, none if To is before From.
type Gap struct{ From, To uint64 }

// Look surveys a stream that reaches from sequence first to sequence last and says
// that the sequences in missing, in order, are not there.
func Look(ctx context.Context, next Next, first, last uint64, missing []uint64) (v *Survey, err error) {
	v = new(Survey)
	if v.Last, err = Previous(ctx, next, first, last); err != nil || v.Last == nil {
		return v, err
	}
	if v.First, err = Find(ctx, next, first, v.Last.Seq); err != nil {
		return v, err
	}
	if v.First == nil {
		return v, fmt.Errorf("no record from %d on, but one at %d", first, v.Last.Seq)
	}
	if v.Numbering, err = numberingOf(ctx, next, v.First, v.Last); err != nil {
		return v, err
	}
	v.missing = gaps(missing, v.First.Seq, v.Last.Seq)
	return v, nil
}

// Lost returns the places between First and Last where records are lost: gaps that
// the stream knows of, and empty gaps where the numbers jump and the sequences do
// not.
func (v *Survey) Lost() []Gap {
	lost := slices.Clone(v.missing)
	for _, s := range v.Numbering[1:] {
		lost = append(lost, Gap{s.seq, s.seq - 1})
	}
	return lost
}

// gaps returns the runs in list, which is in order, between first and last.
func gaps(list []uint64, first, last uint64) (runs []Gap) {
	for _, seq := range list {
		if seq <= first || seq >= last {
			continue
		}
		if n := len(runs); n > 0 && runs[n-1].To+1 == seq {
			runs[n-1].To = seq
			continue
		}
		runs = append(runs, Gap{seq, seq})
	}
	return runs
}

// Record returns the first record at or behind seq, or nil if the stream says that
// there is none. It passes over messages that are no records.
//
// JetStream reads messages in blocks. When it finds a damaged block it says
// that there are no messages, repairs its index of the block, and from then on
// passes over the damage. So it is asked three times.
func Record(ctx context.Context, next Next, seq uint64) (*Stored, error) {
	for tries := 3; tries > 0; {
		at, data, err := next(ctx, seq)
		if err != nil {
			return nil, err
		}
		if at == 0 {
			tries--
			continue
		}
		r, err := record.Decode(data)
		if err == nil {
			return &Stored{r, at}, nil
		}
		if errors.Is(err, record.ErrNewer) {
			return nil, fmt.Errorf("message %d of the stream: %w", at, err)
		}
		seq = at + 1
	}
	return nil, nil
}

// Find is Record for a caller who knows that the stream reaches to last. JetStream
// does not pass over a block that it cannot read at all, and says that there are
// no messages: then the first record behind that block is found by bisection.
func Find(ctx context.Context, next Next, seq, last uint64) (*Stored, error) {
	nothing := seq // the stream says that no message follows
	r, err := Record(ctx, next, seq)
	for step := uint64(1); r == nil && err == nil && seq < last; step *= 2 {
		nothing, seq = seq, min(seq+step, last)
		r, err = Record(ctx, next, seq)
	}
	for r != nil && err == nil && nothing+1 < seq {
		var m *Stored
		middle := nothing + (seq-nothing)/2
		if m, err = Record(ctx, next, middle); m != nil {
			r, seq = m, middle
		} else {
			nothing = middle
		}
	}
	return r, err
}

// Previous returns the last record from first to seq that can be read, or nil.
func Previous(ctx context.Context, next Next, first, seq uint64) (*Stored, error) {
	if seq == 0 || first > seq {
		return nil, nil
	}
	// upTo is Record, without the records behind seq.
	upTo := func(at uint64) (*Stored, error) {
		r, err := Record(ctx, next, at)
		if r != nil && r.Seq > seq {
			r = nil
		}
		return r, err
	}
	nothing, at := seq+1, seq // no record from nothing on
	r, err := upTo(at)
	for step := uint64(1); r == nil && err == nil && at > first; step *= 2 {
		nothing, at = at, max(first, at-min(step, at))
		r, err = upTo(at)
	}
	for r != nil && err == nil && r.Seq+1 < nothing {
		var m *Stored
		middle := r.Seq + (nothing-r.Seq)/2
		if m, err = upTo(middle); m != nil {
			r = m
		} else {
			nothing = middle
		}
	}
	return r, err
}

// numberingOf returns the spans between two records.
func numberingOf(ctx context.Context, next Next, first, last *Stored) (Numbering, error) {
	spans := NewNumbering(first.Number, first.Seq)
	for at := first; at.Offset() != last.Offset(); {
		// jump is the first record behind at with another offset: the records before
		// it have the offset of at, the records behind it a higher offset.
		low, high, jump := at.Seq, last.Seq, last
		for low+1 < high {
			middle := low + (high-low)/2
			m, err := Find(ctx, next, middle, last.Seq)
			if err != nil {
				return nil, err
			}
			if m == nil || m.Offset() == at.Offset() {
				low = middle
			} else {
				high, jump = middle, m
			}
		}
		at = jump
		spans = append(spans, span{at.Number, at.Seq})
	}
	return spans, nil
}
