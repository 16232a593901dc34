package parts

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"pingline/internal/pause"
	"pingline/queue"
	"pingline/queue/jetstream"
)

// patrol follows the records of the owners of all parts. A part is looked at by a goroutine of
// its own: servers that do not answer for one stream, as in an election, delay no other.
type patrol struct {
	shelves *jetstream.Shelves
	logger  *slog.Logger
	streams []string                   // of the parts
	every   func(*sight) time.Duration // time between two looks at a part, of up to crowd parts
	seen    func(part int, s *sight)   // nil, or called after each look that succeeded, one at a time
	suspect []chan struct{}            // of each part: with a token in it, the part is looked at now
	told    []chan struct{}            // of each part: with a token in it, it is about to have another owner, or none
	news    chan struct{}              // with a token in it, an owner has changed, or is silent

	mu      sync.Mutex // guards the fields below
	sights  []sight
	failing int   // parts of which the last look failed
	deaf    bool  // in tests: nothing is told
	foreign error // a record that a newer version has written
}

// sight is how far the owner of a part is known.
type sight struct {
	queue.Owner

	known  bool          // a look has succeeded
	failed bool          // the last look did not
	looked time.Time     // when the last look began
	idle   time.Duration // for which the record was seen unchanged, at least
	let    time.Time     // when the owner was seen to have let the part go
	tried  bool          // to be taken, in vain, since the last look
}

const (
	crowd       = 16                    // parts that are looked at as often as is wanted; twice as many half as often
	suspectLook = 50 * time.Millisecond // time at least between two looks at a part that is suspected

	// A record is told of before the servers have it: so often, and each after that time, a part is looked at that is told to have
	// another owner.
	toldLooks, toldLook = 30, 5 * time.Millisecond
)

// expired reports whether the owner may be gone.
func (s *sight) expired() bool { return !s.Free && s.idle >= s.Lease }

// lost reports whether nobody has the part, as far as is known.
func (s *sight) lost() bool { return !s.known || s.Free || s.expired() }

func newPatrol(cfg *Config, shelves *jetstream.Shelves) *patrol {
	p := &patrol{shelves: shelves, logger: cfg.Logger, sights: make([]sight, cfg.Parts), news: make(chan struct{}, 1)}
	for part := range cfg.Parts {
		p.streams = append(p.streams, cfg.stream(part))
		p.suspect = append(p.suspect, make(chan struct{}, 1))
		p.told = append(p.told, make(chan struct{}, 1))
	}
	for part := range cfg.Parts {
		p.listen(part)
	}
	return p
}

// lookAll looks at all parts once, and returns an error if that fails for one of them.
func (p *patrol) lookAll(ctx context.Context) error {
	errs := make([]error, len(p.sights))
	var wg sync.WaitGroup
	for part := range p.sights {
		wg.Go(func() { errs[part] = p.look(ctx, part) })
	}
	wg.Wait()
	for _, err := range errs { // all are likely to be the same
		if err != nil {
			return err
		}
	}
	return nil
}

// listen has a part looked at as soon as it is told to have another owner, or none, until the
// connection is closed. Should that fail it is only looked at from time to time.
func (p *patrol) listen(part int) {
	_, _ = queue.TellOwner(p.shelves, p.streams[part], func(now queue.Owner) {
		p.mu.Lock()
		s := &p.sights[part]
		news := s.known && !p.deaf && (now.Free != s.Free || now.Node != s.Node || !now.Since.Equal(s.Since))
		p.mu.Unlock()
		if news {
			select {
			case p.told[part] <- struct{}{}:
			default:
			}
		}
	})
}

// follow looks at all parts until ctx ends.
func (p *patrol) follow(ctx context.Context) {
	var wg sync.WaitGroup
	for part := range p.sights {
		wg.Go(func() {
			for p.rest(ctx, part) {
				_ = p.look(ctx, part)
			}
		})
	}
	wg.Wait()
}

// rest waits until a part is to be looked at. It returns false once ctx ends.
func (p *patrol) rest(ctx context.Context, part int) bool {
	p.mu.Lock()
	every, looked := p.interval(&p.sights[part]), p.sights[part].looked
	p.mu.Unlock()
	select {
	case <-ctx.Done():
		return false
	case <-time.After(every):
		return true
	case <-p.told[part]:
		p.lookUntilNew(ctx, part)
		return ctx.Err() == nil
	case <-p.suspect[part]:
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(suspectLook - time.Since(looked)):
		return true
	}
}

// lookUntilNew looks at a part, a few times, until it has another owner, or none.
func (p *patrol) lookUntilNew(ctx context.Context, part int) {
	owner := func() queue.Owner {
		p.mu.Lock()
		defer p.mu.Unlock()
		o := p.sights[part].Owner
		o.Revision = 0 // it was renewed
		return o
	}
	before := owner()
	for range toldLooks {
		_ = p.look(ctx, part)
		if owner() != before || pause.For(ctx, toldLook) != nil {
			return
		}
	}
}

// interval returns the time between two looks at a part. The caller holds mu.
func (p *patrol) interval(s *sight) time.Duration {
	return max(p.every(s), time.Millisecond) * time.Duration(max(len(p.sights), crowd)) / crowd
}

// look looks at a part. A look that fails does not count as one that found the record
// unchanged: the owner may fail to renew it for the same reason. Neither does the time count in
// which this process did not look, as it was suspended.
func (p *patrol) look(ctx context.Context, part int) error {
	began := time.Now()
	now, err := queue.ReadOwner(ctx, p.shelves, p.streams[part])
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.sights[part]
	passed := min(began.Sub(s.looked), p.interval(s))
	s.looked = began
	p.count(ctx, s, part, err)
	if err != nil {
		if errors.Is(err, queue.ErrNewer) {
			p.foreign = err
			p.wake()
		}
		return err
	}
	was := *s
	if now.Free && was.known && !was.Free {
		s.let = time.Now()
	}
	if s.tried = false; was.known && now.Revision == was.Revision {
		s.idle += passed
	} else {
		s.idle, s.Owner, s.known = 0, now, true
	}
	if was.tried || was.lost() != s.lost() || was.Node != s.Node || !was.Since.Equal(s.Since) {
		p.wake()
	}
	if p.seen != nil {
		p.seen(part, s)
	}
	return nil
}

// count takes note of whether a look failed, and says so if it is the only part. The caller holds mu.
func (p *patrol) count(ctx context.Context, s *sight, part int, err error) {
	switch {
	case err != nil && !s.failed && ctx.Err() == nil:
		s.failed = true
		if p.failing++; p.failing == 1 {
			p.logger.Warn("the owner of a part cannot be read for now", "part", part, "error", err)
		}
	case err == nil && s.failed:
		s.failed = false
		if p.failing--; p.failing == 0 {
			p.logger.Info("the owners of all parts can be read again")
		}
	}
}

// wake has take look at the parts anew.
func (p *patrol) wake() {
	select {
	case p.news <- struct{}{}:
	default:
	}
}

// free reports whether a part may be taken.
func (p *patrol) free(part int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.sights[part]
	return s.known && s.lost() && !s.tried
}

// tries takes note that we try to take a part: if it is in vain, the next try is after the next
// look. It returns the revision of the owner's record, and whether that was idle for its lease.
func (p *patrol) tries(part int) (revision uint64, expired bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.sights[part]
	s.tried, expired = true, s.known && s.expired()
	return s.Revision, expired
}

// owners returns the names of the owners of all parts: "" for a part that nobody has.
func (p *patrol) owners() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	names := make([]string, len(p.sights))
	for part := range p.sights {
		if s := &p.sights[part]; !s.lost() {
			names[part] = s.Node
		}
	}
	return names
}

// list returns the owners of all parts, in order.
func (p *patrol) list() []PartOwner {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]PartOwner, len(p.sights))
	for part := range p.sights {
		s := &p.sights[part]
		list[part] = PartOwner{Part: part, Node: s.Node, Addr: s.Addr, Since: s.Since, Lease: s.Lease, Free: s.lost()}
	}
	return list
}

// newer returns an error if a newer version has written a record.
func (p *patrol) newer() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.foreign
}
