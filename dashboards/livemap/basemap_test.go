package livemap

import (
	"bytes"
	"encoding/binary"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// header returns the beginning of a file of PMTiles.
func header(version, kind byte) []byte {
	head := append([]byte("PMTiles"), version)
	head = append(head, make([]byte, 127-len(head))...)
	head[99] = kind
	return head
}

func TestStreetMapIsToldInParts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.pmtiles")
	content := append(header(3, 1), bytes.Repeat([]byte("0123456789"), 100)...)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := openBasemap(file)
	if err != nil {
		t.Fatal(err)
	}
	defer b.file.Close()
	for _, tt := range []struct {
		asks, told string
		from, n    int
	}{
		{"bytes=0-126", "bytes 0-126/1127", 0, 127},
		{"bytes=127-130", "bytes 127-130/1127", 127, 4},
		{"bytes=1120-5000", "bytes 1120-1126/1127", 1120, 7},
		{"bytes=1126-", "bytes 1126-1126/1127", 1126, 1},
		{"", "bytes */1127", 0, 0},
		{"bytes=1127-", "bytes */1127", 0, 0},
		{"bytes=-5", "bytes */1127", 0, 0},
		{"bytes=5-4", "bytes */1127", 0, 0},
		{"bytes=0-1,3-4", "bytes */1127", 0, 0},
		{"bytes=-1-4", "bytes */1127", 0, 0},
		{"lines=0-4", "bytes */1127", 0, 0},
	} {
		status, got, body, size := b.answer(func(string) string { return tt.asks })
		if tt.n == 0 {
			if status != http.StatusRequestedRangeNotSatisfiable || got["Content-Range"] != tt.told || body != nil {
				t.Errorf("%q: %d %v", tt.asks, status, got)
			}
			continue
		}
		part, err := io.ReadAll(body)
		if err != nil || status != http.StatusPartialContent || got["Content-Range"] != tt.told || size != tt.n || !bytes.Equal(part, content[tt.from:tt.from+tt.n]) {
			t.Errorf("%q: %d %v, %d bytes %q, %v", tt.asks, status, got, size, part, err)
		}
	}
}

func TestAPartOfAStreetMapHasALimit(t *testing.T) {
	big := &basemap{size: 1 << 40}
	if status, _, _, _ := big.answer(func(string) string { return "bytes=0-" }); status != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("a terabyte in one answer: %d", status)
	}
}

func TestFilesThatAreNoStreetMapAreRefused(t *testing.T) {
	tiles := header(3, 1)
	binary.LittleEndian.PutUint64(tiles[56:], 100) // where tiles begin
	binary.LittleEndian.PutUint64(tiles[64:], 28)  // a byte more than there are
	wraps := header(3, 1)
	binary.LittleEndian.PutUint64(wraps[8:], 1<<63)
	binary.LittleEndian.PutUint64(wraps[16:], 1<<63)
	for want, content := range map[string][]byte{
		"is cut off after 127 bytes":       tiles,
		"is cut off after 128 bytes":       append(wraps, 0),
		"is cut off after 98 bytes":        header(3, 1)[:98],
		"not a file of PMTiles, version 3": []byte("a picture"),
		"version 3":                        header(2, 1),
		"not vector tiles":                 header(3, 2),
	} {
		file := filepath.Join(t.TempDir(), "a.pmtiles")
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openBasemap(file); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), file) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := openBasemap(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that is not there is opened")
	}
}

// A pipe is refused without waiting for somebody who writes to it.
func TestStreetMapIsAFile(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{dir, pipe} {
		if _, err := openBasemap(name); err == nil || !strings.Contains(err.Error(), name+": not a file") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
