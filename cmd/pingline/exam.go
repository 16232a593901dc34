package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"time"

	"pingline"
	"pingline/track"
)

// exam is the study of one recording. It is read twice: once for the filter,
// which tells a ping's fate only when later ones have come, and once to compare
// what is dropped with what is kept. So memory holds only a byte for each ping
// and 16 for each that is kept, for each bound.
type exam struct {
	*study
	recording *recording
	trials    []*trial // the first is the one asked for
	tracks    roll
	clock     clock
	pings     int
	refused   int
	examples  []error // the first refused
}

const (
	judgedAtOnce = 1024 // pings between two looks at the time
	mostExamples = 5    // of what is refused
)

// run studies a recording. What is wrong with it is noted as a problem.
func (s *study) run(r *recording) error {
	x := &exam{study: s, recording: r, clock: clock{idle: s.cmd.Filter.IdleFlush.Milliseconds()}}
	x.tracks.numbers = map[trackName]int{}
	for _, bound := range s.report.bounds {
		t, err := newTrial(s.cmd.Filter.config(), bound)
		if err != nil {
			return err
		}
		x.trials = append(x.trials, t)
	}
	broken := r.read(x.judgeAll)
	if err := s.Err(); err != nil {
		return fmt.Errorf("stopped while reading %s: %w", r.name, err)
	}
	if broken != nil || x.pings == 0 {
		s.problems = append(s.problems, x.problem(broken))
	}
	if x.pings == 0 {
		return nil
	}
	x.tell()
	for _, t := range x.trials {
		t.flush(&x.tracks)
		t.tracks, t.pings, t.refused = len(x.tracks.names), x.pings, x.refused
	}
	if err := r.read(x.measureAll); err != nil {
		return err
	}
	s.report.add(r.name, x.trials)
	return nil
}

// problem says why the recording, or the rest of it, is of no use.
func (x *exam) problem(broken error) error {
	switch {
	case broken != nil:
		return broken
	case x.refused > 0:
		return fmt.Errorf("%s: nothing in it can be read; of %d refused the first: %w", x.recording.name, x.refused, x.examples[0])
	}
	return fmt.Errorf("%s: there is no ping in it", x.recording.name)
}

// tell says what was refused, and what looks like a mistake.
func (x *exam) tell() {
	for _, err := range x.examples {
		fmt.Fprintf(x.stderr, "refused: %v\n", err)
	}
	if more := x.refused - len(x.examples); more > 0 {
		fmt.Fprintf(x.stderr, "refused: %d more in %s\n", more, x.recording.name)
	}
	newest := int64(math.MinInt64)
	for _, p := range x.tracks.progress {
		newest = max(newest, p.newest)
	}
	if newest > 0 && newest < secondsAsMs {
		fmt.Fprintf(x.stderr, "note: all of %s is from before %s; is its ts in seconds? It must be in ms.\n",
			x.recording.name, time.UnixMilli(secondsAsMs).UTC().Format(time.DateOnly))
	}
}

// secondsAsMs is later than any time of this century that is taken for ms
// though it is in seconds.
const secondsAsMs = 5_000_000_000

// judgeAll lets the filter judge all that can be read.
func (x *exam) judgeAll(in *track.Reader) error {
	waiting := make([]arrival, 0, judgedAtOnce)
	for {
		p, _, err := in.Next()
		switch {
		case err == nil:
			n := x.tracks.number(&p)
			waiting = append(waiting, arrival{p, n, x.clock.tick(&x.tracks.progress[n], p.At)})
		case errors.Is(err, pingline.ErrInvalid):
			if x.refused++; len(x.examples) < mostExamples {
				x.examples = append(x.examples, err)
			}
			continue
		}
		if err == nil && len(waiting) < judgedAtOnce {
			continue
		}
		for _, t := range x.trials {
			t.judge(waiting, x.pings, &x.tracks)
		}
		x.pings += len(waiting)
		waiting = waiting[:0]
		if err == nil {
			err = x.Err()
		}
		switch err {
		case nil:
		case io.EOF:
			return nil
		default:
			return err
		}
	}
}

// measureAll compares what was judged with what is kept, and writes and draws
// the latter.
func (x *exam) measureAll(in *track.Reader) error {
	sitter := x.drawn.sitter(x)
	for number := 0; number < x.pings; {
		p, line, err := in.Next()
		if errors.Is(err, pingline.ErrInvalid) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s has changed while it was read: there were %d pings, now %d: %w", x.recording.name, x.pings, number, err)
		}
		a := arrival{Ping: p, track: x.tracks.number(&p)}
		for _, t := range x.trials[1:] {
			t.measure(&a, number)
		}
		f, off := x.trials[0].measure(&a, number)
		if a.track == sitter {
			x.drawn.add(&p.Fix, f, off, x.trials[0].bound.Of(&p.Fix))
		}
		if f != dropped && x.out != nil {
			if in.Header() != nil {
				line = nil // of a table, which is no NDJSON
			}
			if err := x.out.WriteLine(keptLine(&p, line, f)); err != nil {
				return err
			}
		}
		if number++; number%judgedAtOnce == 0 && x.Err() != nil {
			return fmt.Errorf("stopped while reading %s: %w", x.recording.name, x.Err())
		}
	}
	return nil
}

// lateKey is what a line of NDJSON that was kept before may say.
var lateKey = regexp.MustCompile(`"late"\s*:`)

// keptLine returns a ping's line for the kept ones: as it was if it was NDJSON,
// with a late mark if it needs one. Of two keys the last counts.
func keptLine(p *pingline.Ping, line []byte, f fate) []byte {
	if line == nil {
		line = track.AppendPing(nil, p)
	}
	if f != keptLate && !lateKey.Match(line) {
		return line
	}
	end := bytes.LastIndexByte(line, '}')
	marked := strconv.AppendBool(append(bytes.Clone(line[:end]), `,"late":`...), f == keptLate)
	return append(marked, line[end:]...)
}
