package native

import (
	"encoding/binary"
	"math/bits"

	"pingline/ingest/phone"
)

// The functions here look at eight bytes at a time. A subtraction or an addition may
// carry from a byte that is met into the bytes behind it, never into those before it, so
// the first byte that is marked is right.
const (
	ones  = 0x0101010101010101 // times a byte is eight of it
	highs = 0x80 * ones
	word  = 8
)

// unplain marks the high bit of the first byte that does not stand for itself in a string.
func unplain(x uint64) uint64 {
	quote, back := x^ones*'"', x^ones*'\\'
	return ((quote-ones)&^quote | (back-ones)&^back | (x-ones*' ')&^x) & highs
}

// join returns the number that eight digits make, each a byte from 0 to 9.
func join(x uint64) uint64 {
	x = x * (1 + 10<<8) >> 8 & 0x00ff00ff00ff00ff
	x = x * (1 + 100<<16) >> 16 & 0x0000ffff0000ffff
	return x * (1 + 10_000<<32) >> 32
}

// number appends the digits at b[i:] to the digits of mant, modulo 2^64, and returns where
// they end.
func number(b []byte, i int, mant uint64) (sum uint64, end int) {
	for len(b)-i >= word {
		x := binary.LittleEndian.Uint64(b[i:]) ^ ones*'0'
		m := (x | (x + ones*(0x80-10))) & highs
		if m == 0 {
			mant, i = mant*1e8+join(x), i+word
			continue
		}
		n := uint(bits.TrailingZeros64(m)) / 8
		x = x << ((56 - 8*n) & 63) << 8 // as if zeros stood before them
		return mant*tens[n&7] + join(x), i + int(n)
	}
	for ; i < len(b) && b[i]-'0' <= 9; i++ {
		mant = mant*10 + uint64(b[i]-'0')
	}
	return mant, i
}

var tens = [word]uint64{1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7}

// token is a key between its quotes, with the colon behind it, in the first bytes of two
// words.
type token struct {
	lo, hi         uint64
	loMask, hiMask uint64
	length         int
}

// tokens has the token of each field.
var tokens = func() (list [1 + phone.Attrs]token) {
	for f := phone.Rider; f <= phone.Attrs; f++ {
		name := f.String()
		var text, mask [2 * word]byte
		n := copy(text[:], `"`+name+`":`)
		for i := range n {
			mask[i] = 0xff
		}
		list[f] = token{
			binary.LittleEndian.Uint64(text[:]), binary.LittleEndian.Uint64(text[word:]),
			binary.LittleEndian.Uint64(mask[:]), binary.LittleEndian.Uint64(mask[word:]), n,
		}
	}
	return list
}()

// comes reports whether the token of f is at b[i:], with a value behind it.
func comes(b []byte, i int, f phone.Field) bool {
	if len(b)-i < 2*word {
		return false
	}
	t, at := &tokens[f], b[i:]
	return (binary.LittleEndian.Uint64(at)^t.lo)&t.loMask|(binary.LittleEndian.Uint64(at[word:])^t.hi)&t.hiMask == 0
}
