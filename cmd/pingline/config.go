package main

import (
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"

	"pingline/internal/node"
)

// configFile is the path of a YAML file whose keys are flags without dashes.
type configFile string

// BeforeResolve is called by kong before it looks for values that no flag gave.
func (configFile) BeforeResolve(ctx *kong.Context, trace *kong.Path) error {
	path := string(ctx.FlagValue(trace.Flag).(configFile))
	if path == "" {
		return nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	var values map[string]any
	if err := yaml.Unmarshal(text, &values); err != nil {
		return fmt.Errorf("--config: %s: %s", path, strings.ReplaceAll(err.Error(), "\n", " "))
	}
	if err := checkKeys(ctx, values); err != nil {
		return fmt.Errorf("--config: %s: %w", path, err)
	}
	ctx.AddResolver(kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		for _, env := range flag.Envs {
			if _, set := os.LookupEnv(env); set {
				return nil, nil // the environment beats the file
			}
		}
		v, ok := values[flag.Name]
		if !ok || v == nil {
			return nil, nil
		}
		list, ok := v.([]any)
		if !ok {
			return fmt.Sprint(v), nil
		}
		var each []any
		for _, v := range list {
			if m, ok := v.(map[string]any); ok && flag.Target.Type() == reflect.TypeFor[[]node.HeaderLine]() {
				each = append(each, headerLines(m)...)
				continue
			}
			text, err := flat(v)
			if err != nil {
				return nil, fmt.Errorf("--config: %s: %s: %w", path, flag.Name, err)
			}
			each = append(each, text)
		}
		return each, nil
	}))
	return nil
}

// source tells where the value of a flag comes from: the name of a variable, or
// the file at path; "" for the command line or the default.
func source(ctx *kong.Context, name, path string) string {
	for _, flag := range ctx.Flags() {
		if flag.Name != name {
			continue
		}
		in := ""
		for _, step := range ctx.Path {
			switch {
			case step.Flag != flag:
			case step.Resolved:
				in = path
			default:
				return ""
			}
		}
		for _, env := range flag.Envs {
			if _, set := os.LookupEnv(env); set {
				return env
			}
		}
		return in
	}
	return ""
}

// headerLines returns NAME: VALUE lines that YAML has read as a map, since
// they were not in quotes.
func headerLines(m map[string]any) (lines []any) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		lines = append(lines, fmt.Sprintf("%s: %v", name, m[name]))
	}
	return lines
}

// flat writes a value of a list as its flag takes it: keys and values of a map as
// key=value,…. A value with a comma is an error, since its rest would be read as
// another key. Values may be secrets: the error quotes none.
func flat(v any) (string, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return fmt.Sprint(v), nil
	}
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		text := fmt.Sprint(m[key])
		if strings.Contains(text, ",") {
			return "", fmt.Errorf("%s: a value with a comma cannot be had", key)
		}
		parts = append(parts, key+"="+text)
	}
	return strings.Join(parts, ","), nil
}

// checkKeys refuses a key that is no flag of the command, or has a list or map
// that its flag does not take.
func checkKeys(ctx *kong.Context, values map[string]any) error {
	repeated := make(map[string]bool) // by flag
	for _, flag := range ctx.Flags() {
		repeated[flag.Name] = flag.IsCumulative()
	}
	for key, v := range values {
		many, known := repeated[key]
		if !known || slices.Contains([]string{"check-config", "connect", "config", "help", "version"}, key) {
			return fmt.Errorf("unknown key %q", key)
		}
		switch v.(type) {
		case []any:
			if many {
				continue
			}
		case map[string]any:
		default:
			continue
		}
		if many {
			return fmt.Errorf("key %q takes a list", key)
		}
		return fmt.Errorf("key %q takes one value", key)
	}
	return nil
}
