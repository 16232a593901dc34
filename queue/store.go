package queue

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"pingline/queue/embedded"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// store is one session with the JetStream stream that holds the log, by the
// sequences the stream gives. When it fails for good it is closed and another
// one opened; it is never repaired. All methods are safe for concurrent use.
type store struct {
	stream  string
	subject string
	server  *embedded.Server // nil if the server is elsewhere, as is
	blocks  *embedded.BlockDir

	// Appends have a connection of their own: a server reads for a request on
	// the goroutine that takes the next one in.
	append, read *conn
	js           jetstream.JetStream
	handle       jetstream.Stream

	closed atomic.Bool // by close: requests fail from then on
}

// errUnanswered is wrapped where a request had no answer, or one that leaves
// open whether the server is of any more use.
var errUnanswered = errors.New("no answer")

const (
	slackBytes = 64 << 20 // of the stream beyond our own limit: JetStream's is only a backstop

	requestTimeout = 10 * time.Second
	askAgain       = 2 * time.Second

	expectHeader = "Nats-Expected-Last-Sequence" // of a message: the sequence it must follow

	// What a stored message takes beside subject, header and data, and what
	// the only header takes beside the sequence it names.
	messageOverhead = 22 + 4 + 8
	headerOverhead  = len("NATS/1.0\r\n") + len(expectHeader) + len(": \r\n\r\n")
	maxSequenceLen  = 20
)

// openStore starts or connects to the server and creates or adopts the stream.
func openStore(ctx context.Context, cfg *Config) (*store, error) {
	s, err := connectStore(cfg)
	if err != nil {
		return nil, err
	}
	if err := s.ready(ctx, cfg); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// connectStore starts or connects to the server and changes nothing there.
func connectStore(cfg *Config) (_ *store, err error) {
	s := &store{stream: cfg.Stream, subject: strings.ToLower(cfg.Stream) + ".log"}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	where, err := cfg.servers()
	if err != nil {
		return nil, err
	}
	url, options := cfg.URL, []nats.Option(nil)
	if cfg.embedded() {
		if s.server, err = embedded.Start(cfg.Dir, cfg.Logger); err != nil {
			return nil, err
		}
		url, options = "", []nats.Option{
			nats.InProcessServer(s.server.NATS()),
			nats.PingInterval(0), // a server that is slow is there all the same
		}
	}
	for _, c := range []**conn{&s.append, &s.read} {
		if *c, err = dial(url, cfg.Logger, options...); err != nil {
			return nil, fmt.Errorf("connect to the log at %s: %w", where, err)
		}
	}
	if s.server != nil {
		s.server.OnFailure(s.append.breaks)
	}
	if v := s.append.ConnectedServerVersion(); !batchReads(v) {
		return nil, fmt.Errorf("the log at %s is nats-server %s: 2.11 or newer is needed", where, v)
	}
	if s.js, err = jetstream.New(s.read.Conn); err != nil {
		return nil, err
	}
	return s, nil
}

// ready creates or adopts the stream.
func (s *store) ready(ctx context.Context, cfg *Config) (err error) {
	if err := s.adopt(ctx, cfg); err != nil {
		return fmt.Errorf("stream %s of the log: %w", s.stream, err)
	}
	if s.server != nil {
		s.blocks, err = embedded.OpenBlockDir(s.server.Blocks(s.stream), cfg.Dir)
	}
	return err
}

// batchReads reports whether a server of this version answers one request with
// many messages.
func batchReads(version string) bool {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, _ := strconv.Atoi(major)
	b, _ := strconv.Atoi(minor)
	return a > 2 || a == 2 && b >= 11
}

// adopt creates the stream, or brings the one that is there to our settings.
// None of them makes JetStream delete what it holds.
func (s *store) adopt(ctx context.Context, cfg *Config) error {
	var handle jetstream.Stream
	err := s.read.ask(ctx, func(ctx context.Context) (err error) {
		handle, err = s.js.Stream(ctx, s.stream)
		return err
	})
	var have jetstream.StreamConfig
	var bytes int64
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
	case err != nil:
		return err
	default:
		have, bytes = handle.CachedInfo().Config, int64(handle.CachedInfo().State.Bytes)
	}
	want := have
	want.Name, want.Subjects = s.stream, []string{s.subject}
	want.Storage, want.Retention, want.Discard = jetstream.FileStorage, jetstream.LimitsPolicy, jetstream.DiscardNew
	want.MaxBytes, want.MaxMsgs, want.MaxAge, want.MaxMsgSize = max(cfg.MaxBytes, bytes)+slackBytes, -1, 0, -1
	want.MaxMsgsPerSubject, want.DiscardNewPerSubject = -1, false
	want.AllowDirect = true
	// The window in which JetStream remembers message ids. We send none, yet it
	// reads so much of the log at every start: the least it allows.
	want.Duplicates = 100 * time.Millisecond
	want.Replicas = cmp.Or(cfg.Replicas, have.Replicas, s.defaultReplicas())
	s.handle = handle
	if reflect.DeepEqual(want, have) {
		return nil
	}
	return s.read.ask(ctx, func(ctx context.Context) (err error) {
		s.handle, err = s.js.CreateOrUpdateStream(ctx, want)
		return err
	})
}

func (s *store) defaultReplicas() int {
	if s.read.ConnectedClusterName() == "" {
		return 1
	}
	return 3
}

// close ends the session. Whatever is still on its way to an embedded server
// then never lands.
func (s *store) close() {
	s.closed.Store(true)
	for _, c := range []*conn{s.append, s.read} {
		if c != nil {
			c.close()
		}
	}
	if s.server != nil {
		s.server.Stop()
	}
}

// maxData is how many bytes a message may hold.
func (s *store) maxData() int {
	return int(s.append.MaxPayload()) - headerOverhead - maxSequenceLen
}

// size is what a message of n bytes that must follow sequence after takes.
func (s *store) size(n int, after uint64) int64 {
	digits := 1
	for ; after >= 10; after /= 10 {
		digits++
	}
	return int64(messageOverhead + len(s.subject) + headerOverhead + digits + n)
}

// put appends b behind sequence after. When it returns nil, b is durable at
// after+1. Any error leaves open whether it is, or will be.
func (s *store) put(ctx context.Context, limit time.Duration, b []byte, after uint64) error {
	ctx, done, err := s.append.request(ctx, limit)
	if err != nil {
		return err
	}
	defer done()
	if err := s.server.Failure(); err != nil {
		return err
	}
	began := time.Now()
	answer, err := s.append.RequestMsgWithContext(ctx, &nats.Msg{
		Subject: s.subject,
		Header:  nats.Header{expectHeader: {strconv.FormatUint(after, 10)}},
		Data:    b,
	})
	if err != nil {
		return fmt.Errorf("%w within %v: %w%s", errUnanswered, time.Since(began).Round(time.Millisecond), because(ctx, err), s.server.Complaint(began))
	}
	var ack struct {
		Seq   uint64              `json:"seq"`
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(answer.Data, &ack); err != nil {
		return fmt.Errorf("%w that can be read: %w", errUnanswered, err)
	}
	if ack.Error != nil {
		return ack.Error
	}
	if ack.Seq != after+1 {
		return fmt.Errorf("%w that fits: sequence %d follows %d", errUnanswered, ack.Seq, after)
	}
	if s.blocks != nil {
		if err := s.blocks.Sync(); err != nil {
			return err
		}
		return s.blocks.There()
	}
	return nil
}

// message is what the stream holds at a sequence.
type message struct {
	Seq  uint64 `json:"seq"`
	Data []byte `json:"data"`
}

// next asks the stream's leader for the first message at or behind seq that can
// be read, and returns nil if it says there is none. Once after it has found a
// block of messages damaged, it says so wrongly: see find.
func (s *store) next(ctx context.Context, seq uint64) (*message, error) {
	body := fmt.Appendf(nil, `{"seq":%d,"next_by_subj":%q}`, max(seq, 1), s.subject)
	var answer *nats.Msg
	err := s.read.ask(ctx, func(ctx context.Context) (err error) {
		answer, err = s.read.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+s.stream, body)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("get the message at %d: %w", seq, err)
	}
	var got struct {
		Message *message            `json:"message"`
		Error   *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(answer.Data, &got); err != nil {
		return nil, fmt.Errorf("get the message at %d: %w", seq, err)
	}
	if got.Error != nil && got.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound {
		return nil, nil
	}
	if got.Error != nil || got.Message == nil {
		return nil, fmt.Errorf("get the message at %d: %w", seq, got.Error)
	}
	return got.Message, nil
}

// fetch returns the messages from seq on in order, about limit bytes of them,
// leaving out those that are missing or damaged. It may return none though
// there are some: see find.
func (s *store) fetch(ctx context.Context, seq uint64, limit int) (list [][]byte, err error) {
	ctx, done, err := s.read.request(ctx, requestTimeout)
	if err != nil {
		return nil, fmt.Errorf("get messages from %d: %w", seq, err)
	}
	defer done()
	sub, err := s.read.SubscribeSync(s.read.NewInbox())
	if err != nil {
		return nil, fmt.Errorf("get messages from %d: %w", seq, err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only with the connection
	body := fmt.Appendf(nil, `{"seq":%d,"batch":%d,"max_bytes":%d,"no_hdr":true}`, max(seq, 1), limit, limit)
	if err := s.read.PublishRequest("$JS.API.DIRECT.GET."+s.stream, sub.Subject, body); err != nil {
		return nil, fmt.Errorf("get messages from %d: %w", seq, err)
	}
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return nil, fmt.Errorf("get messages from %d: %w", seq, because(ctx, err))
		}
		switch status := m.Header.Get("Status"); status {
		case "":
			list = append(list, m.Data)
		case "204", "404": // the end of the batch; nothing found
			return list, nil
		default:
			return nil, fmt.Errorf("get messages from %d: status %s %s", seq, status, m.Header.Get("Description"))
		}
	}
}

// state asks for the stream's bounds, with the missing sequences between them.
func (s *store) state(ctx context.Context) (*jetstream.StreamState, error) {
	var info *jetstream.StreamInfo
	err := s.read.ask(ctx, func(ctx context.Context) (err error) {
		if info, err = s.handle.Info(ctx); err == nil && info.State.NumDeleted > 0 {
			info, err = s.handle.Info(ctx, jetstream.WithDeletedDetails(true))
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("state of the stream: %w", err)
	}
	return &info.State, nil
}

// purge deletes what is before seq.
func (s *store) purge(ctx context.Context, seq uint64) error {
	ctx, done, err := s.read.request(ctx, requestTimeout)
	if err != nil {
		return fmt.Errorf("purge the stream before %d: %w", seq, err)
	}
	defer done()
	if err := s.handle.Purge(ctx, jetstream.WithPurgeSequence(seq)); err != nil {
		return fmt.Errorf("purge the stream before %d: %w", seq, because(ctx, err))
	}
	return nil
}
