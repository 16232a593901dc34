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
	width   int
	colored bool
	drawn   int // lines on the terminal
}

// NewBoard returns an empty Board on w, or nil if w is no terminal.
func NewBoard(w io.Writer) *Board {
	if !Is(w) {
		return nil
	}
	return &Board{to: w, width: Width(w), colored: Colored(w)}
}

// Cell is a line of a Board: a name, a bar, and what it says in words.
type Cell struct {
	Name  string
	Share float64 // of the bar that is full, 0 to 1; below 0: there is no bar
	Color Color
	Text  string
}

// Color is one of the eight that every terminal has.
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
	barWidth  = 24
)

// Draw draws the lines in place of those before.
func (b *Board) Draw(cells []Cell) error {
	var s strings.Builder
	b.up(&s)
	for _, c := range cells {
		s.WriteString(b.line(c) + "\x1b[K\n")
	}
	s.WriteString("\x1b[J") // lines that there were more
	b.drawn = len(cells)
	_, err := io.WriteString(b.to, s.String())
	return err
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
	full := int(min(c.Share, 1)*barWidth + 0.5)
	bar := strings.Repeat("█", full)
	if b.colored && c.Color != 0 {
		bar = fmt.Sprintf("\x1b[%dm%s\x1b[0m", c.Color, bar)
	}
	rest := strings.Repeat("░", barWidth-full)
	return fmt.Sprintf("%-*s %s%s %s", nameWidth, c.Name, bar, rest, cut(c.Text, b.width-nameWidth-barWidth-3))
}

func cut(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	return string([]rune(text)[:max(width-1, 0)]) + "…"
}

// Write writes whole lines that stay, above those of the Board.
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
