// Command gotest runs go test with its own arguments, prints the output of go test,
// and at the end lists the skipped tests with the reason of each. It exits as go
// test does.
//
// With -again N before the arguments, up to N failed tests run once more, each alone.
// If all of them pass, so does the run, and it ends with a list of them: each is a
// fault of the test or of the code. A data race, a panic or a package that does not
// build fails at once.
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
	"regexp"
	"slices"
	"strconv"
	"strings"
)

func main() {
	args, again := os.Args[1:], 0
	if len(args) > 1 && args[0] == "-again" {
		n, err := strconv.Atoi(args[1])
		if err != nil || n < 0 {
			fmt.Fprintf(os.Stderr, "gotest: -again takes a number of tests, not %q\n", args[1])
			os.Exit(2)
		}
		args, again = args[2:], n
	}
	r := newReport(os.Stdout, slices.Contains(args, "-v"))
	code, err := r.run(args)
	if err == nil && code != 0 && len(r.failed) <= again && !r.broken {
		code, err = r.runAgain(args)
	}
	r.summary()
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
		code = 1
	}
	os.Exit(code)
}

// run runs go test and returns its exit code.
func (r *report) run(args []string) (int, error) {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return 1, err
	}
	r.read(out)
	err = cmd.Wait()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return cmp.Or(max(0, exit.ExitCode()), 1), nil // -1 means a signal
	}
	return 0, err
}

// runAgain runs each failed test alone, until one fails again.
func (r *report) runAgain(args []string) (int, error) {
	flags := slices.DeleteFunc(slices.Clone(args), isPackage)
	for _, t := range r.failed {
		fmt.Fprintf(r.to, "\n%s.%s failed and runs again, alone\n", t.pkg, t.name)
		one := newReport(r.to, r.all)
		code, err := one.run(append(slices.Clone(flags), "-count", "1", "-run", "^"+regexp.QuoteMeta(t.name)+"$", t.pkg))
		if code != 0 || err != nil {
			return code, err
		}
		if one.broken = !one.passed[t]; one.broken {
			return 1, fmt.Errorf("%s.%s did not run again", t.pkg, t.name)
		}
		r.again = append(r.again, t)
	}
	return 0, nil
}

// isPackage reports whether an argument names packages.
func isPackage(arg string) bool { return strings.HasPrefix(arg, ".") }

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
	failed  []test              // without those within them
	passed  map[test]bool
	broken  bool   // something failed that is no test, or may fail tests at random
	again   []test // failed, and passed alone
}

func newReport(to io.Writer, all bool) *report {
	return &report{to: to, all: all, output: map[test]*strings.Builder{}, skipped: map[string][]string{}, passed: map[test]bool{}}
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
		if strings.Contains(e.Output, "WARNING: DATA RACE") || strings.HasPrefix(e.Output, "panic: ") || strings.HasPrefix(e.Output, "fatal error: ") {
			r.broken = true
		}
		r.say(t, e.Output)
	case "skip":
		if e.Test != "" {
			why := reason(r.text(t))
			r.skipped[why] = append(r.skipped[why], e.Package+"."+e.Test)
		}
		delete(r.output, t)
	case "build-fail":
		r.broken = true
	case "fail":
		r.note(t)
		r.fail(t)
	case "pass":
		r.passed[t] = true
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

// note keeps a failed test, or that a package failed without one.
func (r *report) note(t test) {
	switch {
	case t.name == "":
		r.broken = r.broken || !slices.ContainsFunc(r.failed, func(f test) bool { return f.pkg == t.pkg })
	case !strings.Contains(t.name, "/"):
		r.failed = append(r.failed, t)
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
	if len(r.again) > 0 {
		fmt.Fprintf(r.to, "\nfailed, and passed alone; each is a fault of the test or of the code:\n")
	}
	for _, t := range r.again {
		fmt.Fprintf(r.to, "  %s.%s\n", t.pkg, t.name)
	}
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
