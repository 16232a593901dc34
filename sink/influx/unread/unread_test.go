package unread_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/internal/jvm"
	"pingline/sink/influx"
	"pingline/sink/influx/unread"
	"pingline/sink/influx/unread/unreadtest"
	"pingline/sink/store"
)

// servers are the kinds, with the code that runs one.
var servers = map[string]func(testing.TB) *unreadtest.Instance{unread.VictoriaMetrics: unreadtest.VictoriaMetrics, unread.QuestDB: unreadtest.QuestDB}

func open(t *testing.T, of string) *unread.LineServer {
	t.Helper()
	plain, options, err := unread.Address(of)
	if err != nil {
		t.Fatal(err)
	}
	to, err := influx.New(influx.Config{URL: plain, Bucket: "pingline"})
	if err != nil {
		t.Fatal(err)
	}
	return unread.New(to, of, options, true)
}

// rows are n rows of ten riders, at different times.
func rows(s *unread.LineServer, rider string, n int) store.Rows {
	r := store.Rows{N: n}
	at := time.Now().Add(-time.Hour).UnixMilli()
	for i := range n {
		e := pingline.Entry{Ping: pingline.Ping{Rider: fmt.Sprintf("%s-%d", rider, i%10), Fix: pingline.Fix{At: at + int64(i), LatE7: int32(410000000 + i), LonE7: -86000000}}, Cell: 0x8539220ffffffff, Verdict: pingline.Accepted}
		r.Bytes = s.AppendRow(r.Bytes, &e)
	}
	return r
}

func counted(t *testing.T, in *unreadtest.Instance, prefix string, want int) {
	t.Helper()
	var n int
	var err error
	for end := time.Now().Add(jvm.Patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) { // QuestDB shows what it has taken a little later
		if n, _, err = in.Count(prefix); err == nil && n == want {
			return
		}
	}
	t.Fatalf("%d rows of %s, want %d: %v", n, prefix, want, err)
}

// held runs the same checks against a server: a row written twice is one, what is acknowledged
// outlives kill -9, and a bad row is named by a refusal that says so.
func held(t *testing.T, kind string) {
	in := servers[kind](t)
	s := open(t, kind+"://"+in.Addr)
	defer s.Close()
	for _, f := range s.Check(t.Context()) {
		if f.Remedy != "" {
			t.Errorf("%s: %s; %s", f.What, f.Found, f.Remedy)
		}
	}
	batch := rows(s, "twice", 1000)
	for range 2 {
		if err := s.Write(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	last := rows(s, "last", 500)
	if err := s.Write(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	in.Kill()
	refusal := new(store.Refusal)
	if err := s.Write(t.Context(), last); !errors.As(err, &refusal) || refusal.Kind != store.Retry {
		t.Errorf("a dead server: %v", err)
	}
	if err := in.Restart(); err != nil {
		t.Fatal(err)
	}
	counted(t, in, "twice-", 1000)
	counted(t, in, "last-", 500)
	if err := s.Write(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	counted(t, in, "last-", 500)

	// Two pings of one ms are told apart by ns, which a VictoriaMetrics has not.
	at, want := time.Now().Add(-time.Hour).UnixMilli(), 2
	if kind == unread.VictoriaMetrics {
		want = 1
	}
	if err := s.Write(t.Context(), store.Rows{N: 2, Bytes: fmt.Appendf(nil, "location,cell=1,rider=apart lat=1,lon=1 %d000000\nlocation,cell=1,rider=apart lat=2,lon=1 %d000001\n", at, at)}); err != nil {
		t.Fatal(err)
	}
	counted(t, in, "apart", want)

	bad := rows(s, "bad", 3)
	lines := strings.SplitAfter(strings.TrimSuffix(string(bad.Bytes), "\n"), "\n")
	lines[1] = "location,rider=bad-1 lat=\"x\",lon=,speed=\n" // for a QuestDB a string, for a VictoriaMetrics no value
	bad.Bytes = []byte(strings.Join(lines, ""))
	err := s.Write(t.Context(), bad)
	if !errors.As(err, &refusal) || refusal.Kind != store.BadRows {
		t.Fatalf("a bad row: %v", err)
	}
	t.Logf("%s: %v", refusal.Reason, err)
	if kind == unread.QuestDB && (!slices.Equal(refusal.Suspects, []int{1}) || refusal.Reason != store.TypeConflict) {
		t.Errorf("%s of %v: %v", refusal.Reason, refusal.Suspects, err)
	}
	if kind == unread.VictoriaMetrics && refusal.Reason != store.Unparsable {
		t.Errorf("%s: %v", refusal.Reason, err)
	}
	if kind == unread.QuestDB {
		withoutKeys(t, in, s)
	}
}

func TestVictoriaMetricsTakesLines(t *testing.T) { held(t, unread.VictoriaMetrics) }

func TestQuestDBTakesLines(t *testing.T) { held(t, unread.QuestDB) }

// A table without keys has two rows of one that is written twice: the check says so.
func withoutKeys(t *testing.T, in *unreadtest.Instance, s *unread.LineServer) {
	if _, err := in.Exec("ALTER TABLE location DEDUP DISABLE"); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(jvm.Patience); ; time.Sleep(20 * time.Millisecond) { // the table learns of it a little later
		if slices.ContainsFunc(s.Check(t.Context()), func(f store.Finding) bool {
			return f.What == "row written twice" && strings.HasPrefix(f.Remedy, "ALTER TABLE location DEDUP ENABLE")
		}) {
			return
		}
		if time.Now().After(end) {
			t.Fatal("a table without keys is not told")
		}
	}
}

func TestAddress(t *testing.T) {
	for of, want := range map[string]string{
		"victoriametrics://a:8428": "http://a:8428", "QuestDB+https://b": "https://b", "victoriametrics://a:8428?flush=false": "http://a:8428",
		"questdb://a?flush=false": "error", "victoriametrics://a?flush=true": "error", "victoriametrics://a?x=1": "error",
	} {
		plain, _, err := unread.Address(of)
		if err != nil {
			plain = "error"
		}
		if plain != want {
			t.Errorf("%s: %s, %v, want %s", of, plain, err, want)
		}
	}
}
