package dedupe

// loading is the state between Load and the end of the overlap: tracks were
// restored as of different commits.
type loading struct {
	highest uint64
	at      []uint64 // by track: the commit its state stands at
}

// has reports whether track i's state is that after commit number, or later.
func (l *loading) has(i uint32, number uint64) bool {
	return l != nil && int(i) < len(l.at) && l.at[i] >= number
}

func (f *Filter) endLoad() {}
