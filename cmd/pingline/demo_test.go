package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"pingline/internal/influxd"
	"pingline/sim/audit"
)

// In a pipe the demo says what is where, prints a line a second that fits a terminal, and its
// verdict in a sentence. What is kept is the same part of the same pings live and in
// the end.
func TestDemoInAPipe(t *testing.T) {
	if _, err := influxd.Find(); err != nil {
		t.Skip(err)
	}
	status, stdout, stderr := runs(t, "demo", "--for=3s", "--riders=500", "--rate=500", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0", "--phone-listen=127.0.0.1:0")
	lines := strings.Split(strings.TrimSuffix(stdout, "\n"), "\n")
	if status != exitOK || strings.ContainsAny(stdout, "\x1b\r") || !regexp.MustCompile(`^(map       http://127\.0\.0\.1:[0-9]+/|page      http://127\.0\.0\.1:[0-9]+/ \(what is where\))$`).MatchString(lines[0]) {
		t.Fatalf("exit status %d: %s%s", status, stdout, stderr)
	}
	for _, line := range lines {
		if utf8.RuneCountInString(line) > 80 {
			t.Errorf("a line is too long: %s", line)
		}
	}
	if !strings.Contains(stdout, "\nphone     no code to scan:\n") { // of this machine's own address
		t.Errorf("it says nothing of visitors' phones: %s", stdout)
	}
	verdict := regexp.MustCompile(`^([0-9,]+) answered, [0-9,]+ stored \(([0-9.]+) %\), 0 lost, none beyond its bound$`).FindStringSubmatch(lines[len(lines)-1])
	live := regexp.MustCompile(`answered ([0-9,]+), kept ([0-9.]+) %, waiting 0,`).FindAllStringSubmatch(stdout, -1)
	if verdict == nil || live == nil || verdict[1] != live[len(live)-1][1] || verdict[2] != live[len(live)-1][2] {
		t.Errorf("the last figures are %q, the verdict is %q", live, lines[len(lines)-1])
	}
}

// A second Ctrl-C ends the demo at once, and leaves nothing in the directory of
// temporary files.
func TestDemoToldTwiceToEnd(t *testing.T) {
	if _, err := influxd.Find(); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	cmd := pinglineCommand("demo", "--riders=500", "--rate=500", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0")
	cmd.Env = append(cmd.Env, "TMPDIR="+dir)
	var said bytes.Buffer
	cmd.Stderr = &said
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	lines := bufio.NewScanner(stdout)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "sent ") {
	}
	// Two of one kind would be one if the first was not yet taken.
	if err := errors.Join(cmd.Process.Signal(os.Interrupt), cmd.Process.Signal(syscall.SIGTERM)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, stdout); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	left, err := os.ReadDir(dir)
	if status := cmd.ProcessState.ExitCode(); status != exitFailed || len(left) > 0 || err != nil || !strings.Contains(said.String(), "pingline: told twice to end: nothing is audited\n") {
		t.Errorf("exit status %d, said %q, left %v: %v", status, &said, left, err)
	}
}

// Each failure is in the sentence, and in the exit status.
func TestDemoVerdict(t *testing.T) {
	r := demoResult{Report: audit.Report{Accepted: 10_000, Held: 1, Redundant: 48_000, Duplicate: 334, Stored: 9155}}
	if got, want := r.Sentence(), "58,335 answered, 9,155 stored (15.7 %), 0 lost, none beyond its bound"; got != want || r.Err() != nil {
		t.Errorf("says %q, want %q; %v", got, want, r.Err())
	}
	r.Lost, r.OutOfBound, r.Unanswered = 3, 2, 1
	if got, want := r.Sentence(), "58,335 answered, 9,155 stored (15.7 %), 3 lost, 1 without an answer, 2 beyond their bound"; got != want || r.Err() == nil {
		t.Errorf("says %q, want %q; %v", got, want, r.Err())
	}
}
