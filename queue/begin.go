package queue

import (
	"errors"
	"fmt"
	"path/filepath"

	"pingline/queue/cursor"
	"pingline/queue/disk"
	"pingline/queue/mark"
)

// Begin has the log in dir, which is not open, give at.Next to its next record. In a
// directory without a log it begins there; a log that ends before it has lost the records
// between.
func Begin(dir string, at Cursor) error {
	if err := disk.MakeDir(dir); err != nil {
		return fmt.Errorf("begin log: %w", err)
	}
	file := cursor.DiskFile(filepath.Join(dir, cursorsFile))
	there, err := file.Exists()
	if err == nil && !there {
		err = file.Keep(&cursor.Marks{Trimmed: at})
	}
	if err != nil {
		return fmt.Errorf("begin log: %w", err)
	}
	high, _, _, err := mark.Open(filepath.Join(dir, highWaterFile))
	if err == nil {
		err = errors.Join(high.Write(at.Next-1, &at.Totals), high.Close())
	}
	if err != nil {
		return fmt.Errorf("begin log: %w", err)
	}
	return nil
}
