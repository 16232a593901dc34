package top

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"pingline"
	"pingline/query/status"
)

// tone is how a part of a line is drawn on a terminal that has colours. Nothing is said
// by a tone alone.
type tone int

const (
	usual tone = iota
	faint
	strong
	good
	wary
	bad
)

// textPart is a piece of a line in one tone.
type textPart struct {
	text string
	tone tone
}

// textLine is a line of the screen.
type textLine []textPart

// Columns of a row.
const (
	nameColumns  = 13
	valueColumns = 18
	mostColumns  = 9
	leastSpark   = 8 // columns of the narrowest sparkline
)

// page returns the screen in at most so many columns and lines; 0 lines is no limit. Where
// there is little room, the lines that say least are left out first.
func (l *lookout) page(now time.Time, columns, height int) []textLine {
	top := append([]textLine{l.title(now)}, l.says(now, columns)...)
	var body, below []textLine
	if l.last != nil {
		below = append(l.ladder(now, columns), l.breakers(now))
	}
	foot := []textLine{{{"q ends it", faint}}}
	if height == 0 {
		foot = nil
		height = math.MaxInt
	}
	shown := make([]bool, len(rows))
	for i := range shown {
		shown[i] = l.last != nil
	}
	size := func() int {
		n := len(top) + len(below) + len(foot)
		for _, on := range shown {
			if on {
				n++
			}
		}
		return n
	}
	for _, drop := range []func(){
		func() { foot = nil },
		func() { l.hide(shown, status.Streams) }, func() { l.hide(shown, status.Riders) }, func() { l.hide(shown, status.BreakersOpen) },
		func() { l.hide(shown, status.FreshnessP50) }, func() { below = below[min(len(below), 1):] }, func() { l.hide(shown, status.Shed) },
		func() { l.hide(shown, status.Kept) }, func() { below = nil }, func() { l.hide(shown, status.Level) },
	} {
		if size() > height {
			drop()
		}
	}
	top = append(top, l.gives(now, columns, height-size())...)
	width := l.sparkColumns(columns)
	for i := range rows {
		if shown[i] {
			body = append(body, l.row(now, &rows[i], columns, width))
		}
	}
	if room := height - size(); room > 0 && width >= 20 && l.last != nil {
		body = append(body, axis(width, columns))
		if room > 3 {
			top, body = append(top, nil), append(body, nil)
			if len(foot) > 0 {
				below = append(below, nil)
			}
		}
	}
	all := slices.Concat(top, body, below, foot)
	for i := range all {
		all[i] = all[i].cut(columns)
	}
	return all[:min(len(all), height)]
}

func (l *lookout) hide(shown []bool, q status.Quantity) {
	for i := range rows {
		if rows[i].of == q {
			shown[i] = false
		}
	}
}

// title says whom the screen is about, and when.
func (l *lookout) title(now time.Time) textLine {
	version := ""
	if l.last != nil {
		version = " " + printable(l.last.Version)
	}
	return textLine{{now.Format(time.TimeOnly) + "  ", usual}, {"Pingline" + version, strong}, {" at " + printable(l.name), usual}}
}

// says is the state in a sentence.
func (l *lookout) says(now time.Time, columns int) []textLine {
	switch {
	case l.last == nil && l.away.IsZero():
		return []textLine{{{"Asking …", usual}}}
	case l.last == nil:
		return wrapped(capital(l.why())+" ("+ago(now, l.away)+").", bad, columns)
	case l.stale(now):
		return wrapped(capital(l.why())+". The numbers are "+strings.TrimSuffix(ago(now, l.moved), " ago")+" old.", bad, columns)
	case !l.last.Ready:
		return wrapped(capital(l.last.state())+".", bad, columns)
	case l.last.Level > 0:
		return wrapped(capital(l.last.state())+".", wary, columns)
	}
	return wrapped(capital(l.last.state())+".", good, columns)
}

// gives lists what is given up, the worst first, in at most so many lines.
func (l *lookout) gives(now time.Time, columns, room int) (list []textLine) {
	if l.last == nil || l.stale(now) {
		return nil
	}
	for i, n := 0, len(l.last.GivingUp); i < n; i++ {
		lines := wrapped("- "+printable(l.last.GivingUp[n-1-i]), usual, columns)
		spare := 0
		if i < n-1 {
			spare = 1 // for the line that says that there are more
		}
		if len(list)+len(lines)+spare > room {
			if len(list) < room {
				list = append(list, textLine{{fmt.Sprintf("- and %d more, see GET /v1/status", n-i), usual}})
			}
			break
		}
		list = append(list, lines...)
	}
	return list
}

// sparkColumns is how wide sparklines are, 0 if there is no room for them.
func (l *lookout) sparkColumns(columns int) int {
	width := min(columns-nameColumns-valueColumns-2-mostColumns-1, sparkSteps)
	if width < leastSpark {
		return 0
	}
	return width
}

// row is a quantity of now, and its last ten minutes.
func (l *lookout) row(now time.Time, r *topRow, columns, width int) textLine {
	value, of := l.value(now, r)
	if columns < nameColumns+valueColumns {
		return textLine{{r.name + " ", faint}, {value, of}}
	}
	line := textLine{{pad(r.name, nameColumns), faint}, {pad(value, -valueColumns), of}}
	if width == 0 {
		return line
	}
	values := l.last.History[r.of]
	most, known := largest(values)
	said := dash
	if known {
		said = r.text(most)
	}
	if r.most > 0 {
		most = r.most
	}
	return append(line, textPart{"  " + spark(values, l.age(now), width, most), usual}, textPart{" " + pad(said, -mostColumns), faint})
}

// age is by how many steps the newest of the history is older than now.
func (l *lookout) age(now time.Time) int {
	ended := l.last.From + int64(max(len(l.last.History[0])-1, 0)*l.last.StepS)*1000
	old := time.Duration(l.last.At-ended)*time.Millisecond + now.Sub(l.moved)
	return int(max(0, old) / (time.Duration(l.last.StepS) * time.Second))
}

// value writes the value of a row, and as one that was if it is not of now.
func (l *lookout) value(now time.Time, r *topRow) (string, tone) {
	v, known := l.last.Now.Of(r.of)
	if !known {
		return dash, faint
	}
	text := r.text(v)
	if l.stale(now) {
		return "was " + text + r.unit, faint
	}
	switch {
	case r.of == status.Level && v > 0:
		return text + " " + printable(l.last.LevelName), wary
	case r.of == status.Level:
		return text + " " + printable(l.last.LevelName), usual
	case r.of == status.BreakersOpen && v > 0:
		return fmt.Sprintf("%s of %d", text, len(l.last.Breakers)), bad
	case r.of == status.BreakersOpen:
		return fmt.Sprintf("%s of %d", text, len(l.last.Breakers)), usual
	case r.of == status.Shed && v > 0:
		return text + r.unit, wary
	}
	return text + r.unit, usual
}

// axis names the time that sparklines cover.
func axis(width, columns int) textLine {
	return textLine{{strings.Repeat(" ", nameColumns+valueColumns+2) + pad("10 min ago", width-3) + "now" + pad("most", -1-mostColumns), faint}}
}

// ladder names all levels, and marks the one of now.
func (l *lookout) ladder(now time.Time, columns int) (list []textLine) {
	var line textLine
	used := 0
	var names []string
	for level := range pingline.MaxLevel + 1 {
		names = append(names, pingline.PolicyAt(level).Name)
	}
	for len(names) <= l.last.Level { // of a newer version
		names = append(names, "")
	}
	for level, name := range names {
		text, of := fmt.Sprintf("%d %s", level, name), faint
		if level == l.last.Level && !l.stale(now) {
			text, of = fmt.Sprintf("[%d %s]", level, printable(l.last.LevelName)), strong
		}
		n := ansi.StringWidth(text)
		if used > 0 && used+2+n > columns {
			list, line, used = append(list, line), nil, 0
		}
		if used > 0 {
			line, used = append(line, textPart{"  ", usual}), used+2
		}
		line, used = append(line, textPart{text, of}), used+n
	}
	return append(list, line)
}

// breakers says of which shards the circuit breaker is not closed.
func (l *lookout) breakers(now time.Time) textLine {
	if l.stale(now) {
		return textLine{{"breakers: not known", faint}}
	}
	var broken []string
	for _, b := range l.last.Breakers {
		if b.State != status.Closed {
			broken = append(broken, printable(b.Shard)+" "+printable(b.State))
		}
	}
	switch closed := len(l.last.Breakers) - len(broken); {
	case len(l.last.Breakers) == 0:
		return textLine{{"breakers: none", usual}}
	case len(broken) == 0:
		return textLine{{fmt.Sprintf("breakers: %d closed", closed), usual}}
	case closed > 0:
		return textLine{{"breakers: " + strings.Join(broken, ", "), bad}, {fmt.Sprintf("; %d closed", closed), usual}}
	}
	return textLine{{"breakers: " + strings.Join(broken, ", "), bad}}
}

// wrapped returns text in lines of at most so many columns.
func wrapped(text string, of tone, columns int) (list []textLine) {
	for line := range strings.SplitSeq(ansi.Wrap(text, max(columns, 1), ""), "\n") {
		list = append(list, textLine{{line, of}})
	}
	return list
}

// cut returns the line in at most so many columns.
func (t textLine) cut(columns int) textLine {
	for i := range t {
		n := ansi.StringWidth(t[i].text)
		if n > columns {
			t[i].text = ansi.Truncate(t[i].text, columns, "…")
			return t[:i+1]
		}
		columns -= n
	}
	return t
}

// pad fills text up to columns on the right or, if they are negative, on the left.
func pad(text string, columns int) string {
	if columns < 0 {
		return strings.Repeat(" ", max(0, -columns-ansi.StringWidth(text))) + text
	}
	return text + strings.Repeat(" ", max(0, columns-ansi.StringWidth(text)))
}

func capital(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

// ago says how long ago a time was.
func ago(now, at time.Time) string {
	past := max(0, now.Sub(at))
	if past < 2*time.Minute {
		return fmt.Sprintf("%.0f s ago", past.Seconds())
	}
	return span(past.Seconds()) + " ago"
}

// plain returns lines as text without colours.
func plain(lines []textLine) string {
	var b strings.Builder
	for _, line := range lines {
		text := ""
		for _, p := range line {
			text += p.text
		}
		b.WriteString(strings.TrimRight(text, " ") + "\n")
	}
	return b.String()
}
