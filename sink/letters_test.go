package sink

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"pingline"
	"pingline/internal/influxd"
	"strings"
	"testing"
)

// A letter of before says its time in ms, one of today in ns. Replayed, and
// replayed again, each is the point it was to be, and nothing besides.
func TestLettersInMillisecondsAndNanoseconds(t *testing.T) {
	eachVersion(t, influxd.Config{}, testLetterPrecisions)
}

func testLetterPrecisions(t *testing.T, server *influxd.Server) {
	influx := testInflux(t, access(server, "pingline"))
	w := testLog(t)
	s := testSink(t, w, influx, nil)
	start(t, s)
	e := pingline.Entry{Verdict: pingline.Accepted, Apart: true}
	e.Rider, e.Event, e.At, e.LatE7, e.LonE7 = "r", "sos", recently, 1e7, 2e7
	apart := e
	e.Apart = false
	milli := fmt.Sprintf(`location,rider=r lat=1,lon=2,event="sos" %d`, recently)
	nano := strings.TrimSpace(string(appendLine(nil, &apart)))
	for range 2 {
		var old []byte
		for _, l := range []map[string]string{
			{"shard": "a", "line": milli}, {"shard": "a", "line": milli, "precision": "ms"},
			{"shard": "a", "line": nano, "precision": "ns"}, {"shard": "a", "line": nano},
		} {
			b, err := json.Marshal(l)
			if err != nil {
				t.Fatal(err)
			}
			old = append(append(old, b...), '\n')
		}
		if err := os.WriteFile(filepath.Join(s.cfg.DeadLetterDir, "deadletter-000001.jsonl"), old, 0o600); err != nil {
			t.Fatal(err)
		}
		if n := resubmit(t, s, w); n != 4 {
			t.Fatalf("%d letters are replayed, want 4", n)
		}
		drained(t, s)
		sameLines(t, stored(t, influx), lines(e, apart))
	}
}
