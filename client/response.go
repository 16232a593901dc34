package client

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"pingline"
)

// Response is the answer to a request of POST /v1/pings. Its zero value is no answer.
type Response struct {
	Status     int // 0: there was no answer, or half of one
	Body       []byte
	RetryAfter string // the header
	ShedLevel  int    // level of shedding that the server says; -1: none
}

// maxBody is the most bytes of an answer that are read.
const maxBody = 8 << 20

// Read returns the answer of a server, whose body the caller closes. The error says why it
// broke off.
func Read(resp *http.Response) (Response, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return Response{ShedLevel: -1}, err
	}
	level := -1
	if n, err := strconv.ParseUint(resp.Header.Get("Pingline-Shed-Level"), 10, 8); err == nil {
		level = int(n)
	}
	return Response{resp.StatusCode, body, resp.Header.Get("Retry-After"), level}, nil
}

// Fate is what a client does with the pings of a request after its answer.
type Fate uint8

// The fates of a request.
const (
	Again  Fate = iota // keep the pings, wait, and send the same request again
	Judged             // forget the pings: each has its verdict
	Halve              // send the pings in halves; forget a single one
	Forget             // forget the pings: this form is never taken
	Ask                // keep the pings: a person has to act, such as by another key
	Partly             // forget the pings with a verdict; wait, and send those of Judgement.Retry again
)

// Fate returns the fate that the status asks for.
func (r *Response) Fate() Fate {
	switch s := r.Status; {
	case s == http.StatusOK, s == http.StatusBadRequest:
		return Judged
	case s == http.StatusMultiStatus: // to a request with Prefer: partial
		return Partly
	case s == http.StatusRequestEntityTooLarge, s == http.StatusRequestTimeout:
		return Halve
	case s == http.StatusUnsupportedMediaType:
		return Forget
	case s < 400, s >= 500, s == http.StatusTooManyRequests: // below 400: a captive portal
		return Again
	}
	return Ask
}

// Wait returns how long the server asks to be left alone, in seconds or by a date; 0 if it
// does not say, and never less.
func (r *Response) Wait(now time.Time) time.Duration {
	if n, err := strconv.ParseUint(r.RetryAfter, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(r.RetryAfter); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// Judgement is the verdicts of a request.
type Judgement struct {
	Counts      [pingline.Verdicts]uint64 // pings by verdict; at 0, those without one
	MaxError    float32                   // metres, the bound in force
	AccuracyCap float32                   // metres
	Errors      []Objection               // why pings were rejected or shed, the first 100
	Retry       []int                     // positions of pings without a verdict, in order; of 207 alone

	list json.RawMessage // of verdicts, if the request asked for it
}

// Objection says why a ping was not taken.
type Objection struct {
	Index int    `json:"index"` // of the ping in the request
	Field string `json:"field"` // key of the ping, or ""
	Text  string `json:"error"`
}

func (r Objection) String() string { return strings.TrimPrefix(r.Field+": "+r.Text, ": ") }

// Judgement reads the body of an answer of 200, of 400 that rejects each ping, or of 207. It returns an
// error unless each of so many pings has a verdict or, with 207, is among those to send again: the
// answer is then of no Pingline, such as a captive portal's, or refuses the request as a whole.
func (r *Response) Judgement(pings int) (t Judgement, err error) {
	var body struct {
		Accepted    uint64          `json:"accepted"`
		Held        uint64          `json:"held"`
		Redundant   uint64          `json:"redundant"`
		Duplicate   uint64          `json:"duplicate"`
		Shed        uint64          `json:"shed"`
		Rejected    uint64          `json:"rejected"`
		Unavailable uint64          `json:"unavailable"`
		Retry       []int           `json:"retry"`
		MaxError    float32         `json:"max_error"`
		AccuracyCap float32         `json:"accuracy_cap"`
		Verdicts    json.RawMessage `json:"verdicts"`
		Errors      []Objection     `json:"errors"`
	}
	if err := json.Unmarshal(r.Body, &body); err != nil {
		return t, err
	}
	t = Judgement{MaxError: body.MaxError, AccuracyCap: body.AccuracyCap, Errors: body.Errors, list: body.Verdicts}
	if r.Status == http.StatusBadRequest && body.Errors != nil {
		body.Rejected = uint64(pings)
	}
	t.Counts = [pingline.Verdicts]uint64{
		pingline.Accepted: body.Accepted, pingline.Held: body.Held, pingline.Redundant: body.Redundant,
		pingline.Duplicate: body.Duplicate, pingline.Shed: body.Shed, pingline.Rejected: body.Rejected,
	}
	if r.Status == http.StatusMultiStatus {
		t.Retry, t.Counts[0] = body.Retry, body.Unavailable
		for i, at := range t.Retry {
			if at < 0 || at >= pings || i > 0 && at <= t.Retry[i-1] {
				return t, fmt.Errorf("ping %d of %d is to be sent again", at, pings)
			}
		}
		if uint64(len(t.Retry)) != t.Counts[0] {
			return t, fmt.Errorf("%d pings are to be sent again, %d have no verdict", len(t.Retry), t.Counts[0])
		}
	}
	var sum uint64
	for _, n := range t.Counts {
		sum += min(n, uint64(pings)+1) // the sum of any seven does not overflow
	}
	if sum != uint64(pings) {
		return t, fmt.Errorf("%d verdicts for %d pings", sum, pings)
	}
	return t, nil
}

// Verdicts sets dst to the verdict of each ping of a request with ?verdicts=1, 0 for none. It returns an
// error unless there is one for each, and their numbers are those of Counts.
func (t *Judgement) Verdicts(dst []pingline.Verdict) error {
	if t.Counts[pingline.Rejected] == uint64(len(dst)) { // an answer of 400 has no list
		for i := range dst {
			dst[i] = pingline.Rejected
		}
		return nil
	}
	rest, n, left := string(t.list), 0, t.Counts
	for {
		_, after, found := strings.Cut(rest, `"`)
		if !found {
			break
		}
		name, tail, _ := strings.Cut(after, `"`)
		v := verdictOf(name)
		if v == 0 && name != "unavailable" || n == len(dst) || left[v] == 0 {
			return fmt.Errorf("verdict %d of %d, %q, is not among those counted", n, len(dst), name)
		}
		left[v]--
		dst[n] = v
		rest = tail
		n++
	}
	if n != len(dst) {
		return fmt.Errorf("a list of %d verdicts for %d pings", n, len(dst))
	}
	return nil
}

func verdictOf(name string) pingline.Verdict {
	for v := pingline.Accepted; int(v) < pingline.Verdicts; v++ {
		if v.String() == name {
			return v
		}
	}
	return 0
}
