// Package room finds out how much memory, disk and open files this process may have, how long a
// store keeps pings, and what part of memory is whose.
package room

import (
	"log/slog"
	"math"
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"pingline/internal/unit"
)

// memoryShare is the part of a container's memory that Go may use: the rest is
// for memory that Go does not count, and for a garbage collector that is late.
const memoryShare = 0.9

// garbageShare is how much garbage there may be, in percent of live memory.
// Go's default of 100 would double the log's cache and the filter; they have
// few pointers, so that collecting twice as often costs little.
const garbageShare = 50

// LimitMemory keeps garbage down, unless GOGC is set, and makes Go's memory limit
// follow the control group's, unless GOMEMLIMIT is set. It returns the limit as
// text.
func LimitMemory() string {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbageShare)
	}
	if os.Getenv("GOMEMLIMIT") != "" {
		return unit.Bytes(debug.SetMemoryLimit(-1)).String() + " (GOMEMLIMIT)"
	}
	group, err := memlimit.FromCgroup()
	if err != nil {
		return "none"
	}
	limit := int64(memoryShare * float64(group))
	debug.SetMemoryLimit(limit)
	return unit.Bytes(limit).String() + " (control group)"
}

// InProgress keeps requests in progress to a quarter of the memory limit.
func InProgress(asked int64, logger *slog.Logger) int64 {
	limit := debug.SetMemoryLimit(-1)
	if limit == math.MaxInt64 || asked <= limit/4 {
		return asked
	}
	logger.Warn("requests in progress are limited to a quarter of the memory limit", "bytes", limit/4, "configured", asked)
	return limit / 4
}

// readingMost is how many bytes reads may take, unless memory is short.
const readingMost = 64 << 20

// Reading keeps reads to a sixteenth of the memory limit, but not below the
// least that a read takes.
func Reading() int64 { return max(4<<20, min(readingMost, debug.SetMemoryLimit(-1)/16)) }

// messagesMost is how many bytes messages of MQTT may take before they are requests, unless
// memory is short.
const messagesMost = 32 << 20

// Messages keeps messages to a thirty-second of the memory limit.
func Messages() int64 {
	return max(2<<20, min(messagesMost, debug.SetMemoryLimit(-1)/32))
}

// Rollup is how many bytes the roll-up may take: at most an eighth of the memory limit.
func Rollup() int64 {
	const most = 128 << 20
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
		return max(1<<20, min(most, limit/8))
	}
	return most
}
