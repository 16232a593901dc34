package node

import (
	"log/slog"
	"runtime/debug"
	"testing"

	"pingline/ingest/server"
)

// Connections never take more than an eighth of the memory limit.
func TestConnectionsFollowTheMemoryLimit(t *testing.T) {
	was := debug.SetMemoryLimit(1 << 30)
	defer debug.SetMemoryLimit(was)
	logger := slog.New(slog.DiscardHandler)
	most := 1 << 30 / 8 / server.ConnectionBytes
	if got, want := limitConnections(1_000_000, true, logger), 1<<30/8/(server.ConnectionBytes+server.TLSBytes); got != want {
		t.Errorf("with TLS there are %d connections where there is 1 GiB, want %d", got, want)
	}
	if files := int(maxFiles()); files > 0 {
		most = min(most, files-spareFiles)
	}
	for asked, want := range map[int]int{1_000_000: most, most: most, 7: 7} {
		if got := limitConnections(asked, false, logger); got != want {
			t.Errorf("%d connections where there is 1 GiB become %d, want %d", asked, got, want)
		}
	}
}
