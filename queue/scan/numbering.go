package scan

import (
	"slices"
	"sort"
)

// Numbering maps the number of a record to the sequence at which the stream keeps it.
// Both rise by 1, so that a single offset would do; but a stream that has lost its
// tail gives the same sequences again, while a number is never given twice: then a
// new span begins. Spans are in order, and number minus sequence only grows. A
// Numbering is never changed: With returns a new Numbering.
type Numbering []span

// NewNumbering returns the numbering of a stream that keeps record number, and all
// behind it, from sequence seq on.
func NewNumbering(number, seq uint64) Numbering { return Numbering{{number, seq}} }

// span says that from sequence seq on the stream holds the records from number
// on, without a gap.
type span struct{ number, seq uint64 }

func (s span) offset() uint64 { return s.number - s.seq }

// Seq returns the lowest sequence that can hold record number or a later
// record.
func (n Numbering) Seq(number uint64) uint64 {
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

// With returns the numbering once record number is stored at seq, behind all
// records that n knows.
func (n Numbering) With(number, seq uint64) Numbering {
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
