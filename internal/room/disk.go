package room

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"pingline/internal/unit"
	"pingline/queue/disk"
	"pingline/sink/store"
)

// Disk checks the place of a data directory, which need not exist yet, and whether a log of most
// bytes has room there.
func Disk(dataDir string, most int64) store.Finding {
	f := store.Finding{What: "room for the log"}
	dir, there := filepath.Clean(dataDir), true
	for {
		info, err := os.Stat(dir)
		if err == nil && info.IsDir() {
			break
		}
		parent := filepath.Dir(dir)
		if there = false; err == nil || !errors.Is(err, fs.ErrNotExist) || parent == dir {
			if err == nil {
				err = errors.New("is no directory")
			}
			f.Found, f.Remedy = fmt.Sprintf("%s: %v", dir, err), "name another --data-dir"
			return f
		}
		dir = parent
	}
	if err := mayCreate(dir); err != nil {
		f.Found, f.Remedy = err.Error(), "let this user write there, or name another --data-dir"
		return f
	}
	used := int64(0)
	if there {
		used, _ = disk.Used(dir) // without files that cannot be read
	}
	half, err := disk.Half(dir, used)
	switch {
	case err != nil:
		f.Found, f.Remedy = err.Error(), "name a --data-dir on a disk that tells its free space"
	case half < most:
		f.Found = fmt.Sprintf("%v would be the log's limit, half of what is free under %s, --queue-max-bytes is %v", unit.Bytes(half), dir, unit.Bytes(most))
		f.Remedy = "free some, name a --data-dir on a larger disk, or lower --queue-max-bytes"
	default:
		f.Found = fmt.Sprintf("%v under %s, --queue-max-bytes is %v", unit.Bytes(2*half-used), dir, unit.Bytes(most))
	}
	return f
}

// mayCreate returns nil if files can be made in dir: it makes a file, and removes
// it.
func mayCreate(dir string) error {
	file, err := os.CreateTemp(dir, ".pingline-check-*")
	if err != nil {
		return err
	}
	return errors.Join(file.Close(), os.Remove(file.Name()))
}

// SpareFiles are the files left for everything but clients' connections: the
// log, its readers, the stores.
const SpareFiles = 200

// Files compares the limit of open files with the files that connections need.
func Files(connections int) store.Finding { return files(MaxFiles(), connections) }

func files(most uint64, connections int) store.Finding {
	f := store.Finding{What: "may be open"}
	need := uint64(connections) + SpareFiles
	switch {
	case most == 0:
		f.Found = "how many is not known here"
	case most < need:
		f.Found = fmt.Sprintf("%d, --max-connections %d needs %d", most, connections, need)
		f.Remedy = fmt.Sprintf("ulimit -n %d, LimitNOFILE=%d of the unit, or lower --max-connections", need, need)
	default:
		f.Found = fmt.Sprintf("%d, --max-connections %d needs %d", most, connections, need)
	}
	return f
}
