package terminal

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// Bars are as long as the texts behind them leave room, on a terminal that may have
// become narrower since, and do not move while texts change.
func TestBarsLeaveRoomForTexts(t *testing.T) {
	var screen bytes.Buffer
	columns := 80
	b := &Board{to: &screen, columns: func() int { return columns }}
	for _, step := range []struct {
		columns, bar int
		text         string
	}{
		{80, 24, "20,000 pings/s, 12.3 M answered"},
		{60, 17, "20,000 pings/s, 12.3 M answered"},
		{60, 16, "123 pings; InfluxDB is tried again"[:32]},
		{60, 16, "short"},
		{80, 24, "short"},
		{20, 8, "short"},
	} {
		screen.Reset()
		columns = step.columns
		if err := b.Draw([]Cell{{Name: "sent", Share: 1, Text: step.text}}); err != nil {
			t.Fatal(err)
		}
		if bars, whole := strings.Count(screen.String(), "█"), strings.Contains(screen.String(), step.text); bars != step.bar || whole != (columns > 20) {
			t.Errorf("%+v: %d, drew %q", step, bars, &screen)
		}
		for line := range strings.SplitSeq(regexp.MustCompile(`\x1b\[[0-9]*[A-Z]|\r`).ReplaceAllString(screen.String(), ""), "\n") {
			if n := utf8.RuneCountInString(line); n >= columns {
				t.Errorf("%+v: a line of %d", step, n)
			}
		}
	}
}

// A board is drawn in place, fits its terminal, and has colours only for who wants
// them; lines above it stay.
func TestBoard(t *testing.T) {
	var screen bytes.Buffer
	columns := 50
	b := &Board{to: &screen, columns: func() int { return columns }}
	cells := []Cell{{Name: "sent", Share: 0.5, Color: Green, Text: strings.Repeat("long ", 20)}, {Name: "time", Share: -1, Text: "12s"}}
	for range 2 {
		if err := b.Draw(cells); err != nil {
			t.Fatal(err)
		}
	}
	line := "sent      ████░░░░ long long long long long long…"
	want := line + "\x1b[K\ntime      12s\x1b[K\n\x1b[J"
	if got := screen.String(); got != want+"\x1b[2A\r"+want || utf8.RuneCountInString(line) >= 50 {
		t.Errorf("drew %q, want twice %q", got, want)
	}
	screen.Reset()
	if _, err := b.Write([]byte("note\n")); err != nil || screen.String() != "\x1b[2A\r\x1b[Jnote\n" {
		t.Errorf("a line above is %q: %v", &screen, err)
	}
	if b.colored = true; !strings.Contains(b.line(cells[0]), "\x1b[32m████") {
		t.Errorf("in colours it is %q", b.line(cells[0]))
	}
}
