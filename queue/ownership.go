package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"pingline/queue/cursor"
	"pingline/queue/driver"
	"pingline/queue/jetstream"
)

// ownership is the record of the node that a log belongs to. It lies on the shelf
// beside the log's stream, as JSON.
type ownership struct {
	Form        int       `json:"form"` // of the record: 3; form 2 has no cursors, form 1 no epoch
	Node        string    `json:"node"`
	Addr        string    `json:"addr,omitempty"` // host:port at which the node is reached by its peers
	Incarnation string    `json:"incarnation"`    // of the process
	Epoch       uint64    `json:"epoch"`          // of the records it appends: above that of every owner before
	Since       time.Time `json:"since"`
	Renewed     time.Time `json:"renewed"`  // by the owner's clock, for people to read
	LeaseMS     int64     `json:"lease_ms"` // how long the record is valid without a renewal
	Trimmed     Cursor    `json:"trimmed"`  // records before it may be deleted, now or later
	Released    bool      `json:"released,omitempty"`

	// Cursors and notes of the log, so that the next owner's readers go on where ours were;
	// nil if an earlier version wrote the record.
	Cursors *cursor.Marks `json:"cursors,omitempty"`
}

const ownershipForm = 3

// newOwnership is the record of this process, which follows was. It has the cursors of that
// record. Without one, or without cursors in it, they are mine, from our own directory,
// unless a process with another directory had the log since: then they do not show how far
// it read, and are forgotten, so that the readers begin at the oldest record there is. Notes
// do not depend on positions, and stay.
func newOwnership(cfg *Config, id string, was *predecessor, mine cursor.Marks) ownership {
	epoch, list := uint64(1), mine
	if was.ownership != nil {
		epoch += was.Epoch
		switch {
		case was.Cursors != nil:
			list = *was.Cursors
		case !was.own || was.Trimmed.Next > mine.Trimmed.Next:
			list.Named = nil
		}
		if was.Trimmed.Next > list.Trimmed.Next {
			list.Trimmed = was.Trimmed
		}
	}
	now := time.Now().UTC()
	return ownership{
		Form: ownershipForm, Node: cfg.Node, Addr: cfg.Addr, Incarnation: id, Epoch: epoch,
		Since: now, Renewed: now, LeaseMS: cfg.Lease.Milliseconds(), Trimmed: list.Trimmed, Cursors: &list,
	}
}

func (r *ownership) lease() time.Duration { return time.Duration(r.LeaseMS) * time.Millisecond }

// refusal is the error for a node called name that wants the log, or has lost
// it.
func (r *ownership) refusal(name string) error {
	same := ""
	if r.Node == name {
		same = ", which has our name and another directory"
	}
	return fmt.Errorf("%w: %s%s, since %s", ErrOwned, r.Node, same, r.Since.Format(time.RFC3339))
}

// readOwnership returns the record on shelf and its revision, nil if there is none.
// It may be out of date: only writeOwnership is certain.
func readOwnership(ctx context.Context, shelf driver.Register) (*ownership, uint64, error) {
	b, rev, err := shelf.Load(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("read who owns the log: %w", err)
	}
	return decodeOwnership(b, rev)
}

func decodeOwnership(b []byte, rev uint64) (*ownership, uint64, error) {
	if len(b) == 0 { // deleted by hand, or never there
		return nil, rev, nil
	}
	r := new(ownership)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, 0, fmt.Errorf("read who owns the log: revision %d: %w", rev, err)
	}
	if r.Form > ownershipForm {
		return nil, 0, fmt.Errorf("read who owns the log: form %d, this program knows %d: %w", r.Form, ownershipForm, ErrNewer)
	}
	return r, rev, nil
}

// writeOwnership replaces the record of revision rev, 0 if there is none, and returns
// the new revision. An error that wraps driver.ErrChanged says that the record was
// not replaced; any other error leaves open whether it is, or will be.
func writeOwnership(ctx context.Context, shelf driver.Register, r *ownership, rev uint64) (uint64, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return 0, err
	}
	if rev, err = shelf.Save(ctx, b, rev); err != nil {
		return 0, fmt.Errorf("write who owns the log: %w", err)
	}
	return rev, nil
}

// letsGo reports whether a record says that its owner lets the log go.
func letsGo(record []byte) bool {
	r, _, err := decodeOwnership(record, 0)
	return err == nil && r != nil && r.Released
}

// Owner is the node that has a log on servers, by the record beside the stream. The node
// renews the record while it lives, which gives the record a new revision: that it has
// stayed unchanged for Lease, by the clock of a process that watches it, may be said to
// Config.Idle.
type Owner struct {
	Node, Addr string        // as in its Config; "" if there is no record
	Since      time.Time     // when it became the owner, by its own clock
	Lease      time.Duration // how long the record is valid without a renewal
	Free       bool          // it has let the log go, or there is no record
	Revision   uint64        // of the record; 0 if there was none
}

// TellOwner calls told with each owner that a record names which somebody sends, until stop is
// called. It may never come to be the record, and has no Revision: ReadOwner says so soon.
func TellOwner(shelves *jetstream.Shelves, stream string, told func(Owner)) (stop func(), err error) {
	bucket, key := jetstream.OwnerShelf(stream)
	return shelves.Tell(bucket, key, func(value []byte) {
		if r, _, err := decodeOwnership(value, 0); err == nil && r != nil {
			told(r.public(0))
		}
	})
}

// ReadOwner returns the owner of the log in stream. It makes nothing: a log that is not there
// is free. The answer may be out of date: only Open is certain. An error wraps ErrNewer if a
// newer version wrote the record.
func ReadOwner(ctx context.Context, shelves *jetstream.Shelves, stream string) (Owner, error) {
	bucket, key := jetstream.OwnerShelf(stream)
	b, rev, err := shelves.Load(ctx, bucket, key)
	if err != nil {
		return Owner{}, fmt.Errorf("read who owns the log %s: %w", stream, err)
	}
	r, rev, err := decodeOwnership(b, rev)
	if err != nil || r == nil {
		return Owner{Free: err == nil, Revision: rev}, err
	}
	return r.public(rev), nil
}

func (r *ownership) public(rev uint64) Owner {
	return Owner{Node: r.Node, Addr: r.Addr, Since: r.Since, Lease: r.lease(), Free: r.Released, Revision: rev}
}
