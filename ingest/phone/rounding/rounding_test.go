package rounding

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

// check compares with strconv, which rounds exactly.
func check(t *testing.T, text string) {
	t.Helper()
	want, err := strconv.ParseFloat(text, 64)
	got, ok := Parse(text)
	switch {
	case math.Abs(want) > 1e38:
		if ok && got != want {
			t.Errorf("%s: %v, want %v or none", text, got, want)
		}
	case err != nil:
		if ok {
			t.Errorf("%s: %v, want none", text, got)
		}
	case !ok:
		t.Errorf("%s is none, want %v", text, want)
	case got != want && !(math.Abs(want) < 1e-19 && got == 0):
		t.Errorf("%s: %v, want %v", text, got, want)
	}
}

func TestRounding(t *testing.T) {
	for _, text := range []string{
		"0", "-0", "1", "+1", "-1.5", ".5", "5.", "1e3", "1E-3", "1e+3", "41.1579", "-8.629100000000001", "0.1", "0.30000000000000004",
		"9007199254740993", "9007199254740993e0", "9007199254740993000e-3", "-9007199254740995.0", "4503599627370497.5", "4503599627370496.5", "0.9007199254740993000",
		"1.2345678901234567e-05", "0.00012345678901234567", "18446744073709551615", "9999999999999999999", "9223372036854775807e19", "1e22", "1e23", "9e37",
		"1e-22", "1e-23", "123e-30", "9007199254740993e-19", "9007199254740993e-20", "9007199254740993e-22", "5e-20", "1e-38", "0.0000000000000000000000000000000000000000e50",
		"0." + strings.Repeat("0", 30) + "12345678901234567", strings.Repeat("0", 100) + "41.5", "41." + strings.Repeat("0", 100), "1e-9999999999999999999", "0e99999999999",
		"7120190517612959703e10", "3577400e-26", "1152921504606846977e-3",
	} {
		check(t, text)
	}
	for _, text := range []string{"", "-", "+", ".", "-.", "e5", "1e", "1e+", "1e5x", "1x", "x", "--1", "1.2.3", "0x10", "1_0", "NaN", "Inf", "-Infinity", "1e309", "1e-5-", " 1", "1 "} {
		if got, ok := Parse(text); ok {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// Numbers of up to 19 digits, and those beside halves, are rounded as strconv rounds them.
func TestRandomNumbers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		mant := r.Uint64() >> r.IntN(64)
		if mant > 9_999_999_999_999_999_999 {
			mant /= 10
		}
		check(t, fmt.Sprintf("%de%d", mant, r.IntN(60)-38))
	}
	for range 50_000 {
		half := r.Uint64()>>10 | 1<<53 | 1 // 54 bits: halfway between two
		zeros := r.IntN(4)
		check(t, fmt.Sprintf("%d%se-%d", half, strings.Repeat("0", zeros), zeros))
		check(t, fmt.Sprintf("%d.%d", half>>2, []int{5, 25, 75}[r.IntN(3)]))
	}
}

// Behind 19 digits the result is one of the two nearest.
func TestManyDigits(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		text := fmt.Sprintf("%d.%019d%d", r.IntN(180), r.Uint64()/10, r.Uint64())
		want, _ := strconv.ParseFloat(text, 64)
		got, ok := Parse(text)
		if !ok || got != want && got != math.Nextafter(want, 0) && got != math.Nextafter(want, 1000) {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("41.1579")
	f.Add("-9007199254740993.0000000000000000000000001e-3")
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := Parse(text)
		want, err := strconv.ParseFloat(text, 64)
		if ok && err != nil {
			t.Fatalf("%q: %v, but %v", text, got, err)
		}
		if ok && got != want && math.Abs(got-want) > 1e-15*math.Abs(want) && !(math.Abs(want) < 1e-19 && got == 0) {
			t.Fatalf("%q: %v, want %v", text, got, want)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for _, text := range []string{"41.1579", "-8.629100000000001", "9007199254740993", "4503599627370497.5", "9007199254740993000e-3", "9007199254740993000e-38", "9007199254740993e37", "1e-320", "0." + strings.Repeat("1", 700)} {
		b.Run(fmt.Sprintf("%.24s", text), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Parse(text)
			}
		})
	}
}
