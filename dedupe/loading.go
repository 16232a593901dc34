package dedupe

// loading is the state between the first Load and the replay of the last piece's
// commit: tracks stand at different commits, and no track is forgotten for lack of
// room.
type loading struct {
	pieces  uint32
	last    bool // the last piece was seen
	highest uint64
	once    int      // number of tracks with one ping in the last piece; negative if not known
	often   int      // number of tracks with more pings in the last piece; negative if not known
	at      []uint64 // by track: the commit at which its state stands
}

// has reports whether track i's state includes commit number.
func (l *loading) has(i uint32, number uint64) bool {
	return l != nil && int(i) < len(l.at) && l.at[i] >= number
}
