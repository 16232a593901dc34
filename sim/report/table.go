package report

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"pingline"
)

// tableHeads are the columns of the figures of each second.
var tableHeads = func() []string {
	heads := []string{"time", "due", "sent"}
	for v := pingline.Accepted; int(v) < pingline.Verdicts; v++ {
		heads = append(heads, v.String())
	}
	return append(heads, "requests", "refused", "unanswered", "p50", "p99", "p99.9", "max", "level")
}()

func tableRows(began time.Time, seconds []Second) (rows [][]string) {
	for _, s := range seconds {
		row := []string{elapsed(s.At.Sub(began)), count(s.Due), count(s.Sent)}
		for v := pingline.Accepted; int(v) < pingline.Verdicts; v++ {
			row = append(row, count(s.Verdicts[v]))
		}
		row = append(row, count(s.Requests), count(s.Refused), count(s.Unanswered))
		for _, d := range [...]time.Duration{s.P50, s.P99, s.P999, s.Max} {
			row = append(row, duration(d))
		}
		level := ""
		if s.Shed >= 0 {
			level = strconv.Itoa(s.Shed)
		}
		rows = append(rows, append(row, level))
	}
	return rows
}

// count writes a number, and nothing for 0.
func count(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

// duration writes a latency in three digits, and nothing for 0.
func duration(d time.Duration) string {
	switch {
	case d == 0:
		return ""
	case d < time.Millisecond:
		return fmt.Sprintf("%.3g µs", float64(d)/1e3)
	case d < time.Second:
		return fmt.Sprintf("%.3g ms", float64(d)/1e6)
	}
	return fmt.Sprintf("%.3g s", d.Seconds())
}

// elapsed writes a time since the run began.
func elapsed(d time.Duration) string {
	s := int(d.Round(time.Second).Seconds())
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

func seconds(s float64) time.Duration { return time.Duration(math.Round(s * 1e9)) }
