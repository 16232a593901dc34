// Package unit reads and writes sizes and times as settings have them, 512MiB and 30d, and writes
// numbers for people. The text of a value reads back as the same value, except for a size that is
// not a whole number of its unit.
package unit

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
)

// Bytes is a size, written 512MiB.
type Bytes int64

// UnmarshalText reads a number and a unit of powers of 1024 (MiB) or 1000 (MB).
func (b *Bytes) UnmarshalText(text []byte) error {
	n, err := humanize.ParseBytes(string(text))
	if err != nil || n > math.MaxInt64 {
		return fmt.Errorf("%q is not a size such as 512MiB", text)
	}
	*b = Bytes(n)
	return nil
}

func (b Bytes) String() string { return humanize.IBytes(uint64(b)) }

// Size writes a number of bytes, such as 1.5 GiB, and a negative number as 0.
func Size(n float64) string { return humanize.IBytes(uint64(math.Max(n, 0))) }

// Comma writes a number with commas between thousands: 12,000.
func Comma(v float64) string { return humanize.Commaf(v) }

// Plural writes a count and a noun in its number: 1 ping waits, 2 pings wait.
func Plural[N ~int | ~int64 | ~uint64](n N, one, many string) string {
	return fmt.Sprintf("%d %s", n, english.PluralWord(int(n), one, many))
}

// Number writes a number without trailing zeros: 2.5.
func Number(v float64) string { return humanize.Ftoa(v) }

// Span is a time that is written in days, 30d, or as a time.Duration.
type Span time.Duration

// Day has 24 hours.
const Day = 24 * time.Hour

// UnmarshalText reads a number of days, 1.5d, or a time.Duration.
func (s *Span) UnmarshalText(text []byte) error {
	if days, ok := strings.CutSuffix(string(text), "d"); ok {
		n, err := strconv.ParseFloat(days, 64)
		if err == nil && math.Abs(n) < 100_000 {
			*s = Span(n * float64(Day))
			return nil
		}
	}
	d, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a time such as 30d, 12h or 30s", text)
	}
	*s = Span(d)
	return nil
}

// Days returns the span in days.
func (s Span) Days() float64 { return time.Duration(s).Hours() / 24 }

func (s Span) String() string {
	d := time.Duration(s)
	switch {
	case d != 0 && d%Day == 0:
		return fmt.Sprintf("%dd", d/Day)
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d%time.Minute == 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return d.String()
}
