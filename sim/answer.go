package sim

import (
	"fmt"
	"net/http"
	"time"

	"pingline"
	"pingline/client"
)

// fateOf returns what becomes of the pings of a request. A load is stricter than a phone: a
// status that no ingester has given ends it.
func fateOf(a *client.Response) client.Fate {
	switch s := a.Status; {
	case s == http.StatusRequestTimeout: // of a slow phone, which is faster the next time
		return client.Again
	case s > 200 && s < 400 && s != http.StatusMultiStatus:
		return client.Ask
	}
	return a.Fate()
}

// settle counts and records what a says about pings that were due at. An answer that
// does not account for each of them is an error.
func (s *sender) settle(pings []pingline.Ping, a client.Response, at int64) error {
	verdicts := make([]pingline.Verdict, len(pings))
	if a.Status == http.StatusBadRequest {
		for i := range verdicts {
			verdicts[i] = pingline.Rejected
		}
		counts := [pingline.Verdicts]uint64{pingline.Rejected: uint64(len(pings))}
		s.settled(&counts, at)
		s.record(pings, verdicts, 0, 0)
		return nil
	}
	t, err := a.Judgement(len(pings))
	if err == nil && s.cfg.Ledger != nil {
		err = t.Verdicts(verdicts)
	}
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", s.url, err)
	}
	s.record(pings, verdicts, t.MaxError, t.AccuracyCap)
	s.settled(&t.Counts, at)
	return nil
}

// settlePart is settle of an answer of 207. It returns the pings to send again.
func (s *sender) settlePart(pings []pingline.Ping, a client.Response, at int64) (again []pingline.Ping, err error) {
	verdicts := make([]pingline.Verdict, len(pings))
	t, err := a.Judgement(len(pings))
	if err == nil && s.cfg.Ledger != nil {
		err = t.Verdicts(verdicts)
	}
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", s.url, err)
	}
	judged, of := make([]pingline.Ping, 0, len(pings)), verdicts[:0]
	for i := range pings {
		if n := len(again); n < len(t.Retry) && t.Retry[n] == i {
			again = append(again, pings[i])
			continue
		}
		judged, of = append(judged, pings[i]), append(of, verdicts[i])
	}
	t.Counts[0] = 0
	s.record(judged, of, t.MaxError, t.AccuracyCap)
	s.settled(&t.Counts, at)
	return again, nil
}

func (s *sender) settled(counts *[pingline.Verdicts]uint64, at int64) {
	for v, n := range counts {
		s.count.verdicts[v].Add(n)
	}
	s.journal.settled(counts, at)
}

// maxRetryAfter is the longest that a load lets an ingester send it away for.
const maxRetryAfter = time.Minute

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
