package history

import (
	"fmt"
	"hash/maphash"
	"maps"
	"strings"
	"testing"

	"pingline"
	"pingline/queue/record"
)

// archive is one of a single log, that is given records by hand.
func archive() (*Archive, *partLog) {
	l := &partLog{next: 1}
	return &Archive{parts: 1, seed: maphash.MakeSeed(), pings: make(map[uint64]pingTrace), twice: make(map[uint64]furtherEntry), logs: []*partLog{l}}, l
}

// put gives the next record, of an epoch, with entries, after change has changed it.
func put(a *Archive, l *partLog, epoch uint64, change func(*record.Record), entries ...pingline.Entry) {
	b := pingline.AppendCommitHeader(nil, &pingline.CommitHeader{At: 1000, Entries: uint32(len(entries))})
	for i := range entries {
		b = pingline.AppendEntry(b, &entries[i], 1000)
	}
	r := record.Record{Number: l.last.Number + 1, Epoch: epoch, Before: l.last.Totals, Totals: l.last.Totals, Payload: b}
	r.Totals[0] += uint64(len(entries))
	if change != nil {
		change(&r)
	}
	a.take(l, l.next, record.Encode(&r))
}

func ping(at int64) pingline.Ping {
	return pingline.Ping{Rider: "r-1", Fix: pingline.Fix{At: at}}
}

func entry(at int64, v pingline.Verdict) pingline.Entry {
	return pingline.Entry{Ping: ping(at), Verdict: v}
}

func answer(a *Archive, at int64, v pingline.Verdict) {
	a.Record([]pingline.Ping{ping(at)}, []pingline.Verdict{v}, 10, 50)
}

// A log in which each answered ping stands once is right: also pings that were held and promoted,
// and those whose first answer was lost.
func TestRightLog(t *testing.T) {
	a, l := archive()
	promoted := entry(20, pingline.Accepted)
	promoted.Promoted = true
	put(a, l, 1, nil, entry(10, pingline.Accepted), entry(20, pingline.Held))
	put(a, l, 3, nil, promoted, entry(30, pingline.Redundant))
	told := 0
	a.Tell(func([]pingline.Ping, []pingline.Verdict, float32, float32) { told++ })
	put(a, l, 3, nil, entry(20, pingline.Redundant))
	answer(a, 10, pingline.Accepted)
	answer(a, 20, pingline.Held)
	answer(a, 30, 0)
	answer(a, 30, pingline.Duplicate)
	answer(a, 40, pingline.Shed)
	r := new(LogReport)
	if a.judge(r); a.count > 0 || r.Pings != 3 || l.owners != 2 || len(l.sums) != 3 || told != 1 || a.again != 1 {
		t.Errorf("%q, %d pings, %d owners, %d records", a.wrong, r.Pings, l.owners, len(l.sums))
	}
}

// The roll-up counts each entry. A ping is told as often as that is more than its answers say.
func TestPingsThatAreCountedAgain(t *testing.T) {
	a, l := archive()
	told := map[int64]int{}
	a.Tell(func(pings []pingline.Ping, _ []pingline.Verdict, _, _ float32) { told[pings[0].At]++ })
	put(a, l, 1, nil, entry(10, pingline.Redundant), entry(20, pingline.Redundant), entry(30, pingline.Redundant), entry(40, pingline.Redundant))
	put(a, l, 2, nil, entry(10, pingline.Redundant), entry(20, pingline.Redundant), entry(30, pingline.Redundant))
	put(a, l, 2, nil, entry(30, pingline.Redundant))
	answer(a, 10, pingline.Redundant)
	answer(a, 20, pingline.Duplicate) // two answers were lost
	answer(a, 30, 0)
	answer(a, 30, pingline.Duplicate) // three
	answer(a, 40, pingline.Duplicate)
	a.tellUnanswered()
	if want := map[int64]int{10: 1, 20: 2, 30: 3}; !maps.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
}

func TestFaultsAreFound(t *testing.T) {
	accepted := entry(10, pingline.Accepted)
	for _, tt := range []struct {
		want string
		do   func(a *Archive, l *partLog)
	}{
		{"record 3 follows record 1", func(a *Archive, l *partLog) {
			put(a, l, 1, nil)
			put(a, l, 1, func(r *record.Record) { r.Number++ })
		}},
		{"record 1 follows record 1", func(a *Archive, l *partLog) {
			put(a, l, 1, nil)
			put(a, l, 1, func(r *record.Record) { r.Number-- })
		}},
		{"is of epoch 1, and the record before of 2", func(a *Archive, l *partLog) {
			put(a, l, 2, nil)
			put(a, l, 1, nil)
		}},
		{"is at sequence 3, not 2", func(a *Archive, l *partLog) {
			put(a, l, 1, nil)
			r := record.Record{Number: 2, Epoch: 1, Payload: pingline.AppendCommitHeader(nil, new(pingline.CommitHeader))}
			a.take(l, 3, record.Encode(&r))
		}},
		{"begins at totals", func(a *Archive, l *partLog) {
			put(a, l, 1, nil)
			put(a, l, 1, func(r *record.Record) { r.Before[0]++ })
		}},
		{"checksum", func(_ *Archive, _ *partLog) {}},
		{"had it already", func(a *Archive, l *partLog) {
			put(a, l, 1, nil, accepted, accepted)
			answer(a, 10, pingline.Accepted)
		}},
		{"in no record of the log", func(a *Archive, l *partLog) {
			put(a, l, 1, nil)
			answer(a, 10, pingline.Redundant)
		}},
		{"never sent", func(a *Archive, l *partLog) { put(a, l, 1, nil, accepted) }},
		{"answered accepted, and not in the log", func(a *Archive, l *partLog) {
			put(a, l, 1, nil, entry(10, pingline.Redundant))
			answer(a, 10, pingline.Accepted)
		}},
		{"answered held, and not in the log", func(a *Archive, l *partLog) {
			put(a, l, 1, nil, accepted)
			answer(a, 10, pingline.Held)
		}},
	} {
		a, l := archive()
		if tt.do(a, l); tt.want == "checksum" {
			b := record.Encode(&record.Record{Number: 1, Epoch: 1, Payload: []byte("x")})
			b[len(b)-1]++
			a.take(l, 1, b)
		}
		if a.judge(new(LogReport)); a.count == 0 || !strings.Contains(fmt.Sprint(a.wrong), tt.want) {
			t.Errorf("%q is told, want %s", a.wrong, tt.want)
		}
	}
}
