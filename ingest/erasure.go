package ingest

import "pingline/dedupe"

// ErasureMark is the name of the point by whose commit a rider is removed: the mark of Erase.
const ErasureMark = "pingline_erasure"

// Erasure is the removal of a rider: of all that the commits up to Upto have of the rider
// nothing counts any more. A ping of a later commit is a first one.
type Erasure struct {
	Rider string
	Upto  uint64
}

// eraseBefore erases the riders whose commit lies before next, and returns the rest.
func eraseBefore(filter *dedupe.Filter, list []Erasure, next uint64) []Erasure {
	for len(list) > 0 && list[0].Upto < next {
		filter.Erase(list[0].Rider)
		list = list[1:]
	}
	return list
}
