package peers

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pingline/queue"
)

// What waits in a data directory for a node without parts is not left behind in silence.
func TestLeftovers(t *testing.T) {
	for file, c := range map[string]struct{ text, want string }{
		"log/jetstream/x":                           {"x", "is the log of --queue=embedded"},
		"log/owner":                                 {"of a log on servers, which are asked", ""},
		"deadletter/deadletter-000001.jsonl":        {"{}", "is dead letters of"},
		"deadletter/replay/deadletter-000001.jsonl": {"{}", "is dead letters that are to be replayed"},
		"deadletter/deadletter-000002.jsonl":        {"", ""},
		"removals/aa.json":                          {`{"id":"aa","rider_id":"r","step":"asked"}`, "is the removal of a rider"},
		"removals/bb.json":                          {`{"id":"bb","step":"done"}`, ""},
		"removals/cc.json":                          {`{`, "cc.json: "},
		"part-1/deadletter/deadletter-000001.jsonl": {"{}", ""},
		"part-1/removals/dd.json":                   {`{"rider_id":"r"}`, ""},
		"part-1/log/jetstream/x":                    {"x", "is a log of a node with --parts=1, such as one that was restored"},
		"part-1/log/owner":                          {"of a log on servers", ""},
	} {
		dir := filepath.Join(t.TempDir(), "data [*]")
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(Config{Sharing: Sharing{Parts: 2, Listen: "127.0.0.1:0", SecretFile: filepath.Join(dir, "none")}, Dir: dir})
		if refused := err != nil && strings.HasPrefix(err.Error(), "--data-dir: "); refused != (c.want != "") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("with %s: %v, want %q", file, err, c.want)
		}
	}
}

// A node whose log is moved to servers does not leave the pings in its own log behind, and takes them for lost.
func TestLogInDirectoryIsNotLeftBehind(t *testing.T) {
	for _, c := range []struct {
		url, file string
		refused   bool
	}{
		{"kafka://127.0.0.1:1", "log/jetstream/x", true},
		{"nats://127.0.0.1:1", "log/jetstream/x", true},
		{queue.Embedded, "log/jetstream/x", false},
		{"kafka://127.0.0.1:1", "log/owner", false},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, c.file)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		opened := false
		err := (*Peers)(nil).Take(t.Context(), queue.Config{URL: c.url}, dir, func(queue.Config, string) error { opened = true; return nil })
		if refused := err != nil && strings.Contains(err.Error(), "is the log of --queue=embedded"); refused != c.refused || opened == c.refused {
			t.Errorf("--queue=%s with %s: %v, opened: %v", c.url, c.file, err, opened)
		}
	}
}

// Directories of parts are told from whatever else has such a name.
func TestPartsIn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data [*]")
	for _, name := range []string{"part-0", "part-11", "part-", "part-x", "log", "my-part-2"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := PartsIn(dir), []string{filepath.Join(dir, "part-0"), filepath.Join(dir, "part-11")}; !slices.Equal(got, want) {
		t.Errorf("the parts in %s are %v, want %v", dir, got, want)
	}
	if got := PartsIn(filepath.Join(dir, "part-0")); len(got) > 0 || !IsPart(filepath.Join(dir, "part-0")+"/") {
		t.Errorf("a part has parts: %v", got)
	}
}
