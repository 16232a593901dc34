// Package rounding makes float64 of decimal digits in a time that no digits can prolong.
//
// strconv rounds any number exactly, for which it takes up to 20 µs where a number is halfway
// between two others, or far below 1: a request of short hard numbers would keep a processor for
// a tenth of a second. Here the first 19 digits are rounded exactly, digits behind them are
// known to be there, and a number that no unit has, beyond 10^38 or below 10^-38, is ±Inf or 0.
package rounding

import (
	"math"
	"math/bits"
)

// MaxDigits is the most digits of which a mantissa has room.
const MaxDigits = 19

// limit is the largest exponent of ten, and the least without its sign.
const limit = 2 * MaxDigits

var pow10 = [...]uint64{
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
}

// exact are the powers of ten that a float64 holds.
var exact = [...]float64{
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
}

// Float returns the float64 nearest to mant × 10^exp. More says that there are digits other than
// 0 behind those of mant: the result is then one of the two nearest.
func Float(mant uint64, exp int, more bool) float64 {
	if mant < 1<<53 && exp > -len(exact) && exp < len(exact) && !more {
		if exp < 0 { // both are exact, so that the result is rounded once
			return float64(mant) / exact[-exp]
		}
		return float64(mant) * exact[exp]
	}
	switch {
	case mant == 0 || exp < -limit:
		return 0
	case exp > limit:
		return math.Inf(1)
	}
	var n [4]uint64 // the highest first
	if exp < 0 {
		n[0] = mant // × 2^192: more than 64 bits are left behind the division
		more = divide(&n, -exp) || more
		return math.Ldexp(nearest(&n, more), -192)
	}
	n[3] = mant
	for ; exp > 0; exp -= MaxDigits {
		carry := uint64(0)
		for i := len(n) - 1; i >= 0; i-- {
			hi, lo := bits.Mul64(n[i], pow10[min(exp, MaxDigits)])
			lo, over := bits.Add64(lo, carry, 0)
			n[i], carry = lo, hi+over
		}
	}
	return nearest(&n, more)
}

// divide divides n by 10^by, and reports whether there is a rest.
func divide(n *[4]uint64, by int) (rest bool) {
	for ; by > 0; by -= MaxDigits {
		r := uint64(0)
		for i := range n {
			n[i], r = bits.Div64(r, n[i], pow10[min(by, MaxDigits)])
		}
		rest = rest || r != 0
	}
	return rest
}

// nearest returns n, which is slightly more if there is a rest, as a float64.
func nearest(n *[4]uint64, rest bool) float64 {
	i := 0
	for i < len(n)-1 && n[i] == 0 {
		i++
	}
	top, low := n[i], uint64(0)
	if i+1 < len(n) {
		low = n[i+1]
	}
	for _, word := range n[min(i+2, len(n)):] {
		rest = rest || word != 0
	}
	shift := bits.LeadingZeros64(top)
	top, low = top<<shift|low>>(64-shift), low<<shift
	if rest || low != 0 {
		top |= 1 // far below the last bit of a float64: it only says on which side of a half it is
	}
	return math.Ldexp(float64(top), 64*(len(n)-1-i)-shift)
}

// Parse returns the number that a text is: digits with or without a sign, a point and an exponent.
// It returns false for any other text, and for a number out of range.
func Parse(text string) (float64, bool) {
	i, neg := 0, false
	if i < len(text) && (text[i] == '-' || text[i] == '+') {
		neg = text[i] == '-'
		i++
	}
	var n mantissa
	whole := n.take(text[i:])
	i += whole
	fraction := 0
	if i < len(text) && text[i] == '.' {
		fraction = n.take(text[i+1:])
		n.left -= fraction
		i += 1 + fraction
	}
	if whole+fraction == 0 {
		return 0, false
	}
	exp := n.left
	if i < len(text) {
		e, ok := exponent(text[i:])
		if !ok {
			return 0, false
		}
		exp += e
	}
	f := Float(n.sum, exp, n.more)
	if neg {
		f = -f
	}
	return f, !math.IsInf(f, 0)
}

// A mantissa is the first digits of a number.
type mantissa struct {
	sum  uint64
	left int  // digits that found no room, without those behind the point
	more bool // one of them is not 0
}

// take appends the digits that a text begins with, and returns how many there are.
func (m *mantissa) take(text string) (n int) {
	const room = 1e18
	for ; n < len(text) && text[n]-'0' < 10; n++ {
		if c := text[n] - '0'; m.sum < room {
			m.sum = m.sum*10 + uint64(c)
		} else {
			m.left++
			m.more = m.more || c != 0
		}
	}
	return n
}

// exponent reads an exponent that is all of a text, which is not empty.
func exponent(text string) (exp int, ok bool) {
	if text[0]|0x20 != 'e' {
		return 0, false
	}
	i, neg := 1, false
	if i < len(text) && (text[i] == '-' || text[i] == '+') {
		neg = text[i] == '-'
		i++
	}
	if i == len(text) {
		return 0, false
	}
	const most = 1 << 30 // more than the digits of a text can make up for
	for ; i < len(text); i++ {
		if text[i]-'0' > 9 {
			return 0, false
		}
		exp = min(exp*10+int(text[i]-'0'), most)
	}
	if neg {
		exp = -exp
	}
	return exp, true
}
