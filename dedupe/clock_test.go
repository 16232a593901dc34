package dedupe

import (
	"fmt"
	"testing"

	"pingline"
)

// late judges the first ping of a rider and reports whether it is late.
func (r *run) late(rider string, at int64) bool {
	r.Helper()
	e := pingline.Entry{Ping: pingline.Ping{Rider: rider, Fix: pingline.Fix{At: at}}}
	if v, _ := r.Judge(&r.batch, &e, r.bound, 0, r.now); v != pingline.Accepted {
		r.Fatalf("first ping of %s is %v", rider, v)
	}
	r.batch.Reset()
	return e.Late
}

// reborn replaces the filter by one made from its checkpoint.
func (r *run) reborn() {
	r.Helper()
	piece, _ := r.Snapshot().Next(nil, 1)
	f, err := New(r.cfg)
	if err != nil {
		r.Fatal(err)
	}
	if err := f.Load(piece); err != nil {
		r.Fatal(err)
	}
	r.Filter = f
}

// Riders whose pings are ahead of our clock, and who are forgotten, make nobody
// else's pings late.
func TestForgottenAheadCountsAsNow(t *testing.T) {
	const now = 1_760_000_000_000
	for _, again := range []bool{false, true} {
		r := newRun(t, Config{MaxRiders: 10}, Bound{MaxError: 10})
		r.Clock(now)
		for i := range 1000 {
			for k := range int64(3) {
				r.judge(pingline.Ping{Rider: fmt.Sprint("ahead-", i), Fix: pingline.Fix{At: now + 110_000 + k}})
			}
		}
		if again {
			r.reborn()
		}
		if r.late("new", now+1) {
			t.Error("the first ping of a rider is late because others were ahead of time")
		}
		if !r.late("old", now) {
			t.Error("a ping of before tracks were forgotten is taken for new")
		}
	}
}

// Once our clock is put right, it does not matter how far ahead it was.
func TestForgottenByAWrongClock(t *testing.T) {
	const now, wrong = 1_760_000_000_000, 1_760_000_000_000 + 3_600_000
	for _, tt := range []struct {
		name   string
		forget func(r *run)
	}{
		{"tracks were evicted", func(r *run) {
			for i := range 100 {
				r.judge(pingline.Ping{Rider: fmt.Sprint("r-", i), Fix: pingline.Fix{At: wrong - 10}})
			}
		}},
		{"the state was lost", func(r *run) { r.Damaged(wrong) }},
		{"a version before said so", func(r *run) { r.Forgot(wrong + 120_000) }},
	} {
		for _, again := range []bool{false, true} {
			t.Run(fmt.Sprint(tt.name, again), func(t *testing.T) {
				r := newRun(t, Config{MaxRiders: 10}, Bound{MaxError: 10})
				r.Clock(wrong)
				tt.forget(r)
				if again {
					r.reborn()
					r.Replay(2, r.bound, nil)
				}
				r.Clock(now)
				if r.late("new", now+1) {
					t.Error("the first ping of a rider is late until the clock was right")
				}
			})
		}
	}
}

// What was lost of a track may be later than all that is known of it: a ping from
// before the damage is on no line.
func TestBrokenTrackBeginsAnewBehindTheDamage(t *testing.T) {
	for _, tt := range []struct {
		name string
		lost func(r *run) // of what it judges the rebuilt filter learns nothing
	}{
		{"known before", func(r *run) { r.judgeAll(straight(1, 50)); r.flush() }},
		{"with a backlog", func(r *run) { r.judge(second(90)); r.judgeAll(straight(1, 50)); r.flush() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRun(t, bare(), Bound{MaxError: 10})
			r.judge(second(0))
			piece, _ := r.Snapshot().Next(nil, 1)
			tt.lost(r)
			f, err := New(r.cfg)
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Load(piece); err != nil {
				t.Fatal(err)
			}
			r.Filter = f
			r.Damaged(second(100).At)
			for again := range 2 {
				r.judge(off(second(25), 500))
				r.judge(withEvent(off(second(26+again), 500), "sos"))
				if r.Counts().Late != uint64(2+2*again) {
					t.Errorf("%d of %d pings from before the damage are late", r.Counts().Late, 2+2*again)
				}
				r.reborn()
				r.counts.Late = uint64(2 + 2*again)
			}
			r.judgeAll(straight(101, 20))
			r.finish()
		})
	}
}

// A ping that goes on with a backlog is not the newest of a track that is not known.
func TestUnknownBacklogIsNotTheNewest(t *testing.T) {
	r := newRun(t, bare(), Bound{MaxError: 10})
	r.judgeAll([]pingline.Ping{second(0), second(90)})
	r.judgeAll(straight(1, 50))
	e := pingline.Entry{Ping: off(second(30), 300), State: back, Verdict: pingline.Accepted}
	f, err := New(r.cfg)
	if err != nil {
		t.Fatal(err)
	}
	f.Forgot(second(95).At)
	f.Replay(1, r.bound, []pingline.Entry{e})
	r.Filter = f
	for _, at := range []int{31, 60, 90} {
		late := r.Counts().Late
		r.judge(off(second(at), 500))
		if r.Counts().Late != late+1 {
			t.Errorf("a ping of second %d, before what was forgotten, is not late", at)
		}
	}
}

// A backlog that spans damage is not gone on with: vertices in it may be lost.
func TestBacklogEndsAtDamage(t *testing.T) {
	r := newRun(t, bare(), Bound{MaxError: 10})
	backlogged(r)
	r.Damaged(0)
	r.judgeAll(straight(20, 3)) // the track starts anew
	for _, p := range []pingline.Ping{second(5), second(6), second(3)} {
		e := pingline.Entry{Ping: p}
		if v, _ := r.Judge(&r.batch, &e, r.bound, 0, r.now); v != pingline.Accepted || !e.Late {
			t.Errorf("ping of second %d is %v, late %v", p.At%60_000/1000, v, e.Late)
		}
		r.batch.Reset()
	}
	r.finish()
}

// Our clock goes back an hour and then forward again. A ping off the line of a track
// that was forgotten, or broken, is still no vertex of it.
func TestForgottenStaysForgottenWhenOurClockGoesBack(t *testing.T) {
	const noon, hour = 60, 3_600_000 // in seconds of second, and ms
	others := func(r *run, name string, at int) {
		for n := range r.cfg.MaxRiders {
			for k := range 2 {
				r.judge(of(fmt.Sprint(name, n), "", second(at+k)))
			}
		}
	}
	devices := func(r *run) {
		for n := range MaxDevices {
			r.judge(of("r-1", fmt.Sprint("d-", n), second(1)))
		}
	}
	for _, tt := range []struct {
		name               string
		device             string
		ahead, back, right func(r *run) // before the clock goes back, while it is, and when it is right again
	}{
		{"a track that was forgotten", "", func(r *run) { others(r, "b-", 48) }, nil, nil},
		{"one with a device", "a", func(r *run) { others(r, "b-", 48) }, nil, nil},
		{"known by a late ping while the clock was back", "", func(r *run) { others(r, "b-", 48) }, func(r *run) { r.judge(second(-3600)) }, nil},
		{"new again before the ping came", "", func(r *run) { others(r, "b-", 48) }, nil, func(r *run) { r.judge(second(noon)) }},
		{"forgotten while the clock was back", "", nil, func(r *run) { others(r, "b-", -3600) }, nil},
		{"one of many devices", "a", devices, nil, nil},
		{"one of many devices, known by a late ping while the clock was back", "a", devices, func(r *run) { r.judge(of("r-1", "a", second(-3600))) }, nil},
		{"one of many devices, all of them forgotten", "a", devices, nil, func(r *run) { others(r, "b-", noon-1) }},
		{"a broken track", "", func(r *run) { // all but its first pings is lost
			r.flush()
			f, err := New(r.cfg)
			if err != nil {
				t.Fatal(err)
			}
			f.Replay(1, r.bound, []pingline.Entry{{Ping: second(1), Verdict: pingline.Accepted, State: first}})
			r.Filter = f
			r.Clock(second(51).At)
			r.Damaged(second(51).At)
		}, nil, nil},
	} {
		for _, again := range []string{"never", "before", "meanwhile", "after"} {
			if tt.name == "forgotten while the clock was back" && (again == "before" || again == "meanwhile") {
				continue // by a process that was never told the right time
			}
			t.Run(fmt.Sprintf("%s, started again %s", tt.name, again), func(t *testing.T) {
				cfg := bare()
				cfg.MaxRiders = 2 + 2*MaxDevices
				r := newRun(t, cfg, Bound{MaxError: 10})
				play := func(at int64, what func(r *run), begins bool) {
					if begins {
						r.reborn()
					}
					r.Clock(at)
					if what != nil {
						what(r)
					}
				}
				r.Clock(second(50).At)
				for _, p := range straight(1, 50) {
					r.judge(of("r-1", tt.device, p))
				}
				play(second(51).At, tt.ahead, false)
				play(second(52).At-hour, func(r *run) { r.judge(of("c", "", second(-3600))) }, again == "before")
				play(second(53).At-hour, tt.back, again == "meanwhile")
				play(second(noon).At, tt.right, again == "after")
				for _, at := range []int{25, 26, 31} {
					r.judge(of("r-1", tt.device, off(second(at), 500)))
				}
				if n := len(r.reader.late["r-1/"+tt.device]); n < 3 {
					t.Errorf("%d pings are late, want 3", n)
				}
				r.judge(of("r-1", tt.device, second(noon+5)))
				r.finish()
			})
		}
	}
}
