package inlets

import (
	"log/slog"
	"runtime/debug"
	"testing"

	"pingline/ingest/server"
	"pingline/internal/room"
)

// Connections never take more than an eighth of the memory limit.
func TestConnectionsFollowTheMemoryLimit(t *testing.T) {
	was := debug.SetMemoryLimit(1 << 30)
	defer debug.SetMemoryLimit(was)
	logger := slog.New(slog.DiscardHandler)
	most := 1 << 30 / 8 / server.ConnectionBytes
	secure := 1 << 30 / 8 / (server.ConnectionBytes + server.TLSBytes)
	if files := int(room.MaxFiles()); files > 0 {
		most, secure = min(most, files-room.SpareFiles), min(secure, files-room.SpareFiles)
	}
	if got := LimitConnections(1_000_000, 1, true, logger); got != secure {
		t.Errorf("with TLS there are %d connections where there is 1 GiB, want %d", got, secure)
	}
	for asked, want := range map[int]int{1_000_000: most, most: most, 7: 7} {
		if got := LimitConnections(asked, 1, false, logger); got != want {
			t.Errorf("%d connections where there is 1 GiB become %d, want %d", asked, got, want)
		}
	}
}
