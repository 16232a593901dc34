// Package clocks remembers by how much the clocks of tracks are wrong, so that a request
// sent again gets the times it got before.
//
// Memory is fixed, and is taken when the first clock is wrong. Beyond it the tracks that
// were silent longest are forgotten. Nothing is kept across a restart.
package clocks

import (
	"hash/maphash"
	"sync"
	"time"
)

// Clocks remembers 16,384 tracks, in half a MiB. It is safe for concurrent use. The zero
// value knows none.
type Clocks struct {
	mu   sync.Mutex // guards what follows; nothing else is locked under it
	seed maphash.Seed
	sets []clockSet
}

type clockSet [4]clock

// clock is that of a track, known by its hash only.
type clock struct {
	hash uint64
	add  int64 // ms that it is behind
	used int64 // ms since 1970; 0: never
}

const (
	sets = 1 << 12

	// again is how long ago a track's newest ping may have been for its clock to be the
	// one that is remembered. A receiver that starts at the same time whenever it is
	// switched on has another.
	again = 10 * time.Minute

	// ahead is how far ahead of the receipt a ping may be put: how much later than others
	// the request came by which the clock was set.
	ahead = 10 * time.Second
)

// Behind returns how many ms the clock of a track is behind ours, whose newest ping came
// now and says newest, in ms: as many as before, if that is plausible, or else as if the
// ping was made now.
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
