package dedupe

import "pingline/dedupe/slab"

// order lists the tracks by their last logged ping. Tracks with a single logged ping
// have a list of their own and are forgotten first, so that a client that sends from
// ever new names pushes out its own names and not the fleet. Stamps count logged pings.
type order struct {
	slab.Slab[ordered]
	stamp uint64
	once  list // tracks with one ping
	often list // tracks with more
}

// list is a chain of tracks; its ends are 0 if it is empty.
type list struct {
	newest, oldest uint32
	n              int
}

type ordered struct {
	newer, older uint32
	stamp        uint64 // of the last ping; 0 before the first
}

// onceShare: a tenth of all tracks may always be tracks with a single ping, so that a
// new track has time for its second ping.
const onceShare = 10

// push makes i the newest of l.
func (o *order) push(l *list, i uint32) {
	e := o.At(i)
	e.newer, e.older = 0, l.newest
	if l.newest == 0 {
		l.oldest = i
	} else {
		o.At(l.newest).newer = i
	}
	l.newest = i
	l.n++
}

// unlink takes i out of l.
func (o *order) unlink(l *list, i uint32) {
	e := o.At(i)
	if e.newer == 0 {
		l.newest = e.older
	} else {
		o.At(e.newer).older = e.older
	}
	if e.older == 0 {
		l.oldest = e.newer
	} else {
		o.At(e.older).newer = e.newer
	}
	l.n--
}

// raise makes i, which is in l and not its newest, the newest.
func (o *order) raise(l *list, i uint32) {
	e := o.At(i)
	o.At(e.newer).older = e.older
	if e.older == 0 {
		l.oldest = e.newer
	} else {
		o.At(e.older).newer = e.newer
	}
	o.At(l.newest).newer = i
	e.newer, e.older = 0, l.newest
	l.newest = i
}
