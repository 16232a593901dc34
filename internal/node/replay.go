package node

import (
	"pingline/ingest"
	"pingline/sink/deadletter"
)

// resubmit makes letters durable in the log, for the shards that
// refused them.
func (n *Node) resubmit(letters []*deadletter.Letter) error {
	return n.removals.Resubmit(letters, func(letters []*deadletter.Letter) error {
		var job ingest.Job
		for _, l := range letters {
			job.Entries = append(job.Entries, l.Entry)
		}
		return n.writer.Submit(&job)
	})
}
