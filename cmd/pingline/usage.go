package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/alecthomas/kong"
)

// parsedCommand returns the command whose help explains an error: the command that the
// parser has reached, or serve, which has all settings.
func parsedCommand(err error) string {
	parse := new(kong.ParseError)
	switch {
	case !errors.As(err, &parse):
		return "pingline serve"
	case parse.Context.Selected() == nil:
		return "pingline"
	}
	return parse.Context.Selected().FullPath()
}

// withNumbers returns args with a number below 0 joined to the flag before it, which the
// parser would take for a flag of one letter: the flag then says what its limits are.
func withNumbers(args []string) (joined []string) {
	for i, arg := range args {
		if i > 0 && belowZero.MatchString(arg) && strings.HasPrefix(args[i-1], "--") && len(args[i-1]) > 2 && !strings.Contains(args[i-1], "=") {
			joined[len(joined)-1] += "=" + arg
			continue
		}
		joined = append(joined, arg)
	}
	return joined
}

var belowZero = regexp.MustCompile(`^-\.?[0-9]`)

// inOwnWords returns the text of an error of the parser without the parser's names of
// tokens, and for -flag it says that flags have two dashes.
func inOwnWords(err error, args []string) string {
	text := err.Error()
	if m := noValue.FindStringSubmatch(text); m != nil {
		if m[2] == "EOL" {
			return m[1] + ": its value is missing"
		}
		return m[1] + ": its value is missing: " + m[2] + " is a flag"
	}
	if !strings.HasPrefix(text, "unknown flag -") || strings.HasPrefix(text, "unknown flag --") {
		return text
	}
	for _, arg := range args {
		if len(arg) > 2 && arg[0] == '-' && arg[1] != '-' {
			return fmt.Sprintf("unknown flag %s: flags have two dashes, -%s", arg, arg)
		}
	}
	return text
}

// noValue is how the parser says that a flag has no value: the arguments end, or a flag
// comes.
var noValue = regexp.MustCompile(`^(--[a-z-]+): expected .* value but got "(EOL|-[^"]*)"`)
