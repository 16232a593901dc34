package livemap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
)

// basemapPath is the path of the street map.
const basemapPath = "/map/basemap.pmtiles"

// mostRange is the most bytes of a street map in one answer; a browser asks for some
// hundred KB.
const mostRange = 16 << 20

// basemap is a street map: a file of PMTiles, of which browsers read parts. The Go library
// of PMTiles could cut tiles out of it here, but links the clients of three clouds and a
// database; the one for browsers is small, and needs nothing but ranges of the file.
type basemap struct {
	file *os.File
	size int64
	etag string
}

// openBasemap opens a file of PMTiles, version 3, with vector tiles.
func openBasemap(name string) (*basemap, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // to open a pipe would wait for its writer
		return nil, fmt.Errorf("%s: not a file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	b, err := newBasemap(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), f.Close())
	}
	return b, nil
}

func newBasemap(f *os.File) (*basemap, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	head := make([]byte, 127) // the header of the format
	if _, err := f.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if !bytes.HasPrefix(head, []byte("PMTiles\x03")) {
		return nil, errors.New("not a file of PMTiles, version 3")
	}
	// The header has where each section begins, and its length.
	for at := 8; at < 72; at += 16 {
		from, n := binary.LittleEndian.Uint64(head[at:]), binary.LittleEndian.Uint64(head[at+8:])
		if size := uint64(info.Size()); size < uint64(len(head)) || n > size || from > size-n {
			return nil, fmt.Errorf("it is cut off after %d bytes", info.Size())
		}
	}
	if head[99] != 1 {
		return nil, errors.New("its tiles are not vector tiles")
	}
	return &basemap{f, info.Size(), fmt.Sprintf(`"%x-%x"`, info.ModTime().UnixNano(), info.Size())}, nil
}

// answer answers a request for a part of the file. The whole is not told.
func (b *basemap) answer(request func(name string) string) (status int, header map[string]string, body io.Reader, size int) {
	header = map[string]string{
		"Accept-Ranges": "bytes", "Cache-Control": "no-cache", "Content-Type": "application/vnd.pmtiles", "ETag": b.etag,
		"X-Content-Type-Options": "nosniff",
	}
	from, n, ok := byteRange(request("Range"), b.size)
	if !ok || n > mostRange {
		header["Content-Range"] = fmt.Sprintf("bytes */%d", b.size)
		return http.StatusRequestedRangeNotSatisfiable, header, nil, 0
	}
	header["Content-Range"] = fmt.Sprintf("bytes %d-%d/%d", from, from+n-1, b.size)
	return http.StatusPartialContent, header, io.NewSectionReader(b.file, from, n), int(n)
}

// byteRange reads a header Range of one range that says where it begins; what lies behind
// the end of the file is left out.
func byteRange(text string, size int64) (from, n int64, ok bool) {
	first, last, found := strings.Cut(strings.TrimPrefix(text, "bytes="), "-")
	if !found || !strings.HasPrefix(text, "bytes=") {
		return 0, 0, false
	}
	from, err := strconv.ParseInt(first, 10, 64)
	if err != nil || from < 0 || from >= size {
		return 0, 0, false
	}
	to := size - 1
	if last != "" {
		if to, err = strconv.ParseInt(last, 10, 64); err != nil || to < from {
			return 0, 0, false
		}
	}
	return from, min(to, size-1) - from + 1, true
}
