package reshard

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pingline"
	"pingline/partition"
	"pingline/queue"
	"pingline/sink"
	"pingline/sink/resume"
	"pingline/sink/route"
)

// cursors is the file of the cursors and notes.
func (r *rig) cursors() string { return filepath.Join(r.dir, "log", "cursors") }

// unkept has cursors not be kept until the returned function is called.
func (r *rig) unkept() (kept func()) {
	r.t.Helper()
	aside := filepath.Join(r.cursors()+".new", "in the way")
	r.must(os.MkdirAll(aside, 0o700))
	return func() { r.must(os.RemoveAll(filepath.Dir(aside))) }
}

// accounted checks that each row has one fate in the layouts, and one in the mirrors.
func (r *rig) accounted() {
	r.t.Helper()
	check := func(of string, y sink.Tally) {
		if all := y.Start + y.Written + y.DeadLettered + y.Damaged + y.Elsewhere + y.GivenUp + y.Queued; all != r.totals[pingline.TotalStored] {
			r.t.Errorf("%s: %d of %d are accounted for: %+v", of, all, r.totals[pingline.TotalStored], y)
		}
	}
	check("the layouts", r.eras.Account().Pings)
	if a, is := r.eras.MirrorAccount(); is {
		check("the mirrors", a.Pings)
	}
}

// strays are the cursors of layouts that the record does not have.
func (r *rig) strays() (names []string) {
	rec := r.eras.Record()
	for _, name := range slices.Sorted(maps.Keys(r.log.Cursors())) {
		space, ok := resume.SpaceOf(name)
		if ok && !slices.ContainsFunc(rec.Eras, func(era Era) bool { return era.space("") == space }) {
			names = append(names, name)
		}
	}
	return names
}

var replaceA = Order{Replace: map[string]string{"a": "c"}}

// steps are changes to and fro, each step with its name.
func (r *rig) steps() (list []func() error) {
	start := func(o Order, shards ...string) func() error {
		return func() error {
			var stores []sink.ShardStore
			for _, name := range shards {
				stores = append(stores, r.shard(name))
			}
			_, _, err := r.eras.Start(o, stores)
			return err
		}
	}
	cut := func() error {
		_, err := r.eras.Cut(true)
		return err
	}
	abort, finish := func() error { return r.eras.Abort(false) }, func() error { return r.eras.Finish() }
	return []func() error{
		start(replaceA, "c"), abort,
		start(replaceA), cut, abort,
		start(Order{Add: []partition.Shard{{Name: "d", Weight: 1}}}, "d"), abort,
		start(replaceA), cut, finish,
		start(Order{Remove: []string{"b"}}), cut, finish,
	}
}

// state is the record in the log without the eras, of which some may be passed meanwhile; "" if
// there is none.
func (r *rig) state() string {
	r.t.Helper()
	note := r.log.Note(resume.EraNote)
	if note == "" {
		return ""
	}
	rec, err := parse(note)
	r.must(err)
	rec.Eras = nil
	return rec.String()
}

// A step that is not kept is not made: layouts, mirrors and what a mirror lacks are as before,
// lanes go on, and the step can be made later.
func TestStepThatIsNotKept(t *testing.T) {
	r := newRig(t, "a", "b")
	r.open()
	rows := r.write(many("r-", 30)...)
	for i, step := range r.steps() {
		before := r.state()
		kept := r.unkept()
		if err := step(); err == nil {
			t.Fatalf("step %d is made, and is not on disk", i)
		}
		kept()
		if after := r.state(); after != before {
			t.Errorf("step %d: the record was\n%s\nand is\n%s", i, before, after)
		}
		rows = append(rows, r.write(many(fmt.Sprintf("f-%d-", i), 30)...)...)
		r.settled()
		if names := r.strays(); len(names) > 0 {
			t.Errorf("step %d was not made, and left %v", i, names)
		}
		r.accounted()
		r.must(step())
		rows = append(rows, r.write(many(fmt.Sprintf("s-%d-", i), 30)...)...)
		r.settled()
		r.readable(rows)
		r.accounted()
	}
}

// A mirror that goes on because its end was not kept still lacks what it has given up.
func TestLacksOfStepThatIsNotKept(t *testing.T) {
	r := newRig(t, "a", "b")
	r.open()
	r.start(replaceA, "c")
	r.shelves["c"].set(func() { r.shelves["c"].away = true })
	r.write(many("r-", 60)...)
	r.until("rows are given up", func() bool {
		r.eras.GiveUpMirror(r.log.Last() + 1)
		return len(r.eras.Status().LetGo) > 0 && r.eras.WrittenAll() > r.log.Last()
	})
	lacks := "sink-lacks/" + route.SpaceOf("", "2")
	was := r.log.Note(lacks)
	kept := r.unkept()
	if err := r.eras.Abort(false); err == nil {
		t.Error("an abort is made that is not on disk")
	}
	kept()
	if is := r.log.Note(lacks); was == "" || is != was {
		t.Errorf("the mirror lacked %q, and lacks %q", was, is)
	}
	if _, err := r.eras.Cut(false); err == nil || !strings.Contains(err.Error(), "gave up") {
		t.Errorf("cut: %v", err)
	}
}

// taken is the state of a node at a moment: the file of the cursors, and the rows on each shelf.
type taken struct {
	cursors []byte
	rows    map[string]map[string]bool
}

// After a crash between any two writes of the cursors, the node opens, no position is left of a
// layout that is not in force, and each row is read, or written by somebody who is read.
func TestCrashBetweenWrites(t *testing.T) {
	r := newRig(t, "a", "b")
	r.open()
	var rows []string
	var mu sync.Mutex // guards states
	var states []taken
	take := func() {
		mu.Lock()
		defer mu.Unlock()
		if err := r.log.KeepCursors(); err != nil {
			t.Error(err)
		}
		b, err := os.ReadFile(r.cursors())
		if err != nil {
			t.Error(err)
		}
		if len(states) > 0 && bytes.Equal(states[len(states)-1].cursors, b) {
			return
		}
		s := taken{cursors: b, rows: make(map[string]map[string]bool)}
		for name, sh := range r.shelves {
			sh.set(func() { s.rows[name] = maps.Clone(sh.rows) })
		}
		states = append(states, s)
	}
	ctx, stop := context.WithCancel(t.Context())
	var busy sync.WaitGroup
	busy.Go(func() {
		for ctx.Err() == nil {
			take()
		}
	})
	for i, step := range r.steps() {
		rows = append(rows, r.write(many(fmt.Sprintf("r-%d-", i), 20)...)...)
		r.must(step())
		take()
	}
	r.settled()
	stop()
	busy.Wait()
	r.stop()
	r.must(r.log.Close())
	if len(states) < len(r.steps()) {
		t.Fatalf("%d states in %d steps", len(states), len(r.steps()))
	}
	rng := rand.New(rand.NewPCG(1, uint64(len(states))))
	for _, i := range rng.Perm(len(states))[:min(len(states), 40)] {
		s := states[i]
		again := &rig{t: t, dir: t.TempDir(), totals: r.totals, shelves: make(map[string]*shelf)}
		r.must(os.CopyFS(again.dir, os.DirFS(r.dir)))
		r.must(os.WriteFile(again.cursors(), s.cursors, 0o600))
		for name := range r.shelves {
			again.shelves[name] = &shelf{rows: s.rows[name]}
		}
		again.openLog()
		again.flags("a", "b", "c", "d")
		again.open()
		if names := again.strays(); len(names) > 0 {
			t.Errorf("state %d of %d: %v is left: %s", i, len(states), names, s.cursors)
		}
		again.settled()
		again.until("all is passed", func() bool { // the record tells of no layout that is over
			rec := again.eras.Record()
			return !slices.ContainsFunc(rec.Eras, func(era Era) bool { return era.End != nil })
		})
		again.readable(rows)
		again.accounted()
		again.stop()
		r.must(again.log.Close())
		if t.Failed() {
			t.Fatalf("state %d of %d: %s", i, len(states), s.cursors)
		}
	}
}

// Positions of a layout that no record tells of, of a change that a crash has broken off, hold the
// log no longer than to the next start.
func TestPositionsOfNoLayout(t *testing.T) {
	r := newRig(t, "a", "b")
	r.open()
	r.write(many("r-", 30)...)
	r.settled()
	stray := resume.LaneCursor(route.SpaceOf("", "7")+route.SetSep+"c", route.Live)
	r.log.SetCursor(stray, queue.Cursor{Next: 1})
	r.restart("a", "b")
	if _, is := r.log.Cursor(stray); is {
		t.Error("the log is held for a layout that is not in force, where no shards were changed")
	}
	r.start(replaceA, "c")
	r.log.SetCursor(stray, queue.Cursor{Next: 1})
	r.restart("a", "b", "c")
	if names := r.strays(); len(names) > 0 {
		t.Errorf("the log is held by %v", names)
	}
	if st := r.eras.Status(); st.Phase != Dual {
		t.Errorf("the change: %+v", st)
	}
}

// Layouts are passed in any order: the account closes all the same.
func TestLayoutsPassedInAnyOrder(t *testing.T) {
	r := newRig(t, "a", "b")
	r.open()
	r.shelves["a"].set(func() { r.shelves["a"].away = true })
	r.write(many("r-", 60)...)
	r.start(Order{Remove: []string{"a"}})
	_, err := r.eras.Cut(true)
	r.must(err)
	r.must(r.eras.Finish())
	r.write(many("s-", 60)...)
	r.start(Order{Add: []partition.Shard{{Name: "c", Weight: 1}}}, "c")
	r.must(r.eras.Finish())
	rows := r.write(many("t-", 60)...)
	r.until("the layout between is passed", func() bool {
		return !slices.ContainsFunc(r.eras.Record().Eras, func(era Era) bool { return era.Spread.String() == "b=1" })
	})
	r.accounted()
	r.shelves["a"].set(func() { r.shelves["a"].away = false })
	r.settled()
	r.until("all is passed", func() bool { return r.eras.Len() == 1 })
	r.accounted()
	r.readable(rows)
}

// An older version, which knows nothing of changes, has run meanwhile: it has written to the
// shards of its flags. These are read, also if they are not in force.
func TestOlderVersionHasRun(t *testing.T) {
	r := newRig(t, "a", "b")
	r.open()
	r.start(replaceA, "c")
	_, err := r.eras.Cut(true)
	r.must(err)
	r.write(many("r-", 30)...)
	r.settled()
	r.stop()
	change := queue.Change{}
	for name := range r.log.Cursors() {
		change.Drop = append(change.Drop, name)
	}
	r.log.Change(change)
	r.flags("b", "d")
	r.cfg.Shards[0].Store, r.cfg.Shards[1].Store = r.shelves["b"], r.shelves["d"]
	old, err := sink.New(r.cfg)
	r.must(err)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- old.Run(ctx) }()
	rows := r.write(many("old-", 60)...)
	r.until("all is written", func() bool { return old.Lowest() > r.log.Last() })
	stop()
	r.must(<-done)
	r.must(r.log.Close())
	r.openLog()
	r.flags("a", "b", "c", "d")
	r.open()
	r.settled()
	r.readable(rows)
	r.accounted()
	if names := r.strays(); len(names) > 0 || r.eras.Len() != 1 {
		t.Errorf("%d sinks run, of %s; strays %v", r.eras.Len(), r.eras.Record(), names)
	}
	if st := r.eras.Status(); st.InForce.String() != "c=1 b=1" || st.Phase != Settled {
		t.Errorf("in force: %+v", st)
	}
}

// Whatever is done in which order, with shards that come and go: nothing that was acknowledged
// becomes unreadable, accounts close, and the place up to which all is written never goes back.
func TestAnyOrderOfSteps(t *testing.T) {
	seeds := 12
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			anyOrder(t, uint64(seed))
		})
	}
}

func anyOrder(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 5))
	names := []string{"a", "b", "c", "d"}
	set := func(c *sink.Config) {
		c.HandOver = time.Duration(seed%2) * time.Millisecond
		if seed%3 == 0 { // lanes leave holes behind
			c.JumpAfter = 5 * time.Millisecond
		}
	}
	r := newRig(t, "a", "b")
	set(&r.cfg)
	r.open()
	r.start(Order{Add: []partition.Shard{{Name: "c", Weight: 1}}}, "c")
	defer r.ask()()
	var rows, did []string
	written := uint64(0)
	for range 40 {
		name := names[rng.IntN(len(names))]
		switch rng.IntN(9) {
		case 0, 1, 2:
			rows = append(rows, r.write(many(fmt.Sprint("r-", len(rows), "-"), 10+rng.IntN(30))...)...)
		case 3:
			sh := r.shelves[name]
			sh.set(func() { sh.away = !sh.away })
			did = append(did, fmt.Sprint(name, " away ", sh.away))
		case 4:
			r.eras.GiveUpMirror(r.log.Last() + 1)
			did = append(did, "give up")
		case 5:
			r.asking.Lock()
			r.stop()
			r.must(r.log.Close())
			r.openLog()
			r.flags(names...)
			set(&r.cfg)
			r.open()
			r.asking.Unlock()
			did = append(did, "restart")
		default:
			before := r.eras.Record()
			err := anyStep(r, rng, name)
			did = append(did, fmt.Sprint(before.Phase, " → ", r.eras.Record().Phase, " ", r.eras.Record().Do, " ", err))
		}
		if rng.IntN(2) == 0 {
			r.readableOrWaits(rows)
		}
		if is := r.eras.Written(); is < written {
			t.Errorf("all was written up to %d, and then up to %d, after %q", written, is, did)
		} else {
			written = is
		}
	}
	for _, sh := range r.shelves {
		sh.set(func() { sh.away = false })
	}
	r.settled()
	r.accounted()
	r.until("all is passed", func() bool {
		return !slices.ContainsFunc(r.eras.Record().Eras, func(era Era) bool { return era.End != nil })
	})
	r.readable(rows)
	r.accounted()
	if t.Failed() {
		t.Logf("steps: %s; in the end %s", strings.Join(did, "; "), r.eras.Record())
	}
}

// ask asks all there is to ask, again and again, until the returned function is called.
func (r *rig) ask() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ; ctx.Err() == nil; time.Sleep(time.Millisecond) {
			r.asking.Lock()
			e := r.eras
			e.Account()
			e.MirrorAccount()
			e.Stats()
			e.Primary()
			e.Status()
			e.Notes()
			e.Reading()
			e.Shards()
			e.WrittenAll()
			e.Kept()
			e.GoneBefore()
			e.Lacks()
			e.MirrorSpaces()
			e.Memory()
			e.Weight()
			r.asking.Unlock()
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// readableOrWaits checks that each row of a commit that all layouts have passed can be read.
func (r *rig) readableOrWaits(rows []string) {
	r.t.Helper()
	if r.eras.Written() > r.log.Last() {
		r.readable(rows)
	}
}

// anyStep makes a step that the phase allows.
func anyStep(r *rig, rng *rand.Rand, name string) error {
	rec := r.eras.Record()
	switch dice := rng.IntN(2); {
	case rec.Phase == Dual && dice == 0:
		_, err := r.eras.Cut(true)
		return err
	case rec.Phase == Cut && dice == 0:
		return r.eras.Finish()
	case rec.Phase != Settled:
		return r.eras.Abort(false)
	}
	order := Order{Add: []partition.Shard{{Name: name, Weight: 1}}}
	if slices.Contains(rec.InForce().Names(), name) {
		order = Order{Remove: []string{name}}
		for _, other := range []string{"a", "b", "c", "d"} {
			if !slices.Contains(rec.InForce().Names(), other) && rng.IntN(2) == 0 {
				order = Order{Replace: map[string]string{name: other}}
			}
		}
	}
	_, _, err := r.eras.Start(order, []sink.ShardStore{r.shard("d")})
	return err
}
