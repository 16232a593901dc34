package queue

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// embedded is a JetStream server in this process, with no port. It is also the
// logger of that server: JetStream answers nothing at all when a write fails, so
// what it complains of is the only way to learn the cause.
type embedded struct {
	srv    *server.Server
	logger *slog.Logger

	mu    sync.Mutex // guards what follows; nothing else is locked under it
	fatal string
	last  string // the newest complaint
	at    time.Time
	fails error       // a write failed: the server never writes again
	tell  func(error) // is told of that
}

var _ server.Logger = (*embedded)(nil)

// startServer opens the store in cfg.Dir. It reads it all when it was not
// closed in order, though not into memory.
func startServer(cfg *Config) (*embedded, error) {
	e := &embedded{logger: cfg.Logger}
	srv, err := server.NewServer(&server.Options{
		ServerName:         "pingline",
		DontListen:         true,
		NoSigs:             true,
		JetStream:          true,
		StoreDir:           cfg.Dir,
		SyncAlways:         true,
		MaxPayload:         embeddedPayload,
		JetStreamMaxMemory: 1 << 20,
		JetStreamMaxStore:  math.MaxInt64 / 2, // the stream has its own limit
	})
	if err != nil {
		return nil, fmt.Errorf("embedded log in %s: %w", cfg.Dir, err)
	}
	e.srv = srv
	srv.SetLoggerV2(e, false, false, false)
	srv.Start()
	if e.mu.Lock(); e.fatal != "" {
		err = fmt.Errorf("embedded log in %s: %s", cfg.Dir, e.fatal)
	}
	e.mu.Unlock()
	if err != nil {
		e.stop()
		return nil, err
	}
	return e, nil
}

func (e *embedded) stop() {
	e.srv.Shutdown()
	e.srv.WaitForShutdown()
}

// blocks is the directory in which the server keeps a stream's messages.
func (e *embedded) blocks(stream string) string {
	return filepath.Join(e.srv.JetStreamConfig().StoreDir, e.srv.GlobalAccount().Name, "streams", stream, "msgs")
}

// complaint returns what the server complained of since then, to be put behind
// an error.
func (e *embedded) complaint(since time.Time) string {
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
func (e *embedded) Errorf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	e.mu.Lock()
	e.last, e.at = text, time.Now()
	e.mu.Unlock()
	e.listen(text)
	e.logger.Warn("embedded log", "says", text)
}

// listen hears that a write has failed. The request that caused it gets no
// answer, nor does any after it.
func (e *embedded) listen(text string) {
	lower := strings.ToLower(text)
	if !strings.Contains(lower, "write error") && !strings.Contains(lower, "failed to store") && !strings.Contains(lower, "disabling jetstream") {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fails != nil {
		return
	}
	e.fails = fmt.Errorf("%w: %s", errWriteFailed, text)
	if e.tell != nil {
		go e.tell(e.fails)
	}
}

// onFailure has tell called when a write fails, or has.
func (e *embedded) onFailure(tell func(error)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.tell = tell; e.fails != nil {
		go tell(e.fails)
	}
}

// failure returns why the server writes no more, or nil.
func (e *embedded) failure() error {
	if e == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.fails
}

// errWriteFailed is wrapped by the refusal of an append by a server that could
// not write.
var errWriteFailed = errors.New("the embedded log could not write")

// Fatalf implements server.Logger: the server did not start.
func (e *embedded) Fatalf(format string, v ...any) {
	e.mu.Lock()
	e.fatal = fmt.Sprintf(format, v...)
	e.mu.Unlock()
}

// Warnf implements server.Logger.
func (e *embedded) Warnf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	e.listen(text)
	e.logger.Debug("embedded log", "says", text)
}

// Noticef, Debugf and Tracef implement server.Logger: they say nothing of use.
func (e *embedded) Noticef(string, ...any) {}
func (e *embedded) Debugf(string, ...any)  {}
func (e *embedded) Tracef(string, ...any)  {}
