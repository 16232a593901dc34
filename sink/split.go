package sink

// split divides rows that a store did not take as a whole in two, neither empty:
// those that it suspects, by their index in rows, and the others, or else
// halves. A suspicion is only a hint; either part has yet to be written. It must
// divide the rows to count, so that hints cost few writes even if they are wrong.
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
