package server

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/dedupe"
	"pingline/ingest"
	"pingline/ingest/phone"
	"pingline/queue"
)

// corrections is what an answer says of pings whose time was wrong.
type corrections struct {
	Accepted, Held, Rejected int
	Corrected                []phone.Correction
	Errors                   []phone.Rejection
}

func (a *answer) corrections(t *testing.T) (c corrections) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), &c); err != nil {
		t.Fatalf("%s: %v", a.body, err)
	}
	return c
}

func timed(rider string, ts int64, lat float64) string {
	return fmt.Sprintf(`{"rider_id":%q,"ts":%d,"lat":%v,"lon":-8.6}`, rider, ts, lat)
}

// Pings of a phone whose clock is wrong are refused, unless they are to be corrected.
// Then they are stored by when they came, with their distances in time, and are marked.
func TestWrongClock(t *testing.T) {
	day := (24 * time.Hour).Milliseconds()
	now := time.Now().UnixMilli()
	wrong := func(ago int64) string { return timed("r", now-400*day-ago, 41+float64(ago)/1e6) }
	body := []byte("[" + strings.Join([]string{
		wrong(0), wrong(60_000), timed("r", now/1000, 41), timed("other", now, 41), wrong(30_000),
	}, ",") + "]")

	_, url := testServer(t, Config{})
	a := send(t, "POST", url+"/v1/pings", body)
	if c := a.corrections(t); a.status != 200 || c.Rejected != 4 || strings.Contains(a.body, "corrected") {
		t.Errorf("without --wrong-clock: %d %s", a.status, a.body)
	}

	log := testLog(t, queue.Config{})
	w, _ := testWriter(t, ingest.WriterConfig{Log: log, Bound: dedupe.Bound{MaxError: 10}})
	s, url := testServer(t, Config{Writer: w, Limits: phone.Limits{Correct: true}})
	before := time.Now().UnixMilli()
	a = send(t, "POST", url+"/v1/pings?verdicts=1", body)
	c := a.corrections(t)
	if a.status != 200 || c.Accepted != 4 || c.Rejected != 1 || len(c.Corrected) != 3 || c.Errors[0].Index != 2 || !strings.Contains(c.Errors[0].Reason, "looks like s") {
		t.Fatalf("%d %s", a.status, a.body)
	}
	newest := c.Corrected[0].TS
	if newest < before || newest > time.Now().UnixMilli() {
		t.Errorf("the newest is at %d, came after %d", newest, before)
	}
	if want := []phone.Correction{{Index: 0, TS: newest}, {Index: 1, TS: newest - 60_000}, {Index: 4, TS: newest - 30_000}}; !slices.Equal(c.Corrected, want) {
		t.Errorf("corrected %+v, want %+v", c.Corrected, want)
	}
	if n := s.Stats().Corrected; n != 3 {
		t.Errorf("%d counted", n)
	}

	// The answer was lost: the phone sends again, and each ping is the point it was.
	again := send(t, "POST", url+"/v1/pings", body)
	if got := again.corrections(t); !slices.Equal(got.Corrected, c.Corrected) {
		t.Errorf("sent again: %s, was %s", again.body, a.body)
	}
	points := map[[2]int64]int{}
	for _, e := range entries(t, log) {
		if e.Rider != "r" {
			if e.Corrected || e.Late {
				t.Errorf("a ping in time is %+v", e)
			}
			continue
		}
		if !e.Corrected || !e.Late || e.Verdict != pingline.Accepted {
			t.Errorf("logged %+v", e)
		}
		points[[2]int64{e.At, e.Nano()}]++
	}
	if len(points) != 3 {
		t.Errorf("points %v, want 3", points)
	}
}

// A receiver that is whole rollovers of the GPS week back is put right: its pings are as
// any others, and are known when they come again.
func TestGPSWeekRollover(t *testing.T) {
	log := testLog(t, queue.Config{})
	w, _ := testWriter(t, ingest.WriterConfig{Log: log, Bound: dedupe.Bound{MaxError: 10}})
	_, url := testServer(t, Config{Writer: w, Limits: phone.Limits{Correct: true}})
	const weeks = 1024 * 7 * 24 * 3600 * 1000
	at := time.Now().UnixMilli() - 3_600_000
	body := []byte("[" + timed("r", at-weeks, 41) + "," + timed("r", at+1000-weeks, 41.5) + "]")
	a := send(t, "POST", url+"/v1/pings", body)
	if c := a.corrections(t); !slices.Equal(c.Corrected, []phone.Correction{{Index: 0, TS: at}, {Index: 1, TS: at + 1000}}) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a = send(t, "POST", url+"/v1/pings", body); !strings.Contains(a.body, `"duplicate":2`) {
		t.Errorf("sent again: %s", a.body)
	}
	for _, e := range entries(t, log) {
		if e.Corrected || e.Late {
			t.Errorf("logged %+v", e)
		}
	}
}

// Of a clock that jumped meanwhile, what does not fit with the rest is at the receipt,
// and no more than 100 corrections are told.
func TestWrongClockThatJumps(t *testing.T) {
	_, url := testServer(t, Config{Limits: phone.Limits{Correct: true}})
	var list []string
	for i := range 150 {
		list = append(list, timed("r", int64(i)*1000, 41), timed("r", 2_100_000_000_000, 42))
	}
	a := send(t, "POST", url+"/v1/pings", []byte("["+strings.Join(list, ",")+"]"))
	c := a.corrections(t)
	if a.status != 200 || c.Accepted != 300 || len(c.Corrected) != phone.MaxRejections {
		t.Fatalf("%d %.300s", a.status, a.body)
	}
	for i, k := range c.Corrected {
		if d := time.Now().UnixMilli() - k.TS; k.Index != i || d < 0 || d > 60_000 {
			t.Fatalf("correction %d: %+v, %d ms ago", i, k, d)
		}
	}
}

// A ping with a wrong clock that the rate of its rider or of new riders sheds is
// given no other time: it is neither told of nor counted as corrected.
func TestShedPingsAreNotCorrected(t *testing.T) {
	wrong := time.Now().Add(-400 * 24 * time.Hour).UnixMilli()
	for _, tt := range []struct {
		name string
		cfg  Config
	}{
		{"rate of the rider", Config{RiderRate: 0.001, RiderBurst: 2}},
		{"rate of new riders", Config{NewRidersRate: 1.0 / 120}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Limits.Correct = true
			s, url := testServer(t, tt.cfg)
			first := []string{timed("a", wrong, 41), timed("a", wrong-1000, 41)}
			a := send(t, "POST", url+"/v1/pings", []byte("["+strings.Join(first, ",")+"]"))
			if c := a.corrections(t); len(c.Corrected) != 2 {
				t.Fatalf("%d %s", a.status, a.body)
			}
			taken, shed := timed("b", wrong, 41), timed("a", wrong, 42)
			if tt.cfg.NewRidersRate > 0 {
				taken, shed = shed, taken
			}
			a = send(t, "POST", url+"/v1/pings?verdicts=1", []byte("["+shed+","+taken+"]"))
			if c := a.corrections(t); !strings.Contains(a.body, `"verdicts":["shed","accepted"]`) || len(c.Corrected) != 1 || c.Corrected[0].Index != 1 {
				t.Errorf("%d %s", a.status, a.body)
			}
			if n := s.Stats().Corrected; n != 3 {
				t.Errorf("%d counted, want 3", n)
			}
		})
	}
}
