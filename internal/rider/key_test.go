package rider

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pingline/ingest/auth"
	"pingline/internal/node"
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
		resp, err := (&AdminKey{KeyFile: tt.file}).ask(t.Context(), http.MethodGet, strings.TrimSuffix(n.OpsURL(), "/metrics"), []string{"v1", "riders", "ana", "unstored"}, http.StatusOK)
		if err == nil {
			_ = resp.Body.Close()
		}
		if (err == nil) != (tt.want == "") || err != nil && (!strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), admin) || strings.Contains(err.Error(), reader)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}
