package rider

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pingline/ingest/auth"
	"pingline/internal/node"
	"pingline/internal/operator"
)

// A server whose operations listener can be reached from elsewhere asks for a key, and takes
// that of --key-file. No error says what the key is.
func TestKeyFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	admin, adminHash := auth.NewSecret()
	reader, readerHash := auth.NewSecret()
	keys := filepath.Join(dir, "keys")
	if err := auth.ChangeKeys(keys, func([]auth.KeyRow) ([]auth.KeyRow, error) {
		return []auth.KeyRow{
			{Name: "office", Hash: adminHash, Scopes: []string{"admin"}, Riders: []string{"*"}},
			{Name: "desk", Hash: readerHash, Scopes: []string{"read"}, Riders: []string{"*"}},
		}, nil
	}); err != nil {
		t.Fatal(err)
	}
	cfg := node.DefaultConfig()
	cfg.Listen, cfg.OpsListen, cfg.DataDir, cfg.Influx.Host = "127.0.0.1:0", ":0", t.TempDir(), "http://127.0.0.1:1"
	cfg.Logger, cfg.Access.Ways, cfg.Access.Keys = slog.New(slog.DiscardHandler), []string{"keys"}, keys
	n, err := node.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	for _, tt := range []struct{ name, file, want string }{
		{"no key", "", "401"},
		{"a key of another scope", write("reader", reader), "403"},
		{"a key that is not known", write("wrong", "pl_wrong"), "401"},
		{"no file", filepath.Join(dir, "none"), "--key-file: "},
		{"two lines", write("two", admin+"\n"+reader), "--key-file: "},
		{"the key", write("admin", admin), ""},
		{"the key, with an end of line", write("admin-n", admin+"\r\n"), ""},
	} {
		resp, err := (&operator.AdminKey{KeyFile: tt.file}).Ask(t.Context(), http.MethodGet, strings.TrimSuffix(n.OpsURL(), "/metrics"), []string{"v1", "riders", "ana", "unstored"}, nil, http.StatusOK)
		if err == nil {
			_ = resp.Body.Close()
		}
		if (err == nil) != (tt.want == "") || err != nil && (!strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), admin) || strings.Contains(err.Error(), reader)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// With keys, a rider is exported and removed by whoever has the key of an administrator in
// --key-file; with any other nothing is written, nothing is removed, and no output has a key.
func TestExportAndDeleteWithAKey(t *testing.T) {
	dir := t.TempDir()
	files, said := map[string]string{"nobody": ""}, []string{}
	var rows []auth.KeyRow
	for name, scopes := range map[string][]string{"office": {"admin"}, "desk": {"read", "write"}, "stranger": nil} {
		secret, hash := auth.NewSecret()
		said = append(said, secret[3:20])
		files[name] = filepath.Join(dir, name)
		if err := os.WriteFile(files[name], []byte(secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if scopes != nil {
			rows = append(rows, auth.KeyRow{Name: name, Hash: hash, Scopes: scopes, Riders: []string{"*"}})
		}
	}
	keys := filepath.Join(dir, "keys")
	if err := auth.ChangeKeys(keys, func([]auth.KeyRow) ([]auth.KeyRow, error) { return rows, nil }); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	r := startRig(t, 1, func(c *node.Config) {
		quick(c)
		c.Access.Ways, c.Access.Keys, c.OpsListen, c.Logger = []string{"keys"}, keys, ":0", slog.New(slog.NewTextHandler(&log, nil))
	})
	desk, err := os.ReadFile(files["desk"])
	if err != nil {
		t.Fatal(err)
	}
	r.key = strings.TrimSpace(string(desk))
	r.post(append(ride("ana-of-keys", 100), ride("bo-of-others", 100)...)...)
	r.written()
	for _, name := range []string{"nobody", "stranger", "desk", "office"} {
		admin := operator.AdminKey{KeyFile: files[name]}
		want := map[string]string{"nobody": "401", "stranger": "401", "desk": "403"}[name]
		exported, told, err := run(t, &ExportCmd{ID: ID{"ana-of-keys"}, Format: "ndjson", Server: r.opsURL(), AdminKey: admin, StoreFlags: r.storeFlags()})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) || (strings.Count(exported, "\n") >= 20) != (want == "") || want != "" && exported != "" {
			t.Errorf("export by %s: %d bytes, %v", name, len(exported), err)
		}
		report, also, failure := run(t, &DeleteCmd{ID: ID{"ana-of-keys"}, Server: r.opsURL(), Wait: patience, AdminKey: admin})
		if (failure == nil) != (want == "") || failure != nil && !strings.Contains(failure.Error(), want) || strings.Contains(report, `"done"`) != (want == "") {
			t.Errorf("delete by %s: %s, %v", name, report, failure)
		}
		all := fmt.Sprint(exported, told, err, report, also, failure)
		if left := strings.Contains(r.answers("pingline"), "ana-of-keys"); left != (want != "") {
			t.Errorf("after the delete by %s the rider is in InfluxDB: %v", name, left)
		}
		for _, secret := range said {
			if strings.Contains(all, secret) {
				t.Errorf("a key is in the output for %s: %s", name, all)
			}
		}
	}
	if names := filesWith(t, r.cfg.DataDir, "ana-of-keys"); len(names) > 0 {
		t.Errorf("the rider is in %v", names)
	}
	if !strings.Contains(r.answers("pingline"), "bo-of-others") {
		t.Error("the other rider is gone")
	}
	r.stop()
	for _, secret := range said {
		if names := filesWith(t, r.cfg.DataDir, secret); len(names) > 0 || strings.Contains(log.String(), secret) {
			t.Errorf("a key is in the log, or in %v", names)
		}
	}
}
