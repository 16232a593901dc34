package prepared

import (
	"bytes"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"time"

	"pingline"
	"pingline/sim"
	"pingline/track"
)

// Stock is the pings of phones over a while, each encoded once. A load sends them
// from the first step to the last, then back to the first, and so on: riders ride
// there and back, and their clocks go on.
type Stock struct {
	riders, steps int
	lines         bool // each is a line of InfluxDB, not JSON
	interval      time.Duration
	parts         []stockPart // each of so many riders, one after the other
	perPart       int         // riders
}

// stockPart is the pings of some riders, step by step.
type stockPart struct {
	riders int
	text   []byte
	pings  []encoded
}

// encoded is a ping in the text of its part.
type encoded struct {
	from, to uint32
	at       uint16 // of its ts, from the start of the ping
}

// maxText is the longest text of a part, by the offsets in it.
const maxText = 1 << 32

// NewStock returns the pings that the first riders of phones send in so many steps,
// the first of them at from, ms since 1970.
func NewStock(phones sim.Phones, riders, steps int, from int64) (*Stock, error) {
	return newStock(phones, riders, steps, from, false)
}

// NewLines returns the same pings as NewStock, each as a line of InfluxDB with a time
// in ms, as a phone would write it to a database itself: measurement location, tags rider
// and device, fields lat, lon and those of the numbers that the ping has.
func NewLines(phones sim.Phones, riders, steps int, from int64) (*Stock, error) {
	return newStock(phones, riders, steps, from, true)
}

func newStock(phones sim.Phones, riders, steps int, from int64, lines bool) (*Stock, error) {
	if riders < 1 || steps < 1 {
		return nil, fmt.Errorf("stock of %d riders and %d steps: not positive", riders, steps)
	}
	parts := runtime.GOMAXPROCS(0)
	s := &Stock{riders: riders, steps: steps, lines: lines, interval: phones.Interval(), parts: make([]stockPart, parts), perPart: (riders + parts - 1) / parts}
	var work sync.WaitGroup
	for i := range s.parts {
		work.Go(func() { s.parts[i].fill(s, phones, i*s.perPart, from) })
	}
	work.Wait()
	for i := range s.parts {
		if len(s.parts[i].text) >= maxText {
			return nil, fmt.Errorf("stock of %d riders and %d steps: more than %d bytes", riders, steps, maxText)
		}
	}
	return s, nil
}

// fill makes the pings of the riders from first on.
func (p *stockPart) fill(s *Stock, phones sim.Phones, first int, from int64) {
	p.riders = max(0, min(s.perPart, s.riders-first))
	pings := make([]pingline.Ping, p.riders)
	for i := range pings {
		pings[i].Rider, pings[i].Device = phones.Name(first + i)
	}
	p.pings = make([]encoded, 0, p.riders*s.steps)
	for step := range s.steps {
		for i := range pings {
			at := from + s.time(step) + phase(first+i)
			before := at - s.interval.Milliseconds()
			e := encoded{from: uint32(len(p.text))}
			if phones.Update(&pings[i], first+i, before, at) {
				var stamp int
				if s.lines {
					p.text = appendLine(p.text, &pings[i])
					stamp = bytes.LastIndexByte(p.text[e.from:], ' ') + 1
				} else {
					p.text = track.AppendPing(p.text, &pings[i])
					stamp = bytes.Index(p.text[e.from:], stampKey) + len(stampKey)
				}
				e.at = uint16(stamp)
			}
			e.to = uint32(len(p.text))
			p.pings = append(p.pings, e)
		}
	}
}

var stampKey = []byte(`,"ts":`)

// appendLine appends a ping as a line, without its end.
func appendLine(dst []byte, p *pingline.Ping) []byte {
	dst = append(append(dst, "location,rider="...), p.Rider...) // no character of a simulated rider's name is escaped
	if p.Device != "" {
		dst = append(append(dst, ",device="...), p.Device...)
	}
	dst = strconv.AppendFloat(append(dst, " lat="...), float64(p.LatE7)/1e7, 'f', -1, 64)
	dst = strconv.AppendFloat(append(dst, ",lon="...), float64(p.LonE7)/1e7, 'f', -1, 64)
	for i, v := range p.Numbers() {
		if p.Known&(1<<i) != 0 {
			dst = append(append(append(dst, ','), pingline.Numbers[i].Key...), '=')
			dst = strconv.AppendFloat(dst, float64(v), 'f', -1, 32)
		}
	}
	return strconv.AppendInt(append(dst, ' '), p.At, 10)
}

// time returns by how much the pings of a step are later than the first, in ms.
func (s *Stock) time(step int) int64 { return int64(step) * s.interval.Milliseconds() }

// phase spreads the pings of a step over some of its time, in ms.
func phase(rider int) int64 { return int64(rider) * 617 % 1000 }

// ping returns the text of a rider's ping, and where its ts is in it: none if its
// receiver had no fix.
func (s *Stock) ping(rider, step int) (text []byte, at int) {
	p := &s.parts[rider/s.perPart]
	e := &p.pings[step*p.riders+rider%s.perPart]
	return p.text[e.from:e.to], int(e.at)
}
