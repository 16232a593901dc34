package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/nats-io/nats.go/jetstream"
)

// Shelves is a connection to servers, to look at the shelves beside any of their streams.
// Only Make makes something there. It is safe for concurrent use.
type Shelves struct {
	conn *conn
	js   jetstream.JetStream
}

// OpenShelves connects to servers, by a URL as in Config.
func OpenShelves(url string, logger *slog.Logger) (*Shelves, error) {
	where, err := Servers(url)
	if err != nil {
		return nil, err
	}
	c, err := dial(url, logger)
	if err != nil {
		return nil, fmt.Errorf("connect to the log at %s: %w", where, err)
	}
	js, err := jetstream.New(c.Conn)
	if err != nil {
		c.close()
		return nil, err
	}
	return &Shelves{conn: c, js: js}, nil
}

// Close ends the connection: requests fail from then on.
func (s *Shelves) Close() { s.conn.close() }

// Load returns the value of a key, as Shelf.Load does. A bucket that is not there has no
// values.
func (s *Shelves) Load(ctx context.Context, bucket, key string) (value []byte, rev uint64, err error) {
	value, rev, err = s.conn.shelf(bucket, key).Load(ctx)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, 0, nil
	}
	return value, rev, err
}

// Tell calls told with each value that somebody sends for a key: see driver.Teller.
func (s *Shelves) Tell(bucket, key string, told func(value []byte)) (stop func(), err error) {
	return s.conn.shelf(bucket, key).Tell(told)
}

// Make returns a shelf, and creates its bucket if it is not there.
func (s *Shelves) Make(ctx context.Context, bucket, key string) (*Shelf, error) {
	h := s.conn.shelf(bucket, key)
	if err := h.make(ctx, s.js, 0); err != nil {
		return nil, fmt.Errorf("stream %s: %w", h.stream, err)
	}
	return h, nil
}

// Messages returns how many messages a stream has: 0 if it is not there.
func (s *Shelves) Messages(ctx context.Context, stream string) (n uint64, err error) {
	err = s.conn.ask(ctx, func(ctx context.Context) error {
		handle, err := s.js.Stream(ctx, stream)
		if err == nil {
			n = handle.CachedInfo().State.Msgs
		}
		return err
	})
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("state of the stream %s: %w", stream, err)
	}
	return n, nil
}
