package dedupe

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pingline"
)

// recorded returns the pings of a recorded file, in its order.
func recorded(t testing.TB, name string) []pingline.Ping {
	path := filepath.Join("..", "..", "shared", "data", "gps", name+".ndjson.gz")
	file, err := os.Open(path)
	if err != nil {
		t.Skipf("recorded tracks are absent: %v", err)
	}
	defer file.Close()
	zr, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	var pings []pingline.Ping
	lines := bufio.NewScanner(zr)
	for lines.Scan() {
		var rec struct {
			Rider    string   `json:"rider_id"`
			TS       int64    `json:"ts"`
			Lat      float64  `json:"lat"`
			Lon      float64  `json:"lon"`
			Accuracy *float64 `json:"accuracy"`
		}
		if err := json.Unmarshal(lines.Bytes(), &rec); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		p := pingline.Ping{Rider: rec.Rider, Fix: pingline.Fix{At: rec.TS}}
		if err := p.SetPosition(rec.Lat, rec.Lon); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if rec.Accuracy != nil {
			p.SetOptional(pingline.HasAccuracy, *rec.Accuracy)
		}
		pings = append(pings, p)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return pings
}

var recordedFiles = []string{"dev_1hz_mixed", "dev_gotrack_5s_bus20s", "dev_phone_android", "dev_arrival_faults"}

// bare is the rule alone: nothing is stored for the sake of time.
func bare() Config {
	return Config{MaxRiders: 10000, RecentBytes: 64 << 20}
}

// run is a filter, what it put out, and a reader that checks it.
type run struct {
	testing.TB
	*Filter
	reader  *reader
	bound   Bound
	now     time.Duration
	batch   Batch
	tokens  []pingline.Verdict // by token − 1: the verdict as of now
	verdict [pingline.Verdicts]int
}

func newRun(t testing.TB, cfg Config, bound Bound) *run {
	f, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &run{TB: t, Filter: f, reader: newReader(), bound: bound}
}

func (r *run) judge(p pingline.Ping) pingline.Verdict {
	e := pingline.Entry{Ping: p}
	v, _ := r.Judge(&r.batch, &e, r.bound, uint64(len(r.tokens)+1), r.now)
	r.tokens = append(r.tokens, v)
	r.verdict[v]++
	r.reader.answered(&p, r.bound.Of(&p.Fix), v)
	r.drain()
	return v
}

func (r *run) judgeAll(pings []pingline.Ping) {
	for _, p := range pings {
		r.judge(p)
	}
}

func (r *run) drain() {
	r.reader.log(r.batch.Entries)
	for _, s := range r.batch.Settled {
		if s.Token > 0 {
			if r.tokens[s.Token-1] != pingline.Held {
				r.Fatalf("ping %d was settled, but not held", s.Token)
			}
			r.tokens[s.Token-1] = pingline.Redundant
			if s.Stored {
				r.tokens[s.Token-1] = pingline.Accepted
			}
		}
	}
	r.batch.Entries, r.batch.Settled = r.batch.Entries[:0], r.batch.Settled[:0]
}

// finish stores what is held and checks all that was answered.
func (r *run) finish() (vertices, late int, worst float64) {
	r.Helper()
	for r.Flush(&r.batch, 100) {
		r.drain()
	}
	r.drain()
	if r.Holding() != 0 {
		r.Errorf("%d pings held after Flush", r.Holding())
	}
	worst, err := r.reader.check()
	if err != nil {
		r.Error(err)
	}
	vertices, late = r.reader.kept()
	return vertices, late, worst
}

// Kept per cent of recorded tracks, as the best offline algorithm plus 5 %.
func TestRecordedTracksKeepLittle(t *testing.T) {
	for _, tt := range []struct {
		file   string
		cfg    Config
		atMost float64
	}{
		{"dev_1hz_mixed", bare(), 6.8},
		{"dev_gotrack_5s_bus20s", bare(), 47.6},
		{"dev_arrival_faults", bare(), 6.2},
		{"dev_phone_android", bare(), 100},
		{"dev_1hz_mixed", DefaultConfig(), 7.3},
		{"dev_gotrack_5s_bus20s", DefaultConfig(), 50},
	} {
		t.Run(fmt.Sprintf("%s with live gap %v", tt.file, tt.cfg.LiveGap), func(t *testing.T) {
			pings := recorded(t, tt.file)
			r := newRun(t, tt.cfg, Bound{MaxError: 10})
			r.judgeAll(pings)
			vertices, late, worst := r.finish()
			kept := 100 * float64(vertices+late) / float64(len(pings))
			t.Logf("kept %.3f %% (%d and %d late of %d), worst %.4f of the bound", kept, vertices, late, len(pings), worst)
			if kept > tt.atMost {
				t.Errorf("kept %.3f %%, want at most %.1f", kept, tt.atMost)
			}
		})
	}
}
