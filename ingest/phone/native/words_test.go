package native

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

// Every byte that ends a string is found at every place of a word, whatever stands behind it.
func TestUnplainMarksTheFirst(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		var b [word]byte
		for i := range b {
			b[i] = "aé \"\\\n\x00\x1f\x7f\x80\x9f\xa0\xa2\xdc\xff!#[]"[r.IntN(19)]
		}
		want := 0
		for want < word && plain[b[want]] {
			want++
		}
		m := unplain(binary.LittleEndian.Uint64(b[:]))
		if got := trailingBytes(m); got != want {
			t.Fatalf("%q: %d, want %d", b, got, want)
		}
	}
}

func trailingBytes(m uint64) (n int) {
	for ; n < word && m&0x80 == 0; n++ {
		m >>= 8
	}
	return n
}

// Digits are read at every distance from the end of a body, and end at any other byte.
func TestNumberReadsAllDigits(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 200_000 {
		digits := make([]byte, r.IntN(19))
		for i := range digits {
			digits[i] = '0' + byte(r.IntN(10))
		}
		behind := make([]byte, r.IntN(12))
		for i := range behind {
			behind[i] = ":/.,}eE\x00\x10\xb0\xb9\xff 9"[r.IntN(14)]
		}
		if len(behind) > 0 && behind[0] == '9' {
			behind[0] = '/'
		}
		want, _ := strconv.ParseUint("0"+string(digits), 10, 64)
		got, end := number(append(digits, behind...), 0, 0)
		if got != want || end != len(digits) {
			t.Fatalf("%q %q: %d to %d, want %d", digits, behind, got, end, want)
		}
	}
}

// Pings of a body may have other keys than the pings before them, in another order, and
// a key more than once.
func TestDecodeKeysInAnyOrder(t *testing.T) {
	members := []string{
		`"rider_id":"r-1"`, `"rider_id":"a rider with a long name"`, `"ts":NOW`, `"ts":NOW.5`, `"ts":"2025-10-09T08:53:20Z"`, `"lat":41.1578129`, `"lat":-41`,
		`"lat":4.11e1`, `"lon":-8.62`, `"lon":8.000000000000001`, `"speed":12.5`, `"speed":null`, `"heading":359.9`, `"accuracy":5`, `"altitude":-3.25`,
		`"battery":0.5`, `"battery":"full"`, `"device_id":"d"`, `"event":"sos"`, `"trip_id":"t"`, `"la":1`, `"lat2":{"lat":3}`, `"\u006cat":7.5`, `"x":[1,{"lon":2}]`,
		`"pings":[]`,
	}
	spaces := []string{"", "", "", " ", "\t", "\r\n  ", "        "}
	r := rand.New(rand.NewPCG(5, 6))
	for range 3000 {
		var pings []string
		order := r.Perm(len(members))
		for range 1 + r.IntN(5) {
			if r.IntN(3) == 0 {
				order = r.Perm(len(members))
			}
			some := order[:r.IntN(len(order)+1)]
			var b strings.Builder
			b.WriteByte('{')
			for i, m := range some {
				space := func() string { return spaces[r.IntN(len(spaces))] }
				key, value, _ := strings.Cut(members[m], ":")
				if i > 0 {
					b.WriteByte(',')
				}
				fmt.Fprint(&b, space(), key, space(), ":", space(), value, space())
			}
			b.WriteByte('}')
			pings = append(pings, b.String())
		}
		compareWithModel(t, []byte(at("["+strings.Join(pings, ",")+"]", testNow)), testLimits)
	}
}
