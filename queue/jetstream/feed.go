package jetstream

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"pingline/queue/driver"
)

// FeedConfig says which stream is a Feed. URL, Stream, MaxBytes and MaxAge are required.
type FeedConfig struct {
	URL      string        // servers, as in Config
	Stream   string        // its name
	MaxBytes int64         // beyond which its oldest messages go
	MaxAge   time.Duration // after which a message goes
	Logger   *slog.Logger
}

// Feed is a stream to which any number of processes append, and which lets its oldest messages
// go by itself. Numbers of messages grow, and never come again, not even in a stream that was
// deleted and made anew. It is safe for concurrent use.
type Feed struct {
	cfg     FeedConfig
	subject string
	conn    *conn
	js      jetstream.JetStream
	there   atomic.Bool // the stream was there when it was last asked for
}

// OpenFeed connects to the servers. The stream is made once it is needed.
func OpenFeed(cfg FeedConfig) (*Feed, error) {
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	where, err := Servers(cfg.URL)
	if err != nil {
		return nil, err
	}
	c, err := dial(cfg.URL, cfg.Logger)
	if err != nil {
		return nil, fmt.Errorf("connect to the log at %s: %w", where, err)
	}
	js, err := jetstream.New(c.Conn)
	if err != nil {
		c.close()
		return nil, err
	}
	return &Feed{cfg: cfg, subject: strings.ToLower(cfg.Stream) + ".feed", conn: c, js: js}, nil
}

// Close ends the connection: requests fail from then on.
func (f *Feed) Close() { f.conn.close() }

// make makes the stream if it is not there, and gives it our limits.
func (f *Feed) make(ctx context.Context) error {
	if f.there.Load() {
		return nil
	}
	err := f.conn.ask(ctx, func(ctx context.Context) error {
		want := jetstream.StreamConfig{
			Name: f.cfg.Stream, Subjects: []string{f.subject}, Storage: jetstream.FileStorage, Discard: jetstream.DiscardOld,
			MaxBytes: f.cfg.MaxBytes, MaxAge: f.cfg.MaxAge, AllowDirect: true, Duplicates: 100 * time.Millisecond,
			FirstSeq: uint64(time.Now().UnixMicro()), Replicas: f.conn.defaultReplicas(),
		}
		h, err := f.js.Stream(ctx, f.cfg.Stream)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
			_, err = f.js.CreateStream(ctx, want)
			if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // asked again, or by another node
				err = fmt.Errorf("%w: %w", errAway, err)
			}
		case err == nil:
			have := h.CachedInfo().Config
			if have.MaxBytes != want.MaxBytes || have.MaxAge != want.MaxAge || have.Discard != want.Discard {
				have.MaxBytes, have.MaxAge, have.Discard = want.MaxBytes, want.MaxAge, want.Discard
				_, err = f.js.UpdateStream(ctx, have)
			}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("stream %s: %w", f.cfg.Stream, err)
	}
	f.there.Store(true)
	return nil
}

// Append appends b and returns its number. When it returns nil, b is durable. Any error leaves
// open whether it is, or will be.
func (f *Feed) Append(ctx context.Context, b []byte) (number uint64, err error) {
	if err := f.make(ctx); err != nil {
		return 0, err
	}
	var ack struct {
		Seq   uint64              `json:"seq"`
		Error *jetstream.APIError `json:"error"`
	}
	err = f.conn.ask(ctx, func(ctx context.Context) error {
		answer, err := f.conn.RequestWithContext(ctx, f.subject, b)
		if err == nil {
			err = json.Unmarshal(answer.Data, &ack)
		}
		return err
	})
	switch {
	case err != nil:
		f.there.Store(false) // it may have been deleted
		return 0, fmt.Errorf("append to %s: %w", f.cfg.Stream, err)
	case ack.Error != nil:
		return 0, fmt.Errorf("append to %s: %w", f.cfg.Stream, ack.Error)
	case ack.Seq == 0:
		return 0, fmt.Errorf("append to %s: %w", f.cfg.Stream, errUnreadable)
	}
	return ack.Seq, nil
}

// Whole reports whether the feed still has all messages that were ever appended to it.
func (f *Feed) Whole(ctx context.Context) (whole bool, err error) {
	if err := f.make(ctx); err != nil {
		return false, err
	}
	err = f.conn.ask(ctx, func(ctx context.Context) error {
		h, err := f.js.Stream(ctx, f.cfg.Stream)
		if err == nil {
			info := h.CachedInfo()
			whole = info.State.FirstSeq <= info.Config.FirstSeq
		}
		return err
	})
	if err != nil {
		f.there.Store(false)
		return false, fmt.Errorf("state of the stream %s: %w", f.cfg.Stream, err)
	}
	return whole, nil
}

// feedBatch is about how many bytes of messages are asked for at once.
const feedBatch = 512 << 10

// Read calls each for messages from number from on, in order: for some of them if there are any,
// at is when they were appended, ms since 1970. A number that is left out stands for a message
// that the stream has let go. It passes on each's error.
func (f *Feed) Read(ctx context.Context, from uint64, each func(number uint64, at int64, b []byte) error) error {
	next := max(from, 1)
	seen := false
	err := f.batch(ctx, next, func(number uint64, at int64, b []byte) error {
		if number != next { // the replica that answers may lack messages: the leader knows
			return errFeedGap
		}
		seen, next = true, number+1
		return each(number, at, b)
	})
	if err != nil && !errors.Is(err, errFeedGap) {
		return err
	}
	if seen {
		return nil
	}
	m, err := f.conn.message(ctx, f.cfg.Stream, fmt.Appendf(nil, `{"seq":%d,"next_by_subj":%q}`, next, f.subject))
	if err != nil {
		f.there.Store(false)
		return fmt.Errorf("get the message of %s at %d: %w", f.cfg.Stream, next, err)
	}
	if m == nil {
		return nil
	}
	return each(m.Seq, m.Time.UnixMilli(), m.Data)
}

var errFeedGap = errors.New("a message is missing")

// batch asks any replica for messages from a number on.
func (f *Feed) batch(ctx context.Context, from uint64, each func(number uint64, at int64, b []byte) error) error {
	ctx, done, err := f.conn.request(ctx, driver.RequestTimeout)
	if err != nil {
		return fmt.Errorf("get messages of %s: %w", f.cfg.Stream, err)
	}
	defer done()
	sub, err := f.conn.SubscribeSync(f.conn.NewInbox())
	if err != nil {
		return fmt.Errorf("get messages of %s: %w", f.cfg.Stream, err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only with the connection
	body := fmt.Appendf(nil, `{"seq":%d,"batch":1000,"max_bytes":%d}`, from, feedBatch)
	if err := f.conn.PublishRequest("$JS.API.DIRECT.GET."+f.cfg.Stream, sub.Subject, body); err != nil {
		return fmt.Errorf("get messages of %s: %w", f.cfg.Stream, err)
	}
	for first := true; ; first = false {
		wait, cancel := context.WithTimeout(ctx, driver.AskAgain)
		m, err := sub.NextMsgWithContext(wait)
		cancel()
		switch {
		case err != nil && first && (errors.Is(err, nats.ErrNoResponders) || wait.Err() != nil && ctx.Err() == nil):
			return nil // no replica answers: the leader is asked
		case err != nil:
			return fmt.Errorf("get messages of %s from %d: %w", f.cfg.Stream, from, because(ctx, err))
		case m.Header.Get("Status") != "": // the end of the batch; nothing found
			return nil
		}
		number, err := strconv.ParseUint(m.Header.Get("Nats-Sequence"), 10, 64)
		if err != nil {
			return fmt.Errorf("get messages of %s from %d: %w", f.cfg.Stream, from, errUnreadable)
		}
		at, err := time.Parse(time.RFC3339Nano, m.Header.Get("Nats-Time-Stamp"))
		if err != nil {
			return fmt.Errorf("get messages of %s from %d: %w", f.cfg.Stream, from, errUnreadable)
		}
		if err := each(number, at.UnixMilli(), m.Data); err != nil {
			return err
		}
	}
}
