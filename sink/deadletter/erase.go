package deadletter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"pingline"
)

// Erase removes the letters of a rider, also those on their way back into the log, and
// returns how many there were. A line that cannot be read goes if it names the rider, and
// a reason that names the rider is replaced by its cause. It goes file by file; broken off
// at any moment, each letter is there, or is not, and Erase can be called again.
func (d *Dir) Erase(ctx context.Context, rider string) (n int, err error) {
	for _, dir := range [...]string{d.dir, d.replayDir()} {
		names, err := filesIn(dir, "")
		if err != nil {
			return n, fmt.Errorf("dead letters: %w", err)
		}
		for _, name := range names {
			if !strings.HasPrefix(name, letterPrefix) || strings.HasSuffix(name, asideExt) {
				continue
			}
			gone, err := d.eraseIn(ctx, filepath.Join(dir, name), rider)
			if n += gone; err != nil && !errors.Is(err, fs.ErrNotExist) { // moved away meanwhile
				return n, fmt.Errorf("remove a rider from %s: %w", filepath.Join(dir, name), err)
			}
		}
	}
	return n, nil
}

// eraseIn removes the letters of a rider in a file, and the file if nothing else is in it.
func (d *Dir) eraseIn(ctx context.Context, path, rider string) (n int, err error) {
	unlock, err := d.lock(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	if err := d.sweep(); err != nil {
		return 0, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	kept := make([]byte, 0, len(text))
	changed := false
	for line := range bytes.Lines(text) {
		switch with := without(line, rider); {
		case with == nil:
			n++
		default:
			changed = changed || !bytes.Equal(with, line)
			kept = append(kept, with...)
		}
	}
	if n == 0 && !changed {
		return 0, nil
	}
	if len(kept) == 0 {
		return n, errors.Join(os.Remove(path), syncDir(filepath.Dir(path)))
	}
	f, err := os.OpenFile(path+asideExt, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, err
	}
	_, err = f.Write(kept)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return 0, errors.Join(err, d.sweep())
	}
	d.stepped()
	return n, errors.Join(os.Rename(path+asideExt, path), syncDir(filepath.Dir(path)))
}

// without returns a line of a file without a rider: the line itself, the line with another
// reason, or nil if it is the rider's.
func without(line []byte, rider string) []byte {
	l, err := parseLetter(line)
	if err != nil {
		if inJSON, err := json.Marshal(rider); err == nil && Names(string(line), string(inJSON[1:len(inJSON)-1])) {
			return nil
		}
		return line
	}
	switch {
	case l.Entry.Rider == rider, l.Entry.IsLine() && LineNames(l.Entry.Line, rider):
		return nil
	case !Names(l.Reason, rider) && !Names(l.Reason, escaped(rider)):
		return line
	}
	l.Reason = l.Cause
	text, err := l.MarshalJSON()
	if err != nil {
		return nil
	}
	return append(text, '\n')
}

// Names reports whether a text names a rider: as a word, not as a part of another id.
func Names(text, rider string) bool {
	for from := 0; ; {
		i := strings.Index(text[from:], rider)
		if i < 0 {
			return false
		}
		at := from + i
		end := at + len(rider)
		if (at == 0 || !inID(text[at-1])) && (end == len(text) || !inID(text[end])) {
			return true
		}
		from = at + 1
	}
}

// inID reports whether a byte is one that ids mostly have.
func inID(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._:@-", c) >= 0 || c >= 0x80
}

// LineNames reports whether a ready line, in line protocol, is of a rider.
func LineNames(line, rider string) bool {
	tag := ",rider=" + escaped(rider)
	rest := line
	for {
		_, behind, ok := strings.Cut(rest, tag)
		if !ok {
			return false
		}
		if behind == "" || behind[0] == ',' || behind[0] == ' ' {
			return true
		}
		rest = behind
	}
}

// escaped returns an id as line protocol has it.
func escaped(id string) string {
	return strings.NewReplacer(",", `\,`, " ", `\ `, "=", `\=`).Replace(id)
}

// IsOf reports whether an entry is a ping of a rider, judged or refused before.
func IsOf(e *pingline.Entry, rider string) bool {
	return e.Rider == rider || e.IsLine() && LineNames(e.Line, rider)
}
