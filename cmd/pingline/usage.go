package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

// parsedCommand returns the command whose help lists what an error is about: the one that
// the parser has come to, or serve, which has all settings.
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

// inOwnWords returns the text of an error of the parser, without the parser's names of
// tokens, and says of -flag that it has two dashes.
func inOwnWords(err error, args []string) string {
	text := err.Error()
	if flag, rest, ok := strings.Cut(text, ": expected "); ok && strings.Contains(rest, ` but got "EOL"`) {
		return flag + ": its value is missing"
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
