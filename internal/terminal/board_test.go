package terminal

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

// A board is drawn in place, fits its terminal, and has colours only for who wants
// them; lines above it stay.
func TestBoard(t *testing.T) {
	var screen bytes.Buffer
	b := &Board{to: &screen, width: 50}
	cells := []Cell{{Name: "sent", Share: 0.5, Color: Green, Text: strings.Repeat("long ", 20)}, {Name: "time", Share: -1, Text: "12s"}}
	for range 2 {
		if err := b.Draw(cells); err != nil {
			t.Fatal(err)
		}
	}
	line := "sent      ████████████░░░░░░░░░░░░ long long lon…"
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
