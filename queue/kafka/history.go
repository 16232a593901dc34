package kafka

import "sort"

// history is a judgement of the log up to an offset: which records are valid, and where they
// are. The package doc has the rule.
type history struct {
	Next   int64   `json:"next"`   // offset of the first message that is not judged
	Epoch  uint64  `json:"epoch"`  // of the records judged, the highest
	Number uint64  `json:"number"` // of the last valid record
	First  uint64  `json:"first"`  // sequence of the first valid record that is not trimmed
	Last   uint64  `json:"last"`   // sequence of the last; First-1 if there is none
	Before int64   `json:"before"` // bytes of all records ever, before First
	Bytes  int64   `json:"bytes"`  // up to Last
	Spans  []dense `json:"spans"`  // in order
}

// dense says that valid records lie at consecutive offsets, from a sequence on, up to the next dense.
type dense struct {
	Seq    uint64 `json:"seq"`
	Offset int64  `json:"offset"`
}

// newHistory is that of a log from an offset on. Sequences begin behind last.
func newHistory(from int64, last uint64) history {
	return history{Next: from, First: last + 1, Last: last}
}

func (h *history) empty() bool { return h.Last < h.First }

// take judges the message at an offset at or behind Next, a record of an epoch and a number
// with which all records have so many bytes. It reports whether the record is valid.
func (h *history) take(offset int64, epoch, number uint64, bytes int64) bool {
	h.Next = offset + 1
	if epoch < h.Epoch {
		return false
	}
	h.Epoch = epoch
	if number <= h.Number {
		return false
	}
	h.Number = number
	h.Last++
	h.Bytes = bytes
	if n := len(h.Spans); n == 0 || h.Spans[n-1].Offset+int64(h.Last-h.Spans[n-1].Seq) != offset {
		h.Spans = append(h.Spans, dense{h.Last, offset})
	}
	return true
}

// pass takes note of a message that is no record.
func (h *history) pass(offset int64) { h.Next = offset + 1 }

// offset returns where the record of a sequence between First and Last is.
func (h *history) offset(seq uint64) int64 {
	i := sort.Search(len(h.Spans), func(i int) bool { return h.Spans[i].Seq > seq }) - 1
	return h.Spans[max(i, 0)].Offset + int64(seq-h.Spans[max(i, 0)].Seq)
}

// at returns the sequence of the valid record at an offset, and false if there is none.
func (h *history) at(offset int64) (uint64, bool) {
	i := sort.Search(len(h.Spans), func(i int) bool { return h.Spans[i].Offset > offset }) - 1
	if i < 0 {
		return 0, false
	}
	seq, end := h.Spans[i].Seq+uint64(offset-h.Spans[i].Offset), h.Last+1
	if i+1 < len(h.Spans) {
		end = h.Spans[i+1].Seq
	}
	return seq, seq < end && seq >= h.First
}

// from returns the sequence of the first valid record at or behind an offset, Last+1 if there
// is none.
func (h *history) from(offset int64) uint64 {
	i := sort.Search(len(h.Spans), func(i int) bool { return h.Spans[i].Offset > offset }) - 1
	if i < 0 {
		return h.First
	}
	end := h.Last + 1
	if i+1 < len(h.Spans) {
		end = h.Spans[i+1].Seq
	}
	return max(h.First, min(h.Spans[i].Seq+uint64(offset-h.Spans[i].Offset), end))
}

// trim forgets the records before seq, which is First at least and Last at most. Before it all
// records had so many bytes.
func (h *history) trim(seq uint64, before int64) {
	at := h.offset(seq)
	i := sort.Search(len(h.Spans), func(i int) bool { return h.Spans[i].Seq > seq }) - 1
	h.Spans = append([]dense{{seq, at}}, h.Spans[i+1:]...)
	h.First, h.Before = seq, before
}
