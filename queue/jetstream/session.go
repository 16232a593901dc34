// Package jetstream is a session with a JetStream stream, in this process or on
// servers elsewhere, and with the shelf beside it, a value that is replaced by
// compare-and-set, and files in an object store. It knows sequences and bytes, and not the meaning of the
// bytes.
//
// A message for which Put returned nil is on disk, synced, or on most servers of a
// cluster, right behind the sequence it was to follow. Any error leaves open whether
// it is stored, or will be. A request has an answer, or an error after its limit or
// as soon as the connection breaks; if the server no longer leads the stream, the
// request is sent again.
//
// A read may be incomplete: a server that lags behind, or that has just found
// damage, leaves messages out.
package jetstream

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"pingline/queue/driver"
	"pingline/queue/embedded"
)

// Embedded is the URL of a stream in this process.
const Embedded = "embedded"

// Config says where a stream is, and how it is made. Stream, MaxBytes and Logger are
// required, and Dir if URL is Embedded.
type Config struct {
	URL      string       // Embedded, or servers with JetStream, nats://host,host
	Dir      string       // of the embedded server
	Stream   string       // its name
	Replicas int          // of a stream on a cluster; 0 leaves an existing stream as it is, and creates 3, or 1 on a single server
	MaxBytes int64        // bytes that the stream must take
	Unsynced bool         // an embedded server leaves messages unsynced
	ReadOnly bool         // of servers elsewhere: Ready and Files make and change nothing, and fail if something is not there
	Logger   *slog.Logger // for events of the connections
}

// Servers returns the addresses in url, fit to be shown: without the names and
// passwords that url may hold.
func Servers(url string) (string, error) {
	if url == Embedded {
		return Embedded, nil
	}
	if !strings.Contains(url, "://") { // a misspelt word must not pass for a host
		return "", errServers
	}
	var list []string
	for part := range strings.SplitSeq(url, ",") {
		host, err := hostOf(strings.TrimSpace(part))
		if err != nil {
			return "", err
		}
		list = append(list, host)
	}
	return strings.Join(list, ","), nil
}

var errServers = errors.New("must be " + Embedded + " or a list like nats://host:4222,nats://host:4222, or kafka://host:9092,host:9092")

func hostOf(server string) (string, error) {
	if !strings.Contains(server, "://") {
		server = "nats://" + server
	}
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
		return "", errServers
	}
	return u.Host, nil
}

// Session is a session with a stream, by the sequences the stream gives. When it
// fails for good it is closed and a new session opened; it is never repaired. All
// methods are safe for concurrent use.
type Session struct {
	cfg      Config
	stream   string
	subject  string
	replicas int                // as configured
	server   *embedded.Server   // nil if the server is elsewhere
	blocks   *embedded.BlockDir // nil if the server is elsewhere

	// Appends have a connection of their own: a server reads for a request on
	// the goroutine that receives the next request.
	append, read *conn
	dial         func() (*conn, error) // a further connection
	files        *conn                 // of the Objects; nil if there are none
	js           jetstream.JetStream
	handle       jetstream.Stream

	closed atomic.Bool // by Close: requests fail from then on
}

var _ driver.Stream = (*Session)(nil)

// errUnanswered is wrapped where a request had no answer, or an answer that does
// not show whether the server still works.
var errUnanswered = errors.New("no answer")

const (
	slackBytes = 64 << 20 // bytes of the stream's limit beyond the log's own: JetStream's limit is only a backstop

	expectHeader = "Nats-Expected-Last-Sequence" // header of a message: the sequence it must follow

	// Bytes of a stored message beside subject, header and data, and of the only
	// header beside the sequence it names.
	messageOverhead = 22 + 4 + 8
	headerOverhead  = len("NATS/1.0\r\n") + len(expectHeader) + len(": \r\n\r\n")
	maxSequenceLen  = 20
)

// Open starts or connects to the server and creates or adopts the stream.
func Open(ctx context.Context, cfg Config) (*Session, error) {
	s, err := Connect(cfg)
	if err != nil {
		return nil, err
	}
	if err := s.Ready(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Connect starts or connects to the server and changes nothing on it. Only the
// shelf may be used before Ready.
func Connect(cfg Config) (_ *Session, err error) {
	s := &Session{cfg: cfg, stream: cfg.Stream, subject: strings.ToLower(cfg.Stream) + ".log", replicas: cfg.Replicas}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	where, err := Servers(cfg.URL)
	if err != nil {
		return nil, err
	}
	url, options := cfg.URL, []nats.Option(nil)
	if url == Embedded {
		if s.server, err = embedded.Start(cfg.Dir, !cfg.Unsynced, cfg.Logger); err != nil {
			return nil, err
		}
		url, options = "", []nats.Option{
			nats.InProcessServer(s.server.NATS()),
			nats.PingInterval(0), // a slow server must not count as gone
		}
	}
	s.dial = func() (*conn, error) { return dial(url, cfg.Logger, options...) }
	for _, c := range []**conn{&s.append, &s.read} {
		if *c, err = s.dial(); err != nil {
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

// Ready creates or adopts the stream.
func (s *Session) Ready(ctx context.Context) (err error) {
	if err := s.adopt(ctx, &s.cfg); err != nil {
		return fmt.Errorf("stream %s of the log: %w", s.stream, err)
	}
	if s.server != nil {
		s.blocks, err = embedded.OpenBlockDir(s.server.Blocks(s.stream), s.cfg.Dir)
	}
	return err
}

// Server returns the server in this process, nil if the stream is on servers
// elsewhere.
func (s *Session) Server() *embedded.Server { return s.server }

// Blocks returns the directory of the stream's messages, nil if the stream is on
// servers elsewhere.
func (s *Session) Blocks() *embedded.BlockDir { return s.blocks }

// Directory implements driver.Stream.
func (s *Session) Directory() string {
	if s.blocks == nil {
		return ""
	}
	return s.blocks.Path()
}

// Warning implements driver.Stream: settings of servers are not looked at.
func (s *Session) Warning() string { return "" }

// batchReads reports whether a server of this version can answer a request
// with many messages.
func batchReads(version string) bool {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, _ := strconv.Atoi(major)
	b, _ := strconv.Atoi(minor)
	return a > 2 || a == 2 && b >= 11
}

// adopt creates the stream, or changes an existing stream to our settings. No
// setting makes JetStream delete messages.
func (s *Session) adopt(ctx context.Context, cfg *Config) error {
	var handle jetstream.Stream
	err := s.read.ask(ctx, func(ctx context.Context) (err error) {
		handle, err = s.js.Stream(ctx, s.stream)
		return err
	})
	var have jetstream.StreamConfig
	var bytes int64
	switch {
	case cfg.ReadOnly && err == nil:
		s.handle = handle
		return nil
	case cfg.ReadOnly:
		return err
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
	// The window in which JetStream remembers message ids. We send none, but at
	// every start JetStream reads that much of the log: so it is the shortest
	// that JetStream allows.
	want.Duplicates = 100 * time.Millisecond
	want.Replicas = cmp.Or(s.replicas, have.Replicas, s.read.defaultReplicas())
	s.handle = handle
	if reflect.DeepEqual(want, have) {
		return nil
	}
	err = s.read.ask(ctx, func(ctx context.Context) (err error) {
		s.handle, err = s.js.CreateOrUpdateStream(ctx, want)
		return err
	})
	if api := new(jetstream.APIError); errors.As(err, &api) && (api.ErrorCode == noStorage || api.ErrorCode == noPeers) {
		return fmt.Errorf("%w: if the servers lack the %d MiB that they set aside for it, give them more storage, or --queue-max-bytes less", err, want.MaxBytes>>20)
	}
	return err
}

// Errors of JetStream that the client library does not name.
const (
	noPeers   = 10005 // no suitable peers for placement
	noStorage = 10047 // insufficient storage resources available
)

// Close ends the session. Messages still in flight to an embedded server then never
// land.
func (s *Session) Close() {
	s.closed.Store(true)
	for _, c := range []*conn{s.append, s.read, s.files} {
		if c != nil {
			c.close()
		}
	}
	if s.server != nil {
		s.server.Stop()
	}
}

// Closed reports whether Close was called.
func (s *Session) Closed() bool { return s.closed.Load() }

// MaxData returns how many bytes a message may hold.
func (s *Session) MaxData() int {
	return int(s.append.MaxPayload()) - headerOverhead - maxSequenceLen
}

// Size returns how many bytes the stream grows by a message of n bytes that must
// follow sequence after.
func (s *Session) Size(n int, after uint64) int64 {
	digits := 1
	for ; after >= 10; after /= 10 {
		digits++
	}
	return int64(messageOverhead + len(s.subject) + headerOverhead + digits + n)
}

// Padding of a message: a header that nobody reads.
const (
	padHeader      = "Pad"
	padHeaderBytes = int64(len(padHeader) + len(": \r\n"))

	maxPad      = 60_000 // bytes of padding that a message takes at most
	padOverhead = 64     // bound of the bytes of a message that come with padding, besides it
)

// MaxPad implements driver.Stream: padding fills a file of messages, which then goes with them.
func (s *Session) MaxPad(n int) int { return max(0, min(maxPad, s.MaxData()-n-padOverhead)) }

// PadSize returns how many bytes the stream grows by the padding of a message.
func (s *Session) PadSize(pad int) int64 {
	if pad == 0 {
		return 0
	}
	return padHeaderBytes + int64(pad)
}

// Put implements driver.Stream.
func (s *Session) Put(ctx context.Context, limit time.Duration, b []byte, pad int, after uint64) error {
	ctx, done, err := s.append.request(ctx, limit)
	if err != nil {
		return err
	}
	defer done()
	if err := s.server.Failure(); err != nil {
		return err
	}
	began := time.Now()
	header := nats.Header{expectHeader: {strconv.FormatUint(after, 10)}}
	if pad > 0 {
		header[padHeader] = []string{strings.Repeat("0", pad)}
	}
	answer, err := s.append.RequestMsgWithContext(ctx, &nats.Msg{Subject: s.subject, Header: header, Data: b})
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
	if ack.Error != nil && ack.Error.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
		return fmt.Errorf("%w: %w", driver.ErrGoneOn, ack.Error)
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

// message is the data that a stream holds at a sequence.
type message struct {
	Seq  uint64    `json:"seq"`
	Data []byte    `json:"data"`
	Time time.Time `json:"time"` // when it was stored
}

// Next asks the stream's leader for the first message at or behind from that can be
// read, and returns its sequence and data, or sequence 0 if the leader says that
// there is none. After it has found a damaged block of messages it wrongly says so,
// once: see package scan.
func (s *Session) Next(ctx context.Context, from uint64) (seq uint64, data []byte, err error) {
	seq, data, err = s.get(ctx, fmt.Appendf(nil, `{"seq":%d,"next_by_subj":%q}`, max(from, 1), s.subject))
	if err != nil {
		return 0, nil, fmt.Errorf("get the message at %d: %w", from, err)
	}
	return seq, data, nil
}

// Last asks the stream's leader for the last message, as Next does.
func (s *Session) Last(ctx context.Context) (seq uint64, data []byte, err error) {
	seq, data, err = s.get(ctx, fmt.Appendf(nil, `{"last_by_subj":%q}`, s.subject))
	if err != nil {
		return 0, nil, fmt.Errorf("get the last message: %w", err)
	}
	return seq, data, nil
}

func (s *Session) get(ctx context.Context, body []byte) (seq uint64, data []byte, err error) {
	return s.getFrom(ctx, s.stream, body)
}

// getFrom asks the leader of any stream.
func (s *Session) getFrom(ctx context.Context, stream string, body []byte) (seq uint64, data []byte, err error) {
	m, err := s.read.message(ctx, stream, body)
	if m == nil {
		return 0, nil, err
	}
	return m.Seq, m.Data, nil
}

// Fetch returns the messages from seq on in order, about limit bytes of them,
// leaving out missing and damaged messages. It may return none though there are
// some: see package scan.
func (s *Session) Fetch(ctx context.Context, seq uint64, limit int) (list [][]byte, err error) {
	ctx, done, err := s.read.request(ctx, driver.RequestTimeout)
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

// Bounds asks for the stream's bounds.
func (s *Session) Bounds(ctx context.Context) (*driver.Bounds, error) {
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
	at := &info.State
	return &driver.Bounds{FirstSeq: at.FirstSeq, LastSeq: at.LastSeq, Bytes: int64(at.Bytes), Missing: at.Deleted}, nil
}

// Purge deletes the messages before seq.
func (s *Session) Purge(ctx context.Context, seq uint64) error {
	ctx, done, err := s.read.request(ctx, driver.RequestTimeout)
	if err != nil {
		return fmt.Errorf("purge the stream before %d: %w", seq, err)
	}
	defer done()
	if err := s.handle.Purge(ctx, jetstream.WithPurgeSequence(seq)); err != nil {
		return fmt.Errorf("purge the stream before %d: %w", seq, because(ctx, err))
	}
	return nil
}
