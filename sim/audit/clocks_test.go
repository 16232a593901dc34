package audit_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/sim/audit"
)

// Phones whose clocks are wrong, freeze, or who send what they sent before: nothing of
// it is a violation, and none of it hides one.
func TestAuditOfFaultyPhones(t *testing.T) {
	const accepted, held, redundant, duplicate = pingline.Accepted, pingline.Held, pingline.Redundant, pingline.Duplicate
	const week, rollover = 7 * 24 * 3600 * 1000, 1024 * 7 * 24 * 3600 * 1000
	// sent is a ping of the n-th second whose ts is off by so many ms.
	sent := func(n int, off int64, v pingline.Verdict) answeredPing {
		p := straight(n)
		p.At += off
		return answeredPing{p, v, straight(n).At + 50}
	}
	corrected := func(n int) pingline.Entry {
		e := stored(straight(n))
		e.At, e.Late, e.Apart, e.Corrected = e.At+40, true, true, true
		return e
	}
	apart := func(p pingline.Ping) pingline.Entry { e := stored(p); e.Late, e.Apart = true, true; return e }
	frozen := func(metres float64) pingline.Ping { return aside(straight(0), metres) }
	battery := func(p answeredPing, v float32) answeredPing {
		p.Battery, p.Known = v, p.Known|pingline.HasBattery
		return p
	}
	// Of these two positions the points in one ms have the same ns: it is 592,735.
	one, other := collision(t)

	for _, tt := range []struct {
		name   string
		pings  []answeredPing
		points holder
		want   audit.Report
		say    string
	}{
		{
			name:   "a clock that is ahead, corrected",
			pings:  []answeredPing{sent(0, 0, accepted), sent(1, week, accepted)},
			points: holder{stored(straight(0)), corrected(1)},
			want:   audit.Report{Stored: 2, Corrected: 1},
		}, {
			name:   "a clock that is years behind, corrected",
			pings:  []answeredPing{sent(0, 0, accepted), sent(1, -50*52*week, accepted), sent(2, 0, accepted)},
			points: holder{stored(straight(0)), corrected(1), stored(straight(2))},
			want:   audit.Report{Stored: 3, Corrected: 1},
		}, {
			name:   "corrected and lost",
			pings:  []answeredPing{sent(0, 0, accepted), sent(1, week, accepted)},
			points: holder{stored(straight(0))},
			want:   audit.Report{Stored: 1, Lost: 1}, say: "accepted and not stored",
		}, {
			name:   "corrected and moved",
			pings:  []answeredPing{sent(0, 0, accepted), sent(1, week, accepted), sent(2, 0, accepted)},
			points: holder{stored(straight(0)), func() pingline.Entry { e := corrected(1); e.LatE7 += 3000; return e }(), stored(straight(2))},
			want:   audit.Report{Stored: 3, Wrong: 1}, say: "its time was corrected; sent at",
		}, {
			name:   "a corrected point of nothing",
			pings:  []answeredPing{sent(0, 0, accepted), sent(2, 0, accepted)},
			points: holder{stored(straight(0)), corrected(1), stored(straight(2))},
			want:   audit.Report{Stored: 2, Foreign: 1}, say: "no ping like it",
		}, {
			name:   "one corrected point does not speak for two pings",
			pings:  []answeredPing{sent(0, 0, accepted), sent(1, week, accepted), sent(1, week+1000, accepted)},
			points: holder{stored(straight(0)), corrected(1)},
			want:   audit.Report{Stored: 2, Corrected: 1, Lost: 1},
		}, {
			name:   "a request that came again needs no second point",
			pings:  []answeredPing{sent(0, 0, accepted), sent(1, week, accepted), sent(1, week, accepted)},
			points: holder{stored(straight(0)), corrected(1)},
			want:   audit.Report{Stored: 2, Corrected: 1},
		}, {
			name:   "a corrected point does not hide a loss of the right clock",
			pings:  []answeredPing{sent(0, 0, accepted), sent(1, 0, accepted), sent(2, 0, accepted)},
			points: holder{stored(straight(0)), corrected(1), stored(straight(2))},
			want:   audit.Report{Stored: 3, Corrected: 1, Lost: 1}, say: "lost: r-1 at 1767600001000",
		}, {
			name:   "an unanswered ping may be corrected",
			pings:  []answeredPing{sent(0, 0, accepted), sent(1, week, 0), sent(2, 0, accepted)},
			points: holder{stored(straight(0)), corrected(1), stored(straight(2))},
			want:   audit.Report{Stored: 3, Corrected: 1},
		}, {
			name:   "a receiver of before the rollover",
			pings:  []answeredPing{sent(0, -rollover, accepted), sent(1, -2*rollover, redundant), sent(2, -rollover, held), sent(3, rollover, accepted)},
			points: holder{stored(straight(0)), stored(straight(3))},
			want:   audit.Report{Stored: 2},
		}, {
			name:   "a receiver of before the rollover, and a loss",
			pings:  []answeredPing{sent(0, -rollover, accepted), sent(1, -rollover, accepted), sent(2, -rollover, accepted)},
			points: holder{stored(straight(0)), stored(straight(2))},
			want:   audit.Report{Stored: 2, Lost: 1},
		}, {
			name:   "a receiver of before the rollover, off the line",
			pings:  []answeredPing{sent(0, -rollover, accepted), {Ping: aside(sent(1, -rollover, held).Ping, 30), verdict: held, answered: monday + 1050}, sent(2, -rollover, accepted)},
			points: holder{stored(straight(0)), stored(straight(2))},
			want:   audit.Report{Stored: 2, OutOfBound: 1, WorstError: 30},
		}, {
			name:   "times of a wrong clock make nothing foreign",
			pings:  []answeredPing{sent(0, 0, accepted), sent(1, -40*52*week, pingline.Rejected), sent(2, 12*52*week, pingline.Rejected), sent(3, 0, accepted)},
			points: holder{stored(straight(-3600)), stored(straight(0)), stored(straight(3)), stored(straight(7200))},
			want:   audit.Report{Stored: 2},
		}, {
			name:   "a frozen clock: a point for each position",
			pings:  []answeredPing{{Ping: frozen(0), verdict: accepted}, {Ping: frozen(20), verdict: accepted}, {Ping: frozen(40), verdict: accepted}},
			points: holder{stored(frozen(0)), apart(frozen(20)), apart(frozen(40))},
			want:   audit.Report{Stored: 3},
		}, {
			name:   "a frozen clock: one of its points is lost",
			pings:  []answeredPing{{Ping: frozen(0), verdict: accepted}, {Ping: frozen(20), verdict: accepted}, {Ping: frozen(40), verdict: accepted}},
			points: holder{stored(frozen(0)), apart(frozen(40))},
			want:   audit.Report{Stored: 2, Lost: 1},
		}, {
			name:   "a frozen clock: two points of one ns",
			pings:  []answeredPing{{Ping: frozen(0), verdict: accepted}, {Ping: one, verdict: accepted}, {Ping: other, verdict: accepted}},
			points: holder{stored(frozen(0)), apart(other)},
			want:   audit.Report{Stored: 2, Collided: 1},
		}, {
			name:   "a frozen clock: two points of one ns, and neither is there",
			pings:  []answeredPing{{Ping: frozen(0), verdict: accepted}, {Ping: one, verdict: accepted}, {Ping: other, verdict: accepted}},
			points: holder{stored(frozen(0))},
			want:   audit.Report{Stored: 1, Lost: 2},
		}, {
			name: "sent twice, and battery differs",
			pings: []answeredPing{
				battery(sent(0, 0, accepted), 0.5), battery(sent(0, 0, duplicate), 0.4), sent(1, 0, redundant), sent(1, 0, duplicate), sent(2, 0, accepted), sent(2, 0, 0),
			},
			points: holder{stored(battery(sent(0, 0, 0), 0.5).Ping), stored(straight(2))},
			want:   audit.Report{Stored: 2},
		}, {
			name:   "sent twice and lost",
			pings:  []answeredPing{sent(0, 0, accepted), sent(1, 0, accepted), sent(1, 0, duplicate), sent(2, 0, accepted)},
			points: holder{stored(straight(0)), stored(straight(2))},
			want:   audit.Report{Stored: 2, Lost: 1},
		}, {
			name:   "sent twice, answered once, and lost",
			pings:  []answeredPing{sent(0, 0, accepted), sent(1, 0, 0), sent(1, 0, accepted), sent(2, 0, accepted)},
			points: holder{stored(straight(0)), stored(straight(2))},
			want:   audit.Report{Stored: 2, Lost: 1},
		}, {
			name:   "a backlog of two hours",
			pings:  []answeredPing{{straight(0), accepted, monday + 7_200_000}, {straight(1), redundant, monday + 7_200_000}, {straight(2), accepted, monday + 7_200_000}},
			points: holder{stored(straight(0)), stored(straight(2))},
			want:   audit.Report{Stored: 2},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ledger := audit.NewLedger()
			var now int64
			ledger.Now = func() int64 { return now }
			for i := range tt.pings {
				if now = tt.pings[i].answered; now == 0 {
					now = tt.pings[i].At + 50
				}
				ledger.Add(&tt.pings[i].Ping, tt.pings[i].verdict, 10, 50)
			}
			for name, acks := range map[string]audit.Acks{"ledger": ledger, "ack logs": ackFiles(t, tt.pings)} {
				got, err := audit.Check(t.Context(), acks, tt.points.points)
				if err != nil {
					t.Fatal(err)
				}
				checkFindings(t, got, tt.want)
				if got.Corrected != tt.want.Corrected || got.Collided != tt.want.Collided {
					t.Errorf("%s: %d corrected, %d collided, want %d, %d", name, got.Corrected, got.Collided, tt.want.Corrected, tt.want.Collided)
				}
				if tt.say != "" && !strings.Contains(strings.Join(got.Examples, "\n"), tt.say) {
					t.Errorf("%s: examples %q do not say %q", name, got.Examples, tt.say)
				}
			}
		})
	}
}

// collision returns two pings of one ms whose points are at the same ns of it.
func collision(t *testing.T) (one, other pingline.Ping) {
	t.Helper()
	seen := map[int64]pingline.Ping{}
	for i := range 100_000 {
		e := apartAt(int32(i))
		if p, ok := seen[e.Nano()]; ok {
			return p, e.Ping
		}
		seen[e.Nano()] = e.Ping
	}
	t.Fatal("no two points of 100,000 have the same ns")
	return one, other
}

func apartAt(north int32) pingline.Entry {
	e := stored(straight(0))
	e.LatE7 += 10_000 + north
	e.Apart = true
	return e
}

// Several ack logs are one: what one generator's answer says of a ping, holds for the
// same ping of another.
func TestAuditOfSeveralAckLogs(t *testing.T) {
	pings := []answeredPing{{Ping: straight(0), verdict: pingline.Accepted}, {Ping: straight(1), verdict: pingline.Accepted},
		{Ping: straight(1), verdict: pingline.Duplicate}, {Ping: straight(2), verdict: pingline.Accepted}}
	got, err := audit.Check(t.Context(), ackFiles(t, pings), holder{stored(straight(0)), stored(straight(1)), stored(straight(2))}.points)
	if err != nil || got.Err() != nil || got.Sent != 4 || got.Checked != 4 || got.Stored != 3 {
		t.Errorf("%+v, %v", got, err)
	}
}

// Of a log that broke off, points of its last hour may be of pings that it lost, and
// what it has is audited all the same.
func TestAuditOfATornLog(t *testing.T) {
	l, path := createAckLog(t)
	l.SetClock(func() time.Time { return time.UnixMilli(monday + 7_200_000) })
	l.Record([]pingline.Ping{straight(0), straight(7000), straight(7100)}, []pingline.Verdict{1, 1, 1}, 10, 50)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	torn(t, path)
	points := holder{stored(straight(0)), stored(straight(500)), stored(straight(7000)), stored(straight(7050))}
	got, err := audit.Check(t.Context(), audit.AckFiles{path}, points.points)
	if err != nil || got.Torn == 0 || got.Broken != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	checkFindings(t, got, audit.Report{Stored: 2, Lost: 1, Foreign: 1})
	if got.Untold != 1 {
		t.Errorf("%d points are untold, want 1", got.Untold)
	}
}

func TestExamplesAreOfEachKind(t *testing.T) {
	var pings []answeredPing
	for i := range 20 {
		pings = append(pings, answeredPing{Ping: straight(i), verdict: pingline.Accepted})
	}
	pings = append(pings, answeredPing{Ping: straight(30), verdict: pingline.Accepted})
	got, err := audit.Check(t.Context(), ackFiles(t, pings), holder{stored(straight(25)), stored(aside(straight(30), 30))}.points)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(got.Examples, "\n")
	for _, kind := range []string{"lost: ", "wrong: ", "foreign: "} {
		if !strings.Contains(text, kind) {
			t.Errorf("no %q in\n%s", kind, text)
		}
	}
	if len(got.Examples) != 10 {
		t.Errorf("%d examples", len(got.Examples))
	}
}

func TestAuditOfNoAckLog(t *testing.T) {
	_, err := audit.Check(t.Context(), audit.AckFiles{"/nowhere"}, holder{}.points)
	if err == nil || !strings.Contains(err.Error(), "/nowhere") {
		t.Errorf("error %v", err)
	}
	_, err = audit.Config{Dir: "/nowhere"}.Check(t.Context(), ackFiles(t, []answeredPing{{Ping: straight(0)}}), holder{}.points)
	if err == nil || !strings.Contains(fmt.Sprint(err), "/nowhere") {
		t.Errorf("error %v", err)
	}
}
