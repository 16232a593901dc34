package secrets

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience is how long a test waits for what must come.
const patience = 2 * time.Minute

func keyOf(secret string) (key [Size]byte) {
	copy(key[:], secret)
	return key
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets")
	write := func(text string) { // whole: written in place, the file is empty for a moment
		t.Helper()
		if err := errors.Join(os.WriteFile(path+".new", []byte(text), 0o600), os.Rename(path+".new", path)); err != nil {
			t.Fatal(err)
		}
	}
	write("# a comment\n\nana s3cret\n  tom r\t  " + strings.Repeat("x", Size) + "  \r\nzoë schlüssel")
	s, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for rider, want := range map[string]string{"ana": "s3cret", "tom r": strings.Repeat("x", Size), "zoë": "schlüssel"} {
		if got := s.Key(rider); got == nil || *got != keyOf(want) {
			t.Errorf("%s has the key %q, want %q", rider, got, want)
		}
	}
	for _, rider := range []string{"", "eve", "*", "#"} {
		if got := s.Key(rider); got != nil {
			t.Errorf("%q has the key %q", rider, got)
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(t.Context()) }()
	t.Cleanup(func() { <-ended })
	until := func(what string, done func() bool) {
		t.Helper()
		for deadline := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("not yet: %s", what)
			}
		}
	}
	write("ana other\n* all\n")
	until("the file is read again", func() bool {
		k := s.Key("eve")
		return k != nil && *k == keyOf("all") && *s.Key("ana") == keyOf("other")
	})
	write("ana\n")
	until("there is a note", func() bool { return len(s.Notes()) == 1 && strings.Contains(s.Notes()[0], "line 1: want a rider") })
	if *s.Key("ana") != keyOf("other") {
		t.Error("the secrets have not stayed as they were")
	}
	write("ana third\n")
	until("the note is gone", func() bool { return len(s.Notes()) == 0 && *s.Key("ana") == keyOf("third") })
}

// No error has a secret, or what may be one.
func TestWrongFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets")
	if _, err := Open(path, nil); err == nil {
		t.Error("a file that is not there is opened")
	}
	for text, want := range map[string]string{
		"hunter2": "line 1: want a rider, a blank and a secret",
		"ana hunter2" + strings.Repeat("x", Size):     "line 1: a secret of 39 bytes; apps take 32 at most",
		"ana hunter2\nana hunter2":                    "line 2: the rider has a secret already",
		"\nan\\a hunter2":                             "line 2: the rider: a backslash",
		strings.Repeat("hunter2", 30) + " hunter2":    "line 1: the rider: ",
		"# hunter2\nana hunter2\nhunter2\x00 hunter2": "line 3: the rider: ",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path, nil); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestModeIsTold(t *testing.T) {
	for mode, want := range map[os.FileMode]bool{0o600: false, 0o640: true, 0o604: true} {
		path := filepath.Join(t.TempDir(), "secrets")
		if err := os.WriteFile(path, []byte("ana hunter2"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		if _, err := Open(path, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(log.String(), "chmod 600") != want || strings.Contains(log.String(), "hunter2") {
			t.Errorf("mode %v: %s", mode, &log)
		}
	}
}
