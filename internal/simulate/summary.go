package simulate

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"pingline/sim"
	"pingline/sim/report"
)

// summary is the result of a load.
type summary struct {
	Target      string  `json:"target"`
	Seed        uint64  `json:"seed"`
	Seconds     float64 `json:"seconds"`
	Interrupted bool    `json:"interrupted"`
	Riders      int64   `json:"riders"`

	Sent       uint64 `json:"sent"` // pings; each is answered, unanswered or refused
	Answered   uint64 `json:"answered"`
	Unanswered uint64 `json:"unanswered"`
	Refused    uint64 `json:"refused"`
	Skipped    uint64 `json:"skipped"` // pings that were due and never made

	Accepted  uint64 `json:"accepted"`
	Held      uint64 `json:"held"`
	Redundant uint64 `json:"redundant"`
	Duplicate uint64 `json:"duplicate"`
	Shed      uint64 `json:"shed"`
	Rejected  uint64 `json:"rejected"`
	Delivered uint64 `json:"delivered"` // by an app, which hears no verdict

	Requests uint64         `json:"requests"`
	Retries  uint64         `json:"retries"`
	Statuses map[int]uint64 `json:"statuses"` // of the requests that did not get 200; 0: no answer

	Faults map[string]uint64 `json:"faults"` // pings or requests that had one, by its kind

	P50  float64 `json:"p50_ms"`
	P99  float64 `json:"p99_ms"`
	P999 float64 `json:"p999_ms"`
	Max  float64 `json:"max_ms"`

	ShedLevel int `json:"shed_level"` // highest that an answer said; -1: none did

	latency sim.Latency
	lost    error // why the last request without an answer has none
}

func summarize(l *sim.Load, target string, seed uint64, took time.Duration) *summary {
	c, t := l.Counters(), l.Latency()
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	s := &summary{
		Target: target, Seed: seed, Seconds: took.Round(time.Millisecond).Seconds(), Riders: c.Riders,
		Sent: c.Sent, Answered: c.Answered(), Unanswered: c.Unanswered, Refused: c.Forgotten, Skipped: c.Skipped,
		Accepted: c.Accepted, Held: c.Held, Redundant: c.Redundant, Duplicate: c.Duplicate, Shed: c.Shed, Rejected: c.Rejected, Delivered: c.Delivered,
		Requests: c.Requests, Retries: c.Retries, Statuses: c.Refused, Faults: c.Faults,
		P50: ms(t.P50), P99: ms(t.P99), P999: ms(t.P999), Max: ms(t.Max),
		ShedLevel: -1, latency: t,
	}
	for _, m := range l.Moments() {
		s.ShedLevel = max(s.ShedLevel, m.Shed)
	}
	return s
}

// Err returns nil if every ping was answered, and nothing by a status that an
// ingester may not give, or an error that says so.
func (s *summary) Err() error { return s.wrong() }

// wrong is Err, which lets some more statuses pass.
func (s *summary) wrong(pass ...int) error {
	for _, status := range slices.Sorted(maps.Keys(s.Statuses)) {
		if status >= 500 && status != http.StatusServiceUnavailable && !slices.Contains(pass, status) {
			return fmt.Errorf("%s requests were answered %d", comma(s.Statuses[status]), status)
		}
	}
	if s.Unanswered > 0 && s.lost != nil {
		return fmt.Errorf("%s pings without an answer (%w), %s refused for good", comma(s.Unanswered), s.lost, comma(s.Refused))
	}
	if s.Unanswered+s.Refused > 0 {
		return fmt.Errorf("%s pings without an answer, %s refused for good", comma(s.Unanswered), comma(s.Refused))
	}
	return nil
}

// printJSON prints one object on a line.
func printJSON(w io.Writer, object any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(object)
}

func (s *summary) lines() []report.Line {
	var verdicts []string
	for _, of := range []struct {
		n    uint64
		name string
	}{{s.Accepted, "accepted"}, {s.Held, "held"}, {s.Redundant, "redundant"}, {s.Duplicate, "duplicate"}, {s.Shed, "shed"}, {s.Rejected, "rejected"}, {s.Delivered, "delivered"}} {
		if of.n > 0 {
			verdicts = append(verdicts, comma(of.n)+" "+of.name)
		}
	}
	pings := fmt.Sprintf("%s sent by %s phones in %.1f s, %s answered", comma(s.Sent), comma(uint64(s.Riders)), s.Seconds, comma(s.Answered))
	for _, of := range []struct {
		n    uint64
		text string
	}{{s.Unanswered, "without an answer"}, {s.Refused, "refused for good"}, {s.Skipped, "due and never made"}} {
		if of.n > 0 {
			pings += fmt.Sprintf(", %s %s", comma(of.n), of.text)
		}
	}
	requests := comma(s.Requests)
	for _, status := range slices.Sorted(maps.Keys(s.Statuses)) {
		if status == 0 {
			requests += fmt.Sprintf(", %s without an answer", comma(s.Statuses[0]))
		} else {
			requests += fmt.Sprintf(", %s answered %d", comma(s.Statuses[status]), status)
		}
	}
	if s.Retries > 0 {
		requests += fmt.Sprintf(", %s sent again", comma(s.Retries))
	}
	l := s.latency
	list := []report.Line{
		{Name: "pings", Value: pings},
		{Name: "verdicts", Value: strings.Join(verdicts, ", ")},
		{Name: "requests", Value: requests},
		{Name: "latency", Value: fmt.Sprintf("p50 %s, p99 %s, p99.9 %s, max %s", short(l.P50), short(l.P99), short(l.P999), short(l.Max))},
	}
	var faults []string
	for _, kind := range slices.Sorted(maps.Keys(s.Faults)) {
		faults = append(faults, comma(s.Faults[kind])+" "+kind)
	}
	list = append(list, report.Line{Name: "faults", Value: strings.Join(faults, ", ")})
	if s.ShedLevel >= 0 {
		list = append(list, report.Line{Name: "shedding", Value: fmt.Sprintf("level %d at most", s.ShedLevel)})
	}
	return list
}

func (s *summary) print(w io.Writer) error {
	var text strings.Builder
	for _, l := range s.lines() {
		if l.Value != "" {
			fmt.Fprintf(&text, "%-9s %s\n", l.Name, wrap(l.Value, 70))
		}
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// wrap breaks a list after commas, so that no line is wider than width.
func wrap(list string, width int) string {
	var text strings.Builder
	column := 0
	for i, item := range strings.Split(list, ", ") {
		switch {
		case i > 0 && column+len(item)+2 > width:
			text.WriteString(",\n          ")
			column = 0
		case i > 0:
			text.WriteString(", ")
			column += 2
		}
		text.WriteString(item)
		column += len(item)
	}
	return text.String()
}
