package simulate

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"pingline/internal/unit"
	"pingline/sim"
	"pingline/sim/chaos"
	"pingline/sim/report"
)

// chaosResult is the result of a load while things went wrong.
type chaosResult struct {
	Faults     []chaosFault `json:"faults"`
	Load       *summary     `json:"load"`
	Audit      *auditResult `json:"audit"` // null: there could be none
	Violations []string     `json:"violations"`
	Verdict    string       `json:"verdict"`

	steps    int // in the schedule
	results  []chaos.StepResult
	recovery error // a failure could not be ended, or not be recovered from
	loaded   error // why the load ended early
	audited  error // why there is no audit
}

// chaosFault is a failure, and what the load saw of it: from its begin until its end, and
// on until most requests were answered within a second again.
type chaosFault struct {
	Fault   string  `json:"fault"`
	At      float64 `json:"at_s"` // since the load began
	Lasted  float64 `json:"lasted_s"`
	Skipped string  `json:"skipped,omitempty"` // why it was not brought about

	Refused    uint64   `json:"refused"`     // requests
	Unanswered uint64   `json:"unanswered"`  // requests
	P99        float64  `json:"p99_ms"`      // highest of a second; 0: nothing was answered
	Recovered  *float64 `json:"recovered_s"` // after its end; null: not before the next failure or the end

	failure chaos.Failure
}

// asUsual reports whether most requests of a second were answered, and within a second
// of the moment at which they were due.
func asUsual(m *sim.Moment) bool {
	return m.Latency.P50 > 0 && m.Latency.P50 <= time.Second && 2*(m.Refused+m.Unanswered) <= m.Requests
}

// tellFaults sets how each failure showed in the load.
func (r *chaosResult) tellFaults(began time.Time, moments []sim.Moment) {
	r.Faults = []chaosFault{}
	for i := range r.results {
		o := &r.results[i]
		f := chaosFault{Fault: o.Fault.String(), At: inSeconds(o.At), Skipped: o.Skipped, failure: o.Fault}
		if o.Skipped == "" {
			f.At = inSeconds(o.Began.Sub(began))
			f.Lasted = inSeconds(o.Ended.Sub(o.Began))
			var next time.Time
			for _, n := range r.results[i+1:] {
				if next.IsZero() {
					next = n.Began
				}
			}
			f.see(o, next, moments)
		}
		r.Faults = append(r.Faults, f)
	}
}

// inSeconds returns a time in seconds, exact to the millisecond.
func inSeconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1000 }

// see sets what the load saw until it recovered, or the next failure began.
func (f *chaosFault) see(o *chaos.StepResult, next time.Time, moments []sim.Moment) {
	for i := range moments {
		m := &moments[i]
		over := m.At.Add(time.Second)
		if !over.After(o.Began) {
			continue
		}
		if !next.IsZero() && !m.At.Before(next) {
			return
		}
		f.Refused, f.Unanswered = f.Refused+m.Refused, f.Unanswered+m.Unanswered
		f.P99 = max(f.P99, float64(m.Latency.P99.Microseconds())/1000)
		if over.After(o.Ended) && asUsual(m) && !o.Ready.IsZero() && over.After(o.Ready) {
			at := m.At
			if at.Before(o.Ready) {
				at = o.Ready
			}
			after := max(0, inSeconds(at.Sub(o.Ended)))
			f.Recovered = &after
			return
		}
	}
}

// judge sets the verdict, and what is against the ingester.
func (r *chaosResult) judge() {
	r.Violations = []string{}
	done := 0
	for _, f := range r.Faults {
		if f.Skipped == "" {
			done++
		}
	}
	if done == 0 && !r.Load.Interrupted {
		r.violated(errors.New("no failure was brought about, so that this shows nothing"))
	}
	r.violated(r.recovery)
	r.violated(r.loaded)
	// A proxy in front of an ingester that is down says 502 or 504 for it.
	r.violated(r.Load.wrong(http.StatusBadGateway, http.StatusGatewayTimeout))
	r.violated(r.audited)
	if r.Audit != nil {
		r.violated(r.Audit.Err())
	}
	faults := unit.Plural(done, "failure", "failures")
	switch {
	case len(r.Violations) > 0:
		r.Verdict = fmt.Sprintf("after %s not all is well: %s", faults, strings.Join(r.Violations, "; "))
	case done == 0:
		r.Verdict = "stopped before the first failure; what was answered is stored as it was answered"
	default:
		r.Verdict = fmt.Sprintf("%s, and each answer was true: nothing is lost, nothing is wrong, and the ingester came back each time", faults)
	}
}

func (r *chaosResult) violated(err error) {
	if err != nil {
		r.Violations = append(r.Violations, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
}

// Err returns nil if all is well.
func (r *chaosResult) Err() error {
	if len(r.Violations) == 0 {
		return nil
	}
	return errors.New(r.Violations[0])
}

// seconds writes a time in seconds with as many digits as matter.
func seconds(s float64) string { return short(time.Duration(s * float64(time.Second))) }

// p99 writes the latency, and a dash if nothing was answered.
func (f *chaosFault) p99() string {
	if f.P99 == 0 {
		return "–"
	}
	return seconds(f.P99 / 1000)
}

// recovered writes how long after the end all was as usual.
func (f *chaosFault) recovered() string {
	if f.Recovered == nil {
		return "not seen"
	}
	return seconds(*f.Recovered)
}

// clock writes minutes and seconds since the load began.
func (f *chaosFault) clock() string {
	t := int(f.At)
	return fmt.Sprintf("%d:%02d", t/60, t%60)
}

func (r *chaosResult) print(w io.Writer) error {
	var text strings.Builder
	fmt.Fprintf(&text, "%6s  %-12s %7s %8s %10s %8s %9s\n", "at", "failure", "lasted", "refused", "unanswered", "p99", "recovered")
	for _, f := range r.Faults {
		if f.Skipped == "" {
			fmt.Fprintf(&text, "%6s  %-12s %7s %8s %10s %8s %9s\n", f.clock(), f.Fault, seconds(f.Lasted), comma(f.Refused), comma(f.Unanswered), f.p99(), f.recovered())
		}
	}
	for _, line := range r.skipped() {
		text.WriteString(fold(line) + "\n")
	}
	if _, err := io.WriteString(w, text.String()); err != nil {
		return err
	}
	err := r.Load.print(w)
	if r.Audit != nil {
		err = errors.Join(err, r.Audit.print(w, false))
	}
	_, failure := fmt.Fprintln(w, fold("verdict: "+r.Verdict))
	return errors.Join(err, failure)
}

// skipped are sentences about the failures that were not brought about, one of each.
func (r *chaosResult) skipped() (list []string) {
	seen := make(map[string]bool)
	late := r.steps - len(r.Faults)
	for _, f := range r.Faults {
		switch {
		case f.Skipped == chaos.NoTime:
			late++
		case f.Skipped != "" && !seen[f.Fault]:
			seen[f.Fault] = true
			list = append(list, fmt.Sprintf("%s was skipped: %s", f.Fault, f.Skipped))
		}
	}
	if late > 0 {
		list = append(list, fmt.Sprintf("%s of the schedule had no time", unit.Plural(late, "failure", "failures")))
	}
	return list
}

// lines are those of the page's summary.
func (r *chaosResult) lines() []report.Line {
	list := r.Load.lines()
	if r.Audit != nil {
		list = append(list, report.Line{Name: "audit", Value: r.Audit.Sentence()})
	}
	return append(list, report.Line{Name: "verdict", Value: r.Verdict})
}

// notes are the sentences of the page, the failures in order of time.
func (r *chaosResult) notes() (list []string) {
	for _, f := range r.Faults {
		if f.Skipped == "" {
			list = append(list, fmt.Sprintf("%s: %s for %s; %s requests refused, %s without an answer, p99 %s; recovered after: %s",
				f.clock(), f.failure.Is(), seconds(f.Lasted), comma(f.Refused), comma(f.Unanswered), f.p99(), f.recovered()))
		}
	}
	list = append(list, r.skipped()...)
	if r.Audit != nil {
		list = append(append(list, r.Audit.Examples...), r.Audit.Notes...)
	}
	return list
}
