package rights

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pingline/queue/disk"
)

// Removal is the removal of a rider: what is to be done, how far it is, and at last what was
// removed where. It is kept in a file, which is written anew at each step and synced before
// the next begins, so that a removal that was broken off goes on where it was.
type Removal struct {
	ID    string    `json:"id"`                 // names the removal, and nobody
	Rider string    `json:"rider_id,omitempty"` // "" once it is done
	Asked int64     `json:"asked"`              // when it was asked for, ms since 1970
	Step  Milestone `json:"step"`
	Waits string    `json:"waits,omitempty"` // why the next step is not done yet
	Until int64     `json:"until,omitempty"` // pings taken in before this time are removed, ms since 1970
	Done  int64     `json:"done,omitempty"`  // when it was done, ms since 1970

	Tracks      int       `json:"tracks"`           // that the filter has forgotten
	Held        int       `json:"held"`             // pings that the filter held and has forgotten
	DeadLetters int       `json:"dead_letters"`     // removed
	Shards      []Emptied `json:"shards"`           // by name
	Later       int       `json:"later_pings"`      // pings that came meanwhile, written again
	Log         string    `json:"log,omitempty"`    // whether the log's files still have bytes of the rider
	Again       bool      `json:"again,omitempty"`  // it was asked for again meanwhile, and is to begin anew
	Also        string    `json:"also,omitempty"`   // ID of the removal of the rider by another name
	Left        bool      `json:"left,omitempty"`   // it was left while no server ran, and was not looked at since
	Shared      bool      `json:"shared,omitempty"` // a log that several nodes have in turn has it until it is done

	Upto    uint64 `json:"upto,omitempty"`    // number of the commit that ends the past of the rider
	Filled  uint64 `json:"filled,omitempty"`  // number of a commit behind the file of the log that has Upto; 0 if it could not be filled
	Through uint64 `json:"through,omitempty"` // pings behind this commit are written as those of other riders; 0 as long as none is
}

// Emptied is the removal of a rider from a shard.
type Emptied struct {
	Shard     string `json:"shard"`
	Removed   int    `json:"removed"`   // points that were there before
	Remaining int    `json:"remaining"` // points that were found afterwards: the proof is 0
}

// Milestone is the last step of a removal that was done.
type Milestone string

// The steps, in order.
const (
	Asked      Milestone = "asked"        // the removal will survive a crash; no ping of the rider is written any more
	Forgotten  Milestone = "forgotten"    // filter, newest positions and later checkpoints are without the past
	Unlettered Milestone = "dead letters" // the shards have passed all of the past, and no dead letter is left
	Cleared    Milestone = "stores"       // no store has a point
	Reopened   Milestone = "reopened"     // pings of later commits are written again
	Restored   Milestone = "restored"     // so are those that came meanwhile
	Finished   Milestone = "done"         // no checkpoint and no record of the log has the past
)

// doneKept is how many removals that are done are kept, without the rider.
const doneKept = 100

const removalExt = ".json"

func newRemoval(rider string) *Removal {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	return &Removal{ID: hex.EncodeToString(id[:]), Rider: rider, Asked: time.Now().UnixMilli(), Step: Asked}
}

// Leave leaves the request to remove a rider in the directory of a server that does not
// run: it takes it up when it starts.
func Leave(dir, rider string) (*Removal, error) {
	m := newRemoval(rider)
	m.Left = true
	return m, m.save(dir)
}

// save makes m durable.
func (m *Removal) save(dir string) error {
	text, err := json.MarshalIndent(m, "", "\t")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return disk.WriteAside(filepath.Join(dir, m.ID+removalExt), append(text, '\n'))
}

// loadRemoval reads the removal of that ID; its error is fs.ErrNotExist if there is none.
func loadRemoval(dir, id string) (*Removal, error) {
	if id == "" || strings.Trim(id, "0123456789abcdef") != "" {
		return nil, fs.ErrNotExist
	}
	path := filepath.Join(dir, id+removalExt)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	m := new(Removal)
	if err := json.Unmarshal(text, m); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// loadRemovals returns the removals that are not done, the oldest first, and drops the
// oldest of those that are.
func loadRemovals(dir string) (list []*Removal, err error) {
	names, err := filepath.Glob(filepath.Join(dir, "*"+removalExt+"*"))
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		if half := !strings.HasSuffix(name, removalExt); half { // a crash broke the writing off
			err = errors.Join(err, os.Remove(name))
			return true
		}
		return false
	})
	if err != nil {
		return nil, err
	}
	var done []*Removal
	for _, name := range names {
		m, err := loadRemoval(dir, strings.TrimSuffix(filepath.Base(name), removalExt))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, err
		case m.Step == Finished:
			done = append(done, m)
		default:
			list = append(list, m)
		}
	}
	byTime := func(a, b *Removal) int { return int(min(max(a.Asked-b.Asked, -1), 1)) }
	slices.SortFunc(list, byTime)
	slices.SortFunc(done, byTime)
	for len(done) > doneKept {
		if err := os.Remove(filepath.Join(dir, done[0].ID+removalExt)); err != nil {
			return nil, err
		}
		done = done[1:]
	}
	return list, nil
}
