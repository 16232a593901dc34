package backup

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pingline/queue"
	"pingline/queue/record"
)

// Original is a log and the directory that it is in, as LogDir.
type Original struct {
	Log           *queue.Log
	Dir           string
	Node, Version string
}

const (
	chunkBytes = 1 << 20         // of records in an entry of the archive, beside the last record
	longest    = 5 * time.Minute // for which a record is waited for

	// A log of which less than this part is left is not held back from being trimmed.
	leastRoom = 16
)

// Write writes a backup of a log in use to w. Meanwhile no record that is not copied yet is
// trimmed; if the log fills up, Write gives up instead.
func Write(ctx context.Context, w io.Writer, src Original) (s Manifest, err error) {
	dir, err := filepath.EvalSymlinks(src.Dir)
	if err != nil {
		return s, fmt.Errorf("back up: %w", err)
	}
	pin, at := src.Log.Pin()
	defer pin.Release()
	a := &archive{tar: tar.NewWriter(&roomy{w, src.Log, pin}), now: time.Now(), end: closing{Sums: map[string]string{}}}
	a.sum.Origin = Origin{Form: Form, Node: src.Node, Version: src.Version, Made: a.now.UTC().Truncate(time.Millisecond)}
	if err := a.json(headName, a.sum.Origin); err != nil {
		return s, err
	}
	// Letters are put back into the log before they are removed, and the filter's state is
	// never ahead of the log: so the number is taken after the files.
	if err := a.files(ctx, dir); err != nil {
		return s, err
	}
	if err := a.log(ctx, src.Log, pin, at); err != nil {
		return s, err
	}
	a.end.Texts = a.texts.String()
	if err := a.json(endName, a.end); err != nil {
		return s, err
	}
	if err := a.tar.Close(); err != nil {
		return s, fmt.Errorf("write backup: %w", err)
	}
	a.sum.Records, a.sum.Lost, a.sum.Files = a.end.Records, a.end.Lost, len(a.end.Sums)
	return a.sum, nil
}

// roomy gives up once the log must be trimmed sooner than it is copied.
type roomy struct {
	io.Writer
	log *queue.Log
	pin *queue.Pin
}

func (w *roomy) Write(b []byte) (int, error) {
	if w.pin.Holds() {
		if err := room(w.log); err != nil {
			return 0, err
		}
	}
	return w.Writer.Write(b)
}

// archive is a backup on its way.
type archive struct {
	tar   *tar.Writer
	now   time.Time
	sum   Manifest
	end   closing
	texts textSum
}

func (a *archive) json(name string, v any) error {
	text, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	a.texts.add(name, text)
	return a.entry(name, text)
}

func (a *archive) entry(name string, b []byte) error {
	err := a.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(b)), ModTime: a.now})
	if err == nil {
		_, err = a.tar.Write(b)
	}
	if err != nil {
		return fmt.Errorf("write backup: %s: %w", name, err)
	}
	return nil
}

// passes bounds how often the files are listed: they may be renamed meanwhile.
const passes = 10

// files copies the files of dir, until a pass finds none that is new or gone.
func (a *archive) files(ctx context.Context, dir string) error {
	for range passes {
		again := false
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) && path != dir {
				again = true
				return nil
			}
			rel, rerr := filepath.Rel(dir, path)
			switch {
			case err != nil || rerr != nil:
				return errors.Join(err, rerr)
			case ctx.Err() != nil:
				return ctx.Err()
			case d.IsDir() && foreign(rel):
				return fs.SkipDir
			case d.Type()&fs.ModeSymlink != 0 && rel != LogDir:
				return fmt.Errorf("back up: %s is a symbolic link: what it leads to would be missing", path)
			case !d.Type().IsRegular(), strings.HasSuffix(rel, ".tmp"), strings.HasSuffix(rel, ".new"):
				return nil
			}
			name := filepath.ToSlash(rel)
			if _, copied := a.end.Sums[name]; copied {
				return nil
			}
			again = true
			return a.file(name, path)
		})
		if err != nil || !again {
			return err
		}
	}
	return fmt.Errorf("back up %s: its files are renamed all the time", dir)
}

// file copies a file as long as it is now; a file that is gone is left out.
func (a *archive) file(name, path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	if err := a.tar.WriteHeader(&tar.Header{Name: dataPrefix + name, Mode: 0o600, Size: info.Size(), ModTime: info.ModTime()}); err != nil {
		return fmt.Errorf("write backup: %s: %w", name, err)
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(a.tar, sum), io.LimitReader(f, info.Size()))
	if err == nil && n < info.Size() {
		err = errors.New("was cut short while it was copied: make the backup again")
	}
	if err != nil {
		return fmt.Errorf("back up %s: %w", path, err)
	}
	a.end.Sums[name] = hex.EncodeToString(sum.Sum(nil))
	a.sum.Bytes += n
	return nil
}

// log copies the records from at.First to the last of this moment.
func (a *archive) log(ctx context.Context, l *queue.Log, pin *queue.Pin, at queue.Positions) error {
	head := l.Head()
	c := contents{First: at.First, Last: head.Next - 1, Before: head.Totals, Cursors: at.Cursors, Notes: at.Notes}
	r := l.Read(at.First)
	defer r.Close()
	var chunk []byte
	first, begun := uint64(0), false
	flush := func() error {
		if len(chunk) == 0 {
			return nil
		}
		err := a.entry(fmt.Sprintf("%s%020d%s", logPrefix, first, records), chunk)
		chunk = chunk[:0]
		return err
	}
	begin := func(before queue.Totals) error {
		if begun {
			return nil
		}
		begun, c.Before = true, before
		return a.json(logName, c)
	}
	var gone *queue.DamageError // lost records that are not written yet
	settle := func(after queue.Totals) error {
		if gone == nil {
			return begin(after)
		}
		run := lostRun{gone.From, gone.To, after}
		err := errors.Join(begin(after.Sub(gone.Lost)), flush(), a.json(fmt.Sprintf("%s%020d%s", logPrefix, run.From, lost), run))
		a.end.Lost += run.To + 1 - run.From
		gone = nil
		return err
	}
	for next := at.First; next < head.Next; {
		rec, gap, err := nextOf(ctx, r)
		if err != nil {
			return err
		}
		if gap != nil {
			gap.To = min(gap.To, c.Last)
			next = gap.To + 1
			if gone == nil {
				gone = gap
				continue
			}
			gone.To = gap.To
			for i := range gone.Lost {
				gone.Lost[i] += gap.Lost[i]
			}
			continue
		}
		if err := settle(rec.Before); err != nil { // only now it is known what the lost records had
			return err
		}
		if len(chunk) == 0 {
			first = rec.Number
		}
		rec.Epoch, rec.Trimmed = 0, 0 // of the place it was copied from; the copy is its own
		b := record.Encode(&rec)
		chunk = append(binary.LittleEndian.AppendUint32(chunk, uint32(len(b))), b...)
		a.sum.Bytes += int64(len(b))
		a.end.Records++
		next = rec.Number + 1
		if len(chunk) >= chunkBytes {
			if err := flush(); err != nil {
				return err
			}
			pin.Move(next)
		}
	}
	a.sum.First, a.sum.Last = c.First, c.Last
	return errors.Join(settle(head.Totals), flush())
}

// nextOf returns the next record, or the records that are lost before it.
func nextOf(ctx context.Context, r *queue.Reader) (rec queue.Record, gap *queue.DamageError, err error) {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	rec, err = r.Next(ctx)
	if errors.As(err, &gap) {
		return rec, gap, nil
	}
	if err != nil {
		err = fmt.Errorf("back up the log: %w", err)
	}
	return rec, nil, err
}

// room returns an error once the log must be trimmed sooner than it is copied.
func room(l *queue.Log) error {
	if left := l.Room(); left < l.Limit()/leastRoom {
		return fmt.Errorf("back up the log: it is nearly full, %d bytes are left: make the backup again when there is more room", left)
	}
	if err := l.Trouble(); err != nil {
		return fmt.Errorf("back up the log: %w", err)
	}
	return nil
}
