package cursor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"

	"pingline/queue/disk"
	"pingline/queue/record"
)

// DiskFile is a Depot: a small file that is written anew each time, a line with the checksum of
// all behind it, then JSON.
type DiskFile string

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const (
	fileForm = 1
	fileHead = "pingline cursors %d crc32c %08x\n"
)

// Exists reports whether there is such a file.
func (f DiskFile) Exists() (bool, error) {
	_, err := os.Stat(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Remove removes the file, if there is one.
func (f DiskFile) Remove() error {
	if err := os.Remove(string(f)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Read returns the list in the file, an empty one if there is no file. An error wraps
// record.ErrNewer if a newer version wrote it.
func (f DiskFile) Read() (list Marks, err error) {
	b, err := os.ReadFile(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return list, nil
	}
	if err == nil {
		list, err = decodeFile(b)
	}
	if err != nil {
		return Marks{}, fmt.Errorf("read %s: %w", string(f), err)
	}
	return list, nil
}

func decodeFile(b []byte) (list Marks, err error) {
	head, body, _ := bytes.Cut(b, []byte("\n"))
	var form int
	var sum uint32
	if _, err := fmt.Sscanf(string(head)+"\n", fileHead, &form, &sum); err != nil || sum != crc32.Checksum(body, castagnoli) {
		return list, errors.New("checksum does not match")
	}
	if form > fileForm {
		return list, fmt.Errorf("cursors of form %d, this program knows %d: %w", form, fileForm, record.ErrNewer)
	}
	err = json.Unmarshal(body, &list)
	return list, err
}

// Keep writes the file anew.
func (f DiskFile) Keep(list *Marks) error {
	body, err := json.MarshalIndent(list, "", "\t")
	if err == nil {
		err = disk.WriteAside(string(f), append(fmt.Appendf(nil, fileHead, fileForm, crc32.Checksum(body, castagnoli)), body...))
	}
	if err != nil {
		return fmt.Errorf("keep cursors in %s: %w", string(f), err)
	}
	return nil
}
