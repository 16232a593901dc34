package phonetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pingline"
	"pingline/ingest/phone"
)

// outcome returns the outcome of pings with the verdicts that judge returns.
func outcome(pings *phone.Pings, judge func(i int) pingline.Verdict) *phone.Outcome {
	mine := *pings
	mine.List, mine.Index, mine.Rejected = slices.Clone(pings.List), slices.Clone(pings.Index), slices.Clone(pings.Rejected)
	got := &phone.Outcome{Pings: &mine, Judged: make([]pingline.Verdict, len(mine.List)), MaxError: 10, AccuracyCap: 50}
	for i := range got.Judged {
		got.Judged[i] = judge(i)
	}
	return got
}

// mixed returns an outcome with every verdict in turn. If there are three pings or more,
// the second is over its rider's rate, and the first to be shed is of too many new
// tracks.
func mixed(pings *phone.Pings) *phone.Outcome {
	turn := []pingline.Verdict{pingline.Held, pingline.Shed, pingline.Redundant, pingline.Accepted, pingline.Duplicate}
	got := outcome(pings, func(i int) pingline.Verdict { return turn[i%len(turn)] })
	if q := got.Pings; len(q.List) >= 3 {
		got.Shed = append(got.Shed, q.Index[1])
		q.List, q.Index = slices.Delete(q.List, 1, 2), slices.Delete(q.Index, 1, 2)
		got.Judged = got.Judged[:len(q.List)]
	}
	if at := slices.Index(got.Judged, pingline.Shed); at >= 0 {
		got.Over = append(got.Over, int32(at))
	}
	return got
}

// word has Reply write an outcome, and checks the rules for every reply.
func word(t testing.TB, p *phone.Protocol, r *phone.Request, got *phone.Outcome) phone.Reply {
	t.Helper()
	was := outcome(got.Pings, func(i int) pingline.Verdict { return got.Judged[i] })
	was.Shed, was.Over, was.Err = slices.Clone(got.Shed), slices.Clone(got.Over), got.Err
	was.MaxError, was.AccuracyCap, was.Away = got.MaxError, got.AccuracyCap, got.Away
	body := bytes.Clone(r.Body)
	to := phone.Reply{Status: http.StatusOK, Body: make([]byte, 0, 8)}
	p.Reply(&to, r, got)
	now, before := got.Pings, was.Pings
	if !slices.Equal(got.Judged, was.Judged) || !slices.Equal(got.Shed, was.Shed) || !slices.Equal(got.Over, was.Over) ||
		!slices.Equal(now.List, before.List) || !slices.Equal(now.Index, before.Index) || !slices.Equal(now.Rejected, before.Rejected) ||
		now.Received != before.Received || !errors.Is(got.Err, was.Err) || got.MaxError != was.MaxError || got.AccuracyCap != was.AccuracyCap {
		t.Errorf("Reply has changed the outcome to %+v, was %+v", got, was)
	}
	if !bytes.Equal(body, r.Body) {
		t.Error("Reply has changed the body of the request")
	}
	checkStatus(t, p, got, to.Status)
	if to.ContentType == "application/json" && !json.Valid(to.Body) {
		t.Errorf("reply that is no JSON: %q", to.Body)
	}
	if strings.ContainsAny(to.ContentType, "\r\n") {
		t.Errorf("content type %q has a line break", to.ContentType)
	}
	if most := mostReply(r, got); len(to.Body) > most {
		t.Errorf("reply of %d bytes to a request of %d with %d pings, want %d at most", len(to.Body), size(r), got.Pings.Received, most)
	}
	return to
}

// checkStatus checks that the status of a reply tells the client that its request is
// done, or which of its pings are not: only the server answers requests that have to be sent again.
func checkStatus(t testing.TB, p *phone.Protocol, got *phone.Outcome, status int) {
	t.Helper()
	done := status >= 200 && status < 300
	final := done || status >= 400 && status < 500 && status != http.StatusTooManyRequests && status != http.StatusRequestTimeout
	switch {
	case (status == http.StatusMultiStatus) != (got.Away != nil):
		t.Errorf("reply with status %d, pings without a verdict: %v", status, got.Away)
	case !final:
		t.Errorf("reply with status %d to a request that is done (%v)", status, got.Err)
	case !done && len(got.Judged) > 0 && !(p.Partial && status == http.StatusBadRequest && got.Pings.Received > kept(got)):
		t.Errorf("reply with status %d to pings with verdicts %v, want 2xx: all of them are final", status, got.Judged)
	case !done && got.Err == nil && got.Pings.Received == 0:
		t.Errorf("reply with status %d to a request without a position, which is no error", status)
	case got.Err != nil && done != p.Repeats:
		t.Errorf("reply with status %d to a request refused for good (%v), its phones repeat until 2xx: %v", status, got.Err, p.Repeats)
	}
}

// kept returns how many pings of a request were not lost.
func kept(got *phone.Outcome) int {
	n := got.Counts()
	return n[pingline.Accepted] + n[pingline.Held] + n[pingline.Redundant] + n[pingline.Duplicate]
}

// size is the length of a request in bytes, without its header.
func size(r *phone.Request) int { return len(r.Body) + len(r.Query) + len(r.Path) }

// mostReply is the greatest length of a reply, in bytes.
func mostReply(r *phone.Request, got *phone.Outcome) int {
	n := 4<<10 + 2*size(r) + 64*got.Pings.Received
	for _, e := range got.Errors() {
		n += 128 + 6*len(e.Reason)
	}
	if got.Err != nil {
		n += 6 * len(got.Err.Error())
	}
	return n
}

// outcomes has Reply write every verdict, alone and mixed.
func outcomes(t testing.TB, p *phone.Protocol, c *testCase) {
	var pings phone.Pings
	r := c.in
	if decode(t, p, &r, &pings) != nil {
		return
	}
	twice := func(name string, fresh func() *phone.Outcome) {
		defer func() {
			if e := recover(); e != nil {
				t.Errorf("Reply panics when pings are %s: %v", name, e)
			}
		}()
		one, two := word(t, p, &r, fresh()), word(t, p, &r, fresh())
		if !reflect.DeepEqual(one, two) {
			t.Errorf("reply %+v the next time when pings are %s, was %+v", two, name, one)
		}
	}
	for v := pingline.Accepted; v < pingline.Rejected; v++ {
		twice(v.String(), func() *phone.Outcome { return outcome(&pings, func(int) pingline.Verdict { return v }) })
	}
	twice("all of tracks too many", func() *phone.Outcome {
		got := outcome(&pings, func(int) pingline.Verdict { return pingline.Shed })
		for i := range got.Judged {
			got.Over = append(got.Over, int32(i))
		}
		return got
	})
	if p.Unjudged {
		twice("in part without a verdict", func() *phone.Outcome {
			got := outcome(&pings, func(i int) pingline.Verdict { return pingline.Accepted * pingline.Verdict(i%2) })
			if slices.Contains(got.Judged, 0) {
				got.Away = errors.New("part 1 has no \"node\" now")
			}
			return got
		})
	}
	twice("mixed", func() *phone.Outcome { return mixed(&pings) })
}

// refusals are errors, as of the server, of each kind of refusal for good.
var refusals = []error{
	&phone.Error{Kind: phone.ErrMalformed, Text: "a \"test\"\n"},
	&phone.Error{Kind: phone.ErrTooLarge, Text: "body is larger than 4194304 bytes"},
	&phone.Error{Kind: phone.ErrEncoding, Text: `content encoding "br" is neither gzip nor zstd`},
}

// refusal returns the reply to a request that is refused with err before its body has
// come.
func refusal(t testing.TB, p *phone.Protocol, c *testCase, err error) phone.Reply {
	var none phone.Pings
	r := c.in
	r.Body = nil
	none.Reset(r.Limits, r.Now)
	return word(t, p, &r, &phone.Outcome{Err: err, Pings: &none})
}

// refused has Reply answer requests that the server refuses for good, some before their
// body has come.
func refused(t testing.TB, p *phone.Protocol, c *testCase) {
	var none phone.Pings
	for _, err := range append(slices.Clone(refusals), fmt.Errorf("wrapped: %w", refusals[0])) {
		r := c.in
		none.Reset(r.Limits, r.Now)
		word(t, p, &r, &phone.Outcome{Err: err, Pings: &none})
		refusal(t, p, c, err)
	}
}
