package server

import (
	"strings"
	"testing"

	"pingline/ingest/server/framing"
)

// The test's end of a connection takes so many bytes: its buffer; and with TLS, so many more.
const (
	endInTest    = 5 << 10
	tlsEndInTest = 8 << 10
)

// Connections of any kind take no more than their account says.
func TestConnectionsTakeNoMoreThanTheySay(t *testing.T) {
	fields := strings.Repeat("abcdefgh: ijkl\r\n", framing.MaxFields-2)
	for _, tt := range []struct {
		name, said string
		answers    int
	}{
		{"silent", "", 0},
		{"within a line", "GET /hea", 0},
		{"within a long line", "GET /healthz?" + strings.Repeat("x", 16000), 0},
		{"between requests", healthy, 1},
		{"behind a long target", "POST /v1/pings?" + strings.Repeat("x", 16000) + " HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n[]", 1},
		{"behind a long path", "POST /v1/pings" + strings.Repeat("/x", 8000) + " HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n[]", 1},
		{"behind many parameters", "POST /v1/pings?" + strings.Repeat("abcdefgh=ijkl&", framing.MaxFields-1) + " HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n[]", 1},
		{"behind many fields", post + fields + "\r\n", 1},
		{"behind many long fields", post + strings.Repeat("abcdefgh: "+strings.Repeat("i", 153)+"\r\n", 98) + "\r\n", 1},
		{"behind many long parameters", "POST /v1/pings?" + strings.Repeat("abcdefgh="+strings.Repeat("i", 152)+"&", framing.MaxFields-1) + " HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n[]", 1},
		{"behind one long field", post + "Cookie: " + strings.Repeat("a=b; ", 3240) + "\r\n\r\n", 1},
		{"behind many fields, within a line", post + fields + "\r\n" + post + strings.Repeat("y", 15000), 1},
		{"within a body", post + "Content-Length: 8000\r\n\r\n" + strings.Repeat(" ", 7999), 0},
		{"behind a malformed one", post + "Content-Length: 2\r\n\r\n[]" + strings.Repeat("x", 16000), 1},
	} {
		takes := func(t *testing.T, cfg Config) {
			const n = 300
			s, _ := testServer(t, cfg)
			most, end := s.Stats().ConnectionBytes, int64(endInTest)
			if s.cfg.TLS != nil {
				end += tlsEndInTest
			}
			before := liveHeap()
			for range n {
				w := dial(t, s)
				w.say("%s", tt.said)
				_ = w.statuses(tt.answers)
			}
			until(t, "all have come", func() bool { return s.Stats().Connections == n && waiting(s) == n })
			if each := (liveHeap()-before)/n - end; each > most {
				t.Errorf("each takes %d bytes, more than %d", each, most)
			} else {
				t.Logf("each takes %d bytes", each)
			}
		}
		t.Run(tt.name, func(t *testing.T) { takes(t, Config{}) })
		t.Run(tt.name+", over TLS", func(t *testing.T) { takes(t, Config{TLS: tlsOfAll(t)}) })
	}
}
