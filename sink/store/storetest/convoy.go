package storetest

import (
	"fmt"
	"math/rand/v2"
	"time"

	"pingline"
)

// Convoy makes pings as they leave the filter, of many riders, a series for
// each. A round has a ping of every rider, in a random order.
type Convoy struct {
	riders []pingline.Entry
	every  int64 // ms between two rounds
	rnd    *rand.Rand
	order  []int
	at     int              // index in order
	attrs  []pingline.Attrs // of the pings to come; empty: they have none
}

// NewConvoy returns a Convoy whose first round ends at first, in ms.
func NewConvoy(riders int, first, every int64) *Convoy {
	c := &Convoy{every: every, rnd: rand.New(rand.NewPCG(1, 2)), riders: make([]pingline.Entry, riders), order: make([]int, riders)}
	for i := range c.riders {
		e := &c.riders[i]
		e.Verdict, e.Cell, e.Rider = pingline.Accepted, 0x8539220ffffffff-uint64(i%16)<<32, fmt.Sprintf("r-%07d", i)
		e.Fix = pingline.Fix{LatE7: 411_578_129 + int32(i%1000)*1000, LonE7: -86_291_050 - int32(i/1000%1000)*1000,
			Known: pingline.HasSpeed | pingline.HasHeading | pingline.HasAccuracy}
		e.At = first - 2*every + c.rnd.Int64N(every)
		c.order[i] = i
	}
	return c
}

// Next returns the next ping, which belongs to c: up to 11 m further in each
// direction, with the digits that phones send.
func (c *Convoy) Next() *pingline.Entry {
	if c.at == 0 {
		c.rnd.Shuffle(len(c.order), func(i, j int) { c.order[i], c.order[j] = c.order[j], c.order[i] })
	}
	e := &c.riders[c.order[c.at]]
	c.at = (c.at + 1) % len(c.order)
	x := c.rnd.Uint64()
	e.At += c.every - 50 + int64(x%100)
	e.LatE7 += int32(x>>10%2048) - 1024
	e.LonE7 += int32(x>>21%2048) - 1024
	e.Speed = float32(x>>32%3000) / 100
	e.Heading = float32(x >> 44 % 360)
	e.Accuracy = float32(3 + x>>53%8)
	e.Skipped = uint32(x >> 56 % 4)
	if len(c.attrs) > 0 {
		e.Attrs = c.attrs[x>>3%uint64(len(c.attrs))]
	}
	return e
}

// Dress gives the pings to come four attributes each, 20 bytes of values and 18 of names.
func (c *Convoy) Dress() {
	for i := range 256 {
		a, err := pingline.NewAttrs(pingline.Float("fuel", float64(i)/256), pingline.Float("load", float64(100*i)),
			pingline.Text("door", []string{"open", "shut"}[i%2]), pingline.Bool("idle", i%3 == 0))
		if err != nil {
			panic(err)
		}
		c.attrs = append(c.attrs, a)
	}
}

// Fill appends so many pings to dst, as encode does.
func (c *Convoy) Fill(dst []byte, pings int, encode func(dst []byte, e *pingline.Entry) []byte) []byte {
	for range pings {
		dst = encode(dst, c.Next())
	}
	return dst
}

// Riders returns the newest ping of each rider.
func (c *Convoy) Riders() []pingline.Entry { return c.riders }

// AnHourAgo returns the time at which the load begins, so that most of it lies in
// the same shard group.
func AnHourAgo() int64 { return time.Now().Add(-time.Hour).UnixMilli() }
