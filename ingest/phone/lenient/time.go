package lenient

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Time returns the time of a number or a string, as ParseTime does.
func (v Value) Time() (ms int64, ok bool) {
	return ParseTime(v.Text())
}

// largest is the largest number that is taken for seconds; larger ones are milliseconds. As
// seconds it is in the year 2286, as milliseconds in April 1970.
const largest = 1e10

// layouts are the forms of a time as text. Behind a comma or a dot any fraction is taken.
var layouts = [...]string{
	"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05Z07",
	"2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05Z0700", "2006-01-02 15:04:05 -0700",
	"2006-01-02T15:04:05", "2006-01-02 15:04:05", // without a zone: UTC
}

// ParseTime reads a time: seconds or, from 1e10 on, milliseconds since 1970, with or without
// a fraction, or a date with a time, as of RFC 3339 or like it; without a zone it is of UTC.
// A blank before a zone is a + that nobody has escaped. It returns ms since 1970.
func ParseTime(text string) (ms int64, ok bool) {
	text = strings.TrimSpace(text)
	if whole, err := strconv.ParseInt(text, 10, 64); err == nil { // exactly
		if whole < largest && whole > -largest {
			return whole * 1000, true
		}
		return whole, true
	}
	if f, ok := Number(text); ok {
		if math.Abs(f) < largest {
			f *= 1000
		}
		if math.Abs(f) > 1e17 {
			return 0, false
		}
		return int64(math.Round(f)), true
	}
	if at := strings.LastIndexByte(text, ' '); at > len("2006-01-02") { // 2025-01-01T10:00:00 02:00
		if ms, ok = date(text[:at] + "+" + text[at+1:]); ok {
			return ms, true
		}
	}
	return date(text)
}

func date(text string) (ms int64, ok bool) {
	for _, layout := range layouts {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UnixMilli(), true
		}
	}
	return 0, false
}
