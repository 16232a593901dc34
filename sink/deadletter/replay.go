package deadletter

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

func (d *Dir) replayDir() string { return filepath.Join(d.dir, "replay") }

// Replay moves the dead letters for which choose returns true to where
// TakeReplays finds them, and returns how many. It goes file by file; whatever
// moment the process dies at, each letter is in either place, and at worst in
// both, so that its row is written twice. Lines that cannot be read stay.
func (d *Dir) Replay(ctx context.Context, choose func(*Letter) bool) (n int, err error) {
	names, err := filesIn(d.dir, letterExt)
	if err != nil {
		return 0, fmt.Errorf("dead letters: %w", err)
	}
	for _, name := range names {
		if ctx.Err() != nil {
			return n, ctx.Err()
		}
		moved, err := d.replayFile(ctx, name, choose)
		if n += moved; err != nil {
			return n, fmt.Errorf("replay %s: %w", filepath.Join(d.dir, name), err)
		}
	}
	return n, nil
}

// replayFile moves the chosen letters of a file. The lock keeps the file from
// growing meanwhile; it is held for a single file, so that no lane waits for
// long.
func (d *Dir) replayFile(ctx context.Context, name string, choose func(*Letter) bool) (n int, err error) {
	unlock, err := d.lock(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	if err := d.sweep(); err != nil {
		return 0, err
	}
	from := filepath.Join(d.dir, name)
	total := 0
	for l, err := range lettersIn(from) {
		switch {
		case errors.Is(err, os.ErrNotExist):
			return 0, nil // moved away meanwhile
		case err != nil && l.raw == nil:
			return 0, err
		case err == nil && choose(l.Letter):
			n++
		}
		total++
	}
	if n == 0 {
		return 0, nil
	}
	to, err := d.nextReplay()
	if err != nil {
		return 0, err
	}
	if n == total {
		return n, d.moveWhole(from, to)
	}
	return n, d.moveSome(from, to, choose)
}

// sweep removes the files that a change left behind when it was broken off.
// The caller holds the lock.
func (d *Dir) sweep() error {
	for _, dir := range [...]string{d.dir, d.replayDir()} {
		names, err := filesIn(dir, asideExt)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// asideExt is the ending of files that are not complete yet.
const asideExt = ".tmp"

// nextReplay returns the path of the next file in replayDir. The caller holds
// the lock, so that the path stays free.
func (d *Dir) nextReplay() (string, error) {
	if err := os.MkdirAll(d.replayDir(), 0o700); err != nil {
		return "", err
	}
	if err := syncDir(d.dir); err != nil {
		return "", err
	}
	names, err := filesIn(d.replayDir(), letterExt)
	if err != nil {
		return "", err
	}
	return filepath.Join(d.replayDir(), nextName(names)), nil
}

func (d *Dir) moveWhole(from, to string) error {
	d.stepped()
	if err := os.Rename(from, to); err != nil {
		return err
	}
	d.stepped()
	return errors.Join(syncDir(d.replayDir()), syncDir(d.dir))
}

// moveSome writes the letters that move and the letters that stay to a file
// each, and then puts the two files in place, in that order.
func (d *Dir) moveSome(from, to string, choose func(*Letter) bool) error {
	aside := [2]string{to + asideExt, from + asideExt}
	for i, path := range aside {
		err := copyLetters(from, path, func(l *Letter) bool { return (l != nil && choose(l)) == (i == 0) })
		if err != nil {
			return errors.Join(err, d.sweep())
		}
		d.stepped()
	}
	for i, path := range [2]string{to, from} {
		if err := os.Rename(aside[i], path); err != nil {
			return err
		}
		d.stepped()
		if err := syncDir(filepath.Dir(path)); err != nil {
			return err
		}
		d.stepped()
	}
	return nil
}

// copyLetters makes a durable copy of the lines of a file for which want is
// true; it calls want(nil) for a line that cannot be read.
func copyLetters(from, to string, want func(*Letter) bool) (err error) {
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 64<<10)
	for l, err := range lettersIn(from) {
		if err != nil && l.raw == nil {
			return err
		}
		if !want(l.Letter) {
			continue
		}
		if _, err := w.Write(l.raw); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Sync()
}

func (d *Dir) stepped() {
	if d.step != nil {
		d.step()
	}
}

// Replaying returns how many files of letters wait for TakeReplays.
func (d *Dir) Replaying() (files int, err error) {
	names, err := filesIn(d.replayDir(), letterExt)
	return len(names), err
}

// replayBytes is about how many bytes of letters a call of submit gets.
const replayBytes = 128 << 10

// TakeReplays gives submit the letters that Replay has moved, some at a time, and
// removes each file once submit has made all of it durable. It returns the number
// of letters. A file is begun anew after an error or a crash, so that rows can be
// written twice. Lines that cannot be read are kept, in a file that ends in
// .unreadable, and an error names them. Only one caller at a time.
func (d *Dir) TakeReplays(ctx context.Context, submit func([]*Letter) error) (n int, err error) {
	names, err := filesIn(d.replayDir(), letterExt)
	if err != nil {
		return 0, fmt.Errorf("dead letters: %w", err)
	}
	var errs []error
	for _, name := range names {
		path := filepath.Join(d.replayDir(), name)
		taken, bad, err := takeReplay(ctx, path, submit)
		if err != nil {
			return n, errors.Join(append(errs, err)...)
		}
		n += taken
		d.stepped()
		if bad != nil {
			errs = append(errs, bad)
			err = os.Rename(path, unreadableName(path))
		} else {
			err = os.Remove(path)
		}
		if err := errors.Join(err, syncDir(d.replayDir())); err != nil {
			return n, fmt.Errorf("dead letters: %w", errors.Join(append(errs, err)...))
		}
	}
	return n, errors.Join(errs...)
}

// unreadableName returns the path at which the unreadable lines of the file at path
// are kept. Names of files in replayDir come again, and no file may replace an earlier
// one.
func unreadableName(path string) string {
	name := path + unreadableExt
	for n := 2; ; n++ {
		if _, err := os.Lstat(name); err != nil {
			return name
		}
		name = fmt.Sprintf("%s.%d%s", path, n, unreadableExt)
	}
}

const unreadableExt = ".unreadable"

// takeReplay submits a file. bad is the error of the first line that cannot be
// read, if any.
func takeReplay(ctx context.Context, path string, submit func([]*Letter) error) (n int, bad, err error) {
	var batch []*Letter
	size := 0
	flush := func() error {
		if err := ctx.Err(); err != nil || len(batch) == 0 {
			return err
		}
		if err := submit(batch); err != nil {
			return fmt.Errorf("replay %s: %w", path, err)
		}
		n += len(batch)
		batch, size = batch[:0], 0
		return nil
	}
	for l, err := range lettersIn(path) {
		if err != nil && l.raw == nil {
			return n, bad, err
		}
		if err != nil {
			bad = cmp.Or(bad, err) // keep the first
			continue
		}
		batch = append(batch, l.Letter)
		if size += len(l.raw); size >= replayBytes {
			if err := flush(); err != nil {
				return n, bad, err
			}
		}
	}
	return n, bad, flush()
}

// Accept lets rows more rows of a shard become dead letters although too many
// were refused: its lanes ask for that while they stand still. It replaces an
// earlier number that was not used.
func (d *Dir) Accept(ctx context.Context, shard string, rows int) error {
	unlock, err := d.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	path := d.acceptPath(shard)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("dead letters: %w", err)
	}
	if err := os.WriteFile(path+asideExt, []byte(strconv.Itoa(rows)), 0o600); err != nil {
		return fmt.Errorf("dead letters: %w", err)
	}
	if err := os.Rename(path+asideExt, path); err != nil {
		return fmt.Errorf("dead letters: %w", err)
	}
	return nil
}

func (d *Dir) acceptPath(shard string) string {
	return filepath.Join(d.dir, "accept", "shard-"+shard)
}

// Accepted returns the number that was last accepted for a shard, and 0 from
// then on.
func (d *Dir) Accepted(shard string) int {
	path := d.acceptPath(shard)
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	rows, err := strconv.Atoi(string(text))
	if err != nil || rows < 0 || os.Remove(path) != nil {
		return 0
	}
	return rows
}
