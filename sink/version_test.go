package sink

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"pingline"
)

// A commit of a newer version between others is not passed over: the log is kept from
// there on for the version that can read it.
func TestCommitOfANewerVersion(t *testing.T) {
	w := testLog(t)
	before := mixed(1, 100)
	w.commit(before...)
	newer := mixed(2, 100)
	payload := commit(newer...)
	payload[0] += 100
	w.append(payload, newer...)
	w.commit(mixed(3, 100)...)
	store := recording(t, func([]string) int { return http.StatusNoContent })
	s := testSink(t, w, store.Bucket, nil)
	if err := s.Run(context.Background()); !errors.Is(err, pingline.ErrNewer) {
		t.Errorf("Run = %v, want ErrNewer", err)
	}
	for name, at := range w.log.Cursors() {
		if at.Next > 2 {
			t.Errorf("%s is at %d, behind commit 2", name, at.Next)
		}
	}
	if a := s.Account(); a.Pings.Damaged != 0 {
		t.Errorf("%d pings are damaged, want 0", a.Pings.Damaged)
	}
}
