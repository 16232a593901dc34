package main

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestDeadlineOnly(t *testing.T) {
	const before = "fuzz: elapsed: 3s, execs: 97442 (0/sec), new interesting: 1 (total: 80)\n--- FAIL: FuzzX (3.07s)\n"
	const after = "FAIL\nexit status 1\nFAIL\tp\t3.077s\n"
	for said, want := range map[string]bool{
		before + "    context deadline exceeded\n" + after: true,
		before + "    --- FAIL: FuzzX (0.00s)\n        x_test.go:7: context deadline exceeded\n    \n" +
			"    Failing input written to testdata/fuzz/FuzzX/771e938e4458e983\n" + after: false,
		before + "    fuzzing process hung or terminated unexpectedly: exit status 2\n" + after: false,
		before + after:                  false,
		"FAIL\tp [build failed]\n":      false,
		"context deadline exceeded\n":   false,
		"PASS\nok  \tp\t3.034s\n":       false,
		before + "    context deadline": false,
	} {
		if got := deadlineOnly(strings.NewReader(said)); got != want {
			t.Errorf("%v, want %v, of\n%s", got, want, said)
		}
	}
}

// One target that fails does not keep the others from running, and all that failed are named.
func TestEveryTargetRuns(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"go.mod": "module m\n",
		"m_test.go": `package m
import "testing"
func FuzzBad(f *testing.F) { f.Add(1); f.Fuzz(func(t *testing.T, n int) { t.Error("bad", n) }) }
func FuzzGood(f *testing.F) { f.Add(1); f.Fuzz(func(t *testing.T, n int) {}) }
func TestNothing(*testing.T) {}
`,
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var said strings.Builder
	failed, err := run(&said, "10x", []string{"./..."})
	if err != nil || !slices.Equal(failed, []string{"m.FuzzBad"}) {
		t.Errorf("failed: %v, %v\n%s", failed, err, said.String())
	}
	for _, want := range []string{"fuzz m FuzzBad", "fuzz m FuzzGood", "bad 1"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("no %q in\n%s", want, said.String())
		}
	}
	if strings.Contains(said.String(), "once more") {
		t.Errorf("a target with an input that fails ran again:\n%s", said.String())
	}
}
