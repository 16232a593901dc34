package influx_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"pingline/internal/influxd"
	"pingline/sink/store/storetest"
)

// settings returns the values of an influxdb.conf by section and key.
func settings(text string) map[string]string {
	found, section := make(map[string]string), ""
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), " #")
		key, value, isSetting := strings.Cut(line, " = ")
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "["):
			section = strings.Trim(line, "[]") + "."
		case isSetting:
			found[section+key] = strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	return found
}

// shipped returns the settings of deploy/influxdb.conf.
func shipped(tb testing.TB) map[string]string {
	tb.Helper()
	text, err := os.ReadFile("../../deploy/influxdb.conf")
	if err != nil {
		tb.Fatal(err)
	}
	return settings(string(text))
}

// InfluxDB takes no notice of a setting it does not know.
func TestInfluxDBKnowsTheShippedSettings(t *testing.T) {
	t.Run("1.8", func(t *testing.T) {
		binary, err := influxd.Find()
		if err != nil {
			t.Skip(err)
		}
		effective := settings(output(t, exec.Command(binary, "config", "-config", "../../deploy/influxdb.conf")))
		for key, value := range shipped(t) {
			got, known := effective[key]
			if !known {
				t.Errorf("%s: InfluxDB has no such setting", key)
			}
			if (value == "true" || value == "false" || value == "tsi1") && got != value {
				t.Errorf("%s is %q in effect, want %q", key, got, value)
			}
		}
	})
	t.Run("2.x", func(t *testing.T) {
		binary, err := influxd.Find2()
		if err != nil {
			t.Skip(err)
		}
		text, err := os.ReadFile("../../deploy/compose.yaml")
		if err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(`INFLUXD_(\w+): "?([^"\n]*)`).FindAllStringSubmatch(string(text), -1)
		if len(found) == 0 {
			t.Error("there is no setting")
		}
		for _, f := range found {
			cmd := exec.Command(binary, "print-config", "--key-name", strings.ToLower(strings.ReplaceAll(f[1], "_", "-")))
			cmd.Env = []string{"INFLUXD_" + f[1] + "=" + f[2]}
			if got := strings.TrimSpace(output(t, cmd)); got != f[2] {
				t.Errorf("%s is %q in effect, want %q", f[1], got, f[2])
			}
		}
	})
}

// output runs cmd in a home of its own, and returns what it prints.
func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	cmd.Env = append(cmd.Env, "HOME="+t.TempDir())
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
	return string(out)
}

// BenchmarkInfluxSettings is what each setting does under a live load of 20,000
// riders, against InfluxDB's own defaults. The snapshot sizes stand for how many
// bytes there are for each of these series.
func BenchmarkInfluxSettings(b *testing.B) {
	const riders = 20_000
	for _, s := range []struct {
		name    string
		version int
		env     string
	}{
		{"v1/defaults", 1, ""},
		{"v1/shipped", 1, "shipped"},
		{"v1/index-version=tsi1", 1, "DATA_INDEX_VERSION=tsi1"},
		{"v1/cache-snapshot-memory-size=5m", 1, "DATA_CACHE_SNAPSHOT_MEMORY_SIZE=5m"},
		{"v1/cache-snapshot-memory-size=50m", 1, "DATA_CACHE_SNAPSHOT_MEMORY_SIZE=50m"},
		{"v1/wal-fsync-delay=20ms", 1, "DATA_WAL_FSYNC_DELAY=20ms"},
		{"v1/compact-throughput=8m", 1, "DATA_COMPACT_THROUGHPUT=8m DATA_COMPACT_THROUGHPUT_BURST=8m"},
		{"v2/defaults", 2, ""},
		{"v2/cache-snapshot-memory-size=5m", 2, "STORAGE_CACHE_SNAPSHOT_MEMORY_SIZE=5242880"},
		{"v2/cache-snapshot-memory-size=50m", 2, "STORAGE_CACHE_SNAPSHOT_MEMORY_SIZE=52428800"},
		{"v2/wal-fsync-delay=20ms", 2, "STORAGE_WAL_FSYNC_DELAY=20ms"},
	} {
		b.Run(s.name, func(b *testing.B) {
			r := newRig(b, influxd.Config{Version: s.version, Env: environment(b, s.version, s.env)})
			c := storetest.NewConvoy(riders, storetest.AnHourAgo(), 10_000)
			r.write(riders, 5000, lineFiller(c))
			r.load(b, 1_000_000, 5000, lineFiller(c))
		})
	}
}

// environment returns settings as InfluxDB takes them from its environment.
func environment(b *testing.B, version int, list string) (env []string) {
	if list == "shipped" {
		for key, value := range shipped(b) {
			if section, key, _ := strings.Cut(key, "."); section == "data" && !strings.HasSuffix(key, "dir") {
				env = append(env, "INFLUXDB_DATA_"+strings.ToUpper(strings.ReplaceAll(key, "-", "_"))+"="+value)
			}
		}
		return env
	}
	prefix := "INFLUXDB_"
	if version == 2 {
		prefix = "INFLUXD_"
	}
	for _, s := range strings.Fields(list) {
		env = append(env, prefix+s)
	}
	return env
}

// BenchmarkInfluxIndex is what 200,000 series cost that have one point each: as
// they come in, and at a restart, until queries are answered.
func BenchmarkInfluxIndex(b *testing.B) {
	const series = 200_000
	for _, s := range []struct {
		name    string
		version int
		env     string
	}{
		{"v1/inmem", 1, "DATA_MAX_VALUES_PER_TAG=0"},
		{"v1/tsi1", 1, "DATA_INDEX_VERSION=tsi1"},
		{"v1/tsi1, max-index-log-file-size=16m", 1, "DATA_INDEX_VERSION=tsi1 DATA_MAX_INDEX_LOG_FILE_SIZE=16m"},
		{"v2", 2, ""},
	} {
		b.Run(s.name, func(b *testing.B) {
			r := newRig(b, influxd.Config{Version: s.version, Env: environment(b, s.version, s.env)})
			c := storetest.NewConvoy(series, storetest.AnHourAgo(), 10_000)
			r.measure(b, func() int {
				r.write(series, 5000, lineFiller(c))
				return series
			})
			r.restart(b)
		})
	}
}
