package ingest

import (
	"math"

	"pingline"
)

// storedAt returns the time of a row, ms, or the smallest int64 if its time cannot be
// read.
func storedAt(e *pingline.Entry) int64 {
	at, ok := e.StoredAt()
	if !ok {
		return math.MinInt64
	}
	return at
}
