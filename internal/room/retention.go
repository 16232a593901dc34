package room

import (
	"fmt"
	"time"

	"pingline/internal/unit"
	"pingline/sink/store"
)

// Retention compares how long a store keeps pings, 0 for ever, with how old they may be when they
// are taken.
func Retention(keep time.Duration, told bool, maxAge time.Duration) store.Finding {
	f := store.Finding{What: "retention"}
	switch {
	case !told:
		f.Found = "is not told: if it is shorter than --max-age, older pings become dead letters"
	case keep == 0:
		f.Found = "pings are kept for ever"
	case keep < maxAge:
		f.Found = fmt.Sprintf("pings are kept for %v, and --max-age takes pings up to %v old", unit.Span(keep), unit.Span(maxAge))
		f.Remedy = fmt.Sprintf("set --max-age=%v, or keep pings longer: older pings are refused", unit.Span(keep))
	default:
		f.Found = fmt.Sprintf("pings are kept for %v, at least as long as --max-age lets them be old", unit.Span(keep))
	}
	return f
}
