// Package terminal writes output that is for a person at a terminal only:
// progress, colours, lines that are drawn over. It writes none of them into a
// pipe or a file.
package terminal

import (
	"io"
	"os"

	"golang.org/x/term"
)

// MaxWidth is the most columns of a line, even on a wider terminal.
const MaxWidth = 80

// Is reports whether w is a terminal that can move its cursor.
func Is(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}

// Answers reports whether r is a terminal, at which a person can be asked.
func Answers(r io.Reader) bool {
	f, ok := r.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Colored reports whether w is a terminal whose user wants colours: see
// https://no-color.org.
func Colored(w io.Writer) bool { return Is(w) && os.Getenv("NO_COLOR") == "" }

// Width returns how many columns of the terminal w may be used, at most MaxWidth.
func Width(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if columns, _, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 {
			return min(columns, MaxWidth)
		}
	}
	return MaxWidth
}

// erase takes the cursor to the beginning of its line and clears that.
const erase = "\r\x1b[K"
