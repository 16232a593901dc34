package room

import (
	"log/slog"
	"math"
	"runtime/debug"
)

// Connections limits the connections of each of some listeners by the files that may be open,
// and by the memory for them, an eighth of the memory limit, of which each takes so many bytes.
func Connections(asked, listeners int, each int64, logger *slog.Logger) int {
	most := int64(asked)
	limit := func(to int64, by string) {
		if to = max(1, to/int64(listeners)); to < most {
			logger.Warn("connections are limited by "+by, "connections", to, "configured", asked)
			most = to
		}
	}
	if files := MaxFiles(); files > 0 && files <= math.MaxInt64 {
		limit(int64(files)-SpareFiles, "the number of files that may be open (ulimit -n)")
	}
	limit(debug.SetMemoryLimit(-1)/8/each, "an eighth of the memory limit")
	return int(most)
}
