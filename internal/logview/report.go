// Package logview shows operators the log of a node: how it is and what waits in it, its
// entries as JSON, and a backup of it. It answers on the operations listener of a running
// node, and serves commands that open the log of a stopped one.
//
// It changes nothing in the log. A backup holds records back from being trimmed while it is
// made.
package logview

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"pingline"
	"pingline/queue"
	"pingline/sink/resume"
	"pingline/sink/route"
	"pingline/sink/sets"
)

// Inspection tells how a log is at a moment.
type Inspection struct {
	At    int64  `json:"at"` // ms since 1970
	First uint64 `json:"first"`
	Last  uint64 `json:"last"` // number of the newest commit
	Bytes int64  `json:"bytes"`
	Limit int64  `json:"limit"` // bytes

	Sets        []SetWaits              `json:"sets"`
	Readers     []ReaderWaits           `json:"readers"` // of the log that are no lanes
	Damage      []Loss                  `json:"damage"`
	Checkpoints []CheckpointFile        `json:"checkpoints"` // newest first
	DeadLetters FileCount               `json:"dead_letters"`
	Cursors     map[string]queue.Cursor `json:"cursors"`
}

// SetWaits says what waits for a set of shards: exactly for the set, by lane only how far
// each is.
type SetWaits struct {
	Set   string      `json:"set"`
	Pings uint64      `json:"pings"` // that wait for a store
	Lines uint64      `json:"lines"` // of our own, likewise
	Lanes []LaneWaits `json:"lanes"`
}

// LaneWaits says how far a lane of a shard is, or a stretch that live pings had left out.
type LaneWaits struct {
	Shard string `json:"shard"`
	Lane  string `json:"lane"`
	ReaderWaits
}

// ReaderWaits says how far a reader of the log is.
type ReaderWaits struct {
	Name    string `json:"cursor"`
	Next    uint64 `json:"next"`            // number of the first commit that it has not passed
	End     uint64 `json:"end,omitempty"`   // of a stretch: number of the first commit behind it
	Commits uint64 `json:"commits"`         // that it has not passed
	Bytes   int64  `json:"bytes"`           // about as many
	Since   int64  `json:"since,omitempty"` // ms since 1970, when the first of them was written; 0: none waits, or it is lost
}

// Loss is a run of commits that the log has lost.
type Loss struct {
	From  uint64 `json:"from"`
	To    uint64 `json:"to"`
	Pings uint64 `json:"pings"` // to be stored, in these commits
	Lines uint64 `json:"lines"`
}

// CheckpointFile is a state of the filter on disk.
type CheckpointFile struct {
	Next  uint64 `json:"next"` // number of the first commit that is not in it
	Bytes int64  `json:"bytes"`
	Made  int64  `json:"made"` // ms since 1970
}

// FileCount is how many files a directory has.
type FileCount struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
}

// Names of directories in a data directory.
const (
	FilterDir     = "filter"
	DeadLetterDir = "deadletter"

	checkpointSuffix = ".checkpoint"
)

// Inspect reports on a log in a data directory.
func Inspect(ctx context.Context, log *queue.Log, dir string) (r Inspection, err error) {
	head := log.Head()
	r = Inspection{
		At: time.Now().UnixMilli(), First: log.First(), Last: head.Next - 1, Bytes: log.Bytes(), Limit: log.Limit(),
		Sets: []SetWaits{}, Readers: []ReaderWaits{}, Damage: []Loss{}, Cursors: log.Cursors(),
	}
	for _, d := range log.Damage() {
		r.Damage = append(r.Damage, Loss{d.From, d.To, d.Lost[pingline.TotalStored], d.Lost[pingline.TotalLines]})
	}
	since := make(map[uint64]int64)
	at := func(name string, c queue.Cursor, end uint64) (w ReaderWaits, err error) {
		w = ReaderWaits{Name: name, Next: c.Next, End: end, Bytes: log.BytesSince(c.Next)}
		if behind := cmp.Or(end, head.Next); behind > c.Next {
			w.Commits = behind - c.Next
		}
		if end != 0 {
			w.Bytes -= log.BytesSince(end)
		}
		if w.Commits > 0 {
			if _, known := since[c.Next]; !known {
				since[c.Next], err = written(ctx, log, c.Next)
			}
			w.Since = since[c.Next]
		}
		return w, err
	}
	passed := make(map[string]*[pingline.TotalLines + 1]uint64)
	for name, c := range r.Cursors {
		m := resume.CursorName.FindStringSubmatch(name)
		end := uint64(0)
		if m != nil && m[3] != "" {
			end, _ = strconv.ParseUint(m[3], 10, 64) // the name has digits
		}
		w, err := at(name, c, end)
		if err != nil {
			return r, err
		}
		if m == nil {
			r.Readers = append(r.Readers, w)
			continue
		}
		set, shard, of := strings.Cut(m[1], route.SetSep)
		if !of {
			set, shard = sets.Main, m[1]
		}
		i := slices.IndexFunc(r.Sets, func(s SetWaits) bool { return s.Set == set })
		if i < 0 {
			i, r.Sets = len(r.Sets), append(r.Sets, SetWaits{Set: set})
			passed[set] = new([pingline.TotalLines + 1]uint64)
		}
		lane := m[2]
		if end != 0 {
			lane = "hole"
		}
		r.Sets[i].Lanes = append(r.Sets[i].Lanes, LaneWaits{shard, lane, w})
		total := pingline.TotalStored
		if lane == route.Own.String() {
			total = route.Own.Total()
		}
		passed[set][total] += c.Passed
	}
	for i := range r.Sets {
		s := &r.Sets[i]
		s.Pings = left(head.Totals, passed[s.Set], pingline.TotalStored)
		s.Lines = left(head.Totals, passed[s.Set], pingline.TotalLines)
		slices.SortFunc(s.Lanes, func(a, b LaneWaits) int {
			return cmp.Or(cmp.Compare(a.Shard, b.Shard), cmp.Compare(rank(a.Lane), rank(b.Lane)), cmp.Compare(a.End, b.End))
		})
	}
	slices.SortFunc(r.Sets, func(a, b SetWaits) int {
		return cmp.Or(cmp.Compare(oneUnless(a.Set == sets.Main), oneUnless(b.Set == sets.Main)), cmp.Compare(a.Set, b.Set))
	})
	slices.SortFunc(r.Readers, func(a, b ReaderWaits) int { return cmp.Compare(a.Name, b.Name) })
	if r.Checkpoints, err = checkpoints(filepath.Join(dir, FilterDir)); err != nil {
		return r, err
	}
	r.DeadLetters, err = count(filepath.Join(dir, DeadLetterDir))
	return r, err
}

// left returns how many entries a total has that the lanes of a set have not passed. A lane
// may pass some between two looks.
func left(head queue.Totals, passed *[pingline.TotalLines + 1]uint64, total int) uint64 {
	return head[total] - min(head[total], passed[total])
}

func oneUnless(is bool) int {
	if is {
		return 0
	}
	return 1
}

// rank orders lanes as the sink does; stretches come last.
func rank(lane string) int {
	for kind := range route.LaneKinds {
		if kind.String() == lane {
			return int(kind)
		}
	}
	return int(route.LaneKinds)
}

// written returns when a commit was written, ms since 1970, or when the first that is left
// behind it was; 0 if there is none.
func written(ctx context.Context, log *queue.Log, number uint64) (int64, error) {
	r := log.Read(number)
	defer r.Close()
	for last := log.Last(); number <= last; {
		rec, err := r.Next(ctx)
		if gap := new(queue.DamageError); errors.As(err, &gap) {
			number = gap.To + 1
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("read commit %d: %w", number, err)
		}
		h, _, err := pingline.DecodeCommit(rec.Payload)
		if err == nil {
			return h.At, nil
		}
		number = rec.Number + 1
	}
	return 0, nil
}

// checkpoints lists the filter's states in a directory.
func checkpoints(dir string) (list []CheckpointFile, err error) {
	list = []CheckpointFile{}
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return list, err
	}
	for _, f := range files {
		name, ok := strings.CutSuffix(f.Name(), checkpointSuffix)
		next, err := strconv.ParseUint(name, 10, 64)
		info, gone := f.Info()
		if !ok || err != nil || gone != nil {
			continue
		}
		list = append(list, CheckpointFile{next, info.Size(), info.ModTime().UnixMilli()})
	}
	slices.SortFunc(list, func(a, b CheckpointFile) int { return cmp.Compare(b.Next, a.Next) })
	return list, nil
}

// count counts the files under a directory; files that vanish meanwhile are left out.
func count(dir string) (n FileCount, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return nil //nolint:nilerr // it is gone
		}
		n.Files++
		n.Bytes += info.Size()
		return nil
	})
	return n, err
}
