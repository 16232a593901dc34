package main

import (
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
)

// memoryShare is what of a container's memory is ours to plan with: the rest is
// for what Go does not count, and for being late.
const memoryShare = 0.9

// garbageShare is how much garbage there may be, in percent of what lives. Go's
// default of 100 would double the log's cache and the filter; these have few
// pointers, so that looking for garbage twice as often costs little.
const garbageShare = 50

// limitMemory keeps garbage down, unless GOGC is set, and makes Go's memory limit follow the control group's, unless GOMEMLIMIT
// is set, and returns what the limit is.
func limitMemory() string {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbageShare)
	}
	if os.Getenv("GOMEMLIMIT") != "" {
		return humanize.IBytes(uint64(debug.SetMemoryLimit(-1))) + " (GOMEMLIMIT)"
	}
	limit, ok := groupMemory(os.DirFS("/"))
	if !ok {
		return "none"
	}
	limit = int64(memoryShare * float64(limit))
	debug.SetMemoryLimit(limit)
	return humanize.IBytes(uint64(limit)) + " (control group)"
}

// groupMemory returns the memory limit of the control group this process is in,
// or of one around it, whichever is lowest, and false if none has a limit. It
// reads version 2 and, where the memory controller is there, version 1.
func groupMemory(root fs.FS) (limit int64, ok bool) {
	text, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0, false
	}
	limit = math.MaxInt64
	for line := range strings.Lines(string(text)) {
		// hierarchy:controllers:path; version 2 has neither number nor names.
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, group, _ := strings.Cut(rest, ":")
		switch {
		case controllers == "":
			limit = min(limit, lowest(root, "sys/fs/cgroup", group, "memory.max"))
		case strings.Contains(","+controllers+",", ",memory,"):
			limit = min(limit, lowest(root, "sys/fs/cgroup/memory", group, "memory.limit_in_bytes"))
		}
	}
	// Version 1 says "none" with the largest number of whole pages.
	return limit, limit < math.MaxInt64>>1
}

// lowest reads a limit from a group and all around it. In a container the path
// may be the host's, of which only the end is there, or nothing.
func lowest(root fs.FS, base, group, file string) int64 {
	limit := int64(math.MaxInt64)
	for dir := path.Clean("/" + group); ; dir = path.Dir(dir) {
		if text, err := fs.ReadFile(root, path.Join(base, dir, file)); err == nil {
			if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 {
				limit = min(limit, n)
			}
		}
		if dir == "/" {
			return limit
		}
	}
}

// limitInProgress keeps requests in work to a quarter of the memory limit.
func limitInProgress(asked int64, logger *slog.Logger) int64 {
	limit := debug.SetMemoryLimit(-1)
	if limit == math.MaxInt64 || asked <= limit/4 {
		return asked
	}
	logger.Warn("requests in progress are limited to a quarter of the memory limit", "bytes", limit/4, "configured", asked)
	return limit / 4
}

// readingMost is what reads may take, unless memory is short.
const readingMost = 64 << 20

// limitReading keeps reads to a sixteenth of the memory limit, but for the least
// that one read takes.
func limitReading() int64 { return max(4<<20, min(readingMost, debug.SetMemoryLimit(-1)/16)) }
