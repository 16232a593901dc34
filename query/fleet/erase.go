package fleet

import "pingline/dedupe"

// Erase forgets a rider, whom the filter has forgotten; viewers are told that the rider is
// gone. It looks at all tracks.
func (f *Map) Erase(rider string) {
	f.refreshing.Lock()
	defer f.refreshing.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seq++
	for i := uint32(1); i <= f.rows.Last; i++ {
		if of, _ := dedupe.RiderDevice(*f.names.At(i)); of == rider && f.rows.At(i).known {
			f.grid.remove(f.seq, i)
			*f.rows.At(i), *f.names.At(i) = row{}, ""
		}
	}
	f.made = f.seq
}
