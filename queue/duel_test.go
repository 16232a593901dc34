//go:build unix

package queue

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/nats-io/nats.go"
	client "github.com/nats-io/nats.go/jetstream"

	"pingline/queue/driver"
	"pingline/queue/jetstream"
)

// duels have one owner of a log after another, each of which believes that the log is its
// own still when the next has taken it.
type duels struct {
	t      *testing.T
	c      *servers
	st     *jetstream.Session
	js     client.JetStream
	acked  map[uint64]string // by number
	rounds int
}

// duelist is an owner that appends as fast as it can.
type duelist struct {
	*Log
	name  string
	trims bool
	claim uint64 // number of the record by which it has the log
	p     *proxy
	stop  context.CancelFunc
	acked map[uint64]string // by number
	done  chan error        // its end
}

var duelRounds = flag.Int("duels", 25, "how many owners of a log are deposed in the middle of appends")

// Owners of a log on three servers are deposed behind their backs, thousands of times if -duels says so, in the middle of
// appends, trims and settling, with appends on their way; now and then the record of who holds the log is lost, too, or a
// server fails. None has an append acknowledged once the next has claimed the log, and nothing that was acknowledged is
// lost, moved, or deleted under its reader.
func TestDuel(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three servers")
	}
	t.Parallel()
	c := startServers(t)
	st, err := jetstream.Connect(jetstream.Config{URL: c.url(), Stream: "PINGLINE", MaxBytes: 1, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(st.Close)
	nc, err := nats.Connect(c.url(), nats.MaxReconnects(-1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := client.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	d := &duels{t: t, c: c, st: st, js: js, acked: map[uint64]string{}, rounds: *duelRounds}
	was := d.begin(0, func() {})
	for round := 1; round <= d.rounds; round++ {
		if round%100 == 0 {
			t.Logf("%d duels, %d appends are acknowledged", round, len(d.acked))
		}
		if round%50 == 49 {
			c.fail(rand.IntN(3), rand.IntN(2) == 0)
		}
		was = d.depose(was, round)
	}
	was.stop()
	<-was.done
	d.note(was)
	d.check(was)
	epoch := uint64(0)
	for _, rec := range history(t, was.Log) {
		if rec.Epoch < epoch {
			t.Fatalf("record %d is of epoch %d, behind %d", rec.Number, rec.Epoch, epoch)
		}
		epoch = rec.Epoch
	}
	if epoch < uint64(d.rounds) {
		t.Errorf("the last epoch is %d, after %d owners", epoch, d.rounds)
	}
	t.Logf("%d duels, %d appends were acknowledged", d.rounds, len(d.acked))
	shut(t, was.Log)
}

// depose has the next owner take the log, which nobody tells the owner before.
func (d *duels) depose(was *duelist, round int) *duelist {
	t := d.t
	t.Helper()
	d.busy(was)
	free := d.release
	if rand.IntN(3) == 0 && !was.trims { // else only that record tells the next of a trim that no append has told
		free = d.lose
	}
	free()
	late := rand.IntN(3) == 0
	if late {
		was.p.hold(true, false)
	}
	next := d.begin(round, free)
	if late {
		was.p.hold(false, false)
	}
	// It finds out by itself.
	if err := <-was.done; !errors.Is(err, ErrOwned) {
		t.Fatalf("%s ended with %v", was.name, err)
	}
	for n := range was.acked {
		if n >= next.claim {
			t.Fatalf("%s had record %d acknowledged, %s has claimed the log by record %d", was.name, n, next.name, next.claim)
		}
	}
	d.note(was)
	d.check(next)
	shut(t, was.Log)
	return next
}

// release writes that the log is nobody's.
func (d *duels) release() {
	d.t.Helper()
	ctx := testContext(d.t)
	eventually(d.t, "the record is changed", func() bool { // busy servers refuse a change now and then, too
		shelf, err := d.st.OpenShelf(ctx)
		if err != nil {
			return false
		}
		rec, rev, err := readOwnership(ctx, shelf)
		if err == nil {
			rec.Node, rec.Incarnation, rec.Released = "nobody", "nobody", true // else the owner would take it for its own
			_, err = writeOwnership(ctx, shelf, rec, rev)
		}
		return err == nil
	})
}

// lose has the servers lose the record.
func (d *duels) lose() {
	d.t.Helper()
	eventually(d.t, "the record is gone", func() bool { // servers without a leader give no answer
		ctx, cancel := context.WithTimeout(testContext(d.t), driver.AskAgain)
		defer cancel()
		err := d.js.DeleteStream(ctx, ownerStream)
		return err == nil || errors.Is(err, client.ErrStreamNotFound)
	})
}

// begin opens the log for an owner, and has it append until it is deposed or stopped. If the log is
// another's, it calls free: an owner that settles, as after the failure of a server, makes a record that was
// lost anew.
func (d *duels) begin(round int, free func()) *duelist {
	t := d.t
	t.Helper()
	o := &duelist{name: fmt.Sprint("o", round), p: startProxyTo(t, d.c.addresses()...), acked: map[uint64]string{}, done: make(chan error, 1)}
	cfg := Config{Dir: t.TempDir(), URL: o.p.url(), Node: o.name, Lease: patience, CacheBytes: 1, MaxBytes: 64 << 20, Logger: quiet}
	var err error
	defer func() {
		if t.Failed() {
			t.Logf("%s opens the log: %v", o.name, err)
		}
	}()
	eventually(t, "the log opens", func() (ok bool) {
		ctx, cancel := context.WithTimeout(testContext(t), patience/20)
		defer cancel()
		if o.Log, err = Open(ctx, cfg); err != nil && ctx.Err() != nil {
			free()
		}
		return err == nil
	})
	if err := o.Claim(testContext(t), []byte("claim")); err != nil {
		t.Fatal(err)
	}
	o.claim = o.Last()
	checkTold(t, "Damage of "+o.name, o.Damage(), nil)
	ctx, stop := context.WithCancel(testContext(t))
	o.stop = stop
	o.trims = rand.IntN(2) == 0
	go func() { o.done <- o.run(ctx) }()
	return o
}

// run appends, and trims, until ctx is done or the log is another's.
func (o *duelist) run(ctx context.Context) error {
	for i := 0; ctx.Err() == nil; i++ {
		text := fmt.Sprint(o.name, " ", i)
		n, err := o.Append(context.WithoutCancel(ctx), []byte(text), Totals{}, false)
		if err == nil {
			o.acked[n] = text
			if o.trims && i%20 == 19 {
				o.SetCursor("reader", Cursor{Next: n - 10})
				err = o.trimTo(ctx, n-10)
			}
		}
		if err == nil {
			continue
		}
		if _, _, err := o.Settle(ctx, []byte("settled")); err != nil {
			return err
		}
	}
	return nil
}

// busy returns once o has appended some records as an owner.
func (d *duels) busy(o *duelist) {
	many := o.claim + 1 + uint64(rand.IntN(40))
	eventually(d.t, "an owner appends", func() bool { return o.Last() >= many || len(o.done) > 0 })
}

// note takes over what o, which has ended, had acknowledged.
func (d *duels) note(o *duelist) {
	d.t.Helper()
	for n, text := range o.acked {
		if was, ok := d.acked[n]; ok {
			d.t.Fatalf("record %d was acknowledged as %q and as %q", n, was, text)
		}
		d.acked[n] = text
	}
}

// check reads the log as its owner does, and compares it with what was acknowledged.
func (d *duels) check(o *duelist) {
	d.t.Helper()
	r, last := o.Read(o.First()), o.Last()
	defer r.Close()
	for {
		rec, err := r.Next(testContext(d.t))
		if err != nil {
			d.t.Fatalf("%s reads: %v", o.name, err)
		}
		if want, ok := d.acked[rec.Number]; ok && string(rec.Payload) != want {
			d.t.Fatalf("record %d is %q, acknowledged was %q", rec.Number, rec.Payload, want)
		}
		if rec.Number >= last {
			return
		}
	}
}
