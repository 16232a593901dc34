package fault

import (
	"math"

	"pingline"
)

// Faults are those of a fleet of one seed. Safe for concurrent use.
type Faults struct {
	spec Spec
	key  uint64
}

// New returns the faults of a seed, nil if spec has none.
func New(spec Spec, seed uint64) *Faults {
	if spec == (Spec{}) {
		return nil
	}
	return &Faults{spec, mix(seed ^ 0x5d8e_7f3a_91c2_64b7)}
}

// draw returns the n-th number of a phone or a connection for a kind.
func (f *Faults) draw(k Fault, who int, n int64) uint64 {
	return mix(mix(f.key+uint64(k)<<56+uint64(who)*golden) + uint64(n)*0xd1342543de82ef95)
}

// strikes reports whether a fault happens, and returns bits to shape it.
func (f *Faults) strikes(k Fault, who int, n int64) (h uint64, yes bool) {
	if f.spec[k] == 0 {
		return 0, false
	}
	h = f.draw(k, who, n)
	return mix(h), float64(h>>11)/(1<<53) < f.spec[k]
}

// Mask is a set of kinds of faults, a bit for each.
type Mask uint16

// Has reports whether k is in the set.
func (s Mask) Has(k Fault) bool { return s&(1<<k) != 0 }

// ofRequests are the kinds that befall requests.
var ofRequests = [...]Fault{Resend, Double, Reorder, Malformed, Truncated, Slow, Cut}

// Request returns what befalls request n of a connection, and bits to shape it.
func (f *Faults) Request(conn int, n int64) (set Mask, h uint64) {
	if f == nil {
		return 0, 0
	}
	for _, k := range ofRequests {
		if bits, yes := f.strikes(k, conn, n); yes {
			set |= 1 << k
			h ^= bits
		}
	}
	return set, h
}

const (
	offlineFor = 30_000 // ms that a phone has no network for, or has it
	frozenFor  = 60_000 // ms that a receiver is stuck for, or is not
)

// Offline reports whether a phone has no network at a time, ms since 1970.
func (f *Faults) Offline(phone int, at int64) bool {
	if f == nil || f.spec[Offline] == 0 {
		return false
	}
	_, yes := f.strikes(Offline, phone, f.window(phone, at, offlineFor))
	return yes
}

// Frozen returns the time since which a receiver has been stuck, ms since 1970.
func (f *Faults) Frozen(phone int, at int64) (since int64, yes bool) {
	if f == nil || f.spec[Frozen] == 0 {
		return 0, false
	}
	w := f.window(phone, at, frozenFor)
	if _, yes = f.strikes(Frozen, phone, w); !yes {
		return 0, false
	}
	return w*frozenFor - f.phase(phone, frozenFor), true
}

// window returns the number of the phone's stretch of time that at is in.
func (f *Faults) window(phone int, at, length int64) int64 {
	return (at + f.phase(phone, length)) / length
}

func (f *Faults) phase(phone int, length int64) int64 {
	return int64(f.draw(Kinds, phone, 0) % uint64(length))
}

const (
	mostSkew  = 90_000 // ms
	mostDrift = 200e-6
	driftOver = 12 * 3_600_000 // ms after which a clock is set
	in2038    = 1 << 31 * 1000 // ms since 1970: where 32 bits of seconds end
	day       = 24 * 3_600_000
)

// Bend changes a ping that a phone makes at a time, ms since 1970, to what the phone
// sends, and returns the faults that it has.
func (f *Faults) Bend(p *pingline.Ping, phone int, at int64) (set Mask) {
	if f == nil {
		return 0
	}
	if h, yes := f.strikes(Skew, phone, 0); yes {
		// A clock is set right now and then; in between it drifts.
		drift := mostDrift * signed(h>>32) * float64(at%driftOver)
		p.At += int64(mostSkew*0.9*signed(h)) + int64(drift)
		set |= 1 << Skew
	}
	if h, yes := f.strikes(Jump, phone, at); yes {
		p.At %= day
		if h&1 != 0 {
			p.At += in2038
		}
		set |= 1 << Jump
	}
	if h, yes := f.strikes(Teleport, phone, at); yes {
		metres := 1000 + 49_000*float64(h>>48)/(1<<16)
		sin, cos := math.Sincos(2 * math.Pi * float64(h&0xffff) / (1 << 16))
		const degree = 111_195 // metres
		p.LatE7 = clampE7(p.LatE7, metres*sin/degree, 90)
		p.LonE7 = clampE7(p.LonE7, metres*cos/degree, 180)
		set |= 1 << Teleport
	}
	if _, yes := f.strikes(Zero, phone, at); yes {
		p.LatE7, p.LonE7 = 0, 0
		set |= 1 << Zero
	}
	if _, yes := f.strikes(Accuracy, phone, at); yes {
		p.Known &^= pingline.HasAccuracy
		p.Accuracy = 0
		set |= 1 << Accuracy
	}
	return set
}

// clampE7 adds degrees to a position and keeps it within ±limit.
func clampE7(e7 int32, degrees, limit float64) int32 {
	return int32(max(-limit, min(limit, float64(e7)/pingline.E7+degrees)) * pingline.E7)
}

// signed returns a number in [-1, 1) made of the lowest 32 bits of h.
func signed(h uint64) float64 { return float64(int32(uint32(h))) / (1 << 31) }

const golden = 0x9e3779b97f4a7c15

// mix is the finaliser of splitmix64: every bit of x changes half of the result.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
