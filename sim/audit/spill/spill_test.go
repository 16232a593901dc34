package spill

import (
	"errors"
	"os"
	"testing"
)

func TestRecordsComeBackByFile(t *testing.T) {
	dir := t.TempDir()
	s, err := New(dir, 3)
	if err != nil {
		t.Fatal(err)
	}
	const n = 100_000
	for i := range n {
		if err := s.Put(i%3, []byte{byte(i), byte(i >> 8), byte(i >> 16)}); err != nil {
			t.Fatal(err)
		}
	}
	for file := range 3 {
		next := file
		err := s.Each(file, 3, func(b []byte) error {
			if got := int(b[0]) | int(b[1])<<8 | int(b[2])<<16; got != next {
				t.Fatalf("file %d has %d, want %d", file, got, next)
			}
			next += 3
			return nil
		})
		if err != nil || next < n {
			t.Errorf("file %d ends before %d, %v", file, next, err)
		}
		if err := s.Drop(file); err != nil {
			t.Error(err)
		}
	}
	if err := s.Put(0, []byte("abc")); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
	if err := (*PartFiles)(nil).Close(); err != nil {
		t.Error(err)
	}
	if _, err := New("/nowhere", 1); err == nil {
		t.Error("files in a folder that is not there")
	}
}

func TestEachSaysWhatFails(t *testing.T) {
	s, err := New(t.TempDir(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Put(0, []byte("abcd")); err != nil {
		t.Fatal(err)
	}
	gone := errors.New("gone")
	if err := s.Each(0, 4, func([]byte) error { return gone }); !errors.Is(err, gone) {
		t.Errorf("error %v", err)
	}
	if err := s.Each(0, 3, func([]byte) error { return nil }); err == nil {
		t.Error("half a record is none, and no error")
	}
}
