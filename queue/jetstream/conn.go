package jetstream

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
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

// ask calls request until it has an answer, for RequestTimeout, each time with a
// context for AskAgain: a server that no longer leads the stream gives no answer.
func (c *conn) ask(ctx context.Context, request func(context.Context) error) error {
	all, cancel := context.WithTimeout(ctx, RequestTimeout)
	defer cancel()
	for {
		once, done, err := c.request(all, AskAgain)
		if err != nil {
			return err
		}
		err = request(once)
		if err != nil {
			err = because(once, err)
		}
		done()
		if !errors.Is(err, context.DeadlineExceeded) || all.Err() != nil {
			return err
		}
	}
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
