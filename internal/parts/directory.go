package parts

import (
	"context"
	"sync/atomic"
	"time"

	"pingline/queue/jetstream"
)

// Directory knows at which address the owner of each part is reached: it looks once a second,
// and soon after an address was suspected. With more than 16 parts it looks less often, in
// proportion. It is safe for concurrent use.
type Directory struct {
	*patrol
	reached []atomic.Pointer[seat]
}

// seat is where a part is.
type seat struct {
	addr, node string
	let        time.Time // when the owner let the part go; zero: it has one, or has lost it
}

// PartOwner is the node that has a part.
type PartOwner struct {
	Part       int
	Node, Addr string        // as last known
	Since      time.Time     // when it became the owner, by its own clock
	Lease      time.Duration // silence after which another node may take the part
	Free       bool          // nobody has the part: it was let go, its owner is silent for longer than its lease, or nothing is known
}

const (
	directoryLook = time.Second            // time between two looks at a part that has an owner
	vacantLook    = 200 * time.Millisecond // and at a part that has none
)

// OpenDirectory connects to the servers and looks at all parts. A part for which that fails has
// no owner yet. Close or Run ends the connection.
func OpenDirectory(ctx context.Context, cfg Config) (*Directory, error) {
	if err := cfg.setDefaults(2); err != nil {
		return nil, err
	}
	shelves, err := jetstream.OpenShelves(cfg.URL, cfg.Logger)
	if err != nil {
		return nil, err
	}
	d := &Directory{patrol: newPatrol(&cfg, shelves), reached: make([]atomic.Pointer[seat], cfg.Parts)}
	d.every = func(s *sight) time.Duration {
		if s.lost() {
			return vacantLook
		}
		return directoryLook
	}
	for part := range d.reached {
		d.reached[part].Store(new(seat))
	}
	d.seen = func(part int, s *sight) {
		at := seat{addr: s.Addr, node: s.Node}
		if s.lost() {
			at = seat{}
		}
		if s.Free {
			at.let = s.let
		}
		if at != *d.reached[part].Load() {
			d.reached[part].Store(&at)
		}
	}
	_ = d.lookAll(ctx) // it is in the log
	return d, nil
}

// Owner returns host:port of the peer that has a part, "" if none is known. It may be called
// for each ping.
func (d *Directory) Owner(part int) string { return d.reached[part].Load().addr }

// Name returns the name of that peer, "" if none is known.
func (d *Directory) Name(part int) string { return d.reached[part].Load().node }

// LetGo returns when the owner of a part was seen to have let it go: the next is on its way. It is
// zero if the part has an owner, or lost it in another way.
func (d *Directory) LetGo(part int) time.Time { return d.reached[part].Load().let }

// Suspect tells that addr did not answer, or does not own part. It returns at once.
func (d *Directory) Suspect(part int, addr string) {
	if addr != d.Owner(part) {
		return
	}
	select {
	case d.suspect[part] <- struct{}{}:
	default:
	}
}

// Parts returns the owners of all parts, in order.
func (d *Directory) Parts() []PartOwner { return d.list() }

// Run follows the owners until ctx ends, and then closes the directory and returns nil.
func (d *Directory) Run(ctx context.Context) error {
	defer d.Close()
	d.follow(ctx)
	return nil
}

// Close ends the connection. It may be called more than once.
func (d *Directory) Close() { d.shelves.Close() }
