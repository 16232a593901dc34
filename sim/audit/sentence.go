package audit

import (
	"fmt"

	"pingline/internal/unit"
)

func comma(n uint64) string { return unit.Comma(float64(n)) }

// Sentence tells the fate of the pings.
func (r *Report) Sentence() string {
	answered := r.Accepted + r.Held + r.Redundant + r.Duplicate
	s := fmt.Sprintf("%s answered, %s stored (%.1f %%), %s lost, ",
		comma(answered), comma(r.Stored), 100*float64(r.Stored)/float64(max(answered, 1)), comma(r.Lost))
	for _, of := range []struct {
		count uint64
		text  string
	}{{r.Shed + r.Rejected, "refused"}, {r.Unanswered, "without an answer"}, {r.Wrong, "stored otherwise than sent"}, {r.Foreign, "stored and never sent"}} {
		if of.count > 0 {
			s += comma(of.count) + " " + of.text + ", "
		}
	}
	if r.OutOfBound > 0 {
		return s + comma(r.OutOfBound) + " beyond their bound"
	}
	return s + "none beyond its bound"
}

// Remarks are sentences about facts that an audit could not find out, and about what is no
// violation and yet not as usual.
func (r *Report) Remarks() (list []string) {
	for _, of := range []struct {
		count     uint64
		one, many string
		text      string
	}{
		{r.Broken, "ack log", "ack logs", "without an end, of a run that was killed or goes on: the last pings are not known"},
		{uint64(r.Torn), "byte", "bytes", "at the end of ack logs cannot be read: the log is torn there"},
		{r.Untold, "point", "points", "of none of the pings, perhaps of those that are not known"},
		{r.Others, "point", "points", "of other tracks: others send as well"},
		{r.Corrected, "point", "points", "at another time than was sent, as the clock of the phone was wrong"},
		{r.Collided, "accepted ping", "accepted pings", "replaced by another of the same ms and ns"},
	} {
		if of.count > 0 {
			list = append(list, unit.Plural(of.count, of.one, of.many)+" "+of.text)
		}
	}
	if r.Rollups != nil {
		list = append(list, r.Rollups.Sentence())
	}
	return list
}
