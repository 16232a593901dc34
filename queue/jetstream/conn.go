package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"pingline/queue/driver"
)

// conn is a connection to the server. A request on it ends when the connection
// breaks: its answer would never come, though the request may have arrived.
type conn struct {
	*nats.Conn

	mu    sync.Mutex      // guards the fields below; nothing else is locked under it
	whole context.Context // ends when the connection breaks; then there is a new context
	broke context.CancelCauseFunc
}

var (
	errBroken       = errors.New("the connection broke")
	errNotConnected = errors.New("not connected")
)

// dial connects to url with options, and reconnects when the connection
// breaks, unless an option says otherwise.
func dial(url string, logger *slog.Logger, options ...nats.Option) (c *conn, err error) {
	c = new(conn)
	c.whole, c.broke = context.WithCancelCause(context.Background())
	c.Conn, err = nats.Connect(url, append([]nats.Option{
		nats.Name("pingline"),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), // rights may be missing for a while only
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectBufSize(-1), // a request must not wait for a connection and be sent late
		nats.PingInterval(5 * time.Second),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			logger.Warn("connection to the log", "error", err)
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			c.breaks(errBroken)
			if err != nil {
				logger.Warn("connection to the log is lost", "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			logger.Info("connection to the log is back", "server", nc.ConnectedUrlRedacted())
		}),
	}, options...)...)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// breaks ends the requests in flight, with a cause.
func (c *conn) breaks(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broke(cause)
	c.whole, c.broke = context.WithCancelCause(context.Background())
}

func (c *conn) close() {
	c.Close()
	c.breaks(errBroken)
}

// request returns a context for a request: it ends with ctx, after limit, or
// when the connection breaks. It fails if there is no connection.
func (c *conn) request(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc, error) {
	c.mu.Lock()
	whole := c.whole
	c.mu.Unlock()
	if !c.IsConnected() {
		return nil, nil, errNotConnected
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	ctx, end := context.WithCancelCause(ctx)
	stop := context.AfterFunc(whole, func() { end(context.Cause(whole)) })
	return ctx, func() {
		stop()
		end(nil)
		cancel()
	}, nil
}

// ask calls request until it has an answer, for driver.RequestTimeout, each time with a
// context for driver.AskAgain: a server that no longer leads the stream gives no answer. That
// nobody leads it, or the cluster, is no answer either.
func (c *conn) ask(ctx context.Context, request func(context.Context) error) error {
	all, cancel := context.WithTimeout(ctx, driver.RequestTimeout)
	defer cancel()
	for {
		once, done, err := c.request(all, driver.AskAgain)
		if err != nil {
			return err
		}
		err = request(once)
		if err != nil {
			err = because(once, err)
		}
		done()
		if !away(err) && !errors.Is(err, context.DeadlineExceeded) || all.Err() != nil {
			return err
		}
		if away(err) {
			select {
			case <-time.After(awayPoll):
			case <-all.Done():
				return err
			}
		}
	}
}

// errAway is wrapped by errors that end while the servers agree on something.
var errAway = errors.New("not there yet")

const (
	awayPoll    = 100 * time.Millisecond
	clusterAway = 10008 // JetStream's error "system temporarily unavailable"
)

// away reports whether a request was not done, and may be once the servers have leaders.
func away(err error) bool {
	api := new(jetstream.APIError)
	return errors.Is(err, errAway) || errors.Is(err, nats.ErrNoResponders) || errors.As(err, &api) && api.ErrorCode == clusterAway
}

// Passes reports whether an error says no more than that the servers, or a leader among them,
// could not be asked for now.
func Passes(err error) bool {
	return away(err) || errors.Is(err, errBroken) || errors.Is(err, errNotConnected) || errors.Is(err, context.DeadlineExceeded)
}

// message asks the leader of a stream for a message, nil if there is none.
func (c *conn) message(ctx context.Context, stream string, body []byte) (m *message, err error) {
	err = c.ask(ctx, func(ctx context.Context) error {
		answer, err := c.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+stream, body)
		if err != nil {
			return err
		}
		var got struct {
			Message *message            `json:"message"`
			Error   *jetstream.APIError `json:"error"`
		}
		m = nil
		switch err := json.Unmarshal(answer.Data, &got); {
		case err != nil:
			return err
		case got.Error != nil && got.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
			return nil
		case got.Error != nil:
			return got.Error
		case got.Message == nil:
			return errUnreadable
		}
		m = got.Message
		return nil
	})
	return m, err
}

// defaultReplicas returns how many replicas a new stream has.
func (c *conn) defaultReplicas() int {
	if c.ConnectedClusterName() == "" {
		return 1
	}
	return 3
}

// because returns err, or the cause for which ctx has ended if err says only that it
// has ended.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return context.Cause(ctx)
	}
	return err
}
