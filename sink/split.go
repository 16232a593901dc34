package sink

// split divides rows that a store did not take as a whole into two parts, neither
// empty: the rows at the indexes in suspects and the rest, or else halves. A
// suspicion is only a hint, so either part is still to be written. A hint counts
// only if it divides the rows, so that wrong hints cost few writes.
func split(rows, suspects []int) (one, other []int) {
	half := len(rows) / 2
	for i, row := range rows {
		if len(suspects) > 0 && suspects[0] == i {
			suspects = suspects[1:]
			one = append(one, row)
		} else {
			other = append(other, row)
		}
	}
	if len(one) > 0 && len(other) > 0 {
		return one, other
	}
	return rows[:half], rows[half:]
}
