// Command gofuzz runs every fuzz target of packages, one after the other: gofuzz TIME PACKAGE…
// It exits with 1 if a target failed.
//
// Go 1.26 sometimes ends a target at the end of its time with "context deadline exceeded" and
// without an input that fails: https://go.dev/issue/75804, mended in Go 1.27. The target then
// runs once more.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "gofuzz: a time for each target and packages are needed: gofuzz 10s ./...")
		os.Exit(2)
	}
	failed, err := run(os.Stdout, os.Args[1], os.Args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "gofuzz:", err)
		os.Exit(1)
	}
	if len(failed) > 0 {
		fmt.Fprintln(os.Stderr, "gofuzz: failed:", strings.Join(failed, ", "))
		os.Exit(1)
	}
}

// run returns the targets that failed, as PACKAGE.NAME.
func run(to io.Writer, dur string, patterns []string) (failed []string, err error) {
	targets, err := list(patterns)
	if err != nil {
		return nil, err
	}
	for _, t := range targets {
		fmt.Fprintln(to, "fuzz", t.pkg, t.name)
		passed, again := t.fuzz(to, dur)
		if again {
			fmt.Fprintln(to, "no input failed: once more")
			passed, _ = t.fuzz(to, dur)
		}
		if !passed {
			failed = append(failed, t.pkg+"."+t.name)
		}
	}
	return failed, nil
}

type fuzzTarget struct{ pkg, name string }

// list returns the targets in the order of go test, which names a package last.
func list(patterns []string) (targets []fuzzTarget, err error) {
	cmd := exec.Command("go", append([]string{"test", "-list", "^Fuzz"}, patterns...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	named := 0
	for line := range strings.Lines(string(out)) {
		switch words := strings.Fields(line); {
		case strings.HasPrefix(line, "Fuzz"):
			targets = append(targets, fuzzTarget{name: words[0]})
		case strings.HasPrefix(line, "ok "):
			for ; named < len(targets); named++ {
				targets[named].pkg = words[1]
			}
		}
	}
	return targets, nil
}

// fuzz reports whether a target passed, and if not, whether nothing but Go's own deadline ended it.
func (t fuzzTarget) fuzz(to io.Writer, dur string) (passed, again bool) {
	var said bytes.Buffer
	cmd := exec.Command("go", "test", "-run", "^$", "-fuzz", "^"+t.name+"$", "-fuzztime", dur, t.pkg)
	cmd.Stdout = io.MultiWriter(to, &said)
	cmd.Stderr = cmd.Stdout
	return cmd.Run() == nil, deadlineOnly(&said)
}

// deadlineOnly reports whether a failed target says nothing between the two FAILs but that the time
// is over. An input that fails, a panic and a message of the target stand there too.
func deadlineOnly(said io.Reader) bool {
	var why []string
	inside := false
	for lines := bufio.NewScanner(said); lines.Scan(); {
		switch line := strings.TrimSpace(lines.Text()); {
		case strings.HasPrefix(line, "--- FAIL: Fuzz"):
			inside = true
		case line == "FAIL":
			inside = false
		case inside && line != "":
			why = append(why, line)
		}
	}
	return len(why) == 1 && why[0] == "context deadline exceeded"
}
