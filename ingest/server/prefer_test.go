package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"pingline"
	"pingline/dedupe"
	"pingline/ingest"
	"pingline/queue"
)

// partlyAway has pings judged, but for those of riders whose names begin with "away", as nodes
// that share riders do.
func partlyAway(w *ingest.Writer) func(*ingest.Job) error {
	return func(j *ingest.Job) error {
		away := fmt.Errorf("part 1 has no node now: %w", ingest.ErrUnavailable)
		var here ingest.Job
		for i := range j.Pings {
			if !strings.HasPrefix(j.Pings[i].Rider, "away") {
				here.Pings, here.Cells = append(here.Pings, j.Pings[i]), append(here.Cells, j.Cells[i])
			}
		}
		if len(here.Pings) < len(j.Pings) && (!j.Partial || len(here.Pings) == 0) {
			return away
		}
		if err := w.Submit(&here); err != nil {
			return err
		}
		j.Verdicts, j.Bound = j.Verdicts[:0], here.Bound
		for i := range j.Pings {
			v := pingline.Verdict(0)
			if !strings.HasPrefix(j.Pings[i].Rider, "away") {
				v, here.Verdicts = here.Verdicts[0], here.Verdicts[1:]
			} else {
				j.Away = away
			}
			j.Verdicts = append(j.Verdicts, v)
		}
		return nil
	}
}

func partlyAwayServer(t *testing.T, cfg Config) (s *Server, url string) {
	t.Helper()
	w, _ := testWriter(t, ingest.WriterConfig{Log: testLog(t, queue.Config{}), Bound: dedupe.Bound{MaxError: 10, AccuracyCap: 50}})
	cfg.Writer, cfg.Submit = w, partlyAway(w)
	return testServer(t, cfg)
}

func TestPreferPartial(t *testing.T) {
	s, url := partlyAwayServer(t, Config{})
	body := []byte(strings.Join([]string{onePing("away-1", 9), onePing("r", 9), `{"rider_id":7}`, onePing("away-2", 9), onePing("r", 8), onePing("away-1", 8)}, "\n"))
	if a := send(t, "POST", url+"/v1/pings", body); a.status != 503 || a.header.Get("Preference-Applied") != "" {
		t.Errorf("without the header: %d %s", a.status, a.body)
	}
	a := send(t, "POST", url+"/v1/pings?verdicts=1", body, "Prefer", "partial")
	const want = `{"accepted":1,"held":1,"redundant":0,"duplicate":0,"shed":0,"rejected":1,"unavailable":3,"max_error":10,"accuracy_cap":50,` +
		`"verdicts":["unavailable","accepted","rejected","unavailable","held","unavailable"],"errors":[{"index":2,"field":"rider_id","error":"not a string"}],` +
		`"error":"part 1 has no node now: not stored, send again","retry":[0,3,5]}`
	var got, expected any
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		t.Fatal(a.body, err)
	}
	_ = json.Unmarshal([]byte(want), &expected)
	if a.status != http.StatusMultiStatus || a.body != want {
		t.Errorf("answered %d %s, want %s", a.status, a.body, want)
	}
	if a.header.Get("Preference-Applied") != "partial" || a.header.Get("Retry-After") == "" {
		t.Errorf("headers %v", a.header)
	}
	if n := s.Stats(); n.Received != 6 || n.Rejected != 1 {
		t.Errorf("counts %+v", n)
	}
	for name, c := range map[string]struct {
		body string
		want int
	}{
		"all away":  {onePing("away-1", 7), 503},
		"none away": {onePing("r", 7), 200},
		"none":      {"", 200},
		"invalid":   {`{"rider_id":7}` + "\n" + `{"rider_id":8}`, 400},
	} {
		if a := send(t, "POST", url+"/v1/pings", []byte(c.body), "Prefer", "partial"); a.status != c.want || a.header.Get("Preference-Applied") != "" {
			t.Errorf("%s: %d %s, want %d", name, a.status, a.body, c.want)
		}
	}
}

// Pings without a verdict are charged to no rate.
func TestUnjudgedPingsAreFree(t *testing.T) {
	_, url := partlyAwayServer(t, Config{RiderRate: 1e-6, RiderBurst: 2, ClientRate: 0.1})
	for i := range 5 { // the rate of a client is of 6 pings at once
		body := []byte(onePing("away-1", 9) + "\n" + onePing(fmt.Sprint("r", i), 9) + "\n" + onePing("away-1", 8))
		if a := send(t, "POST", url+"/v1/pings", body, "Prefer", "partial"); a.status != http.StatusMultiStatus || !strings.Contains(a.body, `"retry":[0,2]`) {
			t.Fatalf("request %d: %d %s", i, a.status, a.body)
		}
	}
}

func TestPreferences(t *testing.T) {
	for lines, want := range map[string]bool{
		"":                                      false,
		"partial":                               true,
		"Partial":                               true,
		"respond-async, wait=10 , partial; x=1": true,
		`partial=""`:                            true,
		"partial=no":                            false,
		"partial=no, partial":                   false,
		`x="a, partial", y`:                     false,
		`x="\", partial"`:                       false,
		`x="a`:                                  false,
		"impartial":                             false,
		"wait=5\npartial":                       true,
		",;=":                                   false,
	} {
		var h fasthttp.RequestHeader
		for line := range strings.SplitSeq(lines, "\n") {
			h.Add("Prefer", line)
		}
		if got := prefers(&h, partial); got != want {
			t.Errorf("%q: %v, want %v", lines, got, want)
		}
	}
}
