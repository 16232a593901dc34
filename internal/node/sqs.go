package node

import (
	"path/filepath"
	"time"

	"pingline/ingest/auth"
	"pingline/ingest/messages"
	"pingline/ingest/mqtt/inside"
	"pingline/ingest/sqs"
)

// openSQS opens the way in by a queue of SQS, whose messages are requests of the server.
func (n *Node) openSQS() (err error) {
	if n.cfg.SQSIn.URL == "" {
		return nil
	}
	queue := auth.NewIdentity("sqs-in", auth.Write, auth.Everyone, time.Time{}, nil)
	n.sqs, err = sqs.Open(sqs.Config{
		Inlet: n.cfg.SQSIn, Take: inside.Post(n.server.Handler(), messages.URI, messages.Address, queue),
		Rejects: messages.KeepRejects(filepath.Join(n.cfg.DataDir, RefusedDir, "sqs"), n.cfg.DeadLettersMax), Logger: n.logger,
	})
	return err
}
