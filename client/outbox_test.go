package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pingline"
)

// script is a server: the n-th request gets the n-th answer, and all behind the last are
// taken. It stands at the edge, where a network would.
type script struct {
	t       *testing.T
	answers []answer
	bodies  []string
	keys    []string
	at      []time.Time
	most    int // pings that it takes at once; 0: any
}

// answer is a status with a body, or an error in place of both.
type answer struct {
	status     int
	retryAfter string
	body       string // "": a verdict for each ping
	err        error
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path != "/v1/pings" || r.URL.RawQuery != "verdicts=1" || r.Method != http.MethodPost {
		s.t.Errorf("%s %s", r.Method, r.URL)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Error(err)
	}
	n := len(s.bodies)
	s.bodies, s.keys, s.at = append(s.bodies, string(body)), append(s.keys, r.Header.Get("Authorization")), append(s.at, time.Now())
	a := answer{status: http.StatusOK}
	if n < len(s.answers) {
		a = s.answers[n]
	}
	if a.err != nil {
		return nil, a.err
	}
	count := bytes.Count(body, []byte(`"rider_id"`))
	if s.most > 0 && count > s.most {
		a = answer{status: http.StatusRequestEntityTooLarge, body: `{"error":"too many"}`}
	}
	if a.body == "" {
		a.body = fmt.Sprintf(`{"accepted":%d,"errors":[],"verdicts":[%s]}`, count, strings.TrimSuffix(strings.Repeat(`"accepted",`, count), ","))
	}
	resp := &http.Response{StatusCode: a.status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(a.body))}
	if a.retryAfter != "" {
		resp.Header.Set("Retry-After", a.retryAfter)
	}
	return resp, nil
}

// told keeps the calls of Report.
type told []string

func (l *told) report(p *pingline.Ping, v pingline.Verdict, reason string) {
	*l = append(*l, strings.TrimSpace(fmt.Sprintf("%d %v %s", p.At, v, reason)))
}

func pingAt(at int64) pingline.Ping {
	p := pingline.Ping{Rider: "ana", Fix: pingline.Fix{At: at, LatE7: 411578123, LonE7: -86291051, Known: pingline.HasBattery}}
	p.Battery = 0.81
	return p
}

func pingsAt(n int) (list []pingline.Ping) {
	for i := range n {
		list = append(list, pingAt(int64(i+1)))
	}
	return list
}

func open(t *testing.T, cfg Config) *Outbox {
	t.Helper()
	cfg.URL = "http://pings.example"
	o, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	})
	return o
}

// drain runs o until nothing waits, or Run ends by itself, and returns its error.
func drain(t *testing.T, o *Outbox) error {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		defer stop() // ends Wait as well
		ended <- o.Run(ctx)
	}()
	if err := o.Wait(ctx); err == nil {
		stop()
	}
	return <-ended
}

// An answer that says nothing about the pings has the same bytes sent again, after the time
// that it asks for.
func TestOutboxRepeats(t *testing.T) {
	for _, tt := range []struct {
		name string
		answer
		least, most time.Duration // before the repetition
	}{
		{"429", answer{status: 429, retryAfter: "7"}, 7 * time.Second, 10500 * time.Millisecond},
		{"503", answer{status: 503, retryAfter: "30"}, 30 * time.Second, 45 * time.Second},
		{"503 for a day", answer{status: 503, retryAfter: "86400"}, time.Hour, 90 * time.Minute},
		{"503 without a wish", answer{status: 503}, time.Second, 1500 * time.Millisecond},
		{"408 of one ping", answer{status: 408}, time.Second, 1500 * time.Millisecond},
		{"no answer", answer{err: errors.New("connection reset")}, time.Second, 1500 * time.Millisecond},
		{"half an answer", answer{status: 200, body: `{"accepted":1,`}, time.Second, 1500 * time.Millisecond},
		{"an answer of another server", answer{status: 200, body: `<html>Welcome to our WLAN`}, time.Second, 1500 * time.Millisecond},
		{"too few verdicts", answer{status: 200, body: `{"accepted":0,"verdicts":[]}`}, time.Second, 1500 * time.Millisecond},
		{"a redirect", answer{status: 302, body: "moved"}, time.Second, 1500 * time.Millisecond},
		{"a proxy's 502", answer{status: 502, body: "bad gateway"}, time.Second, 1500 * time.Millisecond},
		{"a proxy's 400", answer{status: 400, body: "<html>400 Bad Request"}, time.Second, 1500 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{t: t, answers: []answer{tt.answer}}
				var told told
				said := 0
				o := open(t, Config{Transport: s, Report: told.report, Repeating: func(why error, _ time.Duration) {
					if said++; why == nil || strings.Contains(why.Error(), "\n") {
						t.Errorf("said %v", why)
					}
				}})
				if err := o.Add(pingAt(1)); err != nil {
					t.Fatal(err)
				}
				if err := drain(t, o); err != nil {
					t.Fatal(err)
				}
				if len(s.bodies) != 2 || s.bodies[0] != s.bodies[1] || said != 1 {
					t.Fatalf("sent %q, said %d", s.bodies, said)
				}
				if waited := s.at[1].Sub(s.at[0]); waited < tt.least || waited > tt.most {
					t.Errorf("waited %v, want %v to %v", waited, tt.least, tt.most)
				}
				if !slices.Equal(told, []string{"1 accepted"}) {
					t.Errorf("told %q", told)
				}
				if st := o.Stats(); st.Requests != 2 || st.Repeats != 1 || st.Queued != 0 || st.Verdicts[pingline.Accepted] != 1 {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}

// The waits double, up to the longest.
func TestOutboxBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{t: t}
		for range 10 {
			s.answers = append(s.answers, answer{err: errors.New("unreachable")})
		}
		o := open(t, Config{Transport: s})
		if err := o.Add(pingAt(1)); err != nil {
			t.Fatal(err)
		}
		if err := drain(t, o); err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			least := min(time.Second<<i, time.Minute)
			if got := s.at[i+1].Sub(s.at[i]); got < least || got > least*3/2 {
				t.Errorf("wait %d is %v, want %v and up to half more", i, got, least)
			}
		}
	})
}

// Pings that are refused are told, each once, with the reason.
func TestOutboxTellsOfRefusals(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answers []answer
		want    []string
	}{
		{
			"verdicts", []answer{{status: 200, body: `{"accepted":1,"shed":1,"rejected":1,"errors":[{"index":1,"error":"rate"},{"index":2,"field":"lat","error":"not in [-90, 90]"}],"verdicts":["accepted","shed","rejected"]}`}},
			[]string{"1 accepted", "2 shed rate", "3 rejected lat: not in [-90, 90]"},
		},
		{
			"all are rejected", []answer{{status: 400, body: `{"error":"all","errors":[{"index":0,"field":"ts","error":"too old"}]}`}},
			[]string{"1 rejected ts: too old", "2 rejected", "3 rejected"},
		},
		{
			"one makes the body malformed", []answer{{status: 400, body: `{"error":"malformed"}`}, {status: 400, body: `{"error":"malformed"}`}},
			[]string{"1 rejected 400 {\"error\":\"malformed\"}", "2 accepted", "3 accepted"},
		},
		{
			"unknown form", []answer{{status: 415, body: `{"error":"encoding"}`}},
			[]string{"1 rejected 415 {\"error\":\"encoding\"}", "2 rejected 415 {\"error\":\"encoding\"}", "3 rejected 415 {\"error\":\"encoding\"}"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var told told
				o := open(t, Config{Transport: &script{t: t, answers: tt.answers}, Report: told.report})
				if err := o.Add(pingsAt(3)...); err != nil {
					t.Fatal(err)
				}
				if err := drain(t, o); err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(told, tt.want) {
					t.Errorf("told %q\nwant %q", told, tt.want)
				}
			})
		})
	}
}

// A server that takes few pings at once gets few at once, and gets all.
func TestOutboxHalves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{t: t, most: 7}
		var told told
		o := open(t, Config{Transport: s, Batch: 100, Report: told.report})
		if err := o.Add(pingsAt(250)...); err != nil {
			t.Fatal(err)
		}
		if err := drain(t, o); err != nil {
			t.Fatal(err)
		}
		if len(told) != 250 || told[0] != "1 accepted" || told[249] != "250 accepted" {
			t.Errorf("told of %d", len(told))
		}
		if n := o.Stats().Requests; n != 4+42 { // 100, 50, 25, 12; then 250 by 6
			t.Errorf("%d requests", n)
		}
		s.most = -1
		s.answers = make([]answer, len(s.bodies)+1)
		s.answers[len(s.bodies)] = answer{status: 413, body: "no"}
		if err := o.Add(pingAt(999)); err != nil {
			t.Fatal(err)
		}
		if err := drain(t, o); err != nil || told[250] != "999 rejected 413 no" {
			t.Errorf("a ping too large alone: %v, told %q", err, told[250:])
		}
	})
}

// A key that is refused ends Run; the pings stay, and go with another key.
func TestOutboxAsksForAKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{t: t, answers: []answer{{status: 401, body: `{"error":"unknown key"}`}, {status: 403, body: `{"error":"of another rider"}`}, {status: 404, body: "nothing here for Bearer new"}}}
		o := open(t, Config{Transport: s, Key: "old"})
		if err := o.Add(pingAt(1)); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`the key is refused: 401 {"error":"unknown key"}`, `the key is refused: 403 {"error":"of another rider"}`, "the URL is not that of a Pingline: 404 nothing here for Bearer …"} {
			err := drain(t, o)
			if _, ok := errors.AsType[*Refused](err); !ok || err.Error() != want || o.Stats().Queued != 1 {
				t.Errorf("%v, %d wait", err, o.Stats().Queued)
			}
			o.SetKey("new")
		}
		if err := drain(t, o); err != nil || o.Stats().Queued != 0 {
			t.Errorf("%v, %+v", err, o.Stats())
		}
		if want := []string{"Bearer old", "Bearer new", "Bearer new", "Bearer new"}; !slices.Equal(s.keys, want) {
			t.Errorf("keys %q", s.keys)
		}
	})
}

func TestOutboxRefuses(t *testing.T) {
	for _, tt := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, `client: Config.URL "" is not of http or https`},
		{Config{URL: "ftp://x"}, `client: Config.URL "ftp://x" is not of http or https`},
		{Config{URL: "http://u:secret@%zz"}, "client: Config.URL is no URL"},
		{Config{URL: "http://x", Batch: 20_001}, "client: Config.Batch 20001 is not in [1, 20000]"},
		{Config{URL: "http://x", Queued: -1}, "client: a limit of Config is negative"},
		{Config{URL: "http://x", Dir: "/proc/nowhere"}, "client: open the queue: "},
	} {
		if _, err := Open(tt.cfg); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %s", tt.cfg, err, tt.want)
		}
	}
	o := open(t, Config{Queued: 2})
	if err := o.Add(pingline.Ping{}); !errors.Is(err, pingline.ErrInvalid) {
		t.Errorf("an invalid ping: %v", err)
	}
	if err := o.Add(pingsAt(3)...); !errors.Is(err, ErrFull) || o.Stats().Queued != 0 {
		t.Errorf("too many: %v", err)
	}
	if err := errors.Join(o.Close(), o.Close()); err != nil {
		t.Error(err)
	}
	if err := o.Add(pingAt(1)); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// Run ends when its context does, and when the Outbox is closed, in the middle of a request
// or of a wait.
func TestOutboxStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, close := range []bool{false, true} {
			s := &script{t: t, answers: []answer{{status: 503, retryAfter: "3600"}}}
			o := open(t, Config{Transport: s})
			if err := o.Add(pingAt(1)); err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- o.Run(ctx) }()
			synctest.Wait() // it waits for an hour
			began := time.Now()
			if close {
				if err := o.Close(); err != nil {
					t.Error(err)
				}
			} else {
				stop()
			}
			if err := <-ended; err != nil || time.Since(began) != 0 || o.Stats().Queued != 1 {
				t.Errorf("%v after %v, %+v", err, time.Since(began), o.Stats())
			}
			stop()
		}
	})
}

func TestResponseWait(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "soon": 0, "5": 5 * time.Second, "-5": 0, "Fri, 02 Jan 2026 03:04:15 GMT": 10 * time.Second, "Fri, 02 Jan 2026 03:04:00 GMT": 0,
	} {
		if got := (&Response{RetryAfter: text}).Wait(now); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func FuzzJudgement(f *testing.F) {
	f.Add(200, []byte(`{"accepted":1,"held":1,"errors":[],"verdicts":["accepted","held"]}`), 2)
	f.Add(400, []byte(`{"error":"x","errors":[{"index":0,"error":"y"}]}`), 1)
	f.Add(207, []byte(`{"accepted":1,"unavailable":1,"errors":[],"verdicts":["accepted","unavailable"],"retry":[1]}`), 2)
	f.Add(200, []byte(`{"accepted":18446744073709551615,"held":3,"verdicts":["accepted","held"]}`), 2)
	f.Fuzz(func(t *testing.T, status int, body []byte, pings int) {
		if pings < 0 || pings > 1000 {
			return
		}
		r := Response{Status: status, Body: body}
		tally, err := r.Judgement(pings)
		if err != nil {
			return
		}
		verdicts := make([]pingline.Verdict, pings)
		if tally.Verdicts(verdicts) != nil {
			return
		}
		var counts [pingline.Verdicts]uint64
		for _, v := range verdicts {
			counts[v]++
		}
		if len(tally.Retry) != int(counts[0]) || status != 207 && counts[0] > 0 {
			t.Errorf("%s: %v are to be sent again", body, tally.Retry)
		}
		if counts != tally.Counts {
			t.Errorf("%s: %v are %v", body, verdicts, tally.Counts)
		}
	})
}

// An answer of 207 says which pings have a verdict, and which are to be sent again.
func TestJudgementInPart(t *testing.T) {
	for body, want := range map[string]string{
		`{"accepted":1,"held":1,"unavailable":2,"verdicts":["unavailable","accepted","held","unavailable"],"retry":[0,3]}`: "[0 3] [none accepted held none] <nil>",
		`{"accepted":1,"held":1,"unavailable":2,"verdicts":["unavailable","accepted","held","unavailable"],"retry":[3,0]}`: "ping 0 of 4 is to be sent again",
		`{"accepted":1,"held":1,"unavailable":2,"retry":[3,4]}`:                                                            "ping 4 of 4 is to be sent again",
		`{"accepted":1,"held":1,"unavailable":2,"retry":[3]}`:                                                              "1 pings are to be sent again, 2 have no verdict",
		`{"accepted":1,"held":1,"unavailable":1,"retry":[3]}`:                                                              "3 verdicts for 4 pings",
		`{"accepted":2,"held":2}`: "[] [none none none none] a list of 0 verdicts for 4 pings",
	} {
		r := Response{Status: http.StatusMultiStatus, Body: []byte(body)}
		if r.Fate() != Partly {
			t.Fatal(r.Fate())
		}
		j, err := r.Judgement(4)
		got := fmt.Sprint(err)
		if err == nil {
			verdicts := make([]pingline.Verdict, 4)
			err = j.Verdicts(verdicts)
			got = fmt.Sprint(j.Retry, verdicts, err)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
		if r.Status = http.StatusOK; strings.Contains(body, "retry") {
			if _, err := r.Judgement(4); err == nil {
				t.Errorf("200 %s: no error", body)
			}
		}
	}
}

// The journal's form of a ping is the one that is sent.
func TestPingsSurviveTheirForm(t *testing.T) {
	p := pingline.Ping{
		Rider: `a "b" ü`, Device: "d", Event: "sos", Trip: "t", Fix: pingline.Fix{
			At: 1760000000123, LatE7: -899999999, LonE7: 1799999999, Speed: 7.42, Heading: 183.5, Accuracy: 0.1, Altitude: -12.3, Battery: 1,
			Known: pingline.HasSpeed | pingline.HasHeading | pingline.HasAccuracy | pingline.HasAltitude | pingline.HasBattery,
		},
	}
	line := appendPing(nil, &queuedPing{p, 7})
	number, got, err := parseLine(line)
	if err != nil || number != 7 || *got != p {
		t.Errorf("%s is %d %+v, %v", line, number, got, err)
	}
	if _, rest, _ := bytes.Cut(line, []byte(" 7 ")); !json.Valid(rest) {
		t.Errorf("%s is no JSON", rest)
	}
}
