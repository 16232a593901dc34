package queue

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ownership is the record of whose a log is. It lies beside the log's stream, in
// the key-value bucket STREAM-own under the key "log", and can be looked at with
// `nats kv get`.
type ownership struct {
	Form        int       `json:"form"` // of the record: 1
	Node        string    `json:"node"`
	Incarnation string    `json:"incarnation"` // of the process
	Since       time.Time `json:"since"`
	Renewed     time.Time `json:"renewed"`  // by the owner's clock, for people to read
	LeaseMS     int64     `json:"lease_ms"` // how long it holds when it is not renewed
	Trimmed     Cursor    `json:"trimmed"`  // what is before it may be deleted, now or later
	Released    bool      `json:"released,omitempty"`
}

const ownershipForm = 1

// newOwnership is the record of this process, which follows was.
func newOwnership(cfg *Config, id string, was *ownership, trimmed Cursor) ownership {
	if was != nil && was.Trimmed.Next > trimmed.Next {
		trimmed = was.Trimmed
	}
	now := time.Now().UTC()
	return ownership{
		Form: ownershipForm, Node: cfg.Node, Incarnation: id,
		Since: now, Renewed: now, LeaseMS: cfg.Lease.Milliseconds(), Trimmed: trimmed,
	}
}

func (r *ownership) lease() time.Duration { return time.Duration(r.LeaseMS) * time.Millisecond }

// refusal is the error for a node called name that wants, or has lost, the log.
func (r *ownership) refusal(name string) error {
	same := ""
	if r.Node == name {
		same = ", which has our name and another directory"
	}
	return fmt.Errorf("%w: %s%s, since %s", ErrOwned, r.Node, same, r.Since.Format(time.RFC3339))
}

// ledger is where the record is kept.
type ledger struct {
	conn            *conn
	js              jetstream.JetStream
	stream, subject string
}

// errRefused is wrapped when the record is not the one that was to be replaced,
// or the servers are not sure.
var errRefused = errors.New("the record is another one by now")

// openLedger creates the bucket if it is not there. Only the leader of its stream
// is asked to read it: the others may lag behind.
func openLedger(ctx context.Context, s *store, cfg *Config) (*ledger, error) {
	bucket := cfg.Stream + "-own"
	g := &ledger{conn: s.read, js: s.js, stream: "KV_" + bucket, subject: "$KV." + bucket + ".log"}
	err := s.read.ask(ctx, func(ctx context.Context) error {
		_, err := s.js.Stream(ctx, g.stream)
		return err
	})
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		err = s.read.ask(ctx, func(ctx context.Context) error {
			_, err := s.js.CreateStream(ctx, jetstream.StreamConfig{
				Name: g.stream, Subjects: []string{"$KV." + bucket + ".>"},
				Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew,
				MaxMsgsPerSubject: 1, AllowRollup: true, DenyDelete: true,
				Replicas: cmp.Or(cfg.Replicas, s.defaultReplicas()),
			})
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s of the log's owner: %w", g.stream, err)
	}
	return g, nil
}

// look returns the record and its revision, nil if there is none. What it tells
// may be out of date: only put is certain.
func (g *ledger) look(ctx context.Context) (*ownership, uint64, error) {
	body := fmt.Appendf(nil, `{"last_by_subj":%q}`, g.subject)
	var answer *nats.Msg
	err := g.conn.ask(ctx, func(ctx context.Context) (err error) {
		answer, err = g.conn.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+g.stream, body)
		return err
	})
	var got struct {
		Message *message            `json:"message"`
		Error   *jetstream.APIError `json:"error"`
	}
	if err == nil {
		err = json.Unmarshal(answer.Data, &got)
	}
	switch {
	case err != nil:
		return nil, 0, fmt.Errorf("read who owns the log: %w", err)
	case got.Error != nil && got.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return nil, 0, nil
	case got.Error != nil:
		return nil, 0, fmt.Errorf("read who owns the log: %w", got.Error)
	case got.Message == nil:
		return nil, 0, errors.New("read who owns the log: no answer that can be read")
	case len(got.Message.Data) == 0: // deleted by hand
		return nil, got.Message.Seq, nil
	}
	r := new(ownership)
	if err := json.Unmarshal(got.Message.Data, r); err != nil {
		return nil, 0, fmt.Errorf("read who owns the log: revision %d: %w", got.Message.Seq, err)
	}
	if r.Form > ownershipForm {
		return nil, 0, fmt.Errorf("read who owns the log: form %d, this program knows %d: %w", r.Form, ownershipForm, ErrNewer)
	}
	return r, got.Message.Seq, nil
}

// put replaces the record of revision rev, 0 if there is none, and returns the
// new revision. Any error but errRefused leaves open whether it is, or will be.
func (g *ledger) put(ctx context.Context, r *ownership, rev uint64) (uint64, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return 0, err
	}
	var answer *nats.Msg
	err = g.conn.ask(ctx, func(ctx context.Context) (err error) {
		answer, err = g.conn.RequestMsgWithContext(ctx, &nats.Msg{
			Subject: g.subject,
			Header:  nats.Header{"Nats-Expected-Last-Subject-Sequence": {strconv.FormatUint(rev, 10)}},
			Data:    b,
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
		return 0, fmt.Errorf("write who owns the log: %w", err)
	case ack.Error != nil && (ack.Error.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || ack.Error.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant):
		return 0, fmt.Errorf("write who owns the log: %w: %w", errRefused, ack.Error)
	case ack.Error != nil:
		return 0, fmt.Errorf("write who owns the log: %w", ack.Error)
	case ack.Seq == 0:
		return 0, errors.New("write who owns the log: no answer that can be read")
	}
	return ack.Seq, nil
}
