package peers

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// leftovers returns an error if something waits in a data directory for a node without parts.
// With parts each of them has a directory of its own in there, and nobody would take it up.
func leftovers(dir string) error {
	for _, part := range PartsIn(dir) {
		path := filepath.Join(part, "log", "jetstream")
		if waits, err := there(path); waits {
			return fmt.Errorf("%s is a log of a node with --parts=1, such as one that was restored, and would wait for ever beside that of the servers: "+
				"have its pings written by pingline serve --data-dir=%s until none is queued, or move it away", path, part)
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, of := range []struct {
		pattern, about string
		waits          func(path string) (bool, error)
	}{
		{"log/jetstream", "the log of --queue=embedded", there},
		{"deadletter/*.jsonl", "dead letters", there},
		{"deadletter/replay/*.jsonl", "dead letters that are to be replayed", there},
		{"removals/*.json", "the removal of a rider", undone},
	} {
		paths, err := filepath.Glob(filepath.Join(literal(dir), of.pattern))
		if err != nil {
			return err
		}
		for _, path := range paths {
			if waits, err := of.waits(path); err != nil {
				return err
			} else if waits {
				return fmt.Errorf("%s is %s of a node with --parts=1, and would wait for ever: start with --parts=1 until it is done, move it away, or name another directory",
					path, of.about)
			}
		}
	}
	return nil
}

// unread returns an error if a data directory has a log of its own, which a node whose log is on servers would not read.
func unread(dir string) error {
	path := filepath.Join(dir, "log", "jetstream")
	if waits, err := there(path); !waits {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return err
	}
	return fmt.Errorf("--data-dir: %s is the log of --queue=embedded, and its pings would wait for ever beside the log of the servers: "+
		"start with --queue=embedded until none is queued, and move it away then", path)
}

func there(path string) (bool, error) {
	info, err := os.Stat(path)
	return err == nil && info.Size() > 0, err
}

// undone reports whether a removal waits: one that is done has no rider any more.
func undone(path string) (bool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	var removal struct {
		Rider string `json:"rider_id"`
	}
	if err := json.Unmarshal(text, &removal); err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	return removal.Rider != "", nil
}

// literal returns a path for a pattern that matches that path alone.
func literal(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

// PartsIn returns the directories of parts in a data directory.
func PartsIn(dir string) []string {
	paths, _ := filepath.Glob(filepath.Join(literal(dir), "part-*")) // the pattern is right
	return slices.DeleteFunc(paths, func(path string) bool { return !IsPart(path) })
}

// IsPart reports whether dir is the directory of a part.
func IsPart(dir string) bool {
	number, found := strings.CutPrefix(filepath.Base(dir), "part-")
	_, err := strconv.Atoi(number)
	return found && err == nil
}
