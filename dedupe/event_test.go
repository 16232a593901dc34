package dedupe

import (
	"testing"

	"pingline"
)

// straight returns n pings a second apart, from second from on, of a rider who
// goes east at 10 m/s.
func straight(from, n int) (pings []pingline.Ping) {
	for i := from; i < from+n; i++ {
		p := pingline.Ping{Rider: "r-1", Fix: pingline.Fix{At: 1_760_000_000_000 + int64(i)*1000}}
		if err := p.SetPosition(0.5, 0.0001*float64(i)); err != nil {
			panic(err)
		}
		pings = append(pings, p)
	}
	return pings
}

// second is what the rider of straight sends in one second.
func second(at int) pingline.Ping { return straight(at, 1)[0] }

// off moves p about so many metres north.
func off(p pingline.Ping, metres float64) pingline.Ping {
	p.LatE7 += int32(metres * 90)
	return p
}

func withEvent(p pingline.Ping, event string) pingline.Ping {
	p.Event = event
	return p
}

// A call for help is stored, with its event, whatever fix it is on.
func TestEventIsNeverSwallowed(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before func(r *run)
		sos    pingline.Ping
		late   bool
	}{
		{"on the first fix of a track", func(*run) {}, second(0), false},
		{"on the newest fix", func(r *run) { r.judgeAll(straight(0, 9)) }, second(9), false},
		{"on the newest fix, answered held", func(r *run) { r.judgeAll(straight(0, 9)) }, second(8), false},
		{"on the newest fix, stored", func(r *run) { r.judge(second(0)) }, second(0), false},
		{"on the newest fix, flushed", func(r *run) { r.judgeAll(straight(0, 9)); r.flush() }, second(8), false},
		{"on an older fix, stored", func(r *run) { r.judgeAll(straight(0, 9)) }, second(0), true},
		{"on an older fix, dropped", func(r *run) { r.judgeAll(straight(0, 9)) }, second(4), true},
		{"on an older fix, dropped and flushed", func(r *run) { r.judgeAll(straight(0, 9)); r.flush() }, second(4), true},
		{"on a late fix", func(r *run) { r.judgeAll(straight(0, 9)); r.judge(off(second(4), 500)) }, off(second(4), 500), true},
		{"on a fix with another event", func(r *run) { r.judge(withEvent(second(0), "trip_start")) }, second(0), false},
		{"at the instant of the newest, elsewhere", func(r *run) { r.judge(second(0)) }, off(second(0), 500), true},
		{"at the instant of the newest, near", func(r *run) { r.judge(second(0)) }, off(second(0), 2), true},
		{"at the instant of the one held, elsewhere", func(r *run) { r.judgeAll(straight(0, 9)) }, off(second(8), 500), true},
		{"at the instant of the one held, near", func(r *run) { r.judgeAll(straight(0, 9)) }, off(second(8), 2), true},
		{"at the instant of a dropped one, elsewhere", func(r *run) { r.judgeAll(straight(0, 9)) }, off(second(4), 500), true},
		{"where nothing was dropped", func(r *run) { r.judge(second(0)); r.judge(second(8)) }, second(4), false},
		{"before all of its track", func(r *run) { r.judgeAll(straight(5, 9)) }, second(0), false},
		{"in a backlog, further on", backlogged, second(6), false},
		{"on a fix of a broken track", func(r *run) { r.judgeAll(straight(0, 9)); r.Damaged(0) }, second(4), true},
		{"on the fix held of a broken track", func(r *run) { r.judgeAll(straight(0, 9)); r.Damaged(0) }, second(8), false},
		{"older than a broken track", func(r *run) { r.judgeAll(straight(5, 9)); r.Damaged(0) }, second(0), true},
		{"newer than a broken track", func(r *run) { r.judgeAll(straight(0, 9)); r.Damaged(0) }, second(9), false},
		{"of a track that may be forgotten", func(r *run) { r.Forgot(second(3).At) }, second(3), true},
	} {
		for _, bound := range []Bound{{MaxError: 10, AccuracyCap: 50}, {}} {
			t.Run(tt.name, func(t *testing.T) {
				r := newRun(t, bare(), bound)
				tt.before(r)
				r.cry(tt.sos, "sos", tt.late)
				points := r.reader.points("r-1/")
				if v := r.judge(withEvent(tt.sos, "sos")); r.Riders() > 0 && (v != pingline.Duplicate || r.reader.points("r-1/") != points) {
					t.Errorf("sent again it is %v", v)
				}
				r.cry(off(tt.sos, 900), "sos", true) // on another fix of that instant
				r.judge(tt.sos)
				r.judgeAll(straight(20, 5))
				r.finish()
			})
		}
	}
}

func TestEventOnTheFixHeldOfABacklog(t *testing.T) {
	r := newRun(t, bare(), Bound{MaxError: 10})
	backlogged(r)
	r.cry(second(4), "sos", false)
	r.judgeAll(straight(5, 2))
	r.finish()
}

// cry sends p with an event, and checks that the event's own entry is stored.
func (r *run) cry(p pingline.Ping, event string, late bool) {
	r.Helper()
	p.Event = event
	e := pingline.Entry{Ping: p}
	v, _ := r.Judge(&r.batch, &e, r.bound, uint64(len(r.tokens)+1), r.now)
	r.tokens = append(r.tokens, v)
	n := len(r.batch.Entries)
	if v != pingline.Accepted || n == 0 {
		r.Fatalf("event at %d is %v, with %d entries", p.At, v, n)
	}
	if got := r.batch.Entries[n-1]; got.Event != event || got.Fix != p.Fix || got.Promoted || got.Late != late {
		r.Errorf("event at %d went to the log as %+v, want late %v", p.At, got, late)
	}
	r.drain()
	r.answered(&p, v)
}

// backlogged sends what is now, and of what was before the ping of second 4.
func backlogged(r *run) {
	r.judge(second(0))
	r.judge(withEvent(second(8), "trip_end"))
	r.judgeAll(straight(9, 3))
	r.judge(second(4))
}
