package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"

	"pingline/queue/record"
)

// numbering maps a record's number to where the stream keeps it. Both go up in
// steps of one, so that one offset would do; but a stream that has lost its tail
// goes back and gives the same sequences again, while a number given out is
// never given again: then a new span begins. Spans are in order, and number
// minus sequence only grows.
type numbering []span

// span says that from sequence seq on the stream holds the records from number
// on, one by one.
type span struct{ number, seq uint64 }

func (s span) offset() uint64 { return s.number - s.seq }

// seq returns the lowest sequence that can hold record number or a later one.
func (n numbering) seq(number uint64) uint64 {
	i := sort.Search(len(n), func(i int) bool { return n[i].number > number })
	if i == 0 {
		return n[0].seq
	}
	seq := number - n[i-1].offset()
	if i < len(n) {
		seq = min(seq, n[i].seq) // the number was lost at the end of its span
	}
	return seq
}

// number returns the number that belongs to sequence seq.
func (n numbering) number(seq uint64) uint64 {
	i := sort.Search(len(n), func(i int) bool { return n[i].seq > seq })
	return seq + n[max(i, 1)-1].offset()
}

// with returns the numbering when record number stands at seq, behind all it
// knows.
func (n numbering) with(number, seq uint64) numbering {
	if last := len(n) - 1; last >= 0 {
		switch s := (span{number, seq}); {
		case n[last].offset() == s.offset():
			return n
		case n[last].seq == seq: // nothing was ever stored in that span
			return append(slices.Clone(n[:last]), s)
		}
	}
	return append(slices.Clone(n), span{number, seq})
}

// stored is a record and the sequence the stream keeps it at.
type stored struct {
	Record
	seq uint64
}

func (s *stored) span() span { return span{s.Number, s.seq} }

// survey is what the stream says of itself, found without reading through it.
type survey struct {
	lastSeq     uint64 // the next append must follow it
	bytes       int64
	first, last *stored // that can be read; nil if there is none
	numbering   numbering
	gaps        []gap // the stream knows of between first and last
}

// gap is a run of missing sequences.
type gap struct{ from, to uint64 }

func (s *store) survey(ctx context.Context) (v *survey, err error) {
	state, err := s.state(ctx)
	if err != nil {
		return nil, err
	}
	v = &survey{lastSeq: state.LastSeq, bytes: int64(state.Bytes)}
	if v.last, err = s.previous(ctx, state.FirstSeq, state.LastSeq); err != nil || v.last == nil {
		return v, err
	}
	if v.first, err = s.find(ctx, state.FirstSeq, v.last.seq); err != nil {
		return v, err
	}
	if v.first == nil {
		return v, fmt.Errorf("no record from %d on, but one at %d", state.FirstSeq, v.last.seq)
	}
	if v.numbering, err = s.numbering(ctx, v.first, v.last); err != nil {
		return v, err
	}
	v.gaps = gaps(state.Deleted, v.first.seq, v.last.seq)
	return v, nil
}

// gaps returns the runs in list, which is in order, between first and last.
func gaps(list []uint64, first, last uint64) (runs []gap) {
	for _, seq := range list {
		if seq <= first || seq >= last {
			continue
		}
		if n := len(runs); n > 0 && runs[n-1].to+1 == seq {
			runs[n-1].to = seq
			continue
		}
		runs = append(runs, gap{seq, seq})
	}
	return runs
}

// record returns the first record at or behind seq, or nil if the stream says
// there is none. It passes over messages that are no records.
//
// JetStream reads messages in blocks. When it finds one damaged it says that
// there is nothing, repairs its idea of the block, and from then on passes over
// the damage: so it is asked again.
func (s *store) record(ctx context.Context, seq uint64) (*stored, error) {
	for tries := 3; tries > 0; {
		m, err := s.next(ctx, seq)
		if err != nil {
			return nil, err
		}
		if m == nil {
			tries--
			continue
		}
		r, err := record.Decode(m.Data)
		if err == nil {
			return &stored{r, m.Seq}, nil
		}
		if errors.Is(err, ErrNewer) {
			return nil, fmt.Errorf("message %d of the stream: %w", m.Seq, err)
		}
		seq = m.Seq + 1
	}
	return nil, nil
}

// find is record for one who knows that the stream reaches to last. A block
// that JetStream cannot read at all it does not pass over, and says that there
// is nothing: then what is behind that block is searched for.
func (s *store) find(ctx context.Context, seq, last uint64) (*stored, error) {
	nothing := seq // the stream says there is nothing from here on
	r, err := s.record(ctx, seq)
	for step := uint64(1); r == nil && err == nil && seq < last; step *= 2 {
		nothing, seq = seq, min(seq+step, last)
		r, err = s.record(ctx, seq)
	}
	for r != nil && err == nil && nothing+1 < seq {
		var m *stored
		middle := nothing + (seq-nothing)/2
		if m, err = s.record(ctx, middle); m != nil {
			r, seq = m, middle
		} else {
			nothing = middle
		}
	}
	return r, err
}

// previous returns the last record from first to seq that can be read, or nil.
func (s *store) previous(ctx context.Context, first, seq uint64) (*stored, error) {
	if seq == 0 || first > seq {
		return nil, nil
	}
	// upTo is record, but for what is behind seq.
	upTo := func(at uint64) (*stored, error) {
		r, err := s.record(ctx, at)
		if r != nil && r.seq > seq {
			r = nil
		}
		return r, err
	}
	nothing, at := seq+1, seq // from nothing on there is none
	r, err := upTo(at)
	for step := uint64(1); r == nil && err == nil && at > first; step *= 2 {
		nothing, at = at, max(first, at-min(step, at))
		r, err = upTo(at)
	}
	for r != nil && err == nil && r.seq+1 < nothing {
		var m *stored
		middle := r.seq + (nothing-r.seq)/2
		if m, err = upTo(middle); m != nil {
			r = m
		} else {
			nothing = middle
		}
	}
	return r, err
}

// numbering returns the spans between two records.
func (s *store) numbering(ctx context.Context, first, last *stored) (numbering, error) {
	spans := numbering{first.span()}
	for at := first; at.span().offset() != last.span().offset(); {
		// The first record behind at with another offset: those before it have
		// at's, those behind it a higher one.
		low, high, next := at.seq, last.seq, last
		for low+1 < high {
			middle := low + (high-low)/2
			m, err := s.find(ctx, middle, last.seq)
			if err != nil {
				return nil, err
			}
			if m == nil || m.span().offset() == at.span().offset() {
				low = middle
			} else {
				high, next = middle, m
			}
		}
		at = next
		spans = append(spans, at.span())
	}
	return spans, nil
}
