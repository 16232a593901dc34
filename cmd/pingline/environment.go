package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

const envPrefix = "PINGLINE_"

// environment names the variables of flags: a flag of serve is PINGLINE_ and its
// name, unless the flag says otherwise. All other commands take no variable,
// because a flag like --rollup means something else in each of them; but
// deadletter takes the variables of flags that it shares with serve.
func environment(k *kong.Kong) error {
	for _, node := range k.Model.Children {
		switch node.Name {
		case "serve":
			nameVariables(node)
		case "deadletter":
			for _, child := range node.Children {
				nameVariables(child)
			}
		}
	}
	if len(k.Model.Children) == 0 { // a command by itself
		nameVariables(k.Model.Node)
	}
	return nil
}

func nameVariables(node *kong.Node) {
	for _, flag := range node.Flags {
		switch {
		case flag.Name == "help" || slices.Equal(flag.Envs, []string{"-"}):
			flag.Envs = nil
		case len(flag.Envs) == 0:
			flag.Envs = []string{envPrefix + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))}
		}
		flag.Value.Tag.Envs = flag.Envs
	}
}

// notSettings are variables of this prefix that are no setting of serve.
var notSettings = regexp.MustCompile(`^PINGLINE_(` +
	`INFLUXD|INFLUXD2|JARS|TEST_.*|SKEW` + // of make, tests and tools
	`|CHECK_CONFIG` + // an earlier setting: a service that still sets it must start
	// Kubernetes and Docker set them in each container beside a service named pingline.
	`|(.*_)?SERVICE_HOST|(.*_)?SERVICE_PORT(_.*)?|(.*_)?PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?` +
	`)$`)

// checkEnvironment refuses a variable of Pingline's prefix that is no setting of
// serve: it is probably misspelt, and would otherwise be ignored in silence.
func checkEnvironment(model *kong.Application) error {
	var known []string
	for _, node := range model.Children {
		if node.Name != "serve" {
			continue
		}
		for _, flag := range node.Flags {
			known = append(known, flag.Envs...)
		}
	}
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, envPrefix) || slices.Contains(known, name) || notSettings.MatchString(name) {
			continue
		}
		if near := nearest(name, known); near != "" {
			return fmt.Errorf("%s: there is no such setting; is it %s?", name, near)
		}
		return fmt.Errorf("%s: there is no such setting", name)
	}
	return nil
}

// nearest returns the name that takes the fewest changes to a letter, or "" if
// even that needs changes to a third of the letters.
func nearest(name string, names []string) (best string) {
	fewest := (len(name)-len(envPrefix))/3 + 1
	for _, n := range names {
		if d := changes(name, n); d < fewest {
			best, fewest = n, d
		}
	}
	return best
}

// changes counts the letters to insert, delete or replace to make b of a
// (Levenshtein distance).
func changes(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
