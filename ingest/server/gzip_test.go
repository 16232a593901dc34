package server

import (
	"bytes"
	"testing"

	"github.com/klauspost/compress/gzip"
)

func gzipped(tb testing.TB, b []byte) []byte {
	tb.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// A compressed body that no header announces, or that was compressed twice, is refused
// with what to do about it.
func TestCompressedBodyWithoutItsHeader(t *testing.T) {
	_, url := testServer(t, Config{})
	once := gzipped(t, []byte(timed("r", 0, 41)))
	for _, tt := range []struct {
		body   []byte
		header []string
		want   string
	}{
		{once, nil, "the body is compressed: add the header Content-Encoding: gzip"},
		{gzipped(t, once), []string{"Content-Encoding", "gzip"}, "the body is gzip even after it was decompressed: compress it once"},
	} {
		if a := send(t, "POST", url+"/v1/pings", tt.body, tt.header...); a.status != 400 || a.body != `{"error":"`+tt.want+`"}` {
			t.Errorf("%d %s, want %q", a.status, a.body, tt.want)
		}
	}
}
