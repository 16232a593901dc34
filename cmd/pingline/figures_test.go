package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pingline/track/tracktest"
)

// The README's ratios are those that its command prints, on the files it names there.
func TestReadmeHasTheRatiosThatDedupePrints(t *testing.T) {
	root := tracktest.Root(t)
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	readme := string(text)
	_, figures, _ := strings.Cut(readme, "\n## Figures\n")
	_, rest, ok := strings.Cut(figures, "\nbin/pingline dedupe ")
	line, _, _ := strings.Cut(rest, "\n")
	if !ok {
		t.Fatal("the README has no line under Figures that runs bin/pingline dedupe")
	}
	args := strings.Fields(line)
	for i := range args {
		args[i] = filepath.Join(root, args[i])
	}
	s := dedupes(t, args...)
	if len(s.Files) != 2 || s.Total.OutOfBound != 0 {
		t.Fatalf("%+v", s)
	}
	want := fmt.Sprintf("%.1f %% of a ping a second and %.1f %% of a ping in 5 s are kept", s.Files[0].KeptPct, s.Files[1].KeptPct)
	if !strings.Contains(readme, want) {
		t.Errorf("the README does not say %q", want)
	}
}
