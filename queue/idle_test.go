package queue

import (
	"errors"
	"testing"

	"pingline/queue/jetstream"
)

// Who looks at a log by itself is told its owner, makes nothing there, and may take the log only
// while the owner's record has the revision that it has seen idle.
func TestIdle(t *testing.T) {
	t.Parallel()
	srv := startNATS(t, t.TempDir())
	shelves, err := jetstream.OpenShelves(srv.ClientURL(), quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer shelves.Close()
	owner := func() Owner {
		t.Helper()
		o, err := ReadOwner(testContext(t), shelves, "PINGLINE")
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	if o := owner(); o != (Owner{Free: true}) {
		t.Errorf("nobody has a log that is not there: %+v", o)
	}
	if at, err := srv.Jsz(nil); err != nil || at.Streams != 0 {
		t.Errorf("a look made %d streams, %v", at.Streams, err)
	}
	idle := func(answer bool) func(uint64) bool { return func(uint64) bool { return answer } }
	a := open(t, Config{URL: srv.ClientURL(), Node: "a", Addr: "host-a:7", Lease: patience, Idle: idle(false)}) // nobody has it
	fill(t, a, 5, 100)
	o := owner()
	if o.Node != "a" || o.Addr != "host-a:7" || o.Lease != patience || o.Free || o.Since.IsZero() || o.Revision != revision(a) {
		t.Errorf("the owner is %+v", o)
	}
	if err := a.owner.renew(testContext(t), nil); err != nil {
		t.Fatal(err)
	}
	for _, standby := range []bool{false, true} {
		l, err := Open(testContext(t), Config{
			Dir: t.TempDir(), URL: srv.ClientURL(), Node: "b", MaxBytes: 1 << 20, Standby: standby, Logger: quiet,
			Idle: func(revision uint64) bool { return revision == o.Revision },
		})
		if !errors.Is(err, ErrOwned) {
			t.Fatalf("with standby %v a renewed hold is taken: %v, %v", standby, l, err)
		}
	}
	o = owner()
	b := open(t, Config{URL: srv.ClientURL(), Node: "b", Idle: func(revision uint64) bool { return revision == o.Revision }})
	readTo(t, b, 1, 5)
	fill(t, b, 5, 100)
	_, err = a.Append(testContext(t), payload(6, 100), totals(6), false)
	if err == nil {
		t.Error("the owner of before appends")
	}
	shut(t, b)
	if o := owner(); o.Node != "b" || o.Addr != "" || !o.Free {
		t.Errorf("the owner is %+v", o)
	}
	open(t, Config{URL: srv.ClientURL(), Node: "c", Idle: idle(false)}) // b has let it go
}
