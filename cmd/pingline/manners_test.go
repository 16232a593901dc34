package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// Everybody finds the help and the version where other programs have them.
func TestHelpAndVersionByAnyName(t *testing.T) {
	_, help, _ := runs(t, "--help")
	_, dedupeHelp, _ := runs(t, "dedupe", "--help")
	_, version, _ := runs(t, "version")
	for _, tt := range []struct{ args, want string }{
		{"", help}, {"help", help}, {"-h", help}, {"help dedupe", dedupeHelp},
		{"--version", version}, {"-v", version},
	} {
		status, stdout, stderr := runs(t, strings.Fields(tt.args)...)
		if status != exitOK || stdout != tt.want || stderr != "" || tt.want == "" {
			t.Errorf("pingline %s: exit status %d, printed %q %q, want %q", tt.args, status, stdout, stderr, tt.want)
		}
	}
}

// A missing flag is missed, whatever its limits are, with the status of wrong usage.
func TestMissingFlags(t *testing.T) {
	for args, want := range map[string]string{
		"plan":                          "pingline: plan: --riders is required",
		"plan --hours=3":                "pingline: plan: --riders is required",
		"plan --riders=0":               "pingline: plan: --riders: 0 is not in [1, 1000000000]",
		"deadletter accept --shard=a":   "pingline: deadletter accept: --rows is required",
		"deadletter accept --rows=3":    "pingline: deadletter accept: --shard is required",
		"deadletter":                    "pingline: expected one of",
		"help nothing":                  "pingline: unexpected argument nothing",
		"copy":                          "pingline: expected \"<from> <to>\"",
		"dedupe a.ndjson --max-error":   "pingline: --max-error: its value is missing (see pingline dedupe --help)\n",
		"serve --max-age":               "pingline: --max-age: its value is missing (see pingline serve --help)\n",
		"serve --max-age=x":             `pingline: --max-age: "x" is not a time such as 30d, 12h or 30s`,
		"serve --config=/dev/null -v=x": "pingline: ",
		"serve --max-pings=x":           `pingline: --max-pings: "x" is not a whole number`,
		"serve --max-pings=1e3":         `pingline: --max-pings: "1e3" is not a whole number`,
		"serve --rider-rate=x":          `pingline: --rider-rate: "x" is not a number`,
		"serve --rider-rate=":           `pingline: --rider-rate: "" is not a number`,
		"serve --log-level=loud":        `pingline: --log-level: "loud" is not debug, info, warn or error`,
		"serve --queue=embbed":          "pingline: serve: --queue: must be embedded or a list like nats://host:4222",
		"plan --riders=many":            `pingline: --riders: "many" is not a whole number`,
		"plan --riders=9 --hours=x":     `pingline: --hours: "x" is not a number`,
		"serve --influx-host":           "pingline: --influx-host: its value is missing (see pingline serve --help)\n",
		"serve -influx-host http://x":   "pingline: unknown flag -influx-host: flags have two dashes, --influx-host (see pingline serve --help)\n",
		"serve -x":                      "pingline: unknown flag -x",
		"deadletter list --nothing":     "pingline: unknown flag --nothing (see pingline deadletter list --help)\n",
		"serv":                          "pingline: unexpected argument serv, did you mean \"serve\"? (see pingline --help)\n",
		"dedupe a --max-error -1":       "pingline: dedupe: --max-error: -1 is not in [0, 100000]",
		"serve --max-error -1":          "pingline: serve: --max-error: -1 is not in [0, 100000]",
		"serve --max-error 1e9":         "pingline: serve: --max-error: 1000000000 is not in [0, 100000]",
		"serve --rider-rate -.5":        "pingline: serve: --rider-rate: -0.5 is not in [0, 1000000]",
		"serve --shard-handover -1m":    "pingline: serve: --shard-handover: -1m0s is below 0",
		"serve --max-body -1":           `pingline: --max-body: "-1" is not a size such as 512MiB`,
		"plan --riders -5":              "pingline: plan: --riders: -5 is not in [1, 1000000000]",
		"demo --seed -1":                `pingline: --seed: "-1" is not a whole number from 0 on`,
		"dedupe a --max-error --sweep":  "pingline: --max-error: its value is missing: --sweep is a flag (see pingline dedupe --help)\n",
		"dedupe a --max-error -x":       "pingline: --max-error: its value is missing: -x is a flag (see pingline dedupe --help)\n",
		"demo --seed=-1":                `pingline: --seed: "-1" is not a whole number from 0 on`,
		"demo --max-error=NaN":          "pingline: demo: --max-error: NaN is not in [0, 100000]",
	} {
		status, stdout, stderr := runs(t, strings.Fields(args)...)
		if status != exitUsage || !strings.HasPrefix(stderr, want) || stdout != "" || strings.Count(stderr, "\n") != 1 {
			t.Errorf("pingline %s: exit status %d, said %q %q, want %q", args, status, stdout, stderr, want)
		}
	}
}

// A time may be in days wherever one is asked for: on the command line, in the
// environment and in the file.
func TestTimesInDays(t *testing.T) {
	t.Setenv("PINGLINE_SHARD_HANDOVER", "0.5d")
	_, err := parse(t, "--max-age=30d", "--config="+writeFile(t, "max-gap: 2d\nidle-flush: 90\n"))
	if err == nil || !strings.Contains(err.Error(), `--idle-flush: "90" is not a time such as 30d, 12h or 30s`) {
		t.Errorf("a number without a unit: %v", err)
	}
	cfg, err := parse(t, "--max-age=30d", "--config="+writeFile(t, "max-gap: 2d\n"))
	if err != nil {
		t.Fatal(err)
	}
	const day = 24 * time.Hour
	if cfg.MaxAge != 30*day || cfg.Filter.MaxGap != 2*day || cfg.Spread.ShardHandover != day/2 {
		t.Errorf("--max-age %v, max-gap %v, PINGLINE_SHARD_HANDOVER %v", cfg.MaxAge, cfg.Filter.MaxGap, cfg.Spread.ShardHandover)
	}
	for _, args := range []string{"plan --riders=1000 --interval=0.5d", "plan --riders=1000 --outage=1d", "demo --for=-1d"} {
		if _, _, stderr := runs(t, strings.Fields(args)...); strings.Contains(stderr, "is not a time") {
			t.Errorf("%s: %s", args, stderr)
		}
	}
}

// A variable is a setting of serve. Commands that have a flag of the same name,
// and mean something else by it, do not read it.
func TestVariablesAreSettingsOfServe(t *testing.T) {
	for name, value := range map[string]string{
		"PINGLINE_ROLLUP": "8,6", "PINGLINE_RIDERS": "many", "PINGLINE_JSON": "true", "PINGLINE_MAX_ERROR": "5", "PINGLINE_FOR": "never",
	} {
		t.Setenv(name, value)
	}
	cfg, err := parse(t)
	if err != nil || cfg.MaxError != 5 || cfg.Rollup.String() != "8,6" {
		t.Errorf("serve has %v and %v: %v", cfg.MaxError, cfg.Rollup, err)
	}
	status, stdout, stderr := runs(t, "plan", "--riders=1000")
	if status != exitOK || !strings.HasPrefix(stdout, "One InfluxDB is enough") || !strings.Contains(stdout, "up to 10 m") {
		t.Errorf("plan: exit status %d: %s%s", status, stdout, stderr)
	}
	for _, command := range []string{"demo", "plan", "dedupe", "version"} {
		if _, help, _ := runs(t, command, "--help"); strings.Contains(help, "$PINGLINE") {
			t.Errorf("the help of %s names a variable:\n%s", command, help)
		}
	}
	if _, help, _ := runs(t, "deadletter", "list", "--help"); strings.Count(help, "$PINGLINE") != 1 || !strings.Contains(help, "$PINGLINE_DATA_DIR") {
		t.Errorf("the help of deadletter list:\n%s", help)
	}
}

// A misspelt variable is refused as a misspelt flag is; one that is Kubernetes's or
// a left over --check-config keeps no service from starting.
func TestUnknownVariables(t *testing.T) {
	for _, tt := range []struct{ variable, want string }{
		{"PINGLINE_MAX_BODDY=1MiB", "pingline: PINGLINE_MAX_BODDY: there is no such setting; is it PINGLINE_MAX_BODY?"},
		{"PINGLINE_INFLUXHOST=x", "PINGLINE_INFLUXHOST: there is no such setting; is it PINGLINE_INFLUX_HOST?"},
		{"PINGLINE_WEATHER=sunny", "PINGLINE_WEATHER: there is no such setting (see pingline serve --help)"},
		{"PINGLINE_HELP=1", "PINGLINE_HELP: there is no such setting"},
		{"PINGLINE_SERVICE_HOST=10.0.0.1", ""},
		{"PINGLINE_PORT=tcp://10.0.0.1:8080", ""},
		{"PINGLINE_PORT_8080_TCP_ADDR=10.0.0.1", ""},
		{"PINGLINE_METRICS_SERVICE_PORT_HTTP=9090", ""},
		{"PINGLINE_INFLUXD2=", ""},
		{"PINGLINE_MAX_BODY=1MiB", ""},
	} {
		t.Run(tt.variable, func(t *testing.T) {
			name, value, _ := strings.Cut(tt.variable, "=")
			t.Setenv(name, value)
			status, stdout, stderr := runs(t, "serve", "--check-config")
			if tt.want == "" && status != exitOK || tt.want != "" && (status != exitUsage || !strings.Contains(stderr, tt.want)) {
				t.Errorf("exit status %d, said %q %q, want %q", status, stdout, stderr, tt.want)
			}
			if status, _, stderr := runs(t, "plan", "--riders=1000"); status != exitOK {
				t.Errorf("plan: exit status %d: %s", status, stderr)
			}
		})
	}
}

// No variable and no file can make serve check its settings instead of starting.
func TestCheckConfigIsNoSetting(t *testing.T) {
	t.Setenv("PINGLINE_CHECK_CONFIG", "true")
	nowhere := writeFile(t, "") // a file is no data directory: serve ends as soon as it starts
	status, stdout, stderr := runs(t, "serve", "--listen=127.0.0.1:0", "--ops-listen=", "--data-dir="+nowhere)
	if status != exitUsage || stdout != "" || !strings.Contains(stderr, "--data-dir") {
		t.Errorf("exit status %d, said %q %q", status, stdout, stderr)
	}
	status, _, stderr = runs(t, "serve", "--config="+writeFile(t, "check-config: true"))
	if status != exitUsage || !strings.Contains(stderr, `unknown key "check-config"`) {
		t.Errorf("in the file: exit status %d, said %q", status, stderr)
	}
}

// Nothing that is printed for people is wider than a terminal, whatever the numbers
// and names are.
func TestEverythingFitsATerminal(t *testing.T) {
	long := inFile(t, strings.Repeat("a-file-with-a-long-name-", 8)+".ndjson", strings.Repeat(ndjson(corner(t, "r-1", noon)), 30))
	short := inFile(t, "ü.ndjson", ndjson(corner(t, "r-1", noon)))
	for _, args := range [][]string{
		{"--help"}, {"help", "serve"}, {"help", "demo"}, {"help", "dedupe"}, {"help", "plan"}, {"help", "version"},
		{"help", "sim"}, {"help", "sim", "run"}, {"help", "sim", "replay"}, {"help", "sim", "audit"}, {"help", "chaos"}, {"help", "grafana"}, {"help", "top"}, {"help", "copy"}, {"help", "log", "inspect"}, {"help", "log", "tail"}, {"help", "log", "export"}, {"help", "log", "backup"}, {"help", "log", "restore"}, {"help", "key"}, {"help", "key", "add"}, {"help", "key", "list"}, {"help", "key", "revoke"}, {"help", "key", "rotate"}, {"help", "deadletter"}, {"help", "deadletter", "list"}, {"help", "deadletter", "replay"}, {"help", "deadletter", "accept"},
		{"version"}, {"version", "--all"},
		{"plan", "--riders=20000", "--why"}, {"plan", "--riders=1000000000", "--interval=10ms", "--why"}, {"plan", "--riders=1"},
		{"dedupe", "--sweep", long, short}, {"dedupe", short},
	} {
		status, stdout, stderr := runs(t, args...)
		if status != exitOK || stderr != "" {
			t.Errorf("%v: exit status %d: %s", args, status, stderr)
		}
		for line := range strings.Lines(stdout) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
				t.Errorf("%v prints a line of %d: %s", args, n, line)
			}
		}
	}
}

// The help of each command has an example, whose flags there are; that of serve begins
// with the five flags that matter most.
func TestHelpHasExamples(t *testing.T) {
	parser, err := newParser(new(cli))
	if err != nil {
		t.Fatal(err)
	}
	commands := [][]string{{}}
	for _, node := range parser.Model.Children {
		commands = append(commands, []string{node.Name})
		for _, child := range node.Children {
			commands = append(commands, []string{node.Name, child.Name})
		}
	}
	if len(commands) != 51 {
		t.Errorf("%d commands", len(commands))
	}
	t.Chdir(t.TempDir())
	for _, file := range []string{"pingline.yaml", "ride.gpx"} {
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, command := range commands {
		_, help, _ := runs(t, append([]string{"help"}, command...)...)
		_, rest, found := strings.Cut(help, "\nExample:\n\n")
		text, _, _ := strings.Cut(rest, "\n\n")
		if !found {
			t.Errorf("the help of %q has no example:\n%s", command, help)
			continue
		}
		for line := range strings.Lines(text) {
			args := strings.Fields(line)
			if args[0] != "pingline" || !slices.Equal(args[1:min(len(args), 1+len(command))], command) {
				t.Errorf("the example of %q: %s", command, line)
			}
			if _, err := parser.Parse(args[1:]); err != nil {
				t.Errorf("%s: %v", line, err)
			}
		}
	}
	_, help, _ := runs(t, "serve", "--help")
	_, groups, _ := strings.Cut(help, "Print the version.\n\n")
	first, _, _ := strings.Cut(groups, "\n\n")
	flags := regexp.MustCompile(`(?m)^  --([a-z-]+)`).FindAllStringSubmatch(first, -1)
	var names []string
	for _, f := range flags {
		names = append(names, f[1])
	}
	if got := strings.Join(names, " "); !strings.HasPrefix(groups, "Most used\n") || got != "listen data-dir influx-host influx-token influx-bucket" {
		t.Errorf("the help of serve begins with %q:\n%s", got, first)
	}
}
