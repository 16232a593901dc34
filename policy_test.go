package pingline_test

import (
	"flag"
	"fmt"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pingline"
)

// policyRows are the rows of the table of levels in the docs: for each field of a
// Policy, its words and its value.
var policyRows = []struct {
	field, means string
	say          func(p pingline.Policy) string
}{
	{"Name", "called", func(p pingline.Policy) string { return p.Name }},
	{"Fill", "asked for by a log this full", func(p pingline.Policy) string { return percent(p.Fill) }},
	{"Full", "… or half as full, and full this soon at this rate", func(p pingline.Policy) string { return spell(p.Full) }},
	{"Down", "… or a shard of pings that has taken nothing for", func(p pingline.Policy) string { return spell(p.Down) }},
	{"Memory", "… or this much of the memory limit in use", func(p pingline.Policy) string { return percent(p.Memory) }},
	{"Widen", "`max_error` is widened", func(p pingline.Policy) string { return fmt.Sprintf("× %g", p.Widen) }},
	{"Resolutions", "the roll-up writes", func(p pingline.Policy) string {
		switch p.Resolutions {
		case 0:
			return "nothing"
		case 1:
			return "the coarsest cells"
		case math.MaxInt:
			return "all"
		}
		return fmt.Sprintf("the %d coarsest resolutions", p.Resolutions)
	}},
	{"NoSelf", "points of the node about itself", either(func(p pingline.Policy) bool { return p.NoSelf }, "written", "skipped")},
	{"NoReads", "reads of tracks and cells", either(func(p pingline.Policy) bool { return p.NoReads }, "answered", "503")},
	{"StandIn", "others stand in for a shard that is down for", either(func(p pingline.Policy) bool { return p.StandIn }, "`--shard-handover`", "10 s")},
	{"SetAside", "our own lines of a routed shard that is down wait in", either(func(p pingline.Policy) bool { return p.SetAside }, "the log", "dead letters")},
	{"Past", "a request without events waits (503) if all its pings are older than", func(p pingline.Policy) string { return spell(p.Past) }},
	{"Spacing", "a ping without event is `shed` if it is behind its track's newest by less than", func(p pingline.Policy) string { return spell(p.Spacing) }},
	{"OnlyEvents", "a request without events", either(func(p pingline.Policy) bool { return p.OnlyEvents }, "taken", "503")},
}

func either(is func(pingline.Policy) bool, no, yes string) func(pingline.Policy) string {
	return func(p pingline.Policy) string {
		if is(p) {
			return yes
		}
		return no
	}
}

func percent(part float64) string {
	if part == 0 {
		return "–"
	}
	return fmt.Sprintf("%.0f %%", 100*part)
}

func spell(d time.Duration) string {
	switch {
	case d == 0:
		return "–"
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	return fmt.Sprintf("%.0f min", d.Minutes())
}

// policyTable is the table of levels as docs/failure-modes.md has it.
func policyTable() string {
	var b strings.Builder
	b.WriteString("| level |")
	for level := range pingline.MaxLevel + 1 {
		fmt.Fprintf(&b, " %d |", level)
	}
	b.WriteString("\n" + strings.Repeat("|---", pingline.MaxLevel+2) + "|\n")
	for _, row := range policyRows {
		b.WriteString("| " + row.means + " |")
		for level := range pingline.MaxLevel + 1 {
			b.WriteString(" " + row.say(pingline.PolicyAt(level)) + " |")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// policySentences is what each level gives up in words, beyond what the level below it
// says, as docs/failure-modes.md has it.
func policySentences() string {
	var b strings.Builder
	b.WriteString("| level | gives up, in the words of `GET /v1/status` and `pingline top`, beside what the level below it does |\n|---|---|\n")
	for level := range pingline.MaxLevel + 1 {
		var beyond []string
		for _, sentence := range pingline.PolicyAt(level).GivingUp() {
			if level == 0 || !slices.Contains(pingline.PolicyAt(level-1).GivingUp(), sentence) {
				beyond = append(beyond, sentence)
			}
		}
		if beyond == nil {
			beyond = []string{"nothing"}
		}
		fmt.Fprintf(&b, "| %d %s | %s |\n", level, pingline.PolicyAt(level).Name, strings.Join(beyond, " "))
	}
	return b.String()
}

// docs/failure-modes.md has the table of levels; go test . -run Policies -update
// writes it there.
func TestDocsHaveAllPolicies(t *testing.T) {
	const path, begin, end = "docs/failure-modes.md", "<!-- levels: go test . -run Policies -update -->\n", "<!-- end of levels -->"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	is, after, ends := strings.Cut(rest, end)
	if !ok || !ends {
		t.Fatalf("%s has no place for the levels", path)
	}
	want := "\n" + policyTable() + "\n" + policySentences() + "\n"
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if is != want {
		t.Errorf("%s has other levels than there are: go test . -run Policies -update", path)
	}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[pingline.Policy]()) {
		rows := 0
		for _, row := range policyRows {
			if row.field == f.Name {
				rows++
			}
		}
		if rows != 1 {
			t.Errorf("Policy.%s has %d rows in the docs", f.Name, rows)
		}
	}
}

// A level gives up all that the one below it does, and more.
func TestLevelsGiveUpMoreAndMore(t *testing.T) {
	givesUp := func(p pingline.Policy) (list []float64) { // by field; more is worse
		of := func(b bool) float64 {
			if b {
				return 1
			}
			return 0
		}
		return []float64{
			p.Widen, -float64(p.Resolutions), of(p.NoSelf), of(p.NoReads), of(p.StandIn), of(p.SetAside),
			of(p.Past > 0), p.Spacing.Seconds(), of(p.OnlyEvents), p.Fill,
		}
	}
	for level := 1; level <= pingline.MaxLevel; level++ {
		less, more := givesUp(pingline.PolicyAt(level-1)), givesUp(pingline.PolicyAt(level))
		for i := range more {
			if more[i] < less[i] {
				t.Errorf("level %d gives up less than level %d: %v, %v", level, level-1, more, less)
			}
		}
	}
}

// Each thing that a policy gives up is said in a sentence, and nothing at level 0; every
// level has a name of its own.
func TestEverythingGivenUpIsSaid(t *testing.T) {
	means := []string{"Name", "Fill", "Full", "Memory", "Down"} // of a policy, that give up nothing
	nothing := pingline.PolicyAt(0)
	if said := nothing.GivingUp(); said == nil || len(said) != 0 {
		t.Errorf("level 0 gives up %q", said)
	}
	strictest := reflect.ValueOf(pingline.PolicyAt(pingline.MaxLevel))
	for _, f := range reflect.VisibleFields(strictest.Type()) {
		one := nothing
		reflect.ValueOf(&one).Elem().FieldByIndex(f.Index).Set(strictest.FieldByIndex(f.Index))
		want := 1
		if slices.Contains(means, f.Name) {
			want = 0
		}
		if said := one.GivingUp(); len(said) != want {
			t.Errorf("%s alone is said by %q", f.Name, said)
		}
	}
	names := map[string]bool{}
	for level := range pingline.MaxLevel + 1 {
		names[pingline.PolicyAt(level).Name] = true
	}
	if len(names) != pingline.MaxLevel+1 || names[""] {
		t.Errorf("levels have the names %v", names)
	}
	some := nothing
	some.Resolutions = 2
	if said := some.GivingUp(); len(said) != 1 || said[0] != "The roll-up writes its 2 coarsest resolutions only." {
		t.Errorf("said %q", said)
	}
}
