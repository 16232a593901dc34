package sim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"pingline"
)

// reaction is what came back for a request; its zero value is no answer.
type reaction struct {
	status     int
	body       []byte
	retryAfter string
	shed       int // the level that it says, -1: none
}

// shedLevel returns the level of shedding that an answer says, -1 for none.
func shedLevel(h http.Header) int {
	if n, err := strconv.ParseUint(h.Get("Pingline-Shed-Level"), 10, 8); err == nil {
		return int(n)
	}
	return -1
}

// meaning is what an answer means for the pings of its request.
type meaning int

const (
	again    meaning = iota // keep them and send them again, later
	answered                // every ping has its verdict
	tooLarge                // send them in halves
	refused                 // a bug: forget them
	hopeless                // not an answer of an ingester that we may use
)

func (a reaction) fate() meaning {
	switch {
	case a.status == 0, a.status == http.StatusRequestTimeout, a.status == http.StatusTooManyRequests, a.status >= 500:
		return again
	case a.status == http.StatusOK, a.status == http.StatusBadRequest:
		return answered
	case a.status == http.StatusRequestEntityTooLarge:
		return tooLarge
	case a.status == http.StatusUnsupportedMediaType:
		return refused
	}
	return hopeless
}

// verdictCounts is the body of an answer of 200.
type verdictCounts struct {
	Accepted    uint64          `json:"accepted"`
	Held        uint64          `json:"held"`
	Redundant   uint64          `json:"redundant"`
	Duplicate   uint64          `json:"duplicate"`
	Shed        uint64          `json:"shed"`
	Rejected    uint64          `json:"rejected"`
	MaxError    float32         `json:"max_error"`
	AccuracyCap float32         `json:"accuracy_cap"`
	Verdicts    json.RawMessage `json:"verdicts"`
}

func (r *verdictCounts) counts() [pingline.Verdicts]uint64 {
	return [pingline.Verdicts]uint64{
		pingline.Accepted: r.Accepted, pingline.Held: r.Held, pingline.Redundant: r.Redundant,
		pingline.Duplicate: r.Duplicate, pingline.Shed: r.Shed, pingline.Rejected: r.Rejected,
	}
}

// settle counts and records what a says about pings that were due at. An answer that
// does not account for each of them is an error.
func (s *sender) settle(pings []pingline.Ping, a reaction, at int64) error {
	verdicts := make([]pingline.Verdict, len(pings))
	if a.status == http.StatusBadRequest {
		for i := range verdicts {
			verdicts[i] = pingline.Rejected
		}
		counts := [pingline.Verdicts]uint64{pingline.Rejected: uint64(len(pings))}
		s.settled(&counts, at)
		s.record(pings, verdicts, 0, 0)
		return nil
	}
	var r verdictCounts
	if err := json.Unmarshal(a.body, &r); err != nil {
		return fmt.Errorf("read the answer of %s: %w", s.url, err)
	}
	counts := r.counts()
	if err := checkCounts(counts, len(pings)); err != nil {
		return fmt.Errorf("read the answer of %s: %w", s.url, err)
	}
	if s.cfg.Ledger != nil {
		if err := parseVerdicts(verdicts, r.Verdicts, counts); err != nil {
			return fmt.Errorf("read the answer of %s: %w", s.url, err)
		}
		s.record(pings, verdicts, r.MaxError, r.AccuracyCap)
	}
	s.settled(&counts, at)
	return nil
}

func (s *sender) settled(counts *[pingline.Verdicts]uint64, at int64) {
	for v, n := range counts {
		s.count.verdicts[v].Add(n)
	}
	s.journal.settled(counts, at)
}

// checkCounts holds an answer to G3: one verdict for each ping received.
func checkCounts(counts [pingline.Verdicts]uint64, pings int) error {
	var sum uint64
	for _, n := range counts {
		sum += n
	}
	if sum != uint64(pings) {
		return fmt.Errorf("%d verdicts for %d pings", sum, pings)
	}
	return nil
}

// parseVerdicts fills dst from a JSON list of verdicts, which is known to be
// valid JSON, and checks it against the counts.
func parseVerdicts(dst []pingline.Verdict, list []byte, counts [pingline.Verdicts]uint64) error {
	rest, n := string(list), 0
	for {
		_, after, found := strings.Cut(rest, `"`)
		if !found {
			break
		}
		name, tail, _ := strings.Cut(after, `"`)
		v := verdictOf(name)
		if v == 0 || n == len(dst) || counts[v] == 0 {
			return fmt.Errorf("verdict %d of %d, %q, is not among those counted", n, len(dst), name)
		}
		counts[v]--
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

// maxRetryAfter is the longest that a load lets an ingester send it away for.
const maxRetryAfter = time.Minute

// parseRetryAfter reads a Retry-After header, in seconds or as a date. It
// returns 0 for one that says nothing.
func parseRetryAfter(s string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return min(time.Duration(n)*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(s); err == nil {
		return min(at.Sub(now), maxRetryAfter)
	}
	return 0
}

// record takes down pings and their answer.
func (s *sender) record(pings []pingline.Ping, verdicts []pingline.Verdict, maxError, accuracyCap float32) {
	if s.cfg.Ledger != nil {
		s.cfg.Ledger.Record(pings, verdicts, maxError, accuracyCap)
	}
}

// forget gives up pings that the ingester will never take.
func (s *sender) forget(pings []pingline.Ping) {
	s.count.forgotten.Add(uint64(len(pings)))
	s.record(pings, nil, 0, 0)
}

// giveUp leaves pings without an answer: they may be stored, or not.
func (s *sender) giveUp(pings []pingline.Ping) {
	s.count.unanswered.Add(uint64(len(pings)))
	s.record(pings, nil, 0, 0)
}
