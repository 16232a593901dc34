package parts

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"pingline/partition"
	"pingline/queue"
	"pingline/queue/jetstream"
)

func refused(t *testing.T, what string, err error, parts ...string) {
	t.Helper()
	if !errors.Is(err, ErrParts) {
		t.Errorf("%s: %v, want a refusal", what, err)
		return
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v, want %q in it", what, err, part)
		}
	}
}

// The first node fixes the number of parts; a node that wants another is told both numbers.
func TestNumberOfPartsIsFixed(t *testing.T) {
	t.Parallel()
	url := startNATS(t, 1).url()
	cfg := func(parts int) Config { return Config{URL: url, Parts: parts, Logger: quiet} }
	if err := Agree(testContext(t), cfg(1)); err != nil {
		t.Errorf("a node without parts: %v", err)
	}
	var wg sync.WaitGroup
	list := []int{2, 4, 8, 16, 32, 64}
	errs := make([]error, len(list))
	for i, parts := range list {
		wg.Go(func() { errs[i] = Agree(testContext(t), cfg(parts)) })
	}
	wg.Wait()
	made := 0
	for i, err := range errs {
		switch {
		case err == nil && made == 0:
			made = list[i]
		case err == nil:
			t.Fatalf("two nodes made the cluster: %d parts, and %d", made, list[i])
		default:
			refused(t, "at the same time", err)
		}
	}
	if made == 0 {
		t.Fatalf("no node made the cluster: %v", errs)
	}
	if err := Agree(testContext(t), cfg(made)); err != nil {
		t.Errorf("the same number again: %v", err)
	}
	wrong := newNode(t, url, "a", long)
	wrong.cfg.Parts = 2
	if made == 2 {
		wrong.cfg.Parts = 4
	}
	refused(t, "another number", wrong.take(testContext(t)), "--parts=", " parts, and ", "start with --parts=")
	refused(t, "no parts", Agree(testContext(t), cfg(1)), "--parts=1: ", "start with --parts=")
}

// A log of a node without parts is not left behind.
func TestLogWithoutParts(t *testing.T) {
	t.Parallel()
	url := startNATS(t, 1).url()
	l, err := queue.Open(testContext(t), queue.Config{Dir: t.TempDir(), URL: url, MaxBytes: 1 << 20, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if _, err := l.Append(testContext(t), []byte("a ping"), queue.Totals{}, false); err != nil {
		t.Fatal(err)
	}
	n := newNode(t, url, "a", long)
	refused(t, "a log is there", n.take(testContext(t)), "--parts=2: the stream PINGLINE has 1 records", "start with --parts=1", "nats stream rm PINGLINE")
	n.cfg.Stream = "OTHER"
	if err := n.take(testContext(t)); err != nil {
		t.Errorf("a log of another name is in the way: %v", err)
	}
}

// A record that cannot be read, or that a newer version has written, is not replaced.
func TestClusterRecordIsNotReplaced(t *testing.T) {
	t.Parallel()
	url := startNATS(t, 1).url()
	shelves, err := jetstream.OpenShelves(url, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer shelves.Close()
	shelf, err := shelves.Make(testContext(t), "PINGLINE-cluster", clusterKey)
	if err != nil {
		t.Fatal(err)
	}
	rev := uint64(0)
	for _, value := range []string{`{"form":2,"parts":2}`, `{"form":1,"parts":3}`, `no`} {
		if rev, err = shelf.Save(context.Background(), []byte(value), rev); err != nil {
			t.Fatal(err)
		}
		err := Agree(testContext(t), Config{URL: url, Parts: 2, Logger: quiet})
		if err == nil || !strings.Contains(err.Error(), "PINGLINE-cluster") || errors.Is(err, queue.ErrNewer) != strings.Contains(value, `"form":2`) {
			t.Errorf("Agree with %s: %v", value, err)
		}
		if got, at, err := shelves.Load(testContext(t), "PINGLINE-cluster", clusterKey); err != nil || string(got) != value || at != rev {
			t.Errorf("the record is %s at %d, %v, want %s at %d", got, at, err, value, rev)
		}
	}
}

func FuzzDecodeCluster(f *testing.F) {
	f.Add([]byte(`{"form":1,"parts":4}`))
	f.Add([]byte(`{"form":2}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeCluster(b)
		if err == nil && (r.Parts < 2 || r.Parts > partition.MaxParts || partition.MaxParts%r.Parts != 0) {
			t.Errorf("%q is a cluster of %d parts", b, r.Parts)
		}
	})
}
