package jetstream

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"pingline/queue/driver"
)

// Shelf holds a value that belongs to a stream and is not in it: the key "log" of the
// key-value bucket STREAM-own beside it, for `nats kv get` to look at. It is safe for
// concurrent use.
type Shelf struct {
	conn            *conn
	stream, subject string
}

var errUnreadable = errors.New("no answer that can be read")

// Register returns the shelf as driver.Stream has it.
func (s *Session) Register(ctx context.Context) (driver.Register, error) {
	h, err := s.OpenShelf(ctx)
	if err != nil {
		return nil, err
	}
	return h, nil
}

// OpenShelf creates the bucket if it is not there. Only the leader of its stream
// is asked to read it: its replicas may lag behind.
func (s *Session) OpenShelf(ctx context.Context) (*Shelf, error) {
	h := s.read.shelf(OwnerShelf(s.stream))
	if err := h.make(ctx, s.js, s.replicas); err != nil {
		return nil, fmt.Errorf("stream %s of the log's owner: %w", h.stream, err)
	}
	return h, nil
}

// OwnerShelf returns the bucket and the key of the shelf beside a stream.
func OwnerShelf(stream string) (bucket, key string) { return stream + "-own", "log" }

func (c *conn) shelf(bucket, key string) *Shelf {
	return &Shelf{conn: c, stream: "KV_" + bucket, subject: "$KV." + bucket + "." + key}
}

// make creates the bucket if it is not there.
func (h *Shelf) make(ctx context.Context, js jetstream.JetStream, replicas int) error {
	err := h.conn.ask(ctx, func(ctx context.Context) error {
		_, err := js.Stream(ctx, h.stream)
		return err
	})
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return err
	}
	return h.conn.ask(ctx, func(ctx context.Context) error {
		_, err := js.CreateStream(ctx, jetstream.StreamConfig{
			Name: h.stream, Subjects: []string{"$KV." + strings.TrimPrefix(h.stream, "KV_") + ".>"},
			Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew,
			MaxMsgsPerSubject: 1, AllowRollup: true, DenyDelete: true,
			FirstSeq: uint64(time.Now().UnixMicro()), // a revision of a bucket that was deleted must not come again
			Replicas: cmp.Or(replicas, h.conn.defaultReplicas()),
		})
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // asked again, or by another node
			_, err = js.Stream(ctx, h.stream)
		}
		if errors.Is(err, jetstream.ErrStreamNotFound) { // it is on its way
			err = fmt.Errorf("%w: %w", errAway, err)
		}
		return err
	})
}

// Load returns the value and its revision: revision 0 if it was never saved, no
// bytes if it was deleted by hand. It may be out of date: only Save is certain.
func (h *Shelf) Load(ctx context.Context) (value []byte, rev uint64, err error) {
	m, err := h.conn.message(ctx, h.stream, fmt.Appendf(nil, `{"last_by_subj":%q}`, h.subject))
	if m == nil {
		return nil, 0, err
	}
	return m.Data, m.Seq, nil
}

// Tell implements driver.Teller: whatever is sent to the bucket is told of, before it is stored.
func (h *Shelf) Tell(told func(value []byte)) (stop func(), err error) {
	sub, err := h.conn.Subscribe(h.subject, func(m *nats.Msg) { told(m.Data) })
	if err != nil {
		return nil, err
	}
	return func() { _ = sub.Unsubscribe() }, nil // fails only with the connection
}

// Save implements driver.Register.
func (h *Shelf) Save(ctx context.Context, value []byte, rev uint64) (uint64, error) {
	var answer *nats.Msg
	err := h.conn.ask(ctx, func(ctx context.Context) (err error) {
		answer, err = h.conn.RequestMsgWithContext(ctx, &nats.Msg{
			Subject: h.subject,
			Header:  nats.Header{"Nats-Expected-Last-Subject-Sequence": {strconv.FormatUint(rev, 10)}},
			Data:    value,
		})
		return err
	})
	var ack struct {
		Seq   uint64              `json:"seq"`
		Error *jetstream.APIError `json:"error"`
	}
	if err == nil {
		err = json.Unmarshal(answer.Data, &ack)
	}
	switch {
	case err != nil:
		return 0, err
	case ack.Error != nil && (ack.Error.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || ack.Error.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant):
		return 0, fmt.Errorf("%w: %w", driver.ErrChanged, ack.Error)
	case ack.Error != nil:
		return 0, ack.Error
	case ack.Seq == 0:
		return 0, errUnreadable
	}
	return ack.Seq, nil
}
