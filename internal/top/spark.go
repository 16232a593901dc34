package top

import (
	"math"
	"strings"
)

// sparkSteps is how many steps of the history a sparkline is of: ten minutes.
const sparkSteps = 120

// glyphs are the heights of a sparkline: the first is 0, the others are more.
var glyphs = []rune("▁▂▃▄▅▆▇█")

// spark draws the largest value of each column's steps, on a scale from 0 to most. Values
// are oldest first, and the newest is so many steps old. A column of which nothing is known
// is blank.
func spark(values []float64, old, columns int, most float64) string {
	var b strings.Builder
	first := sparkSteps - old - len(values) // where the oldest value is
	for c := range columns {
		largest := math.NaN()
		for i := c * sparkSteps / columns; i < (c+1)*sparkSteps/columns; i++ {
			if i >= first && i < first+len(values) && !(values[i-first] <= largest) && !math.IsNaN(values[i-first]) {
				largest = values[i-first]
			}
		}
		b.WriteRune(glyph(largest, most))
	}
	return b.String()
}

func glyph(v, most float64) rune {
	switch {
	case math.IsNaN(v):
		return ' '
	case v <= 0 || most <= 0:
		return glyphs[0]
	}
	highest := float64(len(glyphs) - 1)
	return glyphs[int(min(1+v/most*highest, highest))] // v/most may be more than an int holds
}

// largest returns the largest known value, and false if there is none.
func largest(values []float64) (most float64, known bool) {
	for _, v := range values {
		if !math.IsNaN(v) && (!known || v > most) {
			most, known = v, true
		}
	}
	return most, known
}
