package ingest

import (
	"context"
	"testing"

	"pingline"
	"pingline/dedupe"
	"pingline/queue"
)

// A writer of a log on servers claims the log before it reads the filter from it: an owner
// of before appends no more. The claim is a commit without entries.
func TestWriterClaimsTheLog(t *testing.T) {
	ctx := context.Background()
	url := "nats://" + natsServer(t)
	log := testLog(t, queue.Config{URL: url})
	if _, err := OpenWriter(ctx, WriterConfig{Log: log, Filter: dedupe.DefaultConfig()}); err != nil {
		t.Fatal(err)
	}
	r := log.Read(1)
	defer r.Close()
	rec, err := r.Next(ctx)
	if err != nil || rec.Epoch == 0 || log.Last() != 1 {
		t.Fatalf("record %d of epoch %d, %v, want 1, and a claim", rec.Number, rec.Epoch, err)
	}
	h, entries, err := pingline.DecodeCommit(rec.Payload)
	if err != nil || h.At == 0 {
		t.Fatalf("the claim is no commit: %+v, %v", h, err)
	}
	if more, err := entries.Next(new(pingline.Entry)); more || err != nil {
		t.Errorf("the claim has an entry: %v, %v", more, err)
	}
	embedded := testLog(t, queue.Config{})
	if _, err := OpenWriter(ctx, WriterConfig{Log: embedded, Filter: dedupe.DefaultConfig()}); err != nil || embedded.Last() != 0 {
		t.Errorf("an embedded log ends at %d, %v, want nothing", embedded.Last(), err)
	}
}
