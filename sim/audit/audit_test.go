package audit_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/sim"
	"pingline/sim/audit"
	"pingline/sink/store"
	"pingline/track"
)

// monday is the start of the tests' tracks, ms since 1970.
const monday = 1_767_600_000_000

const metresADegree = 6371008.8 * math.Pi / 180

func newCity(t testing.TB) *sim.City {
	t.Helper()
	c, err := sim.NewCity(sim.CityConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// fits reports whether each of the open pings is within its bound of the line from
// a to b.
func fits(a, b *pingline.Ping, open []pingline.Ping) bool {
	var line track.Path
	line.Add(&a.Fix)
	line.Add(&b.Fix)
	for i := range open {
		if p := &open[i]; line.Off(&p.Fix) > float64(max(10, min(50, p.Accuracy))) {
			return false
		}
	}
	return true
}

// holder is what a source of points reads.
type holder []pingline.Entry

func (s holder) points(_ context.Context, q store.Query, each func(*pingline.Entry, int64) error) error {
	for i := range s {
		if e := s[i]; e.At >= q.From && e.At < q.To { // a copy: it is good for one call
			if err := each(&e, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

func stored(p pingline.Ping) pingline.Entry {
	return pingline.Entry{Ping: p, Verdict: pingline.Accepted}
}

// straight returns the n-th ping of a drive to the east at 10 m/s, one ping a
// second, with the bound of 10 m.
func straight(n int) pingline.Ping {
	p := pingline.Ping{Rider: "r-1", Fix: pingline.Fix{At: monday + int64(n)*1000}}
	if err := p.SetPosition(0.5, 10+float64(n)*10/metresADegree); err != nil {
		panic(err)
	}
	p.SetOptional(pingline.HasSpeed, 10)
	p.SetOptional(pingline.HasAccuracy, 4)
	return p
}

// aside returns p, some metres to the north.
func aside(p pingline.Ping, metres float64) pingline.Ping {
	p.LatE7 += int32(metres / metresADegree * pingline.E7)
	return p
}

type answeredPing struct {
	pingline.Ping
	verdict  pingline.Verdict
	answered int64 // 0: at once
}

func TestAudit(t *testing.T) {
	const accepted, held, redundant, duplicate = pingline.Accepted, pingline.Held, pingline.Redundant, pingline.Duplicate
	with := func(p pingline.Ping, change func(*pingline.Ping)) pingline.Ping { change(&p); return p }
	sos := func(p *pingline.Ping) { p.Event = "sos" }
	tripEnd := func(p *pingline.Ping) { p.Event = "trip_end" }
	lateEntry := func(p pingline.Ping) pingline.Entry { e := stored(p); e.Late = true; return e }

	for _, tt := range []struct {
		name   string
		pings  []answeredPing
		points holder
		want   audit.Report // of the findings
		say    string       // part of the first example
	}{
		{
			name:   "an accepted ping is stored",
			pings:  []answeredPing{{Ping: straight(0), verdict: accepted}},
			points: holder{stored(straight(0))},
			want:   audit.Report{Stored: 1},
		}, {
			name:   "an accepted ping is lost",
			pings:  []answeredPing{{Ping: straight(0), verdict: accepted}, {Ping: straight(1), verdict: accepted}},
			points: holder{stored(straight(1))},
			want:   audit.Report{Stored: 1, Lost: 1}, say: "lost: r-1 at 1767600000000",
		}, {
			name:   "an accepted ping between its neighbours is lost all the same",
			pings:  []answeredPing{{Ping: straight(0), verdict: accepted}, {Ping: straight(1), verdict: accepted}, {Ping: straight(2), verdict: accepted}},
			points: holder{stored(straight(0)), stored(straight(2))},
			want:   audit.Report{Stored: 2, Lost: 1}, say: "accepted and not stored",
		}, {
			name:   "a position was changed",
			pings:  []answeredPing{{Ping: straight(0), verdict: accepted}},
			points: holder{stored(aside(straight(0), 0.02))},
			want:   audit.Report{Stored: 1, Wrong: 1}, say: "wrong: r-1",
		}, {
			name:   "a number was changed",
			pings:  []answeredPing{{Ping: straight(0), verdict: accepted}},
			points: holder{stored(with(straight(0), func(p *pingline.Ping) { p.Speed = 10.01 }))},
			want:   audit.Report{Stored: 1, Wrong: 1}, say: "sent with [10 0 4 0 0]",
		}, {
			name:   "an unknown number became zero",
			pings:  []answeredPing{{Ping: straight(0), verdict: accepted}},
			points: holder{stored(with(straight(0), func(p *pingline.Ping) { p.Known |= pingline.HasBattery }))},
			want:   audit.Report{Stored: 1, Wrong: 1}, say: "known",
		}, {
			name:   "an event was lost",
			pings:  []answeredPing{{Ping: with(straight(0), sos), verdict: accepted}},
			points: holder{stored(straight(0))},
			want:   audit.Report{Stored: 1, Wrong: 1}, say: "event",
		}, {
			name:   "an event nobody sent",
			pings:  []answeredPing{{Ping: straight(0), verdict: accepted}},
			points: holder{stored(with(straight(0), sos))},
			want:   audit.Report{Stored: 1, Wrong: 1}, say: "event",
		}, {
			name:   "a promoted ping was changed",
			pings:  []answeredPing{{Ping: straight(0), verdict: held}},
			points: holder{stored(with(straight(0), func(p *pingline.Ping) { p.Speed = 3 }))},
			want:   audit.Report{Stored: 1, Wrong: 1},
		}, {
			name:   "a point of a rider who never sent",
			pings:  []answeredPing{{Ping: straight(0), verdict: accepted}},
			points: holder{stored(straight(0)), stored(with(straight(0), func(p *pingline.Ping) { p.Rider = "r-2" }))},
			want:   audit.Report{Stored: 1, Others: 1},
		}, {
			name:   "a point of another device",
			pings:  []answeredPing{{Ping: straight(0), verdict: accepted}},
			points: holder{stored(with(straight(0), func(p *pingline.Ping) { p.Device = "watch" }))},
			want:   audit.Report{Lost: 1, Others: 1}, say: "lost: r-1",
		}, {
			name:   "a point of another moment",
			pings:  []answeredPing{{Ping: straight(0), verdict: accepted}, {Ping: straight(2), verdict: accepted}},
			points: holder{stored(straight(0)), stored(straight(1)), stored(straight(2))},
			want:   audit.Report{Stored: 2, Foreign: 1},
		}, {
			name:   "points from before the ledger and after it",
			pings:  []answeredPing{{Ping: straight(2), verdict: accepted}},
			points: holder{stored(straight(0)), stored(straight(2)), stored(straight(3))},
			want:   audit.Report{Stored: 1},
		}, {
			name:   "a ping that was not answered may be stored",
			pings:  []answeredPing{{Ping: straight(0), verdict: 0}, {Ping: straight(1), verdict: 0}},
			points: holder{stored(straight(1))},
			want:   audit.Report{Stored: 1},
		}, {
			name:   "what was not answered is stored otherwise",
			pings:  []answeredPing{{Ping: straight(0), verdict: 0}},
			points: holder{stored(aside(straight(0), 1))},
			want:   audit.Report{Stored: 1, Wrong: 1},
		}, {
			name:   "shed and rejected pings need not be stored",
			pings:  []answeredPing{{Ping: straight(0), verdict: pingline.Shed}, {Ping: straight(1), verdict: pingline.Rejected}},
			points: nil,
		}, {
			name: "dropped pings on the line",
			pings: []answeredPing{
				{Ping: straight(0), verdict: accepted}, {Ping: straight(1), verdict: held}, {Ping: aside(straight(2), 9.9), verdict: redundant}, {Ping: straight(3), verdict: held},
			},
			points: holder{stored(straight(3)), stored(straight(0))},
			want:   audit.Report{Stored: 2, WorstError: 9.9},
		}, {
			name: "a dropped ping too far off the line",
			pings: []answeredPing{
				{Ping: straight(0), verdict: accepted}, {Ping: aside(straight(1), 10.1), verdict: redundant}, {Ping: straight(2), verdict: accepted},
			},
			points: holder{stored(straight(0)), stored(straight(2))},
			want:   audit.Report{Stored: 2, OutOfBound: 1, WorstError: 10.1}, say: "with a bound of 10 m",
		}, {
			name: "a dropped ping on the line at the wrong time",
			pings: []answeredPing{
				{Ping: straight(0), verdict: accepted},
				{Ping: with(straight(1), func(p *pingline.Ping) { p.At += 1500 }), verdict: held},
				{Ping: straight(3), verdict: accepted},
			},
			points: holder{stored(straight(0)), stored(straight(3))},
			want:   audit.Report{Stored: 2, OutOfBound: 1, WorstError: 15},
		}, {
			name: "a bad fix has a wider bound",
			pings: []answeredPing{
				{Ping: straight(0), verdict: accepted},
				{Ping: with(aside(straight(1), 29), func(p *pingline.Ping) { p.Accuracy = 30 }), verdict: redundant},
				{Ping: straight(2), verdict: accepted},
			},
			points: holder{stored(straight(0)), stored(straight(2))},
			want:   audit.Report{Stored: 2, WorstError: 29},
		}, {
			name: "late points are no part of the line",
			pings: []answeredPing{
				{Ping: straight(0), verdict: accepted}, {Ping: aside(straight(1), 40), verdict: accepted}, {Ping: straight(2), verdict: redundant}, {Ping: straight(4), verdict: accepted},
			},
			points: holder{stored(straight(0)), lateEntry(aside(straight(1), 40)), stored(straight(4))},
			want:   audit.Report{Stored: 3},
		}, {
			name: "a vertex that should have been late",
			pings: []answeredPing{
				{Ping: straight(0), verdict: accepted}, {Ping: aside(straight(1), 40), verdict: accepted}, {Ping: straight(2), verdict: redundant}, {Ping: straight(4), verdict: accepted},
			},
			points: holder{stored(straight(0)), stored(aside(straight(1), 40)), stored(straight(4))},
			want:   audit.Report{Stored: 3, OutOfBound: 1, WorstError: 40 * 2.0 / 3},
		}, {
			name:   "a held ping was never settled",
			pings:  []answeredPing{{Ping: straight(0), verdict: accepted}, {Ping: straight(1), verdict: held}},
			points: holder{stored(straight(0))},
			want:   audit.Report{Stored: 1, OutOfBound: 1}, say: "nor a point before and after",
		}, {
			name:   "the first point is gone",
			pings:  []answeredPing{{Ping: straight(0), verdict: accepted}, {Ping: straight(1), verdict: redundant}, {Ping: straight(2), verdict: held}},
			points: holder{stored(straight(2))},
			want:   audit.Report{Stored: 1, Lost: 1, OutOfBound: 1},
		}, {
			name: "one moment, two positions: the second is late",
			pings: []answeredPing{
				{Ping: straight(0), verdict: accepted}, {Ping: aside(straight(0), 50), verdict: accepted}, {Ping: aside(straight(0), 5), verdict: redundant},
			},
			points: holder{lateEntry(aside(straight(0), 50)), stored(straight(0))},
			want:   audit.Report{Stored: 2, WorstError: 5},
		}, {
			name:   "one moment, two positions: the late one is not there",
			pings:  []answeredPing{{Ping: straight(0), verdict: accepted}, {Ping: aside(straight(0), 50), verdict: accepted}},
			points: holder{stored(straight(0))},
			want:   audit.Report{Stored: 1, Lost: 1}, say: "accepted and not stored",
		}, {
			name:   "two events of one fix",
			pings:  []answeredPing{{Ping: with(straight(0), tripEnd), verdict: accepted}, {Ping: with(straight(0), sos), verdict: accepted}},
			points: holder{stored(with(straight(0), tripEnd)), stored(with(straight(0), sos))},
			want:   audit.Report{Stored: 2},
		}, {
			name:   "of two events of one fix the first is replaced",
			pings:  []answeredPing{{Ping: with(straight(0), tripEnd), verdict: accepted}, {Ping: with(straight(0), sos), verdict: accepted}},
			points: holder{stored(with(straight(0), sos))},
			want:   audit.Report{Stored: 1, Lost: 1}, say: "accepted and not stored",
		}, {
			name:   "one moment, two positions: too far from the first",
			pings:  []answeredPing{{Ping: straight(0), verdict: accepted}, {Ping: aside(straight(0), 12), verdict: redundant}},
			points: holder{stored(straight(0))},
			want:   audit.Report{Stored: 1, OutOfBound: 1, WorstError: 12},
		}, {
			name:   "an SOS on a fix that was sent before",
			pings:  []answeredPing{{Ping: straight(0), verdict: accepted}, {Ping: with(straight(0), sos), verdict: accepted}},
			points: holder{stored(with(straight(0), sos))},
			want:   audit.Report{Stored: 1},
		}, {
			name: "duplicates of pings acknowledged before",
			pings: []answeredPing{
				{Ping: straight(0), verdict: accepted}, {Ping: straight(0), verdict: duplicate},
				{Ping: straight(1), verdict: redundant}, {Ping: straight(1), verdict: duplicate}, {Ping: straight(2), verdict: accepted},
			},
			points: holder{stored(straight(0)), stored(straight(2))},
			want:   audit.Report{Stored: 2},
		}, {
			name:   "a duplicate of a ping whose answer was lost",
			pings:  []answeredPing{{Ping: straight(0), verdict: duplicate}, {Ping: straight(1), verdict: duplicate}, {Ping: straight(2), verdict: accepted}},
			points: holder{stored(straight(0)), stored(straight(2))},
			want:   audit.Report{Stored: 2},
		}, {
			name:   "a duplicate of nothing",
			pings:  []answeredPing{{Ping: straight(0), verdict: accepted}, {Ping: straight(1), verdict: duplicate}},
			points: holder{stored(straight(0))},
			want:   audit.Report{Stored: 1, Lost: 1}, say: "duplicate of nothing",
		}, {
			name:   "a duplicate of what was acknowledged elsewhere",
			pings:  []answeredPing{{Ping: straight(0), verdict: accepted}, {Ping: aside(straight(0), 30), verdict: duplicate}},
			points: holder{stored(straight(0))},
			want:   audit.Report{Stored: 1, Lost: 1},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ledger := audit.NewLedger()
			for i := range tt.pings {
				ledger.Add(&tt.pings[i].Ping, tt.pings[i].verdict, 10, 50)
			}
			got, err := audit.Check(t.Context(), ledger, tt.points.points)
			if err != nil {
				t.Fatal(err)
			}
			spilled, err := audit.Check(t.Context(), ackFiles(t, tt.pings), tt.points.points)
			if text := fmt.Sprint(spilled); err != nil || text != fmt.Sprint(got) {
				t.Errorf("of an ack log %s, %v\nof a ledger   %+v", text, err, got)
			}
			checkFindings(t, got, tt.want)
			if tt.say != "" && (len(got.Examples) == 0 || !strings.Contains(got.Examples[0], tt.say)) {
				t.Errorf("examples %q do not say %q", got.Examples, tt.say)
			}
			if (got.Err() == nil) != (len(got.Examples) == 0) {
				t.Errorf("Err() = %v with examples %q", got.Err(), got.Examples)
			}
		})
	}
}

// ackFiles returns two ack logs that have half of the pings each, answered at once.
func ackFiles(t testing.TB, pings []answeredPing) audit.AckFiles {
	t.Helper()
	var list audit.AckFiles
	for _, half := range [][]answeredPing{pings[:len(pings)/2], pings[len(pings)/2:]} {
		l, path := createAckLog(t)
		var now int64
		l.SetClock(func() time.Time { return time.UnixMilli(now) })
		for i := range half {
			p := &half[i]
			if now = p.answered; now == 0 {
				now = p.At + 50
			}
			l.Record([]pingline.Ping{p.Ping}, []pingline.Verdict{p.verdict}, 10, 50)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		list = append(list, path)
	}
	return list
}

func checkFindings(t *testing.T, got, want audit.Report) {
	t.Helper()
	if got.Stored != want.Stored || got.Lost != want.Lost || got.Wrong != want.Wrong ||
		got.OutOfBound != want.OutOfBound || got.Foreign != want.Foreign || got.Others != want.Others {
		t.Errorf("stored %d lost %d wrong %d out of bound %d foreign %d others %d,\nwant   %d      %d       %d              %d         %d        %d\n%s",
			got.Stored, got.Lost, got.Wrong, got.OutOfBound, got.Foreign, got.Others,
			want.Stored, want.Lost, want.Wrong, want.OutOfBound, want.Foreign, want.Others, strings.Join(got.Examples, "\n"))
	}
	if math.Abs(got.WorstError-want.WorstError) > 0.05 {
		t.Errorf("worst error %.3f m, want %.3f", got.WorstError, want.WorstError)
	}
}

func TestAuditCrossesTheAntimeridian(t *testing.T) {
	ledger, points := audit.NewLedger(), holder{}
	for i, lon := range []float64{179.9999, 180, -179.9999} {
		p := pingline.Ping{Rider: "r-1", Fix: pingline.Fix{At: monday + int64(i)*1000}}
		if err := p.SetPosition(-17, lon); err != nil {
			t.Fatal(err)
		}
		verdict := pingline.Redundant
		if i != 1 {
			points, verdict = append(points, stored(p)), pingline.Accepted
		}
		ledger.Add(&p, verdict, 1, 50)
	}
	got, err := audit.Check(t.Context(), ledger, points.points)
	if err != nil || got.Err() != nil || got.WorstError > 0.1 {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestAuditOfACity sends a city through a filter that keeps what a line does
// not say, and then breaks each stored point in turn.
func TestAuditOfACity(t *testing.T) {
	ledger, points := filteredCity(t, 40, 300)
	got, err := audit.Check(t.Context(), ledger, points.points)
	if err != nil || got.Err() != nil {
		t.Fatalf("%+v, %v", got, err)
	}
	if got.Sent != 40*300 || got.Stored != uint64(len(points)) || got.Kept < 0.05 || got.Kept > 0.5 || got.WorstError < 9 {
		t.Errorf("%+v", got)
	}
	if sum := got.Accepted + got.Redundant; sum != got.Sent {
		t.Errorf("%d pings sent, %d answered", got.Sent, sum)
	}
	for i := range 100 {
		broken := slices.Clone(points)
		broken[i].LonE7 += 2000
		if got, err := audit.Check(t.Context(), ledger, broken.points); err != nil || got.Wrong != 1 {
			t.Fatalf("point %d moved by 20 m: %+v, %v", i, got, err)
		}
		missing := slices.Delete(slices.Clone(points), i, i+1)
		if got, err := audit.Check(t.Context(), ledger, missing.points); err != nil || got.Lost != 1 {
			t.Fatalf("point %d removed: %+v, %v", i, got, err)
		}
	}
}

// filteredCity returns what n pings of each of so many riders leave behind.
func filteredCity(t testing.TB, riders, n int) (*audit.Ledger, holder) {
	c := newCity(t)
	ledger, points := audit.NewLedger(), holder(nil)
	keep := func(p pingline.Ping) {
		ledger.Add(&p, pingline.Accepted, 10, 50)
		points = append(points, stored(p))
	}
	for i := range riders {
		var last pingline.Ping
		var open []pingline.Ping
		for s := range int64(n) {
			p := c.Ping(i, monday+(s-1)*5000, monday+s*5000)
			switch {
			case s == 0:
				keep(p)
				last = p
			case p.Event != "" || !fits(&last, &p, open) || s == int64(n)-1:
				for j := range open {
					if j < len(open)-1 {
						ledger.Add(&open[j], pingline.Redundant, 10, 50)
					} else {
						keep(open[j])
					}
				}
				keep(p)
				last, open = p, open[:0]
			default:
				open = append(open, p)
			}
		}
	}
	return ledger, points
}

func TestAuditReportsOneOfEachKindAtMostTen(t *testing.T) {
	ledger := audit.NewLedger()
	for i := range 30 {
		p := straight(i)
		ledger.Add(&p, pingline.Accepted, 10, 50)
	}
	got, err := audit.Check(t.Context(), ledger, holder{}.points)
	if err != nil || got.Lost != 30 || len(got.Examples) != 10 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestAuditOfNothing(t *testing.T) {
	got, err := audit.Check(t.Context(), audit.NewLedger(), func(context.Context, store.Query, func(*pingline.Entry, int64) error) error {
		t.Error("the source was asked")
		return nil
	})
	if err != nil || got.Err() != nil || got.Sent != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestAuditFailsWithItsSource(t *testing.T) {
	ledger := audit.NewLedger()
	p := straight(0)
	ledger.Add(&p, pingline.Accepted, 10, 50)
	gone := errors.New("connection refused")
	_, err := audit.Check(t.Context(), ledger, func(context.Context, store.Query, func(*pingline.Entry, int64) error) error { return gone })
	if !errors.Is(err, gone) {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = audit.Check(ctx, ledger, holder{}.points); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v after it was cancelled", err)
	}
}

func TestReportHasTheKeysOfTheDemo(t *testing.T) {
	b, err := json.Marshal(audit.Report{})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{
		"sent", "accepted", "held", "redundant", "duplicate", "shed", "rejected",
		"written", "stored", "lost", "wrong", "out_of_bound", "foreign", "others",
	} {
		if !strings.Contains(string(b), `"`+key+`":0`) {
			t.Errorf("%s is not in %s", key, b)
		}
	}
}

func BenchmarkAudit(b *testing.B) {
	ledger, points := filteredCity(b, 1000, 200)
	b.ReportAllocs()
	for b.Loop() {
		if got, err := audit.Check(b.Context(), ledger, points.points); err != nil || got.Err() != nil {
			b.Fatalf("%+v, %v", got, err)
		}
	}
	b.ReportMetric(float64(b.N*ledger.Len())/b.Elapsed().Seconds(), "pings/s")
}

func BenchmarkLedger(b *testing.B) {
	c := newCity(b)
	pings := make([]pingline.Ping, 100_000)
	verdicts := make([]pingline.Verdict, len(pings))
	for i := range pings {
		pings[i] = c.Ping(i%10_000, 0, monday+int64(i/10_000)*5000)
		verdicts[i] = pingline.Accepted
	}
	l := audit.NewLedger()
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		i := n % len(pings)
		l.Record(pings[i:i+100], verdicts[i:i+100], 10, 50)
		n += 100
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "pings/s")
}
