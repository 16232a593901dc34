package main

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"pingline/internal/influxd"
	"pingline/sim/audit"
)

// In a pipe the demo prints a link, a line a second that fits a terminal, and its
// verdict in a sentence. What is kept is the same part of the same pings live and in
// the end.
func TestDemoInAPipe(t *testing.T) {
	if _, err := influxd.Find(); err != nil {
		t.Skip(err)
	}
	status, stdout, stderr := runs(t, "demo", "--for=3s", "--riders=500", "--rate=500", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0")
	lines := strings.Split(strings.TrimSuffix(stdout, "\n"), "\n")
	if status != exitOK || strings.ContainsAny(stdout, "\x1b\r") || !regexp.MustCompile(`^http://127\.0\.0\.1:[0-9]+/$`).MatchString(lines[0]) {
		t.Fatalf("exit status %d: %s%s", status, stdout, stderr)
	}
	for _, line := range lines {
		if utf8.RuneCountInString(line) > 80 {
			t.Errorf("a line is too long: %s", line)
		}
	}
	verdict := regexp.MustCompile(`^([0-9,]+) answered, [0-9,]+ stored \(([0-9.]+) %\), 0 lost, none beyond its bound$`).FindStringSubmatch(lines[len(lines)-1])
	live := regexp.MustCompile(`answered ([0-9,]+), kept ([0-9.]+) %, waiting 0,`).FindAllStringSubmatch(stdout, -1)
	if verdict == nil || live == nil || verdict[1] != live[len(live)-1][1] || verdict[2] != live[len(live)-1][2] {
		t.Errorf("the last figures are %q, the verdict is %q", live, lines[len(lines)-1])
	}
}

// What went wrong is in the sentence, and in the exit status.
func TestDemoVerdict(t *testing.T) {
	r := demoResult{Report: audit.Report{Accepted: 10_000, Held: 1, Redundant: 48_000, Duplicate: 334, Stored: 9155}}
	if got, want := r.verdict(), "58,335 answered, 9,155 stored (15.7 %), 0 lost, none beyond its bound"; got != want || r.Err() != nil {
		t.Errorf("says %q, want %q; %v", got, want, r.Err())
	}
	r.Lost, r.OutOfBound, r.Unanswered = 3, 2, 1
	if got, want := r.verdict(), "58,335 answered, 9,155 stored (15.7 %), 3 lost, 1 without an answer, 2 beyond their bound"; got != want || r.Err() == nil {
		t.Errorf("says %q, want %q; %v", got, want, r.Err())
	}
}
