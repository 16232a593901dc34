// Command skips runs go test with its own arguments, prints the output of go test,
// and at the end lists the skipped tests with the reason of each. It exits as go
// test does.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
)

func main() {
	args := os.Args[1:]
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "skips:", err)
		os.Exit(1)
	}
	r := newReport(os.Stdout, slices.Contains(args, "-v"))
	r.read(out)
	err = cmd.Wait()
	r.summary()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		os.Exit(cmp.Or(max(0, exit.ExitCode()), 1)) // -1 means a signal
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "skips:", err)
		os.Exit(1)
	}
}

// event is a line of go test -json.
type event struct{ Action, Package, Test, Output string }

type test struct{ pkg, name string }

// report keeps the output of each test until it is known whether the test
// fails.
type report struct {
	to      io.Writer
	all     bool // print all output at once
	output  map[test]*strings.Builder
	skipped map[string][]string // tests by reason
}

func newReport(to io.Writer, all bool) *report {
	return &report{to, all, map[test]*strings.Builder{}, map[string][]string{}}
}

func (r *report) read(from io.Reader) {
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadBytes('\n')
		var e event
		if len(line) > 0 && json.Unmarshal(line, &e) != nil {
			fmt.Fprintf(r.to, "%s", line) // a message of the go command
		} else if len(line) > 0 {
			r.take(&e)
		}
		if err != nil {
			return
		}
	}
}

func (r *report) take(e *event) {
	t := test{e.Package, e.Test}
	switch e.Action {
	case "output", "build-output":
		r.say(t, e.Output)
	case "skip":
		if e.Test != "" {
			why := reason(r.text(t))
			r.skipped[why] = append(r.skipped[why], e.Package+"."+e.Test)
		}
		delete(r.output, t)
	case "fail":
		r.fail(t)
	case "pass":
		delete(r.output, t)
	}
}

// say prints a line, or keeps it if a test wrote it. It drops lines that only -v
// asks for.
func (r *report) say(t test, line string) {
	if !r.all && (line == "PASS\n" || strings.HasPrefix(line, "=== ")) {
		return
	}
	if r.all || t.name == "" {
		fmt.Fprint(r.to, line)
	}
	if t.name != "" {
		if r.output[t] == nil {
			r.output[t] = new(strings.Builder)
		}
		r.output[t].WriteString(line)
	}
}

// fail prints the output of a test. For a package it prints the output of all
// tests that have not ended, since it broke down during them.
func (r *report) fail(t test) {
	for _, o := range slices.SortedFunc(maps.Keys(r.output), func(a, b test) int { return cmp.Compare(a.name, b.name) }) {
		if o != t && (t.name != "" || o.pkg != t.pkg) {
			continue
		}
		if !r.all {
			fmt.Fprint(r.to, r.text(o))
		}
		delete(r.output, o)
	}
}

func (r *report) text(t test) string {
	if b := r.output[t]; b != nil {
		return b.String()
	}
	return ""
}

// reason returns the last message of a test itself, without file and line.
func reason(text string) string {
	why := "no reason given"
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "=== ") || strings.HasPrefix(line, "--- ") {
			continue
		}
		if _, said, ok := strings.Cut(line, ".go:"); ok {
			if _, said, ok = strings.Cut(said, ": "); ok {
				line = said
			}
		}
		why = line
	}
	return why
}

// named is how many tests are named for each reason.
const named = 5

func (r *report) summary() {
	n := 0
	for _, tests := range r.skipped {
		n += len(tests)
	}
	if n == 0 {
		return
	}
	if n == 1 {
		fmt.Fprintf(r.to, "\n1 test, or part of one, was skipped:\n")
	} else {
		fmt.Fprintf(r.to, "\n%d tests and parts of tests were skipped:\n", n)
	}
	for _, why := range slices.Sorted(maps.Keys(r.skipped)) {
		tests := r.skipped[why]
		slices.Sort(tests)
		fmt.Fprintf(r.to, "  %s: %d", why, len(tests))
		for _, name := range tests[:min(named, len(tests))] {
			fmt.Fprintf(r.to, "\n    %s", name)
		}
		if len(tests) > named {
			fmt.Fprintf(r.to, "\n    and %d more", len(tests)-named)
		}
		fmt.Fprintln(r.to)
	}
}
