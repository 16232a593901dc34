// Package clocks remembers by how much the clocks of tracks are wrong, so that a request
// sent again gets the times it got before.
//
// Memory is fixed, and is taken when the first clock is wrong. When it is full the
// longest silent tracks are forgotten. Nothing is kept across a restart.
package clocks

import (
	"hash/maphash"
	"sync"
	"time"
)

// Clocks remembers 16,384 tracks, in half a MiB. It is safe for concurrent use. The zero
// value has no tracks.
type Clocks struct {
	mu   sync.Mutex // guards the fields below; nothing else is locked under it
	seed maphash.Seed
	sets []clockSet
}

type clockSet [4]clock

// clock is the clock of a track, known by the track's hash only.
type clock struct {
	hash uint64
	add  int64 // ms by which the clock is behind
	used int64 // time of the last use, ms since 1970; 0: never
}

const (
	sets = 1 << 12

	// again is the greatest age of a track's newest ping, by the remembered clock, for
	// that clock to be used. A receiver that starts at the same time whenever it is
	// switched on needs a new clock each time.
	again = 10 * time.Minute

	// ahead is the most by which a corrected time may be ahead of the receipt: the
	// request that set the clock may have come so much later than usual.
	ahead = 10 * time.Second
)

// Behind returns the ms by which the clock of a track is behind ours. The track's newest
// ping came now, with the time newest, ms. The answer is as before, if that is
// plausible, or else as if the ping was made now.
func (c *Clocks) Behind(rider, device string, newest int64, now time.Time) (add int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sets == nil {
		c.seed, c.sets = maphash.MakeSeed(), make([]clockSet, sets)
	}
	hash, ms := maphash.Comparable(c.seed, [2]string{rider, device}), now.UnixMilli()
	list := &c.sets[hash%sets]
	k := &list[0]
	for i := range list {
		if l := &list[i]; l.used > 0 && l.hash == hash {
			k = l
			break
		} else if l.used < k.used {
			k = l
		}
	}
	at := newest + k.add
	if k.used == 0 || k.hash != hash || at < ms-again.Milliseconds() || at > ms+ahead.Milliseconds() {
		*k = clock{hash: hash, add: ms - newest}
	}
	k.used = ms
	return k.add
}
