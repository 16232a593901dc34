package main

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// screen is a terminal of 100 columns, and what was written to it.
type screen struct {
	*os.File
	master *os.File
	read   chan []byte
}

func newScreen(t *testing.T) *screen {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no terminal can be made here: %v", err)
	}
	fd := int(master.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: 100})
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := &screen{slave, master, make(chan []byte)}
	go func() {
		var all bytes.Buffer
		_, _ = all.ReadFrom(master) // an error once the other side is closed
		s.read <- all.Bytes()
	}()
	return s
}

// shown ends the terminal and returns what was written to it.
func (s *screen) shown() string {
	_ = s.Close()
	all := <-s.read
	_ = s.master.Close()
	return strings.ReplaceAll(string(all), "\r\n", "\n")
}

const erased = "\r\x1b[K"

// A terminal shows the progress, and does not draw over lines that shall stay; the
// printed lines are the same as in a pipe.
func TestDedupeOnATerminal(t *testing.T) {
	defer func(d time.Duration) { progressAfter = d }(progressAfter)
	t.Setenv("TERM", "xterm")
	path := inFile(t, "a.ndjson.gz", strings.Repeat(ndjson(corner(t, "r-1", noon)), 100)+"oops\n")
	speedless := func(s string) string { return regexp.MustCompile(`"pings_per_s":[0-9]+`).ReplaceAllString(s, "") }
	_, want, notes := runs(t, "dedupe", path, "--json")
	for _, after := range []time.Duration{0, time.Hour} {
		progressAfter = after
		stderr, stdout := newScreen(t), new(bytes.Buffer)
		status := run(t.Context(), []string{"dedupe", path, "--json"}, stdout, stderr.File)
		said := stderr.shown()
		if status != exitOK || speedless(stdout.String()) != speedless(want) {
			t.Errorf("exit status %d, printed %s", status, stdout)
		}
		if after > 0 {
			if said != notes {
				t.Errorf("quick work says %q", said)
			}
			continue
		}
		if !strings.Contains(said, " % [") || !strings.Contains(said, erased+notes) || strings.Contains(said[strings.LastIndex(said, erased):], "%") {
			t.Errorf("it shows %q", said)
		}
	}
}
