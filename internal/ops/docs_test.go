package ops

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of numbers into docs/self.md")

// table is the list of numbers as docs/self.md has it.
func table() string {
	var b strings.Builder
	b.WriteString("| metric | in the store | type | unit | meaning |\n|---|---|---|---|---|\n")
	for i := range numbers {
		n := &numbers[i]
		metric, place := "", ""
		if n.metric != "" {
			metric = "`pingline_" + n.metric
			if len(n.labels) > 0 {
				metric += "{" + strings.Join(n.labels, ", ") + "}"
			}
			metric += "`"
		}
		if n.field != "" {
			place = "`" + n.point + "`: `" + n.field + "`"
			if n.count != "" {
				place += ", kind `" + n.count + "`"
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", metric, place, n.kind, n.unit, n.help)
	}
	return b.String()
}

// docs/self.md has the list of numbers; go test ./internal/ops -run Docs -update
// writes it there.
func TestDocsHaveAllNumbers(t *testing.T) {
	const path, begin, end = "../../docs/self.md", "<!-- numbers: go test ./internal/ops -run Docs -update -->\n", "<!-- end of numbers -->"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	is, after, ends := strings.Cut(rest, end)
	if !ok || !ends {
		t.Fatalf("%s has no place for the numbers", path)
	}
	want := "\n" + table() + "\n"
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if is != want {
		t.Errorf("%s has other numbers than there are: go test ./internal/ops -run Docs -update", path)
	}
}
