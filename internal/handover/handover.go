// Package handover has a node that is told to stop let a log on servers go early: while its riders
// wait for the next owner, nothing is done that can be done before or after.
package handover

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"pingline/internal/unit"
	"pingline/queue"
)

const (
	saveMost     = 30 * time.Second       // for which the filter's state is saved, before riders wait
	requestsMost = 30 * time.Millisecond  // for which requests under way keep the next owner waiting
	letGoMost    = time.Second            // in which the log is let go, or else at the end
	tellPeers    = 100 * time.Millisecond // for which peers are told that it is another node's: a connection that ends tells them nothing
)

// Leaver lets a log go. Let nothing be called on it before all fields are set.
type Leaver struct {
	Log    *queue.Log
	Save   func(ctx context.Context) error // saves the filter's state while requests go on
	Keep   func()                          // has held pings stay held at the end, and nothing be saved
	Busy   func() bool                     // whether requests are under way
	Logger *slog.Logger

	gone chan struct{} // closed once the log is let go, or will not be sooner than at its end
}

// Prepare returns a context that ends behind ctx, once the next owner has little to read. Without
// other owners it ends with ctx.
func (l *Leaver) Prepare(ctx context.Context) (context.Context, context.CancelFunc) {
	l.gone = make(chan struct{})
	if !l.Log.Shared() {
		return context.WithCancel(ctx)
	}
	later, end := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		defer end()
		saving, cancel := context.WithTimeout(later, saveMost)
		defer cancel()
		if l.Log.Attended(saving) {
			l.Keep()
			return
		}
		_ = l.Save(saving) // else the next owner reads more
	})
	return later, func() { stop(); end() }
}

// LastRequests waits until ctx has ended and no request is under way, but for those of clients that are
// slow to send: whoever sent a request that was not judged by then sends it again. It returns sooner
// once done is closed.
func (l *Leaver) LastRequests(ctx context.Context, done <-chan struct{}) {
	select {
	case <-ctx.Done():
	case <-done:
		return
	}
	if !l.Log.Shared() {
		<-done
		return
	}
	for began := time.Now(); time.Since(began) < requestsMost; {
		select {
		case <-done:
			return
		case <-time.After(2 * time.Millisecond):
		}
		if !l.Busy() {
			return
		}
	}
}

// LetGo lets the log go, unless all of it is to be written by this node. Nothing is appended any more.
func (l *Leaver) LetGo(all bool) {
	defer close(l.gone)
	if all {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), letGoMost)
	defer cancel()
	if err := l.Log.HandOver(ctx); err != nil {
		l.Logger.Warn("the log is let go only at the end", "error", err)
	}
}

// Gone waits until ctx has ended and the log is let go, or a second has passed, and then until peers know.
func (l *Leaver) Gone(ctx context.Context) error {
	<-ctx.Done()
	if !l.Log.Shared() {
		return nil
	}
	select {
	case <-l.gone:
		time.Sleep(tellPeers)
	case <-time.After(letGoMost):
	}
	return nil
}

// Drained waits until all that is queued is written, at most as long as most says.
func (l *Leaver) Drained(ctx context.Context, most time.Duration, queued func() (pings, lines uint64)) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for most > 0 {
		pings, lines := queued()
		if pings+lines == 0 {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("not written within %v: %s and %s", most, unit.Plural(pings, "ping", "pings"), unit.Plural(lines, "line of our own", "lines of our own"))
		}
	}
	return nil
}
