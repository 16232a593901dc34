package rollup

import (
	"context"
	"errors"
	"testing"

	"pingline"
	"pingline/queue"
)

// A commit of a newer version is not passed over: its pings are in no total that this
// version could write.
func TestCommitOfANewerVersion(t *testing.T) {
	log := openLog(t, queue.Config{})
	a := &appender{log: log}
	if err := a.append(testContext(t), commit{at: 1000}); err != nil {
		t.Fatal(err)
	}
	newer := pingline.AppendCommitHeader(nil, &pingline.CommitHeader{At: 2000})
	newer[0] += 100
	if _, err := log.Append(testContext(t), newer, log.LastTotals(), false); err != nil {
		t.Fatal(err)
	}
	if err := a.append(testContext(t), commit{at: 3000}); err != nil {
		t.Fatal(err)
	}
	r, err := New(Config{Log: log, Logger: quiet(), Emit: func(context.Context, []pingline.Entry) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(testContext(t)); !errors.Is(err, pingline.ErrNewer) {
		t.Errorf("Run = %v, want ErrNewer", err)
	}
	if r.next.Next != 2 {
		t.Errorf("the next commit to count is %d, want 2", r.next.Next)
	}
}
