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

// layouts are the forms of a date with a time, by the length of the zone; in the second row
// a blank is before the time.
var layouts = [2][7]string{
	{0: "2006-01-02T15:04:05", 1: "2006-01-02T15:04:05Z07:00", 3: "2006-01-02T15:04:05Z07", 5: "2006-01-02T15:04:05Z0700", 6: "2006-01-02T15:04:05Z07:00"},
	{0: "2006-01-02 15:04:05", 1: "2006-01-02 15:04:05Z07:00", 3: "2006-01-02 15:04:05Z07", 5: "2006-01-02 15:04:05Z0700", 6: "2006-01-02 15:04:05Z07:00"},
}

// ParseTime reads a time: seconds or, from 1e10 on, milliseconds since 1970, with or without
// a fraction, or a date with a time, as of RFC 3339 or like it; without a zone it is of UTC.
// A blank before a zone is a + that nobody has escaped. It returns ms since 1970.
func ParseTime(text string) (ms int64, ok bool) {
	switch text = strings.TrimSpace(text); {
	case text == "": // of each position without a time
		return 0, false
	case strings.IndexByte(text, ':') >= 0:
		return date(text)
	}
	if whole, err := strconv.ParseInt(text, 10, 64); err == nil { // exactly
		if whole < largest && whole > -largest {
			return whole * 1000, true
		}
		return whole, true
	}
	f, ok := Number(text)
	if !ok || math.Abs(f) > 1e17 {
		return 0, false
	}
	if math.Abs(f) < largest {
		f *= 1000
	}
	return int64(math.Round(f)), true
}

// date reads a date with a time. It tries a single layout, because each that fails costs
// memory. Behind a comma or a dot any fraction is taken.
func date(text string) (ms int64, ok bool) {
	const between, end = len("2006-01-02"), len("2006-01-02T15:04:05")
	if len(text) < end || len(text) > 2*end {
		return 0, false
	}
	zone, row := 0, 0
	if at := strings.IndexAny(text[end:], "+-Z "); at >= 0 {
		at += end
		if text[at] == ' ' { // 2025-01-01T10:00:00 02:00, or with a sign behind the blank
			text = text[:at] + "+" + strings.TrimLeft(text[at:], " +")
			text = strings.Replace(text, "+-", "-", 1)
		}
		zone = len(text) - at
	}
	if text[between] == ' ' {
		row = 1
	}
	if zone >= len(layouts[row]) || layouts[row][zone] == "" {
		return 0, false
	}
	t, err := time.Parse(layouts[row][zone], text)
	return t.UnixMilli(), err == nil
}
