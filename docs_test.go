package pingline_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// dirs are what the documents call packages, where that is not their directory.
var dirs = map[string]string{
	"backup":     "queue/backup",
	"batch":      "sink/batch",
	"broker":     "ingest/mqtt/broker",
	"cassandra":  "sink/cassandra",
	"certs":      "ingest/server/certs",
	"clickhouse": "sink/clickhouse",
	"cmd":        "cmd/pingline",
	"conns":      "ingest/server/conns",
	"copying":    "sink/copying",
	"deadletter": "sink/deadletter",
	"disk":       "queue/disk",
	"fleet":      "query/fleet",
	"framing":    "ingest/server/framing",
	"health":     "sink/health",
	"inflate":    "ingest/server/inflate",
	"influx":     "sink/influx",
	"kafka":      "sink/kafka",
	"limit":      "sink/limit",
	"native":     "ingest/phone/native",
	"node":       "internal/node",
	"ops":        "internal/ops",
	"owntracks":  "ingest/phone/owntracks",
	"pingline":   ".",
	"postgres":   "sink/postgres",
	"redis":      "sink/redis",
	"resume":     "sink/resume",
	"cluster":    "tools/cluster",
	"passing":    "internal/passing",
	"route":      "sink/route",
	"secrets":    "ingest/auth/secrets",
	"server":     "ingest/server",
	"sqs":        "sink/sqs",
	"sqsin":      "ingest/sqs",
	"store":      "sink/store",
	"stream":     "query/stream",
	"subscriber": "ingest/mqtt/subscriber",
	"top":        "ingest/server/top",
	"unread":     "sink/influx/unread",
}

// Every row of a table of failures names tests, and they exist.
func TestFailureModesAreTested(t *testing.T) {
	text, err := os.ReadFile("docs/failure-modes.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`([a-z]+)\\.(Test\\w+)`")
	rows, head := 0, ""
	for line := range strings.Lines(string(text)) {
		switch {
		case !strings.HasPrefix(line, "|"):
			head = ""
			continue
		case head == "":
			head = line
			continue
		case strings.HasPrefix(line, "|---") || !strings.HasPrefix(head, "| fault |"):
			continue
		}
		rows++
		tests := named.FindAllStringSubmatch(line, -1)
		if len(tests) == 0 || strings.Count(line, "|") != strings.Count(head, "|") {
			t.Errorf("a row has no test, or not all columns: %s", line)
		}
		for _, m := range tests {
			if !hasTest(t, m[1], m[2]) {
				t.Errorf("there is no %s.%s: %s", m[1], m[2], line)
			}
		}
	}
	if rows < 30 {
		t.Errorf("%d rows were found", rows)
	}
}

func hasTest(t *testing.T, pkg, name string) bool {
	t.Helper()
	dir, ok := dirs[pkg]
	if !ok {
		dir = pkg
	}
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+name+"(t *testing.T)") {
			return true
		}
	}
	return false
}

// howTo are the lists of docs/architecture.md: for NAME stands a package there is, and
// the table is the one that each list must name.
var howTo = map[string]struct{ name, file, table string }{
	"store":    {"influx", "internal/node/stores.go", "stores"},
	"protocol": {"native", "internal/node/protocols.go", "protocols"},
	"field":    {"", "fix.go", "Numbers"},
	"counter":  {"", "internal/ops/numbers.go", "numbers"},
}

// Each step of a list begins with a file that exists, and what it quotes is in there.
func TestHowToAdd(t *testing.T) {
	text, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	lists := 0
	for _, section := range strings.Split(string(text), "\n## ")[1:] {
		title, steps, _ := strings.Cut(section, "\n")
		_, of, ok := strings.Cut(title, "How to add a ")
		if !ok {
			continue
		}
		lists++
		want, ok := howTo[of]
		if !ok {
			t.Errorf("%q is not known to this test", title)
			continue
		}
		tabled := false
		items := regexp.MustCompile(`(?m)^\d+\. (.*)$`).FindAllStringSubmatch(steps, -1)
		for _, item := range items {
			step := regexp.MustCompile("^`([^`]+)`: (.+)$").FindStringSubmatch(item[1])
			if step == nil {
				t.Errorf("%s: a step names no file: %s", title, item[1])
				continue
			}
			path := strings.ReplaceAll(step[1], "NAME", want.name)
			in := textOf(t, path)
			for _, quote := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(step[2], -1) {
				if !strings.Contains(in, quote[1]) {
					t.Errorf("%s: %s has no %s", title, path, quote[1])
				}
				tabled = tabled || path == want.file && quote[1] == want.table
			}
		}
		if len(items) < 4 || !tabled {
			t.Errorf("%s: %d steps, and the table %s of %s named: %v", title, len(items), want.table, want.file, tabled)
		}
	}
	if lists != len(howTo) {
		t.Errorf("%d lists are there, want %d", lists, len(howTo))
	}
}

// textOf returns the text of a file, or of all files of a folder.
func textOf(t *testing.T, path string) string {
	t.Helper()
	files := []string{path}
	if info, err := os.Stat(path); err != nil {
		t.Error(err)
		return ""
	} else if info.IsDir() {
		if files, err = filepath.Glob(filepath.Join(path, "*.*")); err != nil || len(files) == 0 {
			t.Errorf("%s has no files: %v", path, err)
		}
	}
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
		}
		all.Write(text)
	}
	return all.String()
}

// Links from one document to another, to a folder or to a file lead somewhere.
func TestLinksLeadSomewhere(t *testing.T) {
	files, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`\]\(([^)#: ]+)(#[^)]*)?\)`)
	n := 0
	for _, file := range append(files, "README.md", "CONTRIBUTING.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			n++
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), m[1])); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
	if n < 30 {
		t.Errorf("%d links were found", n)
	}
}

// The README has a row for each package but tools and helpers of tests.
func TestReadmeListsThePackages(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sources(t) {
		name := s.dir
		if name == "." {
			name = "pingline"
		}
		if strings.HasPrefix(name, "tools/") || strings.HasSuffix(name, "test") {
			continue
		}
		if !strings.Contains(string(text), "\n| [`"+name+"`](") {
			t.Errorf("README.md has no row for %s", name)
		}
	}
}

// Each word of the glossary is used where it is at home, and what it says not to use
// is in no code and no document.
func TestGlossary(t *testing.T) {
	text, err := os.ReadFile("docs/glossary.md")
	if err != nil {
		t.Fatal(err)
	}
	written := wordsOf(t)
	meaning := make(map[string]bool)
	for line := range strings.Lines(string(text)) {
		cols := strings.Split(strings.TrimSpace(line), "|")
		if len(cols) == 1 || strings.Contains(line, "---") || strings.Contains(line, "| meaning |") {
			continue
		}
		if len(cols) != 6 {
			t.Errorf("a row has not all columns: %s", line)
			continue
		}
		for i := range cols {
			cols[i] = strings.TrimSpace(cols[i])
		}
		word, home := cols[1], strings.Trim(cols[3], "`")
		if meaning[word] {
			t.Errorf("%s has two meanings", word)
		}
		meaning[word] = true
		if !hasWord(written[home], word) {
			t.Errorf("%s: the word is not used in %s", word, home)
		}
		for _, not := range strings.FieldsFunc(cols[4], func(r rune) bool { return r == ',' || r == ' ' }) {
			for dir, text := range written {
				if hasWord(text, not) {
					t.Errorf("%s: the word for it is %s, not %s", dir, word, not)
				}
			}
		}
	}
	if len(meaning) < 40 {
		t.Errorf("the glossary has %d words", len(meaning))
	}
}

// hasWord reports whether text, as wordsOf has it, has a word or its plural, or two
// words behind each other.
func hasWord(text, word string) bool {
	return strings.Contains(text, " "+word+" ") || strings.Contains(text, " "+word+"s ")
}

// wordsOf returns the words of the code of each folder, without tests, and of each
// document: in small letters, with a space before and behind each. A name such as
// laneKind is two words.
func wordsOf(t *testing.T) map[string]string {
	t.Helper()
	word, all := regexp.MustCompile("[A-Z]?[a-z]+|[A-Z]+"), make(map[string]string)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		code := strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go")
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return filepath.SkipDir
		case !code && !strings.HasSuffix(path, ".md") || d.Name() == "glossary.md":
			return nil
		}
		text, err := os.ReadFile(path)
		dir := filepath.ToSlash(filepath.Dir(path))
		if !code {
			dir = path
		}
		all[dir] += " " + strings.ToLower(strings.Join(word.FindAllString(string(text), -1), " ")) + " "
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
