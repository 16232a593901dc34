// Package carried keeps what the filter has to know of attributes: those of pings that are
// held, and the last values of those attributes whose change keeps a ping.
//
// It takes memory only for tracks whose pings have attributes, and never more than a limit.
// A ping for which there is no room has to be stored at once, so that nothing of it is lost.
// Its state is a function of the entries that are logged, like the filter's.
package carried

import (
	"fmt"
	"slices"

	"pingline"
)

// Carried has the state of all tracks, by their numbers. It is for a single goroutine.
type Carried struct {
	keep  []string
	most  int64 // bytes
	bytes int64
	of    map[uint32]*luggage
}

// luggage is the state of a track.
type luggage struct {
	held [2]pingline.Attrs // of the ping held on the open line, and of that in the backlog

	// Values are those of Carried.keep, nil if none was seen. A ping newer than at is
	// compared with the newest values, any other ping with the last that was not newer.
	values []lastSeen
	at     int64 // of the newest ping with such an attribute, ms
}

// lastSeen has fingerprints of a value, 0 if none was seen.
type lastSeen struct{ newest, past uint64 }

// Bytes of memory: about that of a track, and of a value.
const (
	trackBytes = 120
	valueBytes = 16
)

// New returns the state of no track. Keep names the attributes whose change keeps a ping, most
// is the limit in bytes.
func New(keep []string, most int64) (*Carried, error) {
	return &Carried{keep: slices.Clone(keep), most: most}, Check(keep)
}

// Check returns an error unless a change of these attributes can keep a ping.
func Check(keep []string) error {
	if len(keep) > pingline.MostAttrs {
		return fmt.Errorf("%d attributes, more than %d", len(keep), pingline.MostAttrs)
	}
	for i, name := range keep {
		if err := pingline.CheckAttrName(name); err != nil {
			return err
		}
		if slices.Contains(keep[:i], name) {
			return fmt.Errorf("the attribute %s comes twice", name)
		}
	}
	return nil
}

// Bytes returns the approximate memory, in bytes.
func (c *Carried) Bytes() int64 { return c.bytes }

// Watches reports whether some of a ping's attributes are among those whose change keeps it.
func Watches(keep []string, a pingline.Attrs) bool {
	if a == "" || len(keep) == 0 {
		return false
	}
	for f := range a.All() {
		if slices.Contains(keep, f.Key) {
			return true
		}
	}
	return false
}

// Keeps reports whether a ping of track i has to be stored at once: it shows a change, or
// there is no room for its attributes. Track 0 is not known.
func (c *Carried) Keeps(i uint32, at int64, a pingline.Attrs) bool {
	return a != "" && (c.of[i] == nil && c.full() || c.of[i] != nil && c.bytes > c.most+c.most/8 || c.Changed(i, at, a))
}

// Spares reports whether a ping of track i, which would be shed, shows a change. It does not
// where there is no room to know.
func (c *Carried) Spares(i uint32, at int64, a pingline.Attrs) bool {
	return (c.of[i] != nil || !c.full()) && c.Changed(i, at, a)
}

func (c *Carried) full() bool { return c.bytes >= c.most }

// Changed reports whether a ping of track i shows an attribute to be watched for the first
// time, or with another value than the ping before. Track 0 is not known.
func (c *Carried) Changed(i uint32, at int64, a pingline.Attrs) bool {
	if a == "" || len(c.keep) == 0 {
		return false
	}
	t := c.of[i]
	for f := range a.All() {
		k := slices.Index(c.keep, f.Key)
		if k < 0 {
			continue
		}
		if t == nil || t.values == nil || *t.last(k, at) != fingerprint(&f) {
			return true
		}
	}
	return false
}

// last returns the value that one at an instant is compared with.
func (t *luggage) last(k int, at int64) *uint64 {
	if at < t.at {
		return &t.values[k].past
	}
	return &t.values[k].newest
}

// Note remembers the attributes of a ping of track i that goes to the log, unless there is no
// room.
func (c *Carried) Note(i uint32, at int64, a pingline.Attrs) {
	if a == "" || len(c.keep) == 0 || i == 0 || !Watches(c.keep, a) {
		return
	}
	t := c.track(i, false)
	if t == nil {
		return
	}
	c.grow(t, at)
	for f := range a.All() {
		if k := slices.Index(c.keep, f.Key); k >= 0 {
			*t.last(k, at) = fingerprint(&f)
		}
	}
	t.at = max(t.at, at)
}

// grow makes room for values.
func (c *Carried) grow(t *luggage, at int64) {
	if t.values == nil {
		t.values, t.at = make([]lastSeen, len(c.keep)), at
		c.bytes += int64(len(c.keep)) * valueBytes
	}
}

// track returns the state of track i, a new one if there is room, or if it must be.
func (c *Carried) track(i uint32, must bool) *luggage {
	if t := c.of[i]; t != nil || c.full() && !must {
		return t
	}
	if c.of == nil {
		c.of = make(map[uint32]*luggage)
	}
	t := new(luggage)
	c.of[i] = t
	c.bytes += trackBytes
	return t
}

// fingerprint is the 64-bit FNV-1a of a value with its type, never 0. Checkpoints have it, so
// it must not change.
func fingerprint(f *pingline.PointField) uint64 {
	h := uint64(0xcbf29ce484222325)
	add := func(b byte) { h = (h ^ uint64(b)) * 0x100000001b3 }
	add(byte(f.Type))
	for v, n := f.Bits(), 0; n < 8; n++ {
		add(byte(v >> (8 * n)))
	}
	for k := range len(f.Text()) {
		add(f.Text()[k])
	}
	return max(h, 1)
}

// Place is the line on which a ping is held.
func Place(back bool) int {
	if back {
		return 1
	}
	return 0
}

// Hold keeps the attributes of the ping that track i holds from now on.
func (c *Carried) Hold(i uint32, back bool, a pingline.Attrs) {
	if a == "" && len(c.of) == 0 {
		return
	}
	c.hold(i, Place(back), a)
}

func (c *Carried) hold(i uint32, place int, a pingline.Attrs) {
	t := c.of[i]
	if t == nil {
		if a == "" {
			return
		}
		t = c.track(i, true) // a ping that was held when it was logged had room
	}
	c.bytes += textBytes(a) - textBytes(t.held[place])
	t.held[place] = pingline.Attrs([]byte(a))
}

// Held returns the attributes of the ping that track i holds.
func (c *Carried) Held(i uint32, back bool) pingline.Attrs {
	if t := c.of[i]; t != nil {
		return t.held[Place(back)]
	}
	return ""
}

// HeldBytes returns the bytes of attributes of all pings that track i holds, or held.
func (c *Carried) HeldBytes(i uint32) int {
	if t := c.of[i]; t != nil {
		return len(t.held[0]) + len(t.held[1])
	}
	return 0
}

// MostHeld returns the most HeldBytes of some tracks.
func (c *Carried) MostHeld(tracks []uint32) (n int) {
	for _, i := range tracks {
		n = max(n, c.HeldBytes(i))
	}
	return n
}

// Empty reports whether there are no attributes at all.
func (c *Carried) Empty() bool { return len(c.of) == 0 }

// Forget forgets track i.
func (c *Carried) Forget(i uint32) {
	t := c.of[i]
	if t == nil {
		return
	}
	c.bytes -= trackBytes + int64(len(t.values))*valueBytes + textBytes(t.held[0]) + textBytes(t.held[1])
	delete(c.of, i)
}

// textBytes is the memory of a string that is allocated by itself, in bytes.
func textBytes(a pingline.Attrs) int64 {
	const step = 16
	return int64(len(a)+step-1) / step * step
}
