package inlets

import (
	"log/slog"

	"pingline/ingest/server"
	"pingline/internal/room"
)

// LimitConnections limits the connections of each of some listeners: see room.Connections.
func LimitConnections(asked, listeners int, secure bool, logger *slog.Logger) int {
	each := int64(server.ConnectionBytes)
	if secure {
		each += server.TLSBytes
	}
	return room.Connections(asked, listeners, each, logger)
}
