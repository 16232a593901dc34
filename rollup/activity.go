package rollup

import (
	"strconv"
	"strings"
	"time"
)

// Measurement is the name of the measurement that totals are stored under.
const Measurement = "cell_activity"

// CellActivity is what happened in one cell in one window.
type CellActivity struct {
	Cell   uint64        // H3
	Res    int           // its resolution
	From   int64         // ms since 1970: when the window begins
	Window time.Duration // its length

	Pings   uint64
	Riders  uint64 // distinct; exact up to 6,000
	Moving  uint64 // of them, those seen moving
	Waiting uint64 // the others

	HasSpeed  bool    // some ping knows its speed
	SpeedMean float64 // of the pings that know it, m/s, to the mm/s
	SpeedMax  float64 // of them, m/s
}

// appendLine appends a as a line of InfluxDB line protocol, without newline:
//
//	cell_activity,cell=8839220f09fffff,node=a,res=8,window=10s pings=412i,riders=37i,moving=30i,waiting=7i,speed_mean=6.1,speed_max=19.4 1760000010000
func (a *CellActivity) appendLine(dst []byte, node string) []byte {
	dst = strconv.AppendUint(append(dst, Measurement+",cell="...), a.Cell, 16)
	if node != "" {
		dst = appendTag(append(dst, ",node="...), node)
	}
	dst = strconv.AppendInt(append(dst, ",res="...), int64(a.Res), 10)
	dst = append(append(dst, ",window="...), Tidy(a.Window)...)
	for _, f := range [...]struct {
		name string
		v    uint64
	}{{" pings=", a.Pings}, {"i,riders=", a.Riders}, {"i,moving=", a.Moving}, {"i,waiting=", a.Waiting}} {
		dst = strconv.AppendUint(append(dst, f.name...), f.v, 10)
	}
	dst = append(dst, 'i')
	if a.HasSpeed {
		dst = strconv.AppendFloat(append(dst, ",speed_mean="...), a.SpeedMean, 'f', -1, 64)
		dst = strconv.AppendFloat(append(dst, ",speed_max="...), a.SpeedMax, 'f', -1, 32)
	}
	return strconv.AppendInt(append(dst, ' '), a.From, 10)
}

// Tidy is d as people write it: 10s, 1m, 1h30m.
func Tidy(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// appendTag appends the value of a tag, escaped.
func appendTag(dst []byte, s string) []byte {
	for i := range len(s) {
		if s[i] == ',' || s[i] == '=' || s[i] == ' ' {
			dst = append(dst, '\\')
		}
		dst = append(dst, s[i])
	}
	return dst
}
