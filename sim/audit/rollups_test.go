package audit_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/partition"
	"pingline/sim/audit"
)

// totals are points of the roll-up.
type totals []pingline.Point

func (list totals) read(_ context.Context, name string, from, to int64, each func(*pingline.Point) error) error {
	for i := range list {
		if p := list[i]; p.Name == name && p.At >= from && p.At < to {
			if err := each(&p); err != nil {
				return err
			}
		}
	}
	return nil
}

// totalsOf counts pings in cells of resolution 8 and 6, and windows of 10 s and 1 min.
func totalsOf(t *testing.T, node string, pings []pingline.Ping) (list totals) {
	t.Helper()
	cells, err := partition.NewCells(8)
	if err != nil {
		t.Fatal(err)
	}
	type key struct {
		cell   uint64
		window string
		from   int64
	}
	counts, riders := map[key]int64{}, map[key]map[string]bool{}
	for i := range pings {
		for _, res := range []int{8, 6} {
			for window, ms := range map[string]int64{"10s": 10_000, "1m": 60_000} {
				k := key{partition.Parent(cells.Exact(&pings[i].Fix), res), window, pings[i].At - pings[i].At%ms}
				counts[k]++
				if riders[k] == nil {
					riders[k] = map[string]bool{}
				}
				riders[k][pings[i].Rider] = true
			}
		}
	}
	for k, n := range counts {
		tags := []pingline.Tag{{Key: "cell", Value: fmt.Sprintf("%x", k.cell)}, {Key: "node", Value: node}, {Key: "res", Value: fmt.Sprint(partition.Res(k.cell))}, {Key: "window", Value: k.window}}
		list = append(list, pingline.Point{Name: "cell_activity", At: k.from, Tags: tags, Fields: fieldsOf(n, int64(len(riders[k])))})
	}
	slices.SortFunc(list, func(a, b pingline.Point) int {
		return strings.Compare(fmt.Sprint(a.Tags, a.At), fmt.Sprint(b.Tags, b.At))
	})
	return list
}

func fieldsOf(pings, riders int64) []pingline.PointField {
	return []pingline.PointField{
		pingline.Int("moving", 0), pingline.Int("pings", pings), pingline.Int("riders", riders),
		pingline.Float("speed_mean", 1), pingline.Int("waiting", riders),
	}
}

func pingsIn(p *pingline.Point) int64 { return p.Fields[1].Int() }

// town is pings of riders in a town for some minutes, a ping every 5 s of each, all of
// which are stored.
func town() (pings []answeredPing, points holder) {
	const riders, rounds = 20, 60
	for n := range int64(rounds) {
		for r := range int32(riders) {
			p := pingline.Ping{Rider: fmt.Sprint("r-", r), Fix: pingline.Fix{
				At:    monday - monday%60_000 + n*5000 + int64(r)*200,
				LatE7: 411579000 + r*9000, LonE7: -86291000 + int32(n)*4000 + r*7000,
			}}
			pings = append(pings, answeredPing{Ping: p, verdict: pingline.Accepted})
			points = append(points, stored(p))
		}
	}
	return pings, points
}

func onlyPings(list []answeredPing) []pingline.Ping {
	all := make([]pingline.Ping, len(list))
	for i := range list {
		all[i] = list[i].Ping
	}
	return all
}

func TestRollupsEqualTheSum(t *testing.T) {
	pings, points := town()
	all := onlyPings(pings)
	cells, err := partition.NewCells(8)
	if err != nil {
		t.Fatal(err)
	}
	right := totalsOf(t, "a", all)
	const late = 3 * 60_000
	inner := func(list totals, window string) int { // a total of a window in the middle
		return slices.IndexFunc(list, func(p pingline.Point) bool {
			return p.Tags[3].Value == window && p.At > pings[0].At+60_000 && p.At < pings[0].At+180_000 && pingsIn(&p) > 1
		})
	}
	changed := func(window string, change func(p *pingline.Point)) totals {
		list := slices.Clone(right)
		i := inner(list, window)
		list[i].Fields = slices.Clone(list[i].Fields)
		change(&list[i])
		return list
	}
	more := func(n int64) func(p *pingline.Point) {
		return func(p *pingline.Point) { p.Fields = fieldsOf(pingsIn(p)+n, p.Fields[2].Int()) }
	}
	whole := uint64(len(right))

	for _, tt := range []struct {
		name   string
		pings  []answeredPing
		totals totals
		now    int64 // after the start; 0: an hour
		want   audit.RollupReport
		say    string
	}{
		{name: "equal", totals: right, want: audit.RollupReport{Checked: whole}},
		{name: "a total lacks a ping", totals: changed("10s", more(-1)), want: audit.RollupReport{Checked: whole, Wrong: 1}, say: "acknowledged"},
		{name: "a total has a ping more", totals: changed("1m", more(1)), want: audit.RollupReport{Checked: whole, Wrong: 1}, say: "window of 60 s"},
		{name: "a total has a rider more", totals: changed("10s", func(p *pingline.Point) { p.Fields = fieldsOf(pingsIn(p), p.Fields[2].Int()+1) }),
			want: audit.RollupReport{Checked: whole, Wrong: 1}, say: "riders"},
		{name: "moving and waiting are not all riders", totals: changed("10s", func(p *pingline.Point) { p.Fields[0] = pingline.Int("moving", 1) }),
			want: audit.RollupReport{Checked: whole, Wrong: 2}, say: "but 1 moving"}, // it is none, and so missing
		{name: "a total is missing", totals: slices.Delete(slices.Clone(right), inner(right, "10s"), inner(right, "10s")+1),
			want: audit.RollupReport{Checked: whole, Wrong: 1}, say: "no total is stored"},
		{name: "a total is of no ping", totals: changed("10s", func(p *pingline.Point) {
			p.Tags = slices.Clone(p.Tags)
			far := straight(0)
			p.Tags[0].Value = fmt.Sprintf("%x", partition.Parent(cells.Exact(&far.Fix), int(p.Tags[2].Value[0]-'0')))
		}), want: audit.RollupReport{Checked: whole + 1, Wrong: 2}, say: "0 pings were acknowledged"},
		{name: "several nodes are one sum", totals: append(totalsOf(t, "a", all[:500]), totalsOf(t, "b", all[500:])...), want: audit.RollupReport{Checked: whole}},
		{name: "an old total in another shard", totals: append(changed("10s", more(-1)), right...), want: audit.RollupReport{Checked: whole}},
		{name: "none is stored", want: audit.RollupReport{Unchecked: "none is stored"}},
		{name: "a ping that was sent twice counts once", pings: append(slices.Clone(pings), answeredPing{pings[300].Ping, pingline.Duplicate, 0}),
			totals: right, want: audit.RollupReport{Checked: whole}},
		{name: "a ping whose answer was lost counts", pings: append(slices.Delete(slices.Clone(pings), 300, 301), answeredPing{pings[300].Ping, pingline.Duplicate, 0}),
			totals: right, want: audit.RollupReport{Checked: whole}},
		{name: "a ping without an answer may be in it", pings: append(slices.Delete(slices.Clone(pings), 300, 301), answeredPing{pings[300].Ping, 0, 0}),
			totals: right, want: audit.RollupReport{Checked: whole}},
		{name: "or not", pings: append(slices.Delete(slices.Clone(pings), 300, 301), answeredPing{pings[300].Ping, 0, 0}),
			totals: totalsOf(t, "a", slices.Delete(slices.Clone(all), 300, 301)), want: audit.RollupReport{Checked: uint64(len(totalsOf(t, "a", slices.Delete(slices.Clone(all), 300, 301))))}},
		{name: "a rejected ping is not in it", pings: append(slices.Delete(slices.Clone(pings), 300, 301), answeredPing{pings[300].Ping, pingline.Rejected, 0}),
			totals: right, want: audit.RollupReport{Checked: whole, Wrong: 4}},
		{name: "a ping that came too late may be in it", pings: append(slices.Delete(slices.Clone(pings), 300, 301), answeredPing{pings[300].Ping, pingline.Accepted, pings[300].At + late}),
			totals: right, want: audit.RollupReport{Checked: whole}},
		{name: "or left out", pings: append(slices.Delete(slices.Clone(pings), 300, 301), answeredPing{pings[300].Ping, pingline.Accepted, pings[300].At + late}),
			totals: totalsOf(t, "a", slices.Delete(slices.Clone(all), 300, 301)), want: audit.RollupReport{Checked: uint64(len(totalsOf(t, "a", slices.Delete(slices.Clone(all), 300, 301))))}},
		{name: "an open window may lack pings", totals: changed("10s", more(-1)), now: 200_000, want: audit.RollupReport{Checked: whole - 1, Open: 1}},
		{name: "but have none that nobody sent", totals: changed("10s", more(1)), now: 200_000, want: audit.RollupReport{Checked: whole, Wrong: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.pings == nil {
				tt.pings = pings
			}
			now := time.UnixMilli(pings[0].At).Add(time.Hour)
			if tt.now != 0 {
				now = time.UnixMilli(pings[0].At + tt.now)
			}
			cfg := audit.Config{Totals: tt.totals.read, Now: func() time.Time { return now }}
			got, err := cfg.Check(t.Context(), ackFiles(t, tt.pings), points.points)
			if err != nil || got.Lost+got.Wrong+got.OutOfBound+got.Foreign > 0 {
				t.Fatalf("%+v, %v", got, err)
			}
			if *got.Rollups != tt.want {
				t.Errorf("%+v, want %+v\n%s", *got.Rollups, tt.want, strings.Join(got.Examples, "\n"))
			}
			if (got.Err() == nil) != (tt.want.Wrong == 0) || tt.want.Wrong > 0 && !strings.Contains(strings.Join(got.Examples, "\n"), "roll-up: cell 8") && !strings.Contains(tt.say, "moving") {
				t.Errorf("error %v, examples %q", got.Err(), got.Examples)
			}
			if !strings.Contains(strings.Join(got.Examples, "\n"), tt.say) {
				t.Errorf("examples %q do not say %q", got.Examples, tt.say)
			}
			if len(got.Remarks()) == 0 {
				t.Error("nothing is said about the roll-up")
			}
		})
	}
}

// Where others send as well, nothing can be said about totals; where the ingester gave
// up some of its work, they may be missing.
func TestRollupsThatCannotBeChecked(t *testing.T) {
	pings, points := town()
	right := totalsOf(t, "a", onlyPings(pings))
	other := stored(pings[100].Ping)
	other.Rider = "somebody"
	got, err := audit.Config{Totals: right[1:].read}.Check(t.Context(), ackFiles(t, pings), append(points, other).points)
	if err != nil || got.Err() != nil || got.Others != 1 || !strings.HasPrefix(got.Rollups.Unchecked, "others send as well, 1 point is") {
		t.Errorf("%+v %+v, %v", got, got.Rollups, err)
	}

	l, path := createAckLog(t)
	var now int64
	l.SetClock(func() time.Time { return time.UnixMilli(now) })
	for i := range pings {
		now = pings[i].At + 50
		maxError := float32(10)
		if i > 600 && i < 620 { // in the third minute
			maxError = 20
		}
		l.Record([]pingline.Ping{pings[i].Ping}, []pingline.Verdict{pings[i].verdict}, maxError, 50)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	coarse := slices.DeleteFunc(slices.Clone(right), func(p pingline.Point) bool { return p.Tags[2].Value == "8" && p.At >= pings[600].At })
	got, err = audit.Config{Totals: coarse.read}.Check(t.Context(), audit.AckFiles{path}, points.points)
	if err != nil || got.Err() != nil || got.Rollups.Withheld == 0 || got.Rollups.Checked == 0 {
		t.Errorf("%+v %+v, %v", got, got.Rollups, err)
	}

	gone := errors.New("gone")
	cfg := audit.Config{Totals: func(context.Context, string, int64, int64, func(*pingline.Point) error) error { return gone }}
	if _, err := cfg.Check(t.Context(), ackFiles(t, pings), points.points); !errors.Is(err, gone) {
		t.Errorf("error %v", err)
	}
}

// Nothing is left in the folder for temporary files.
func TestAuditLeavesNoFiles(t *testing.T) {
	pings, points := town()
	dir := t.TempDir()
	cfg := audit.Config{Dir: dir, Totals: totalsOf(t, "a", onlyPings(pings)).read}
	if _, err := cfg.Check(t.Context(), ackFiles(t, pings), points.points); err != nil {
		t.Fatal(err)
	}
	cfg.Totals = nil
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := cfg.Check(ctx, ackFiles(t, pings), points.points); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

func TestSentences(t *testing.T) {
	r := audit.Report{Accepted: 10_001, Redundant: 48_334, Stored: 9155, Lost: 3, OutOfBound: 2, Unanswered: 1, Broken: 2, Torn: 7, Rollups: &audit.RollupReport{Checked: 9, Wrong: 1, Open: 2, Withheld: 3}}
	if got, want := r.Sentence(), "58,335 answered, 9,155 stored (15.7 %), 3 lost, 1 without an answer, 2 beyond their bound"; got != want {
		t.Errorf("says %q, want %q", got, want)
	}
	text := strings.Join(r.Remarks(), "\n")
	for _, want := range []string{"2 ack logs without an end", "7 bytes at the end", "9 totals of the roll-up, 1 not the sum of their pings, 2 still to be written, 3 withheld under load"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q does not say %q", text, want)
		}
	}
	if err := r.Err(); err == nil || !strings.Contains(err.Error(), "1 total of the roll-up wrong") {
		t.Errorf("error %v", err)
	}
	if math.IsNaN(r.Kept) {
		t.Error("kept is no number")
	}
}

// Riders that are stored by other names are found by these.
func TestPingsStoredByOtherNames(t *testing.T) {
	pings, points := town()
	for i := range points {
		points[i].Rider = "other " + points[i].Rider
	}
	right := totalsOf(t, "a", onlyPings(pings))
	cfg := audit.Config{StoredAs: func(rider string) string { return "other " + rider }, Totals: right.read}
	got, err := cfg.Check(t.Context(), ackFiles(t, pings), points.points)
	if err != nil || got.Err() != nil || got.Others != 0 || got.Stored == 0 || got.Rollups.Checked == 0 {
		t.Errorf("%+v %+v, %v", got, got.Rollups, err)
	}
	if got, err = (audit.Config{}).Check(t.Context(), ackFiles(t, pings), points.points); err != nil || got.Err() == nil || got.Lost == 0 {
		t.Errorf("by their own names: %+v, %v", got, err)
	}
}
