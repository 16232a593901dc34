package grafana

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// firstSentence returns a text up to its first full stop or colon with a space behind.
func firstSentence(text string) string {
	end := len(text)
	for _, mark := range []string{". ", ": "} {
		for i := range text {
			before := text[:i]
			if strings.HasPrefix(text[i:], mark) && strings.Count(before, "(") == strings.Count(before, ")") {
				end = min(end, i)
			}
		}
	}
	return strings.TrimSuffix(text[:end], ".")
}

// docs/dashboards.md has a line for each rule and panel; go test ./dashboards/grafana
// -run Docs -update writes them.
func TestDocsHaveAllPanels(t *testing.T) {
	var rules, lines strings.Builder
	rules.WriteString("\n| alert | when | read on |\n|---|---|---|\n")
	for _, r := range Rules() {
		fmt.Fprintf(&rules, "| %s | %s | [%s](%s) |\n", r.Title, firstSentence(r.About), r.Heading, strings.TrimPrefix(r.runbook(), "docs/"))
	}
	rules.WriteString("\n")
	all := boards(t, generated(t))
	for _, file := range slices.Sorted(maps.Keys(all)) {
		board := all[file]
		fmt.Fprintf(&lines, "\n### %s\n\n%s (`%s`)\n\n| panel | shows |\n|---|---|\n", *board.Title, *board.Description, strings.TrimPrefix(file, "boards/"))
		for _, p := range panels(board) {
			fmt.Fprintf(&lines, "| %s | %s |\n", *p.Title, firstSentence(*p.Description))
		}
	}
	lines.WriteString("\n")
	const path = "../../docs/dashboards.md"
	is, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := string(is)
	for of, part := range map[string]string{"rules": rules.String(), "panels": lines.String()} {
		before, rest, ok := strings.Cut(want, "<!-- "+of+": go test ./dashboards/grafana -run Docs -update -->\n")
		_, after, ends := strings.Cut(rest, "<!-- end of "+of+" -->")
		if !ok || !ends {
			t.Fatalf("%s has no place for the %s", path, of)
		}
		want = before + "<!-- " + of + ": go test ./dashboards/grafana -run Docs -update -->\n" + part + "<!-- end of " + of + " -->" + after
	}
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(is) != want {
		t.Errorf("%s has other panels or rules than the code: go test ./dashboards/grafana -run Docs -update", path)
	}
}
