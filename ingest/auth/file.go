package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ReadKeys returns the keys of a file.
func ReadKeys(path string) ([]KeyRow, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	keys, err := ParseKeys(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return keys, nil
}

// ChangeKeys lets change edit the keys of a file, and writes the keys that it returns. A
// file that is not there has no keys. The file is replaced whole, with mode 0600, and two
// changes at the same time are made one after the other. Lines that begin with # stay, at
// the top.
func ChangeKeys(path string, change func([]KeyRow) ([]KeyRow, error)) error {
	if to, err := filepath.EvalSymlinks(path); err == nil {
		path = to // the file is replaced, not the link to it
	}
	unlock, err := lockFile(path + ".lock")
	if err != nil {
		return err
	}
	defer unlock()
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	keys, err := ParseKeys(text)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if keys, err = change(keys); err != nil {
		return err
	}
	var out bytes.Buffer
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] == '#' {
			out.Write(append(line, '\n'))
		}
	}
	for i := range keys {
		if err := keys[i].Check(); err != nil {
			return err
		}
		line, err := json.Marshal(&keys[i])
		if err != nil {
			return err
		}
		out.Write(append(line, '\n'))
	}
	return replace(path, out.Bytes())
}

// replace writes a file beside path, and gives it the name.
func replace(path string, text []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if was, serr := os.Stat(path); serr == nil {
		sameOwner(f, was)
	}
	if _, err = f.Write(text); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
