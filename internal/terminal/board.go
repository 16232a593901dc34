package terminal

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Board is lines at the bottom of a terminal that are drawn over in place. It is not
// safe for concurrent use.
type Board struct {
	to      io.Writer
	columns func() int // of the terminal
	width   int        // columns when it was drawn last
	bar     int        // columns of a bar: fewer where the text needs them
	colored bool
	drawn   int // lines on the terminal now
}

// NewBoard returns an empty Board on w, or nil if w is no terminal.
func NewBoard(w io.Writer) *Board {
	if !Is(w) {
		return nil
	}
	return &Board{to: w, columns: func() int { return Width(w) }, bar: widestBar, colored: Colored(w)}
}

// Cell is a line of a Board: a name, a bar, and a text.
type Cell struct {
	Name  string
	Share float64 // filled part of the bar, 0 to 1; below 0: there is no bar
	Color Color
	Text  string
}

// Color is one of the eight colours that every terminal has.
type Color int

// The colours that are used.
const (
	Red    Color = 31
	Green  Color = 32
	Yellow Color = 33
	Blue   Color = 34
)

const (
	nameWidth = 9
	widestBar = 24
	leastBar  = 8
)

// Draw draws the lines in place of the last.
func (b *Board) Draw(cells []Cell) error {
	b.fit(cells)
	var s strings.Builder
	b.up(&s)
	for _, c := range cells {
		s.WriteString(b.line(c) + "\x1b[K\n")
	}
	s.WriteString("\x1b[J") // clear lines left from a longer drawing
	b.drawn = len(cells)
	_, err := io.WriteString(b.to, s.String())
	return err
}

// fit makes the bars so much shorter that the texts behind them fit the terminal, as
// wide as that is now. They do not grow again while it is as wide, so that they stand
// still while texts change.
func (b *Board) fit(cells []Cell) {
	if width := b.columns(); width != b.width {
		b.width, b.bar = width, widestBar
	}
	for _, c := range cells {
		if c.Share >= 0 {
			b.bar = min(b.bar, b.width-nameWidth-3-utf8.RuneCountInString(c.Text))
		}
	}
	b.bar = max(b.bar, leastBar)
}

func (b *Board) up(s *strings.Builder) {
	if b.drawn > 0 {
		fmt.Fprintf(s, "\x1b[%dA\r", b.drawn)
	}
}

// line returns a line that is no wider than the terminal.
func (b *Board) line(c Cell) string {
	if c.Share < 0 {
		return cut(fmt.Sprintf("%-*s %s", nameWidth, c.Name, c.Text), b.width-1)
	}
	full := int(min(c.Share, 1)*float64(b.bar) + 0.5)
	bar := strings.Repeat("█", full)
	if b.colored && c.Color != 0 {
		bar = fmt.Sprintf("\x1b[%dm%s\x1b[0m", c.Color, bar)
	}
	rest := strings.Repeat("░", b.bar-full)
	return fmt.Sprintf("%-*s %s%s %s", nameWidth, c.Name, bar, rest, cut(c.Text, b.width-nameWidth-b.bar-3))
}

func cut(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	if width < 1 {
		return ""
	}
	return string([]rune(text)[:width-1]) + "…"
}

// Write writes whole lines that stay, above the lines of the Board.
func (b *Board) Write(p []byte) (int, error) {
	var s strings.Builder
	b.up(&s)
	s.WriteString("\x1b[J")
	b.drawn = 0
	if _, err := io.WriteString(b.to, s.String()); err != nil {
		return 0, err
	}
	return b.to.Write(p)
}
