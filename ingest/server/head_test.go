package server

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"pingline/ingest/server/framing"
)

// Heads are taken as large as single sign-on makes them, on any route. A larger one is
// refused in JSON, in words, whatever comes behind it.
func TestLongHeads(t *testing.T) {
	s, _ := testServer(t, Config{})
	for _, name := range []string{"Cookie", "Authorization"} {
		for _, line := range []string{"POST /v1/pings", "GET /healthz", "GET /readyz", "GET /v1/partitions"} {
			for _, n := range []int{4050, 8100, 12_000, 16_000} {
				w := dial(t, s)
				for range 2 { // the connection goes on
					w.say("%s HTTP/1.1\r\nHost: x\r\n%s: %s\r\n\r\n", line, name, strings.Repeat("x", n))
					if a := w.hear(); a.status != 200 && !strings.Contains(line, "partitions") || a.status == 431 {
						t.Errorf("%s with a %s of %d bytes: %d %s", line, name, n, a.status, a.body)
					}
				}
			}
			for _, n := range []int{framing.HeadBytes, 1 << 20} {
				w := dial(t, s)
				go func() {
					_, _ = fmt.Fprintf(w, "%s HTTP/1.1\r\nHost: x\r\n%s: %s\r\n\r\n", line, name, strings.Repeat("x", n))
				}()
				a := w.hear()
				var said struct{ Error string }
				err := json.Unmarshal([]byte(a.body), &said)
				if a.status != 431 || err != nil || !strings.Contains(said.Error, "larger than 16384 bytes") || !strings.Contains(said.Error, name) {
					t.Errorf("%s with a %s of %d bytes: %d %s", line, name, n, a.status, a.body)
				}
			}
		}
	}
}
