package terminal

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"
)

// Work of more than two seconds says how far it is; the line is gone in the end.
func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var screen bytes.Buffer
		p := newProgress(&screen, 60, 100e6, 2*time.Second)
		for range 19 {
			time.Sleep(100 * time.Millisecond)
			p.Add(1e6)
		}
		if screen.Len() > 0 {
			t.Errorf("before two seconds it says %q", &screen)
		}
		for range 31 {
			time.Sleep(100 * time.Millisecond)
			p.Add(1e6)
		}
		lines := strings.Split(screen.String(), erase)
		last := lines[len(lines)-1]
		if !strings.HasPrefix(last, "50 % [====") || !regexp.MustCompile(`\] 10.00 MB/s, [45]s left$`).MatchString(last) || utf8.RuneCountInString(last) > 59 {
			t.Errorf("after five seconds of ten it says %q", last)
		}
		if len(lines) < 20 || len(lines) > 35 {
			t.Errorf("it is drawn %d times in three seconds", len(lines))
		}
		screen.Reset()
		fmt.Fprintln(p.Above(&screen), "refused: a line")
		p.Clear()
		if got := screen.String(); got != erase+"refused: a line\n" {
			t.Errorf("a line above it is written as %q", got)
		}
	})
}

// In a pipe or a file there is no progress and no colour.
func TestNoTerminal(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = r.Close(), w.Close() }()
	var b bytes.Buffer
	if Is(w) || Is(&b) || Colored(w) || Width(w) != MaxWidth || NewProgress(w, 1, 0) != nil || NewProgress(&b, 1, 0) != nil {
		t.Error("a pipe or a buffer is taken for a terminal")
	}
	var none *Progress
	none.Add(1)
	none.Clear()
	if none.Above(w) != w {
		t.Error("without progress lines are not written as they are")
	}
}
