package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pingline/internal/node"
)

// parse returns the settings that serve would run with.
func parse(t *testing.T, args ...string) (*serveConfig, error) {
	t.Helper()
	var cmd struct{ serveConfig }
	parser, err := newParser(&cmd)
	if err != nil {
		t.Fatal(err)
	}
	_, err = parser.Parse(args)
	return &cmd.serveConfig, err
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pingline.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDefaults(t *testing.T) {
	cfg, err := parse(t)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Listen != ":8080" || cfg.QueueMaxBytes != 8<<30 || cfg.MaxBody != 4<<20 || cfg.MaxAge != 720*time.Hour ||
		cfg.Influx.Host != "http://localhost:8086" || cfg.Influx.Bucket != "pingline" || cfg.BatchLines != 5000 {
		t.Errorf("defaults are %+v", cfg)
	}
}

// Without a flag serve runs with the package's defaults.
func TestDefaultsAreThoseOfANode(t *testing.T) {
	cfg, err := parse(t)
	if err != nil {
		t.Fatal(err)
	}
	got, want := cfg.config(), node.DefaultConfig()
	got.TrustedProxies = nil // an empty list
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the flags' defaults are\n%+v\nand the package's\n%+v", got, want)
	}
}

func TestPrecedence(t *testing.T) {
	file := writeFile(t, "influx-host: http://file:1\nmax-pings: 7\nqueue-max-bytes: 16MiB\nbatch-wait: 250ms\n")
	steps := []struct {
		name string
		env  string
		args []string
		want string
	}{
		{"the file beats the default", "", nil, "http://file:1"},
		{"INFLUX_HOST beats the file", "INFLUX_HOST=http://influx:1", nil, "http://influx:1"},
		{"PINGLINE_INFLUX_HOST beats INFLUX_HOST", "PINGLINE_INFLUX_HOST=http://pingline:1", nil, "http://pingline:1"},
		{"a flag beats all", "", []string{"--influx-host=http://flag:1"}, "http://flag:1"},
	}
	for _, s := range steps { // each step adds to the ones before
		if key, value, ok := strings.Cut(s.env, "="); ok {
			t.Setenv(key, value)
		}
		cfg, err := parse(t, append(s.args, "--config="+file)...)
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if cfg.Influx.Host != s.want {
			t.Errorf("%s: host is %s, want %s", s.name, cfg.Influx.Host, s.want)
		}
		if cfg.MaxPings != 7 || cfg.QueueMaxBytes != 16<<20 || cfg.BatchWait != 250*time.Millisecond {
			t.Errorf("%s: other keys of the file: %d, %v, %v", s.name, cfg.MaxPings, cfg.QueueMaxBytes, cfg.BatchWait)
		}
	}
}

func TestRollupSettings(t *testing.T) {
	for _, tt := range []struct{ file, want string }{
		{"", "8,6,4 10s,1m0s"},
		{"rollup: off", "off 10s,1m0s"},
		{"rollup: 9,3\nrollup-windows: 5s, 15s,5m", "9,3 5s,15s,5m0s"},
		{"rollup: 7", "7 10s,1m0s"},
	} {
		cfg, err := parse(t, "--config="+writeFile(t, tt.file))
		if err != nil {
			t.Fatal(err)
		}
		if got := cfg.Rollup.String() + " " + cfg.RollupWindows.String(); got != tt.want {
			t.Errorf("%q: %s, want %s", tt.file, got, tt.want)
		}
	}
}

func TestConfigFileFromEnvironment(t *testing.T) {
	t.Setenv("PINGLINE_CONFIG", writeFile(t, "max-pings: 9\n"))
	cfg, err := parse(t)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.MaxPings != 9 {
		t.Errorf("max-pings is %d, want 9 from the file", cfg.MaxPings)
	}
}

// A header in the file is a line as it is sent, in quotes or without.
func TestHeadersInTheFile(t *testing.T) {
	for _, file := range []string{
		"influx-header: 'Cookie: a, b:c=d'",
		"influx-header:\n- 'Cookie: a, b:c=d'\n- 'X-B: 1'",
		"influx-header:\n- Cookie: a, b:c=d\n- X-B: 1",
		"influx-header:\n- Cookie: a, b:c=d\n  X-B: 1",
	} {
		cfg, err := parse(t, "--config="+writeFile(t, file))
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		want := []node.HeaderLine{{Name: "Cookie", Value: "a, b:c=d"}, {Name: "X-B", Value: "1"}}
		if got := cfg.Influx.Header; !slices.Equal(got, want[:len(got)]) || len(got) != min(2, 1+strings.Count(file, "X-B")) {
			t.Errorf("%s: %+v", file, got)
		}
	}
}

// No value of the file is told in an error: it may be a secret.
func TestFileErrorsTellNoSecret(t *testing.T) {
	for _, file := range []string{
		"influx-header:\n- Cookie: hunter2, b\n  '': c",
		"influx-header:\n- Cookie: \"hunter2\\nX: y\"",
		"influx-header:\n- [hunter2, b]",
		"influx-token: [hunter2]",
		"influx-token: {hunter2: 1}",
		"shard:\n- {name: a, url: 'http://u:hunter2,x@h:1'}",
		"shard:\n- {name: a, url: 'http://u:hunter2@h:1'}",
	} {
		if _, err := parse(t, "--config="+writeFile(t, file)); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// A wrong setting is one clear line that names it, and exit status 2.
func TestWrongSettings(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		want string // in the message
	}{
		{"unknown flag", []string{"--nonsense"}, "--nonsense"},
		{"no command", []string{"frobnicate"}, "frobnicate"},
		{"not a size", []string{"serve", "--max-body=lots"}, "max-body"},
		{"negative size", []string{"serve", "--max-body=-1"}, "max-body"},
		{"not a duration", []string{"serve", "--max-age=30x"}, "max-age"},
		{"resolution out of range", []string{"serve", "--cell-res=16"}, "--cell-res: 16 is not in [0, 15]"},
		{"negative error", []string{"serve", "--max-error=-1"}, "--max-error"},
		{"negative gap", []string{"serve", "--live-gap=-1s"}, "--live-gap"},
		{"no riders", []string{"serve", "--max-riders=0"}, "--max-riders: 0 is not in [1, 2147483647]"},
		{"no idle time", []string{"serve", "--idle-timeout=0s"}, "--idle-timeout: 0s is not in [1ms, 24h]"},
		{"a negative delay", []string{"serve", "--shutdown-delay=-1s"}, "--shutdown-delay: -1s is not in [0s, 1h]"},
		{"an origin without scheme", []string{"serve", "--cors-origins=app.example.org"}, `--cors-origins: "app.example.org" is neither`},
		{"an origin with a path", []string{"serve", "--cors-origins=*,https://app.example.org/"}, `--cors-origins: "https://app.example.org/" is neither`},
		{"standby without a shared log", []string{"serve", "--standby"}, "--standby: is for a log that nodes share: give --queue=nats://host,host"},
		{"a short lease", []string{"serve", "--queue-lease=1ms"}, "--queue-lease: 1ms is not in [1s, 1h]"},
		{"two tokens", []string{"serve", "--influx-token=a", "--influx-token-file=b"}, "--influx-token"},
		{"log format", []string{"serve", "--log-format=xml"}, "log-format"},
		{"no such file", []string{"serve", "--config=/nonexistent.yaml"}, "/nonexistent.yaml"},
		{"broken file", []string{"serve", "--config=" + writeFile(t, "a: [b")}, "pingline.yaml"},
		{"unknown key", []string{"serve", "--config=" + writeFile(t, "max-pins: 3")}, `unknown key "max-pins"`},
		{"wrong value in the file", []string{"serve", "--config=" + writeFile(t, "max-pings: many")}, "max-pings"},
		{"batches too small", []string{"serve", "--batch-bytes=1KiB"}, "--batch-bytes"},
		{"not a network", []string{"serve", "--trusted-proxies=10.0.0.0/8,proxy"}, "trusted-proxies"},
		{"negative rate", []string{"serve", "--rider-rate=-1"}, "--rider-rate"},
		{"no connections", []string{"serve", "--max-connections=0"}, "--max-connections"},
		{"a shard without a name", []string{"serve", "--shard=url=http://x"}, "--shard: a shard needs a name"},
		{"a shard without an address", []string{"serve", "--shard=name=b"}, "--shard: shard b needs a url"},
		{"a shard with another key", []string{"serve", "--shard=name=b,url=http://x,wait=3"}, `unknown key "wait"`},
		{"a shard of another kind", []string{"serve", "--shard=name=b,url=mysql://x"}, `name=b: url: there is no store for mysql://, only for http://, https://`},
		{"a shard without weight", []string{"serve", "--shard=name=b,url=http://x,weight=0"}, `weight: "0" is not in [0.001, 1000]`},
		{"a shard twice", []string{"serve", "--shard=name=b,url=http://x", "--shard=name=b,url=http://y"}, `--shard: name "b" is there twice`},
		{"a shard at no address", []string{"serve", "--shard=name=b,url=ftp://x"}, `--shard: name=b: url: there is no store for ftp://, only for http://, https://`},
		{"a route of nothing", []string{"serve", "--route=weather=a"}, `"weather=a" is not of the form KIND=SHARD[/BUCKET]`},
		{"a route to nowhere", []string{"serve", "--route=self=b"}, `--route: no shard is named "b"`},
		{"a route twice", []string{"serve", "--route=self=a", "--route=self=a/x"}, "--route: self has two"},
		{"another way to partition", []string{"serve", "--partition-by=moon"}, "partition-by"},
		{"no rate at all", []string{"serve", "--hot-cell-rate=0"}, "--hot-cell-rate: 0 is not above 0"},
		{"hot cells nowhere", []string{"serve", "--ops-listen=", "--data-dir=" + t.TempDir(), "--hot-cells=/nonexistent"}, "--hot-cells: open /nonexistent"},
		{"hot cells that are none", []string{"serve", "--ops-listen=", "--data-dir=" + t.TempDir(), "--hot-cells=" + writeFile(t, "8539220fffffffff\n")}, "line 1"},
		{"a list where one value goes", []string{"serve", "--config=" + writeFile(t, "listen: [a, b]")}, `key "listen" takes one value`},
		{"one map where a list goes", []string{"serve", "--config=" + writeFile(t, "shard: {name: a}")}, `key "shard" takes a list`},
		{"no resolution", []string{"serve", "--rollup=on"}, `"on" is neither off nor resolutions such as 8,6,4`},
		{"resolutions out of order", []string{"serve", "--rollup=4,6"}, "resolution 6 behind 4"},
		{"no window", []string{"serve", "--rollup-windows=10"}, `"10" is not windows such as 10s,1m`},
		{"windows that do not fit", []string{"serve", "--rollup-windows=10s,25s"}, "25s is no multiple of 10s"},
		{"lateness", []string{"serve", "--rollup-lateness=0s"}, "--rollup-lateness: 0s is not in [1s, 1h]"},
		{"negative demo", []string{"demo", "--rate=-5"}, "--rate"},
		{"data directory that is a file", []string{"serve", "--listen=127.0.0.1:0", "--ops-listen=", "--data-dir=" + writeFile(t, "")}, "--data-dir"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			status := run(t.Context(), tt.args, &stdout, &stderr)
			message := strings.TrimSuffix(stderr.String(), "\n")
			if status != exitUsage {
				t.Errorf("exit status %d, want %d", status, exitUsage)
			}
			if !strings.Contains(message, tt.want) || strings.Contains(message, "\n") || !strings.HasPrefix(message, "pingline: ") {
				t.Errorf("message %q, want one line that names %q", message, tt.want)
			}
		})
	}
}

// Every setting that serve refuses without network or disk, --check-config refuses
// with the same words: the setting is named, where it comes from, and the limit.
func TestCheckConfigRefusesWhatServeRefuses(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"--influx-host=ftp://x", `--influx-host: "ftp://x" is not of the form http://host:port`},
		{"--influx-host=127.0.0.1:8086", `--influx-host: "127.0.0.1:8086" is not of the form http://host:port`},
		{"--influx-host=http://", `--influx-host: "http://" is not of the form http://host:port`},
		{"--influx-host=http://:8086", `--influx-host: "http://:8086" is not of the form http://host:port`},
		{"--influx-host=http://x?db=y", `--influx-host: "http://x?db=y" is not of the form http://host:port`},
		{"--influx-host=http://u:secret@x", "--influx-host: http://u:xxxxx@x: credentials belong into the token"},
		{"--influx-host=http://u:secret@x:y", "--influx-host: cannot be parsed"},
		{"--influx-bucket=", `--influx-bucket: "" names no bucket or database`},
		{"--influx-bucket=/autogen", `--influx-bucket: "/autogen" names no bucket`},
		{"--influx-token=a\nsecret", "--influx-token: it has more than one line"},
		{"--influx-header=secret", "--influx-header: not of the form Name: value"},
		{"--influx-header=Authorization:secret --influx-token=t", "--influx-header: Authorization carries the token"},
		{"--influx-cert-file=c", "--influx-cert-file: a certificate needs its key"},
		{"--shard=name=b,url=http://x,key-file=c", "--shard name=b: key-file: a key needs its certificate"},
		{"--influx-timeout=0s", "--influx-timeout: 0s is not above 0"},
		{"--private-zone=41.1579438,-8.6291053,300 --private-zone=41.1579438,-8.6291053", "--private-zone: zone 2: not of the form LAT,LON,METRES"},
		{"--private-zone=91,-8.6291053,300", "--private-zone: zone 1: lat: not in [-90, 90]"},
		{"--private-zone-events=sos,S.O.S", "--private-zone-events: \"S.O.S\": event: characters other than a-z 0-9 _"},
		{"--shard=name=b,url=x", `--shard name=b: url: "x" is not of the form`},
		{"--shard=name=b,url=http://x,bucket=/y", `--shard name=b: bucket: "/y" names no bucket`},
		{"--shard=name=b,url=http://x --influx-bucket=", `--influx-bucket: "" names no bucket`},
		{"--shard=name=b,url=http://x,weight=2000", `--shard: weight: "2000" is not in [0.001, 1000]`},
		{"--shard=name=b,url=http://x --shard=name=c,url=http://x:80/", "--shard name=b and --shard name=c are the same bucket"},
		{"--shard=name=b,url=http://x --route=self=a", `--route: no shard is named "a"`},
		{"--route=self=a//x", `--route self=a//x: bucket: "/x" names no bucket`},
		{"--route=self=a/x --route=self=a", "--route: self has two"},
		{"--listen=nonsense", `--listen: "nonsense" is not of the form host:port`},
		{"--listen=:99999", `--listen: ":99999" is not of the form host:port`},
		{"--mqtt-listen=1883", `--mqtt-listen: "1883" is not of the form host:port`},
		{"--mqtt-broker=http://host", "--mqtt-broker: is not of the form mqtt://USER@HOST:PORT"},
		{"--mqtt-broker=mqtt://ana:hunter2@host", "--mqtt-broker: has a password in it, which a list of processes shows: put it into --mqtt-broker-password-file"},
		{"--mqtt-broker=mqtt://host --mqtt-broker-password-file=f", "--mqtt-broker-password-file: takes a user: --mqtt-broker=mqtt://USER@HOST"},
		{"--mqtt-broker=mqtt://host --mqtt-broker-ca-file=f", "--mqtt-broker-ca-file: takes TLS: --mqtt-broker=mqtts://HOST"},
		{"--mqtt-broker-password-file=f", "--mqtt-broker-password-file: is of --mqtt-broker: give both"},
		{"--osmand-listen=5055", `--osmand-listen: "5055" is not of the form host:port`},
		{"--ops-listen=9090", `--ops-listen: "9090" is not of the form host:port`},
		{"--data-dir=", "--data-dir: names no directory"},
		{"--queue=nats://", "--queue: must be embedded or a list like nats://host:4222"},
		{"--queue-max-bytes=1KiB", "--queue-max-bytes: 1.0 KiB is less than 4.0 MiB"},
		{"--node=a\nb", `--node: "a\nb" has more than 255 bytes, control characters`},
		{"--max-body=1", "--max-body: 1 B is not in [1.0 KiB, 1.0 GiB]"},
		{"--max-error=NaN", "--max-error: NaN is not in [0, 100000]"},
		{"--rider-rate=1e9", "--rider-rate: 1000000000 is not in [0, 1000000]"},
		{"--live-gap=-1s", "--live-gap: -1s is below 0"},
		{"--shard-handover=-1s", "--shard-handover: -1s is below 0"},
		{"--rollup-windows=", `"" is not windows such as 10s,1m`},
	} {
		t.Run(tt.args, func(t *testing.T) {
			args := append([]string{"serve"}, strings.Split(tt.args, " ")...)
			for _, args := range [][]string{append(args, "--check-config"), args} {
				status, stdout, stderr := runs(t, args...)
				if status == exitOK {
					t.Fatalf("%q: said %q; serve would start", args, stdout)
				}
				if status != exitUsage || stdout != "" || !strings.Contains(stderr, tt.want) || strings.Count(stderr, "\n") != 1 || strings.Contains(stderr, "secret") {
					t.Errorf("%q: exit status %d, said %q %q, want %q", args, status, stdout, stderr, tt.want)
				}
			}
		})
	}
}

// A wrong setting is looked for where it was made: in a variable or the file.
func TestWrongSettingsNameTheirSource(t *testing.T) {
	file := writeFile(t, "influx-bucket: ''\n")
	for _, tt := range []struct{ variable, args, want string }{
		{"INFLUX_HOST=ftp://x", "", `--influx-host (INFLUX_HOST): "ftp://x" is not of the form`},
		{"PINGLINE_INFLUX_HOST=ftp://x", "", `--influx-host (PINGLINE_INFLUX_HOST): "ftp://x" is not of the form`},
		{"PINGLINE_INFLUX_HOST=ftp://x", "--influx-host=ftp://y", `pingline: serve: --influx-host: "ftp://y" is not of the form`},
		{"", "--config=" + file, `--influx-bucket (` + file + `): "" names no bucket`},
		{"PINGLINE_INFLUX_BUCKET=/x", "--config=" + file, `--influx-bucket (PINGLINE_INFLUX_BUCKET): "/x" names no bucket`},
		{"PINGLINE_MAX_PINGS=0", "", `--max-pings (PINGLINE_MAX_PINGS): 0 is not in [1, 65536]`},
	} {
		t.Run(tt.want, func(t *testing.T) {
			if name, value, ok := strings.Cut(tt.variable, "="); ok {
				t.Setenv(name, value)
			}
			status, _, stderr := runs(t, append([]string{"serve", "--check-config"}, strings.Fields(tt.args)...)...)
			if status != exitUsage || !strings.Contains(stderr, tt.want) {
				t.Errorf("exit status %d, said %q, want %q", status, stderr, tt.want)
			}
		})
	}
}

func TestCheckConfig(t *testing.T) {
	var stdout, stderr bytes.Buffer
	dir := filepath.Join(t.TempDir(), "never-made")
	if status := run(t.Context(), []string{"serve", "--check-config", "--data-dir=" + dir}, &stdout, &stderr); status != exitOK {
		t.Fatalf("exit status %d: %s", status, &stderr)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("checking made the data directory: %v", err)
	}
}

func TestHelpGivesDefaultsAndEnvironment(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if status := run(t.Context(), []string{"serve", "--help"}, &stdout, &stderr); status != exitOK {
		t.Fatalf("exit status %d: %s", status, &stderr)
	}
	for _, want := range []string{"--max-body=4MiB", "$PINGLINE_MAX_BODY", "$INFLUX_HOST", "8GiB", "\nStores\n", "\nRequests\n"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("help does not say %q:\n%s", want, &stdout)
		}
	}
}

// version --all lists what the node's tables have.
func TestVersionOfAll(t *testing.T) {
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), []string{"version", "--all"}, &stdout, &stderr)
	want := fmt.Sprintf("stores:\n  %s\nprotocols:\n  %s\n", strings.Join(node.Stores(), "\n  "), strings.Join(node.Protocols(), "\n  "))
	if status != exitOK || !strings.HasSuffix(stdout.String(), want) || !strings.Contains(want, "stores:\n  influx\n") || !slices.Contains(node.Protocols(), "native") {
		t.Errorf("exit status %d, printed %q, want at its end %q", status, &stdout, want)
	}
}

func TestVersion(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if status := run(t.Context(), []string{"version"}, &stdout, &stderr); status != exitOK || !strings.HasPrefix(stdout.String(), "pingline ") {
		t.Errorf("exit status %d, printed %q", status, &stdout)
	}
}
