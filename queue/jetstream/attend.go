package jetstream

import (
	"context"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// attendedWithin bounds the wait for an answer to Attended.
const attendedWithin = 200 * time.Millisecond

// Attend has Attended be true for other sessions, until leave is called or s is closed.
func (s *Session) Attend() (leave func(), err error) {
	sub, err := s.read.Subscribe(s.attending(), func(m *nats.Msg) { _ = m.Respond(nil) }) // nobody may wait any more
	if err != nil {
		return func() {}, err
	}
	return func() { _ = sub.Unsubscribe() }, nil // fails only with the connection
}

// Attended reports whether a node reads the stream along, and has come to its end: it is ready to go on.
func (s *Session) Attended(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, attendedWithin)
	defer cancel()
	_, err := s.read.RequestWithContext(ctx, s.attending(), nil)
	return err == nil
}

func (s *Session) attending() string { return strings.ToLower(s.stream) + ".along" }
