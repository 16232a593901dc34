package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Each flag that a document or an example of deploy/ names as ours is one of the command
// it stands behind, or of any command if it stands alone.
func TestFlagsOfTheDocumentsExist(t *testing.T) {
	known := flagsOfCommands(t)
	n := 0
	for _, file := range documents(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range namedFlags(string(text), strings.HasSuffix(file, ".md")) {
			n++
			if !known[f.command][f.flag] {
				t.Errorf("%s: there is no --%s of pingline %s", filepath.Base(file), f.flag, f.command)
			}
		}
	}
	if n < 200 {
		t.Errorf("%d flags were found", n)
	}
}

// Each variable of our prefix that a document or an example of deploy/ names is a setting:
// serve refuses to start where there is another.
func TestVariablesOfTheDocumentsExist(t *testing.T) {
	parser, err := newParser(new(cli))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, file := range documents(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`\bPINGLINE_[A-Z0-9_]*[A-Z0-9]`).FindAllString(string(text), -1) {
			n++
			t.Run(name, func(t *testing.T) {
				t.Setenv(name, "")
				if err := checkEnvironment(parser.Model); err != nil {
					t.Errorf("%s: %v", filepath.Base(file), err)
				}
			})
		}
	}
	if n < 8 {
		t.Errorf("%d variables were found", n)
	}
}

// documents returns the paths of the texts that say how Pingline is used.
func documents(t *testing.T) []string {
	t.Helper()
	files := []string{"../../README.md", "../../CONTRIBUTING.md"}
	for _, pattern := range []string{"../../docs/*.md", "../../deploy/*[^s]", "../../deploy/kubernetes/*", "../../deploy/kubernetes-parts/*"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	return files
}

// flagsOfCommands returns the flags of each command, and under "" those of all.
func flagsOfCommands(t *testing.T) map[string]map[string]bool {
	t.Helper()
	parser, err := newParser(new(cli))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]map[string]bool{"": {}}
	for _, leaf := range parser.Model.Leaves(false) {
		command := strings.Fields(strings.TrimPrefix(leaf.Path(), "pingline "))[0]
		if known[command] == nil {
			known[command] = map[string]bool{}
		}
		for _, group := range leaf.AllFlags(false) {
			for _, flag := range group {
				known[command][flag.Name], known[""][flag.Name] = true, true
			}
		}
	}
	return known
}

// namedFlag is a flag that a text names, and the command it stands behind, "" if none.
type namedFlag struct{ command, flag string }

var (
	codeBlock = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	codeSpan  = regexp.MustCompile("`[^`]+`")
	flagWord  = regexp.MustCompile("^[\"'(]?--([a-z][a-z0-9-]*)")
	segment   = regexp.MustCompile(`[|;&\n]`)
)

// namedFlags returns the flags that a text names as ours: those behind pingline, or behind
// make demo ARGS=; and in Markdown those that a span of code begins with, elsewhere those
// of lines in which no command stands before them.
func namedFlags(text string, markdown bool) (list []namedFlag) {
	text = strings.ReplaceAll(text, "\\\n", " ")
	parts := segment.Split(text, -1)
	if markdown {
		parts = segment.Split(strings.Join(codeBlock.FindAllString(text, -1), "\n"), -1)
		for _, span := range codeSpan.FindAllString(codeBlock.ReplaceAllString(text, ""), -1) {
			parts = append(parts, strings.ReplaceAll(strings.Trim(span, "`"), "|", " "))
		}
	}
	for _, part := range parts {
		list = append(list, flagsOfPart(strings.Fields(part), markdown)...)
	}
	return list
}

// foreign are the programs of deploy/ whose flags are not ours.
var foreign = []string{"COPY", "caddy", "docker", "kubectl", "npm", "systemctl", "useradd"}

func flagsOfPart(words []string, markdown bool) (list []namedFlag) {
	command, ours := "", true
	for i, word := range words {
		name := filepath.Base(strings.Trim(word, "`\"'("))
		switch m := flagWord.FindStringSubmatch(strings.TrimPrefix(word, "ARGS=")); {
		case m != nil && ours:
			list = append(list, namedFlag{command, m[1]})
		case m != nil:
		case name == "pingline" && i+1 < len(words) && regexp.MustCompile("^[a-z]+$").MatchString(words[i+1]):
			command, ours = words[i+1], true
		case name == "demo" && i > 0 && words[i-1] == "make":
			command, ours = "demo", true
		case i == 0 && markdown || slices.Contains(foreign, name):
			ours = false
		}
	}
	return list
}

func TestNamedFlags(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		markdown   bool
		want       []namedFlag
	}{
		{"alone", "a `--max-body` and `--for 3s`", true, []namedFlag{{"", "max-body"}, {"", "for"}}},
		{"of a command", "`pingline plan --riders 3`", true, []namedFlag{{"plan", "riders"}}},
		{"of another program", "`curl --retry 3`, --prose", true, nil},
		{"in a block", "```sh\ncurl --fail x | bin/pingline serve --listen \\\n --node n\n```\n", true, []namedFlag{{"serve", "listen"}, {"serve", "node"}}},
		{"of make", "```sh\nmake demo ARGS=\"--for 20s --json\"\n```\n", true, []namedFlag{{"demo", "for"}, {"demo", "json"}}},
		{"in a comment", "keepalive 60s; # shorter than --idle-timeout", false, []namedFlag{{"", "idle-timeout"}}},
		{"in a unit", "ExecStart=/usr/local/bin/pingline serve --config x", false, []namedFlag{{"serve", "config"}}},
		{"of another program in a comment", "#   useradd --system x", false, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := namedFlags(tt.text, tt.markdown); !slices.Equal(got, tt.want) {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}
