package scan

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"pingline/queue/record"
)

// stream is what a stream holds: numbers of records by sequence, 0 where the message
// is missing or no record.
type stream struct {
	first   uint64
	numbers []uint64
	garbage map[uint64]bool // sequences that hold a message that is no record
	blind   int             // how often it says that there is nothing, before it tells
}

func (s *stream) next(_ context.Context, from uint64) (uint64, []byte, error) {
	if s.blind > 0 {
		s.blind--
		return 0, nil, nil
	}
	for i, number := range s.numbers {
		switch seq := s.first + uint64(i); {
		case seq < from:
		case s.garbage[seq]:
			return seq, []byte("garbage"), nil
		case number > 0:
			return seq, record.Encode(&record.Record{Number: number}), nil
		}
	}
	return 0, nil, nil
}

// randomStream has gaps, messages that are no records, and numbers that jump.
func randomStream(rng *rand.Rand) *stream {
	s := &stream{first: 1 + rng.Uint64N(5), garbage: make(map[uint64]bool)}
	number := s.first + rng.Uint64N(5)
	for i := range uint64(rng.IntN(80)) {
		if rng.IntN(20) == 0 {
			number += 1 + rng.Uint64N(4)
		}
		switch rng.IntN(6) {
		case 0:
			s.numbers = append(s.numbers, 0)
		case 1:
			s.numbers = append(s.numbers, 0)
			s.garbage[s.first+i] = true
		default:
			s.numbers = append(s.numbers, number)
		}
		number++
	}
	return s
}

// seqs are the sequences of the records there are.
func (s *stream) seqs() (list []uint64) {
	for i, number := range s.numbers {
		if number > 0 {
			list = append(list, s.first+uint64(i))
		}
	}
	return list
}

func seqOf(s *Stored) uint64 {
	if s == nil {
		return 0
	}
	return s.Seq
}

// After any damage the first record behind a sequence and the last record before it
// are found, also while the stream says twice that there is nothing.
func TestFindInDamage(t *testing.T) {
	ctx := context.Background()
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 1))
		s := randomStream(rng)
		have, last := s.seqs(), s.first+uint64(len(s.numbers))
		for seq := s.first; seq <= last; seq++ {
			at, found := slices.BinarySearch(have, seq)
			var behind, before uint64
			if at < len(have) {
				behind = have[at]
			}
			if found {
				before = seq
			} else if at > 0 {
				before = have[at-1]
			}
			s.blind = rng.IntN(3)
			if got, err := Find(ctx, s.next, seq, last); err != nil || seqOf(got) != behind {
				t.Fatalf("seed %d: Find(%d) = %d, %v, want %d of %v", seed, seq, seqOf(got), err, behind, have)
			}
			s.blind = rng.IntN(3)
			if got, err := Previous(ctx, s.next, s.first, seq); err != nil || seqOf(got) != before {
				t.Fatalf("seed %d: Previous(%d) = %d, %v, want %d of %v", seed, seq, seqOf(got), err, before, have)
			}
		}
	}
}

// A survey knows the number of every record, and every place where some are lost.
func TestLook(t *testing.T) {
	ctx := context.Background()
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 2))
		s := randomStream(rng)
		var missing []uint64
		for i, number := range s.numbers {
			if seq := s.first + uint64(i); number == 0 && !s.garbage[seq] {
				missing = append(missing, seq)
			}
		}
		v, err := Look(ctx, s.next, s.first, s.first+uint64(len(s.numbers))-1, missing)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		have := s.seqs()
		if len(have) == 0 {
			if v.First != nil || v.Last != nil {
				t.Fatalf("seed %d: found %+v of nothing", seed, v)
			}
			continue
		}
		if v.First.Seq != have[0] || v.Last.Seq != have[len(have)-1] {
			t.Fatalf("seed %d: records %d to %d, want %v", seed, v.First.Seq, v.Last.Seq, have)
		}
		lost := make(map[uint64]bool)
		for _, g := range v.Lost() {
			for seq := g.From; seq <= g.To; seq++ {
				lost[seq] = true
			}
			if g.To < g.From {
				lost[g.From] = true // the numbers jump before it
			}
		}
		for i, seq := range have {
			number := s.numbers[seq-s.first]
			if got := v.Numbering.Seq(number); got != seq {
				t.Errorf("seed %d: record %d is at %d, want %d", seed, number, got, seq)
			}
			if i > 0 && have[i-1]+1 == seq && s.numbers[have[i-1]-s.first]+1 != number && !lost[seq] {
				t.Errorf("seed %d: the numbers jump before %d, and nothing is lost", seed, seq)
			}
		}
		for _, seq := range missing {
			if seq > v.First.Seq && seq < v.Last.Seq && !lost[seq] {
				t.Errorf("seed %d: %d is missing, and not lost", seed, seq)
			}
		}
	}
}
