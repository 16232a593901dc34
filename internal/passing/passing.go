// Package passing hands lines of clients on to a store while the clients wait.
//
// It keeps nothing: a line is in the store when its client is answered, or the client is told
// that it is not. A line that the store refuses takes no other line with it. While the store is
// in trouble, or an operator must act, clients are told to send their requests again; a line that comes
// twice is the same point, if it has a timestamp.
//
// Pings do not wait for lines, but for those of their own request, which are durable before. The
// bytes of lines that wait are bounded, and a store that does not answer is left alone for a while.
package passing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"pingline/ingest"
	"pingline/ingest/phone"
	"pingline/ingest/server/refusal"
	"pingline/sink/limit"
	"pingline/sink/store"
)

// Config sets up a Passer. Store, Name and Timeout are required.
type Config struct {
	Store   store.Store   // takes lines as rows; Close closes it
	Name    string        // of the store, such as "a/telegraf"
	Timeout time.Duration // of a request
	Most    int64         // bytes of lines that are on their way or wait; 0 means 16 MiB
	Logger  *slog.Logger  // nil means slog.Default()
}

const (
	mostWrites   = 8  // at once
	mostAttempts = 64 // writes of a request

	open = 5 * time.Second // for which a store in trouble is left alone
	told = 2 * time.Minute // for which Notes tell of the last trouble
)

// Passer passes lines on. It is safe for concurrent use.
type Passer struct {
	cfg     Config
	breaker *limit.Breaker
	room    *semaphore.Weighted // bytes
	writes  *semaphore.Weighted

	passed, refused, again atomic.Uint64
	trouble                atomic.Pointer[failedPass] // nil: the last write was answered
}

// failedPass is why lines were not passed on.
type failedPass struct {
	at   time.Time
	text string
}

// New returns a Passer. It does not connect.
func New(cfg Config) *Passer {
	cfg.Most, cfg.Logger = cmp.Or(cfg.Most, 16<<20), cmp.Or(cfg.Logger, slog.Default())
	return &Passer{
		cfg: cfg, breaker: limit.NewBreaker(cfg.Name, open, cfg.Timeout),
		room: semaphore.NewWeighted(cfg.Most), writes: semaphore.NewWeighted(mostWrites),
	}
}

// PassOn writes lines to the store, and notes in o which of them it refuses. An error wraps
// ingest.ErrUnavailable; some lines may be stored then.
func (p *Passer) PassOn(o *phone.Others) error {
	size, lines := min(int64(len(o.Bytes)), p.cfg.Most), uint64(len(o.Ends))
	if !p.room.TryAcquire(size) {
		p.again.Add(lines)
		return later("too many lines that are no positions wait for their store")
	}
	defer p.room.Release(size)
	a := attempt{p: p, lines: o.Bytes, ends: o.Ends, most: mostAttempts}
	err := p.turn(func() error { return a.write(0, len(o.Ends)) })
	p.note(err)
	if err != nil {
		p.again.Add(lines)
		return later("the store of lines that are no positions takes none for now")
	}
	o.Refused, o.Why = a.refused, cmp.Or(a.why, a.last)
	p.refused.Add(uint64(a.refused))
	p.passed.Add(lines - uint64(a.refused))
	return nil
}

func later(why string) error {
	return &refusal.Reason{Kind: ingest.ErrUnavailable, Text: why + ": send the request again; its pings are stored already, and are not stored twice"}
}

// turn calls f within the number that may write at once.
func (p *Passer) turn(f func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), p.cfg.Timeout)
	defer cancel()
	if err := p.writes.Acquire(ctx, 1); err != nil {
		return fmt.Errorf("%d requests were not answered within %v", mostWrites, p.cfg.Timeout)
	}
	defer p.writes.Release(1)
	return f()
}

// attempt is the writing of the lines of a request.
type attempt struct {
	p     *Passer
	lines []byte
	ends  []int
	most  int       // writes that may still be made
	until time.Time // behind which none is begun; zero until a write is refused

	refused   int
	why, last string // the store's words about a line, and about several
}

// write writes the lines [from, to), and of lines that are refused the halves. It returns an error
// if it is not known which of the lines are stored. After too many writes the rest counts as refused:
// a request that comes again and again must end.
func (a *attempt) write(from, to int) error {
	if a.most == 0 || !a.until.IsZero() && time.Now().After(a.until) {
		a.refused += to - from
		return nil
	}
	a.most--
	start := 0
	if from > 0 {
		start = a.ends[from-1]
	}
	err := a.p.breaker.Write(func() error {
		return a.p.write(store.Rows{Bytes: a.lines[start:a.ends[to-1]], N: to - from})
	})
	bad := new(store.Refusal)
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &bad) || bad.Kind != store.BadRows:
		return err
	case bad.All || to-from == 1:
		a.refused += to - from
		a.why = cmp.Or(a.why, words(bad))
		return nil
	}
	a.last = words(bad)
	if a.until.IsZero() {
		a.until = time.Now().Add(a.p.cfg.Timeout)
	}
	half := from + (to-from)/2
	if err := a.write(from, half); err != nil {
		return err
	}
	return a.write(half, to)
}

// write makes an attempt to write rows. Its errors wrap a *store.Refusal.
func (p *Passer) write(rows store.Rows) error {
	ctx, cancel := context.WithTimeout(context.Background(), p.cfg.Timeout)
	defer cancel()
	err := p.cfg.Store.Write(ctx, rows)
	why := new(store.Refusal)
	switch {
	case err == nil || errors.As(err, &why):
		return err
	case ctx.Err() != nil:
		err = fmt.Errorf("no answer within %v", p.cfg.Timeout)
	}
	return &store.Refusal{Kind: store.Retry, Err: err}
}

// around is what the answers of InfluxDB, and answers to clients, have around the words.
var around = regexp.MustCompile(`^status \d+: |partial write: | dropped=\d+$`)

// words returns the words of a refusal.
func words(r *store.Refusal) string { return around.ReplaceAllString(r.Error(), "") }

// note notes how a request ended.
func (p *Passer) note(err error) {
	switch {
	case err == nil:
		if p.trouble.Swap(nil) != nil {
			p.cfg.Logger.Info("lines that are no positions are passed on again", "store", p.cfg.Name)
		}
	case !errors.Is(err, limit.ErrOpen):
		t := &failedPass{at: time.Now(), text: err.Error()}
		if r := new(store.Refusal); errors.As(err, &r) && r.Advice != "" {
			t.text += ": " + r.Advice
		}
		if was := p.trouble.Swap(t); was == nil {
			p.cfg.Logger.Warn("lines that are no positions are not passed on; their clients send them again", "store", p.cfg.Name, "error", t.text)
		}
	}
}

// Notes returns a sentence if lines were not passed on of late. A nil Passer has none.
func (p *Passer) Notes() []string {
	if p == nil {
		return nil
	}
	t := p.trouble.Load()
	if t == nil || time.Since(t.at) > told {
		return nil
	}
	return []string{fmt.Sprintf("lines that are no positions are not passed on to %s: %s", p.cfg.Name, t.text)}
}

// Stats are the lines of requests since the start of the process, by what became of them.
type Stats struct{ Passed, Refused, Again uint64 }

// Stats returns the counts; of a nil Passer nil.
func (p *Passer) Stats() *Stats {
	if p == nil {
		return nil
	}
	return &Stats{Passed: p.passed.Load(), Refused: p.refused.Load(), Again: p.again.Load()}
}

// Close closes the store.
func (p *Passer) Close() error {
	if p == nil {
		return nil
	}
	return p.cfg.Store.Close()
}
