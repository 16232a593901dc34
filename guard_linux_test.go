package pingline

import (
	"testing"

	"pingline/internal/costtest"
)

func TestCostOfACommit(t *testing.T) {
	entries, buf := sampleEntries(100), []byte(nil)
	costtest.Guard(t, len(entries), 88, nil, func() {
		buf = AppendCommitHeader(buf[:0], &CommitHeader{Node: "node-1", At: commitAt})
		for i := range entries {
			buf = AppendEntry(buf, &entries[i], commitAt)
		}
		SetCommitEntries(buf, uint32(len(entries)))
		var e Entry
		_, r, err := DecodeCommit(buf)
		for ok := true; ok && err == nil; {
			ok, err = r.Next(&e)
		}
		if err != nil || r.Len() > 0 {
			t.Fatal(err)
		}
	})
}
