// Package embedded is a JetStream server in this process, with no port, that keeps
// its streams in a directory.
//
// It syncs every message before it is acknowledged, unless told not to. JetStream gives
// no answer at all when a write fails, and does not sync the entries of new block files: the
// Server learns of failed writes from JetStream's log lines, and a BlockDir syncs
// the entries and notices when the files are deleted. A server that could not
// write once never writes again: it must be stopped and a new server started.
package embedded

import (
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"pingline/queue/driver"
)

// Server is a JetStream server in this process. It is also the logger of that
// server: JetStream gives no answer at all when a write fails, so its log is the
// only way to learn the cause. It is safe for concurrent use.
type Server struct {
	srv    *server.Server
	logger *slog.Logger

	mu    sync.Mutex // guards the fields below; nothing else is locked under it
	fatal string
	last  string // the newest logged error
	at    time.Time
	fails error       // a write failed: the server never writes again
	tell  func(error) // called with fails, once
}

var _ server.Logger = (*Server)(nil)

// MaxPayload is the size of the largest message, bytes.
const MaxPayload = 16 << 20

// Start opens the store in dir. If the store was not closed in order, Start reads
// all of it, though not into memory. With sync each message is synced before it is
// acknowledged. The server logs to logger.
func Start(dir string, sync bool, logger *slog.Logger) (*Server, error) {
	e := &Server{logger: logger}
	srv, err := server.NewServer(&server.Options{
		ServerName:         "pingline",
		DontListen:         true,
		NoSigs:             true,
		JetStream:          true,
		StoreDir:           dir,
		SyncAlways:         sync,
		MaxPayload:         MaxPayload,
		JetStreamMaxMemory: 1 << 20,
		JetStreamMaxStore:  math.MaxInt64 / 2, // the stream has its own limit
	})
	if err != nil {
		return nil, fmt.Errorf("embedded log in %s: %w", dir, err)
	}
	e.srv = srv
	srv.SetLoggerV2(e, false, false, false)
	srv.Start()
	if e.mu.Lock(); e.fatal != "" {
		err = fmt.Errorf("embedded log in %s: %s", dir, e.fatal)
	}
	e.mu.Unlock()
	if err != nil {
		e.Stop()
		return nil, err
	}
	return e, nil
}

// NATS returns the server itself.
func (e *Server) NATS() *server.Server { return e.srv }

// Stop returns when the server has ended.
func (e *Server) Stop() {
	e.srv.Shutdown()
	e.srv.WaitForShutdown()
}

// Blocks returns the directory in which the server keeps a stream's messages.
func (e *Server) Blocks(stream string) string {
	return filepath.Join(e.srv.JetStreamConfig().StoreDir, e.srv.GlobalAccount().Name, "streams", stream, "msgs")
}

// Complaint returns the newest logged error of the server since a time, as a text
// to append to an error: "" if there is none. A nil Server has none.
func (e *Server) Complaint(since time.Time) string {
	if e == nil {
		return ""
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.last == "" || e.at.Before(since) {
		return ""
	}
	return ": " + e.last
}

// Errorf implements server.Logger.
func (e *Server) Errorf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	e.mu.Lock()
	e.last, e.at = text, time.Now()
	e.mu.Unlock()
	e.listen(text)
	e.logger.Warn("embedded log", "says", text)
}

// listen records a failure if the text says that a write has failed. The request that caused it
// gets no answer, nor does any after it.
func (e *Server) listen(text string) {
	lower := strings.ToLower(text)
	if !strings.Contains(lower, "write error") && !strings.Contains(lower, "failed to store") && !strings.Contains(lower, "disabling jetstream") {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fails != nil {
		return
	}
	e.fails = fmt.Errorf("%w: %s", driver.ErrWriteFailed, text)
	if e.tell != nil {
		go e.tell(e.fails)
	}
}

// OnFailure has tell called once a write fails, or at once if a write has failed
// already. Its error wraps driver.ErrWriteFailed.
func (e *Server) OnFailure(tell func(error)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.tell = tell; e.fails != nil {
		go tell(e.fails)
	}
}

// Failure returns why the server writes no more, an error wrapping driver.ErrWriteFailed,
// or nil. A nil Server has none.
func (e *Server) Failure() error {
	if e == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.fails
}

// Fatalf implements server.Logger: it is how the server says why it did not start.
func (e *Server) Fatalf(format string, v ...any) {
	e.mu.Lock()
	e.fatal = fmt.Sprintf(format, v...)
	e.mu.Unlock()
}

// Warnf implements server.Logger.
func (e *Server) Warnf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	e.listen(text)
	e.logger.Debug("embedded log", "says", text)
}

// Noticef implements server.Logger, and drops notices.
func (e *Server) Noticef(string, ...any) {}

// Debugf implements server.Logger, and is never called.
func (e *Server) Debugf(string, ...any) {}

// Tracef implements server.Logger, and is never called.
func (e *Server) Tracef(string, ...any) {}
