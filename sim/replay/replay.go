// Package replay sends recorded tracks again, as if they were ridden now: shifted to
// the present, faster, and by more riders than there were.
//
// A ping keeps its distance in time from the other pings of its track, and all are
// shifted so that the last one is sent at its own time. At a speed of 1 each ping is
// sent at its own time; at a higher one the first ones are old when they are sent, as
// after an outage, and the last are not. The other way, to press the times together,
// would have riders go at fifty times their speed: the limits of the filter in time,
// speeds and headings would say nothing about what was recorded.
//
// The package promises that what is sent is a pure function of files, seed and start:
// the pings of a track in the order of their file, with all that was recorded but their
// time, and of a clone with another name and, if asked, elsewhere. Pauses of more than
// ten minutes become ten minutes. It does not replay how pings arrived: a file says not
// when.
package replay

import (
	"cmp"
	"fmt"
	"math"
	"sort"
	"strconv"
	"time"

	"pingline"
)

// Config says how to replay. The zero value takes every default.
type Config struct {
	Seed   uint64
	Start  time.Time // of the replay; the zero time means now
	Speed  float64   // how many seconds of a track go by in one; 0 means 1
	Clones int       // riders for each recorded one; 0 means 1: itself
	Jitter bool      // clones ride elsewhere and at other times
}

// Limits of a Config: MaxPhones are tracks times clones.
const (
	MaxSpeed  = 10_000
	MaxPhones = 10_000_000
)

const (
	away       = 2000 // metres that a clone rides from its original, at most
	metresADeg = 6371008.8 * math.Pi / 180
)

// Replay is the phones of recorded tracks and their clones. Phone i is clone i / tracks
// of track i % tracks; clone 0 is the original. Safe for concurrent use.
type Replay struct {
	recorded *Recorded
	cfg      Config
	base     int64    // ts of the moment 0 of the replay, ms since 1970
	all      int64    // ms of track time from the first ping to the last
	copies   []copied // by clone and number of rider
	colon    string   // between the name of a rider and the number of its clone
}

// copied is how a clone of a rider differs from the original.
type copied struct {
	lat, lon int32 // how far away, 1e-7 degree
	later    int64 // ms
}

// New returns the replay of tracks, or an error if a number of cfg is not one.
func New(r *Recorded, cfg Config) (*Replay, error) {
	cfg.Speed = cmp.Or(cfg.Speed, 1)
	cfg.Clones = cmp.Or(cfg.Clones, 1)
	if cfg.Start.IsZero() {
		cfg.Start = time.Now()
	}
	switch {
	case !(cfg.Speed > 0 && cfg.Speed <= MaxSpeed):
		return nil, fmt.Errorf("replay at speed %g: not in (0, %d]", cfg.Speed, MaxSpeed)
	case cfg.Clones < 1 || cfg.Clones > MaxPhones/len(r.takes):
		return nil, fmt.Errorf("replay of %d tracks by %d clones: not in [1, %d]", len(r.takes), cfg.Clones, MaxPhones/len(r.takes))
	}
	p := &Replay{recorded: r, cfg: cfg, copies: make([]copied, cfg.Clones*len(r.names))}
	p.scatter()
	p.colon = ":"
	for r.hasClone(p.colon) { // as of a replay that was recorded
		p.colon += ":"
	}
	// The last ping is sent at its own time, and none before.
	p.base = cfg.Start.UnixMilli() + int64(float64(p.all)/cfg.Speed) - p.all
	return p, nil
}

// scatter says where and when the clones ride. With jitter a clone begins at any moment
// at which it ends before the replay does: the load is even as long as the longest track
// takes, and a tenth more, so that the clones of that one do not all begin together.
func (p *Replay) scatter() {
	riders := len(p.recorded.names)
	lasts, at := make([]int64, riders), make([]pingline.Fix, riders)
	for _, t := range p.recorded.takes {
		lasts[t.number] = max(lasts[t.number], t.lasts())
		at[t.number] = t.shots[0].fix
		p.all = max(p.all, t.lasts())
	}
	if !p.cfg.Jitter || p.cfg.Clones == 1 {
		return
	}
	p.all += p.all / 10
	for i := range p.copies {
		if i < riders {
			continue // the originals
		}
		n, key := i%riders, mix(p.cfg.Seed^mix(uint64(i)))
		c := &p.copies[i]
		c.later = int64(unit(key) * float64(p.all-lasts[n]))
		north, east := math.Sincos(2 * math.Pi * unit(mix(key+1)))
		far := away * math.Sqrt(unit(mix(key+2)))
		c.lat = int32(math.Round(far * north / metresADeg * pingline.E7))
		c.lon = int32(math.Round(far * east / metresADeg / max(math.Cos(at[n].Lat()*math.Pi/180), 0.01) * pingline.E7))
	}
}

// mix is the finaliser of splitmix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// unit returns a number in [0, 1) made of the upper bits of h.
func unit(h uint64) float64 { return float64(h>>11) / (1 << 53) }

// Riders returns how many phones there are. Behind the last one they begin again.
func (p *Replay) Riders() int { return p.cfg.Clones * len(p.recorded.takes) }

// Pings returns how many are sent.
func (p *Replay) Pings() int { return p.cfg.Clones * p.recorded.Pings() }

// Lasts returns the time from the first ping to the last.
func (p *Replay) Lasts() time.Duration {
	return time.Duration(float64(p.all) / p.cfg.Speed * float64(time.Millisecond))
}

// Interval returns the time between two pings of a track, on average.
func (p *Replay) Interval() time.Duration {
	var ms, steps int64
	for _, t := range p.recorded.takes {
		ms, steps = ms+t.lasts(), steps+int64(len(t.shots))-1
	}
	return max(time.Millisecond, time.Duration(ms/max(steps, 1))*time.Millisecond)
}

func (p *Replay) phone(i int) (t *take, clone int, c *copied) {
	takes := len(p.recorded.takes)
	t, clone = p.recorded.takes[i%takes], i/takes%p.cfg.Clones
	return t, clone, &p.copies[clone*len(p.recorded.names)+t.number]
}

// Name returns the rider and device ids of phone i: those of the track, and behind the
// rider's a colon and the number of the clone, or more colons if a recorded rider has
// such a name.
func (p *Replay) Name(i int) (rider, device string) {
	t, clone, _ := p.phone(i)
	if clone == 0 {
		return t.rider, t.device
	}
	return named(t.rider, p.colon+strconv.Itoa(clone)), t.device
}

// Update sets all of ping but its rider and device to the ping of phone i that was sent
// last at the time at, and reports whether there is one.
func (p *Replay) Update(ping *pingline.Ping, i int, _, at int64) bool {
	t, _, c := p.phone(i)
	begin := p.base + c.later
	n := sort.Search(len(t.shots), func(n int) bool { return begin+t.shots[n].key > at })
	if n == 0 {
		return false
	}
	s := &t.shots[n-1]
	ping.Fix, ping.Event, ping.Trip = s.fix, s.event, s.trip
	ping.At += begin
	c.move(&ping.Fix)
	return true
}

// move takes a fix to where the clone rides. At the poles it stays where it is.
func (c *copied) move(f *pingline.Fix) {
	lat, lon := int64(f.LatE7)+int64(c.lat), int64(f.LonE7)+int64(c.lon)
	if lat < -90*pingline.E7 || lat > 90*pingline.E7 {
		return
	}
	switch {
	case lon > 180*pingline.E7:
		lon -= 360 * pingline.E7
	case lon < -180*pingline.E7:
		lon += 360 * pingline.E7
	}
	f.LatE7, f.LonE7 = int32(lat), int32(lon)
}
