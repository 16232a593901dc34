// Package handset has the phones of simulated riders: whose they are, how their
// riders get about, and what their receivers make of it. Where a rider is says a
// city or a town.
//
// The package promises that all it says is a pure function of seed, phone and time.
// It does not promise to model radio waves: receivers err by as much as they say, and
// by more where they are said to see little of the sky.
package handset

import (
	"fmt"
	"math/bits"
	"strconv"
)

// Config says which handsets there are. The zero value is a valid one: of cars.
type Config struct {
	Seed uint64
	Mix  Mix // the zero value means cars only
}

// Handsets are the phones of a seed. There is no last one: every phone from 0 on
// exists. One in fifty is a rider's second device: it is where the phone before it
// is, errs by itself, and has a device id. Safe for concurrent use.
type Handsets struct {
	key   uint64
	mix   Mix
	below [Modes]float64 // a number in [0, 1) below this is of a mode that is no higher
}

// New returns the handsets of cfg, or an error if its mix is none.
func New(cfg Config) (*Handsets, error) {
	h := &Handsets{key: Scramble(cfg.Seed + golden)}
	if cfg.Mix == (Mix{}) {
		cfg.Mix[Car] = 1
	}
	if err := cfg.Mix.check(); err != nil {
		return nil, err
	}
	var sum, upTo float64
	for _, share := range cfg.Mix {
		sum += share
	}
	for mode, share := range cfg.Mix {
		upTo += share
		h.below[mode] = upTo / sum
	}
	h.below[lastOf(&cfg.Mix)] = 1
	h.mix = cfg.Mix
	return h, nil
}

// lastOf returns the last mode of a mix that has riders.
func lastOf(m *Mix) Mode {
	last := Car
	for mode, share := range m {
		if share > 0 {
			last = Mode(mode)
		}
	}
	return last
}

// Key returns the number that all draws of the handsets are made of.
func (h *Handsets) Key() uint64 { return h.key }

// KeyOf returns the number that the draws of phone i are made of.
func (h *Handsets) KeyOf(i int) uint64 { return Scramble(h.key + uint64(i)*golden) }

// Owner returns the phone whose rider carries phone i too: i, or the one before if i
// is a second device.
func (h *Handsets) Owner(i int) int {
	if i&1 == 1 && Draw(h.KeyOf(i), forDevice, 0)%25 == 0 {
		return i - 1
	}
	return i
}

// Name returns the rider and device ids of phone i; most have no device id.
func (h *Handsets) Name(i int) (rider, device string) {
	who := h.Owner(i)
	if who != i {
		device = "watch"
	}
	return fmt.Sprintf("r-%06d", who), device
}

// ModeOf returns how the rider of phone i gets about, who has to be its owner.
func (h *Handsets) ModeOf(i int) Mode {
	if h.below[Car] == 1 {
		return Car
	}
	u := Unit(Draw(h.KeyOf(i), forMode, 0))
	for mode, below := range h.below {
		if u < below {
			return Mode(mode)
		}
	}
	return Car
}

// Has reports whether there are riders of a mode.
func (h *Handsets) Has(m Mode) bool { return h.mix[m] > 0 }

// TripName returns the name of a rider's n-th trip: last, if that is it, so that it
// is not made anew for every ping.
func TripName(last string, rider int, n int64) string {
	var b [48]byte
	name := strconv.AppendInt(append(b[:0], "t-"...), int64(rider), 10)
	name = strconv.AppendInt(append(name, '-'), n, 10)
	if string(name) == last {
		return last
	}
	return string(name)
}

// Uses of draws that belong to handsets: each has numbers of its own. Those of others
// begin at OtherUse.
const (
	forDevice = iota + 1
	forMode
	forReceiver
	forJitter
	forBattery
	OtherUse
)

const golden = 0x9e3779b97f4a7c15

// Draw returns the n-th number of a key for a use.
func Draw(key uint64, use, n int64) uint64 {
	return Scramble(key + uint64(use)*0xd1342543de82ef95 + uint64(n)*golden)
}

// Scramble is the finaliser of splitmix64: every bit of x changes half of the result.
func Scramble(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// Unit returns a number in [0, 1) made of the upper bits of h.
func Unit(h uint64) float64 { return float64(h>>11) / (1 << 53) }

// Below returns a number in [0, n) made of h, for n > 0.
func Below(h uint64, n int) int {
	hi, _ := bits.Mul64(h, uint64(n))
	return int(hi)
}

// Triangle returns a number of mean 0 and deviation 1, made of the lowest 16 bits of
// h: bell-shaped enough, and never beyond 2.45.
func Triangle(h uint64) float64 {
	return (float64(h&0xff+h>>8&0xff)/0x100 - 255.0/256) * 2.449489742783178
}
