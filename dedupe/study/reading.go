package study

import (
	"bytes"
	"context"
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

// reading is the study of a recording. The recording is read twice: first for the
// filter, which tells the fate of a ping only after later pings, and then to compare
// the dropped pings with the kept pings.
type reading struct {
	*Study
	ctx       context.Context
	recording *Recording
	runs      []*run // the first has Config.Bound, the rest the bounds of the sweep
	tracks    trackIndex
	clock     recordingClock
	pings     int
	refused   int
	examples  []error // the first refusals
	strays    strays
}

const (
	judgedAtOnce = 1024 // pings between two looks at the time
	mostExamples = 5    // refusals shown
)

// problem returns why the recording, or the rest of it, cannot be used.
func (x *reading) problem(broken error) error {
	switch {
	case broken != nil:
		return broken
	case x.refused > 0:
		return fmt.Errorf("%s: nothing in it can be read; the first of %d refusals: %w", x.recording.name, x.refused, x.examples[0])
	}
	return fmt.Errorf("%s: there is no ping in it", x.recording.name)
}

// tell writes notes about refused pings, and about times that seem to be in seconds.
func (x *reading) tell() {
	for _, err := range x.examples {
		fmt.Fprintf(x.cfg.Notes, "refused: %v\n", err)
	}
	if more := x.refused - len(x.examples); more > 0 {
		fmt.Fprintf(x.cfg.Notes, "refused: %d more in %s\n", more, x.recording.name)
	}
	x.strays.tell(x.cfg.Notes, x.recording.name)
	newest := int64(math.MinInt64)
	for _, p := range x.tracks.clocks {
		newest = max(newest, p.newest)
	}
	if newest > 0 && newest < secondsAsMs {
		fmt.Fprintf(x.cfg.Notes, "note: all of %s is from before %s; is its ts in seconds? It must be in ms.\n",
			x.recording.name, time.UnixMilli(secondsAsMs).UTC().Format(time.DateOnly))
	}
}

// secondsAsMs is later, in ms, than any time of this century in seconds that is
// mistaken for ms.
const secondsAsMs = 5_000_000_000

// judgeAll lets the filter judge all pings of the recording.
func (x *reading) judgeAll(in *track.Reader) error {
	waiting := make([]arrival, 0, judgedAtOnce)
	for {
		p, _, err := in.Next()
		switch {
		case err == nil:
			n := x.tracks.number(&p)
			waiting = append(waiting, arrival{p, n, x.clock.tick(&x.tracks.clocks[n], p.At)})
			x.strays.add(n, pingTime{p.At, in.Line()})
		case errors.Is(err, pingline.ErrInvalid):
			if x.refused++; len(x.examples) < mostExamples {
				x.examples = append(x.examples, err)
			}
			continue
		}
		if err == nil && len(waiting) < judgedAtOnce {
			continue
		}
		for _, t := range x.runs {
			t.judge(waiting, x.pings, &x.tracks)
		}
		x.pings += len(waiting)
		waiting = waiting[:0]
		if err == nil {
			err = x.ctx.Err()
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

// measureAll compares the dropped pings with the kept pings, writes the kept pings, and
// draws the track.
func (x *reading) measureAll(in *track.Reader) error {
	drawn := x.picture.choose(x)
	for number := 0; number < x.pings; {
		p, line, err := in.Next()
		if errors.Is(err, pingline.ErrInvalid) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s has changed while it was read: there were %d pings, now %d: %w", x.recording.name, x.pings, number, err)
		}
		a := arrival{Ping: p, track: x.tracks.number(&p)}
		for _, t := range x.runs[1:] {
			t.measure(&a, number)
		}
		f, off := x.runs[0].measure(&a, number)
		if a.track == drawn {
			x.picture.add(&p.Fix, f, off, x.runs[0].bound.Of(&p.Fix))
		}
		if f != dropped && x.cfg.Out != nil {
			if err := x.write(&p, line, in.Form(), f); err != nil {
				return err
			}
		}
		if number++; number%judgedAtOnce == 0 && x.ctx.Err() != nil {
			return fmt.Errorf("stopped while reading %s: %w", x.recording.name, x.ctx.Err())
		}
	}
	return nil
}

// write writes a kept ping. From NDJSON to NDJSON the line is copied.
func (x *reading) write(p *pingline.Ping, line []byte, form track.Form, f fate) error {
	out := x.cfg.Out
	if form == track.NDJSON && out.Form() == track.NDJSON {
		return out.WriteLine(keptLine(line, f))
	}
	return out.Write(p, f == keptLate)
}

// lateKey matches a line of NDJSON that may have a late mark from a study before.
var lateKey = regexp.MustCompile(`"late"\s*:`)

// keptLine returns the line of NDJSON of a kept ping, with a late mark behind its other
// keys if it is late, or was marked late before: of two equal keys the last counts.
func keptLine(line []byte, f fate) []byte {
	if f != keptLate && !lateKey.Match(line) {
		return line
	}
	end := bytes.LastIndexByte(line, '}')
	marked := strconv.AppendBool(append(bytes.Clone(line[:end]), `,"late":`...), f == keptLate)
	return append(marked, line[end:]...)
}
