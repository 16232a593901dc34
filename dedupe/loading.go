package dedupe

// loading is the state between the first Load and the end of the overlap:
// tracks were restored as of different commits, and nothing is forgotten for
// lack of room.
type loading struct {
	pieces  uint32
	last    bool // the last piece was seen
	highest uint64
	once    int      // tracks with one ping that the last piece knew, and
	often   int      // with more; negative if it does not say
	at      []uint64 // by track: the commit its state stands at
}

// has reports whether track i's state is that after commit number, or later.
func (l *loading) has(i uint32, number uint64) bool {
	return l != nil && int(i) < len(l.at) && l.at[i] >= number
}
