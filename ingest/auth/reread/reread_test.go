package reread

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Whatever is done to a file, the next look finds it, once.
func TestChangesAreFoundOnce(t *testing.T) {
	dir := t.TempDir()
	path, old := filepath.Join(dir, "f"), time.Now().Add(-time.Hour)
	tick := time.Now().Add(time.Minute) // one that is not over while the test runs
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	f := New(path)
	for _, step := range []struct {
		name string
		do   func()
		text string
		gone bool
	}{
		{"not there", func() {}, "", true},
		{"made", func() {
			must(os.WriteFile(path, []byte("a"), 0o600))
			must(os.Chtimes(path, tick, tick))
		}, "a", false},
		{"written again within a tick of its clock", func() {
			must(os.WriteFile(path, []byte("b"), 0o600))
			must(os.Chtimes(path, tick, tick))
		}, "b", false},
		{"replaced by an older file", func() {
			must(os.WriteFile(path+"2", []byte("c"), 0o600))
			must(os.Chtimes(path+"2", old, old))
			must(os.Rename(path+"2", path))
		}, "c", false},
		{"replaced by another of the same time and size", func() {
			must(os.WriteFile(path+"2", []byte("d"), 0o600))
			must(os.Chtimes(path+"2", old, old))
			must(os.Rename(path+"2", path))
		}, "d", false},
		{"a link in its place", func() {
			must(os.WriteFile(path+"3", []byte("e"), 0o600))
			must(os.Remove(path))
			must(os.Symlink(path+"3", path))
		}, "e", false},
		{"the link leads elsewhere", func() {
			must(os.WriteFile(path+"4", []byte("f"), 0o600))
			must(os.Symlink(path+"4", path+"link"))
			must(os.Rename(path+"link", path))
		}, "f", false},
		{"gone", func() { must(os.Remove(path)) }, "", true},
		{"back with the same text", func() { must(os.WriteFile(path, []byte("f"), 0o640)) }, "f", false},
	} {
		step.do()
		text, changed, err := f.Look()
		if string(text) != step.text || !changed || (err != nil) != step.gone {
			t.Errorf("%s: %q, changed %v, %v", step.name, text, changed, err)
		}
		if text, changed, _ := f.Look(); changed || text != nil {
			t.Errorf("%s: found twice", step.name)
		}
	}
	if f.Mode() != 0o640 {
		t.Errorf("mode %v", f.Mode())
	}
}

// Follow tells each change once, and ends with its context.
func TestFollow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	ctx, stop := context.WithCancel(t.Context())
	told, ended := make(chan string), make(chan struct{})
	go func() {
		defer close(ended)
		New(path).Follow(ctx, func(text []byte, err error) {
			if err != nil {
				text = []byte("cannot be read")
			}
			told <- string(text)
		})
	}()
	if got := <-told; got != "cannot be read" {
		t.Errorf("a file that is not there: %q", got)
	}
	if err := os.WriteFile(path+".new", []byte("a"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	if got := <-told; got != "a" {
		t.Errorf("a file that came: %q", got)
	}
	stop()
	<-ended
}
