package operator

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A refusal is shown in its own words, however it is wrapped, and without the key.
func TestRefusals(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("pl_secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for answer, want := range map[string]string{
		`{"error":"add: shard c \"x\" is not known"}`: `409 Conflict: add: shard c "x" is not known`,
		"no such set\n":                `409 Conflict: no such set`,
		`{"error":""}`:                 `409 Conflict: {"error":""}`,
		`{"error":"pl_secret is bad"}`: "is bad",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, answer)
		}))
		k := AdminKey{KeyFile: key}
		_, err := k.Ask(t.Context(), http.MethodPost, server.URL, []string{"v1", "x"}, nil, http.StatusOK)
		server.Close()
		if err == nil || !strings.HasSuffix(err.Error(), want) || strings.Contains(err.Error(), "pl_secret") {
			t.Errorf("%s: %v", answer, err)
		}
	}
}
