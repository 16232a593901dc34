package native

import (
	"bytes"
	"math"

	"pingline/ingest/phone/rounding"
)

func isNumber(first byte) bool {
	return first == '-' || first >= '0' && first <= '9' || first == 'N' || first == 'I'
}

// A decimal is the value of a number: mant × 10^exp, and slightly more if digits other
// than 0 found no room in mant. A special decimal is text: NaN, Infinity or -Infinity.
type decimal struct {
	text []byte
	mant uint64 // 19 digits at most
	exp  int
	neg  bool
	more bool

	special bool
}

// plainNumber reads a number without an exponent, of 15 digits at most, that another byte
// follows. It returns its digits as an integer, how many of them are behind the point, and
// where it ends, or 0 for text of another form.
func plainNumber(b []byte, i int) (digits int64, decimals, end int) {
	neg := b[i] == '-'
	if neg {
		i++
	}
	var mant uint64
	end = i
	for ; end < len(b) && b[end]-'0' <= 9; end++ {
		if end == i+4 { // no degree, metre or per cent has as many
			mant, end = number(b, end, mant)
			break
		}
		mant = mant*10 + uint64(b[end]-'0')
	}
	n := end - i
	if end >= len(b) || n == 0 || n > 1 && b[i] == '0' {
		return 0, 0, 0
	}
	if b[end] == '.' {
		point := end + 1
		mant, end = number(b, point, mant)
		decimals = end - point
		if decimals == 0 || end >= len(b) {
			return 0, 0, 0
		}
	}
	if n+decimals > 15 || b[end]|0x20 == 'e' {
		return 0, 0, 0
	}
	if neg {
		return -int64(mant), decimals, end
	}
	return int64(mant), decimals, end
}

// decimal reads any number into p.last.
func (p *parser) decimal() bool {
	b, i := p.b, p.i
	d := &p.last
	d.special = false
	d.neg = b[i] == '-'
	if d.neg {
		i++
	}
	end, mant, exp, more := digits(b, i, 0)
	switch {
	case end == i:
		return p.notDecimal(i)
	case end > i+1 && b[i] == '0':
		p.i = i + 1
		return p.fail("no digit behind a leading zero")
	}
	if end < len(b) && b[end] == '.' {
		i = end + 1
		var left int
		var tail bool
		end, mant, left, tail = digits(b, i, mant)
		if end == i {
			p.i = i
			return p.fail("a digit")
		}
		exp -= end - i - left
		more = more || tail
	}
	if end < len(b) && b[end]|0x20 == 'e' {
		var e int
		e, end = exponent(b, end+1)
		if b[end-1]-'0' > 9 {
			p.i = end
			return p.fail("a digit")
		}
		exp += e
	}
	d.text, d.mant, d.exp, d.more = b[p.i:end], mant, exp, more
	p.i = end
	return true
}

// notDecimal reads NaN, Infinity or -Infinity, or fails; i is behind the sign, if there
// is any.
func (p *parser) notDecimal(i int) bool {
	d := &p.last
	p.i = i
	switch rest := p.b[i:]; {
	case bytes.HasPrefix(rest, []byte("Infinity")):
		p.i += len("Infinity")
	case !d.neg && bytes.HasPrefix(rest, []byte("NaN")):
		p.i += len("NaN")
	case d.neg:
		return p.fail("a digit")
	default:
		return p.fail("a value")
	}
	if d.neg {
		i--
	}
	*d = decimal{text: p.b[i:p.i], special: true}
	return true
}

// digits appends the digits at b[i:] to the digits of mant. It returns where they end,
// how many were left out for want of room, and whether any digit left out is not 0.
func digits(b []byte, i int, mant uint64) (end int, sum uint64, left int, more bool) {
	for ; i < len(b); i++ {
		c := b[i] - '0'
		switch {
		case c > 9:
			return i, mant, left, more
		case mant < 1e18:
			mant = mant*10 + uint64(c)
		default:
			left++
			more = more || c != 0
		}
	}
	return i, mant, left, more
}

// exponent reads the exponent at b[i:] and returns where it ends; unless it is malformed
// it ends in a digit.
func exponent(b []byte, i int) (exp, end int) {
	neg := i < len(b) && b[i] == '-'
	if neg || i < len(b) && b[i] == '+' {
		i++
	}
	const most = 1 << 30 // more than the digits of a body can make up for
	for ; i < len(b) && b[i]-'0' <= 9; i++ {
		exp = min(exp*10+int(b[i]-'0'), most)
	}
	if neg {
		exp = -exp
	}
	return exp, i
}

// float returns the value as package rounding has it, ±Inf if there is none.
func (d *decimal) float() float64 {
	switch {
	case d.special && d.text[0] == 'N':
		return math.NaN()
	case d.special && d.text[0] == 'I':
		return math.Inf(1)
	case d.special:
		return math.Inf(-1)
	}
	f := rounding.Float(d.mant, d.exp, d.more)
	if d.neg {
		return -f
	}
	return f
}

var pow10 = [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}

// integer returns the value without its fraction, or the end of the range of int64
// that it lies beyond. It must not be special.
func (d *decimal) integer() int64 {
	m := d.mant
	for exp := d.exp; exp < 0 && m != 0; exp++ {
		m /= 10
	}
	for exp := d.exp; exp > 0 && m != 0 && m <= math.MaxInt64; exp-- {
		if m > math.MaxInt64/10 {
			m = math.MaxInt64
			break
		}
		m *= 10
	}
	v := int64(min(m, math.MaxInt64))
	if d.neg {
		return -v
	}
	return v
}
