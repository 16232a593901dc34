package cassandra_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pingline"
	"pingline/sink/cassandra"
	"pingline/sink/cassandra/cassandratest"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

func mustWrite(t testing.TB, k *cassandra.Keyspace, list ...pingline.Entry) {
	t.Helper()
	if err := k.Write(t.Context(), rows(k, list...)); err != nil {
		t.Fatal(err)
	}
}

// selected returns what a query selects.
func selected(t testing.TB, k *cassandra.Keyspace, q store.Query) (list []pingline.Entry) {
	t.Helper()
	if err := k.Points(t.Context(), q, func(e *pingline.Entry, _ int64) error { list = append(list, *e); return nil }); err != nil {
		t.Fatal(err)
	}
	return list
}

// refused returns the refusal of a write.
func refused(t testing.TB, err error, kind store.Kind, reason string) *store.Refusal {
	t.Helper()
	r := new(store.Refusal)
	if !errors.As(err, &r) || r.Kind != kind || r.Reason != reason {
		t.Fatalf("the error is %v, %+v, want a refusal of kind %v for %q", err, r, kind, reason)
	}
	return r
}

func key(e *pingline.Entry) string { return string((*cassandra.Keyspace)(nil).AppendRow(nil, e)) }

// Writers go on while the server is killed: each row is there once at the end, though many
// were written twice.
func TestCassandraKilledInTheMiddleOfWrites(t *testing.T) {
	s := server(t)
	cfg, _ := fresh(s)
	k := open(t, cfg)
	mustWrite(t, k)
	const writers, batches, size = 3, 10, 200
	var written atomic.Int64
	var wg sync.WaitGroup
	want := make(map[string]bool)
	begun := make(chan struct{}, writers*batches)
	for w := range writers {
		list := storetest.Fleet(uint64(20+w), batches*size)
		for i := range list {
			want[key(&list[i])] = true
		}
		wg.Go(func() {
			for b := range batches {
				r := rows(k, list[b*size:(b+1)*size]...)
				begun <- struct{}{}
				for {
					err := k.Write(t.Context(), r)
					if err == nil {
						break
					}
					if r := new(store.Refusal); !errors.As(err, &r) || r.Kind != store.Retry {
						t.Errorf("batch %d: %v", b, err)
						return
					}
				}
				written.Add(1)
			}
		})
	}
	for range writers + 2 { // two batches are written, and three on their way
		<-begun
	}
	s.Kill()
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	got := make(map[string]bool)
	for _, e := range selected(t, k, store.All()) {
		if got[key(&e)] {
			t.Errorf("%s is there twice", key(&e))
		}
		got[key(&e)] = true
	}
	if len(got) != len(want) {
		t.Errorf("%d rows, want %d", len(got), len(want))
	}
	for row := range want {
		if !got[row] {
			t.Fatalf("%q is not there", row)
		}
	}
}

// Tables that are missing are made, or told in a sentence; one that does not fit is told, and
// left alone.
func TestCassandraTablesThatDoNotFit(t *testing.T) {
	s := server(t)
	list := storetest.Fleet(1, 10)
	cfg, ks := fresh(s)
	only := cfg
	only.CreateSchema = false
	looks := open(t, only)
	stopped := func(t *testing.T, words string) {
		t.Helper()
		r := refused(t, looks.Write(t.Context(), rows(looks, list...)), store.Configure, store.Missing)
		if notes := strings.Join(looks.Notes(), "; "); !strings.Contains(r.Error(), words) || !strings.Contains(notes, words) || r.Advice == "" {
			t.Errorf("%v, advice %q, note %q, want %q", r, r.Advice, notes, words)
		}
	}
	stopped(t, "there is no keyspace "+ks)
	if got := selected(t, looks, store.All()); len(got) != 0 {
		t.Errorf("%d rows in no keyspace", len(got))
	}
	s.Exec(t, "CREATE KEYSPACE "+ks+" WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
	stopped(t, "there is no table "+ks+".pings")

	// The statements that are printed make tables that fit.
	for _, statement := range cassandra.Schema()[2:] {
		s.Exec(t, strings.Replace(statement, "EXISTS ", "EXISTS "+ks+".", 1))
	}
	s.Exec(t, "ALTER TABLE "+ks+".pings ADD mine text")
	mustWrite(t, looks, list...)
	if notes := looks.Notes(); len(notes) != 0 {
		t.Errorf("notes of tables that fit: %q", notes)
	}

	s.Exec(t, "ALTER TABLE "+ks+".pings DROP trip")
	stopped(t, "table "+ks+".pings has no column trip text")
	s.Exec(t, "ALTER TABLE "+ks+".pings ADD trip text")
	mustWrite(t, looks, list...)

	s.Exec(t, "DROP TABLE "+ks+".pings")
	stopped(t, "there is no table "+ks+".pings")
	s.Exec(t, "CREATE TABLE "+ks+".pings (rider text, day date, ts timestamp, nano bigint, PRIMARY KEY ((rider, day), ts, nano))")
	stopped(t, "column nano of table "+ks+".pings is bigint, and must be int")
	s.Exec(t, "DROP TABLE "+ks+".pings")
	create := cassandra.Schema()[2]
	s.Exec(t, strings.NewReplacer("EXISTS ", "EXISTS "+ks+".", "((rider, day), ts, nano", "((rider), day, ts, nano").Replace(create))
	stopped(t, "the primary key of table "+ks+".pings must be ((rider, day), ts, nano, device, cell, late, corrected)")

	// A table that is dropped is made again, and rows are found in it though their day was known.
	s.Exec(t, "DROP TABLE "+ks+".pings")
	makes := open(t, cfg)
	mustWrite(t, makes, list...)
	s.Exec(t, "DROP KEYSPACE "+ks)
	mustWrite(t, makes, list...)
	if got := selected(t, makes, store.All()); len(got) != len(list) {
		t.Errorf("%d rows, want %d", len(got), len(list))
	}
}

// A role that may only read is told so; its reads are answered.
func TestCassandraRoleWhoMayOnlyRead(t *testing.T) {
	s := server(t)
	cfg, _ := fresh(s)
	cfg.URL += "?keep=2160h&replicas=1&consistency=ONE&datacenter=datacenter1"
	k := open(t, cfg)
	list := storetest.Fleet(1, 10)
	mustWrite(t, k, list...)
	if keep, told := k.Retention(t.Context()); keep != 2160*time.Hour || !told {
		t.Errorf("rows are kept %v, %v", keep, told)
	}
	for _, f := range k.Check(t.Context()) {
		if f.Remedy != "" {
			t.Errorf("%s: %s: %s", f.What, f.Found, f.Remedy)
		}
	}
	other := cfg
	other.URL = strings.NewReplacer(cassandratest.User+"@", cassandratest.Reader+"@", "keep=2160h", "keep=48h").Replace(cfg.URL)
	reader := open(t, other)
	_ = refused(t, reader.Write(t.Context(), rows(reader, list...)), store.Configure, store.Rights)
	_ = refused(t, reader.Write(t.Context(), store.Rows{}), store.Configure, store.Rights)
	if got := selected(t, reader, store.All()); len(got) != len(list) {
		t.Errorf("%d rows, want %d", len(got), len(list))
	}
	var found []string
	for _, f := range reader.Check(t.Context()) {
		if f.Remedy != "" {
			found = append(found, f.What)
		}
	}
	if !slices.Equal(found, []string{"write"}) {
		t.Errorf("the check complains of %q", found)
	}
	if notes := strings.Join(reader.Notes(), ""); !strings.Contains(notes, "keeps rows") || !strings.Contains(notes, "default_time_to_live = 172800") {
		t.Errorf("notes %q", notes)
	}
}

// A data centre that is not there, and a consistency for which replicas are missing, are told with advice.
func TestCassandraCheckOfTheURL(t *testing.T) {
	cfg, _ := fresh(server(t))
	mustWrite(t, open(t, cfg), storetest.Fleet(1, 10)...)
	cfg.URL += "?datacenter=dcx&consistency=THREE"
	var found []string
	for _, f := range open(t, cfg).Check(t.Context()) {
		if f.Remedy != "" {
			found = append(found, fmt.Sprint(f))
		}
	}
	for i, want := range []string{"no node is in dcx, only in datacenter1", "takes 3 of the keyspace's replicas, and 1 answer", "or name a lower consistency in the url"} {
		if len(found) != 3 || !strings.Contains(found[i], want) {
			t.Errorf("it complains of %q, want %q", found, want)
		}
	}
}

// A changed file of the password is used; no error has the password.
func TestCassandraPasswordFile(t *testing.T) {
	s := server(t)
	cfg, _ := fresh(s)
	cfg.PasswordFile = filepath.Join(t.TempDir(), "password")
	k := open(t, cfg)
	gone := refused(t, k.Write(t.Context(), store.Rows{}), store.Configure, store.Credentials)
	const wrong = "a-wrong-password"
	for _, text := range []string{wrong, wrong + "\nand another"} {
		if err := os.WriteFile(cfg.PasswordFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r := refused(t, k.Write(t.Context(), store.Rows{}), store.Configure, store.Credentials)
		found := k.Check(t.Context())
		if said := fmt.Sprint(gone, r, r.Advice, found); strings.Contains(said, wrong) || found[0].Remedy == "" {
			t.Errorf("it says %s", said)
		}
	}
	if err := os.WriteFile(cfg.PasswordFile, []byte(cassandratest.Password), 0o600); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, k)
	nobody := cfg
	nobody.URL, nobody.PasswordFile = strings.Replace(cfg.URL, cassandratest.User+"@", "", 1), ""
	stranger := open(t, nobody)
	_ = refused(t, stranger.Write(t.Context(), store.Rows{}), store.Configure, store.Credentials)
}

// A rider is removed from all days and from the newest positions, others stay, and pings of
// the rider that come later are found.
func TestCassandraEraseRemovesARider(t *testing.T) {
	s := server(t)
	cfg, ks := fresh(s)
	cfg.URL += "?latest=true"
	k := open(t, cfg)
	if err := k.Erase(t.Context(), "anybody"); err != nil {
		t.Errorf("of no keyspace: %v", err)
	}
	list := storetest.Fleet(1, 200)
	for i := range list {
		list[i].At -= int64(i%5) * 24 * time.Hour.Milliseconds()
	}
	ahead := list[0]
	ahead.At = time.Now().Add(time.Hour).UnixMilli()
	mustWrite(t, k, append(list, ahead)...)
	gone := list[0].Rider
	for range 2 {
		if err := k.Erase(t.Context(), gone); err != nil {
			t.Fatal(err)
		}
	}
	if got := selected(t, k, store.All()); len(got) != 180 || slices.ContainsFunc(got, func(e pingline.Entry) bool { return e.Rider == gone }) {
		t.Errorf("%d pings are left, want 180", len(got))
	}
	latest := "SELECT lat FROM " + ks + ".latest WHERE rider = '" + gone + "'"
	if n, err := s.Count(latest); err != nil || n != 0 {
		t.Errorf("%d newest positions are left, %v", n, err)
	}
	ahead.At += 1000
	mustWrite(t, k, list[0], ahead)
	q := store.All()
	q.Rider = gone
	if got := selected(t, k, q); len(got) != 2 {
		t.Errorf("%d pings came later, want 2", len(got))
	}
	if n, err := s.Count(latest); err != nil || n != 1 {
		t.Errorf("%d newest positions came later, %v", n, err)
	}
}

// Rows that were written by a clock that is ahead are removed, too, and hide none that come later.
func TestCassandraEraseRemovesRowsOfAClockAhead(t *testing.T) {
	s := server(t)
	cfg, ks := fresh(s)
	k := open(t, cfg)
	list := storetest.Fleet(1, 20)
	mustWrite(t, k, list...)
	gone := list[0].Rider
	for i := range 3 {
		s.Exec(t, fmt.Sprintf("INSERT INTO %s.pings (rider, day, ts, nano, device, cell, late, corrected, lat, lon) VALUES ('%s', '%s', %d, 0, 'it''s', %d, true, false, 1, 2) USING TIMESTAMP %d",
			ks, gone, list[i].Time().Format(time.DateOnly), list[i].At, i, time.Now().Add(time.Hour).UnixMicro()))
	}
	q := store.All()
	q.Rider = gone
	if n := len(selected(t, k, q)); n != 5 {
		t.Fatalf("%d pings, want 5", n)
	}
	if err := k.Erase(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	if left := selected(t, k, q); len(left) != 0 {
		t.Errorf("%d pings are left: %+v", len(left), left)
	}
	mustWrite(t, k, list...)
	if all := selected(t, k, store.All()); len(all) != 20 {
		t.Errorf("%d pings came later, want 20", len(all))
	}
}

// A table that keeps rows for longer than the server can count is for an operator.
func TestCassandraKeepsForTooLong(t *testing.T) {
	cfg, _ := fresh(server(t))
	cfg.URL += "?keep=175000h"
	k := open(t, cfg)
	r := refused(t, k.Write(t.Context(), rows(k, storetest.Fleet(1, 10)...)), store.Configure, store.Limit)
	if !strings.Contains(r.Advice, "default_time_to_live") {
		t.Errorf("advice %q", r.Advice)
	}
}

// The table of newest positions never goes back: not by a late ping, and not in one number.
func TestCassandraLateNeverWinsOverNewer(t *testing.T) {
	s := server(t)
	cfg, ks := fresh(s)
	cfg.URL += "?latest=true"
	k := open(t, cfg)
	newer := storetest.Fleet(1, 1)[0]
	newer.Device, newer.Late, newer.Known, newer.Speed = "d", false, 0, 0
	older := newer
	older.At -= 1000
	older.Known, older.Speed, older.Late = pingline.HasSpeed, 7, true
	if err := older.SetPosition(1, 2); err != nil {
		t.Fatal(err)
	}
	where := " FROM " + ks + ".latest WHERE rider = '" + newer.Rider + "' AND device = 'd'"
	is := func(e *pingline.Entry, known bool) {
		t.Helper()
		row, err := s.Row("SELECT ts, lat, speed" + where)
		if err != nil {
			t.Fatal(err)
		}
		if at := row["ts"].(time.Time).UnixMilli(); at != e.At || row["lat"] != e.Lat() || (row["speed"].(float32) != 0) != known {
			t.Errorf("there is %v, want the ping of %d", row, e.At)
		}
	}
	mustWrite(t, k, older)
	is(&older, true)
	mustWrite(t, k, newer, older)
	is(&newer, false)
	mustWrite(t, k, older)
	is(&newer, false)
	if got := selected(t, k, store.All()); len(got) != 2 {
		t.Errorf("the history has %d pings, want 2", len(got))
	}
}

// Of two pings of an instant one is the newest, whole.
func TestCassandraLatestIsOnePing(t *testing.T) {
	s := server(t)
	cfg, ks := fresh(s)
	cfg.URL += "?latest=true"
	k := open(t, cfg)
	one := storetest.Fleet(1, 1)[0]
	one.Device, one.Late, one.Known = "d", false, 0
	other := one
	if err := errors.Join(one.SetPosition(1, 2), other.SetPosition(2, 1)); err != nil {
		t.Fatal(err)
	}
	for _, list := range [][]pingline.Entry{{one}, {other}, {one}} {
		mustWrite(t, k, list...)
	}
	row, err := s.Row("SELECT lat, lon FROM " + ks + ".latest WHERE rider = '" + one.Rider + "' AND device = 'd'")
	if err != nil || row["lat"] == row["lon"] {
		t.Errorf("the newest position is %v, %v, want that of a ping", row, err)
	}
}

// A partition of more rows than are kept in memory is read newest first, too, alone and among
// others, and a page ends where it must.
func TestCassandraLargePartition(t *testing.T) {
	s := server(t)
	cfg, _ := fresh(s)
	k := open(t, cfg)
	const n = 6000
	list := storetest.Fleet(1, n+20)
	for i := range list {
		list[i].Device = ""
		if i < n {
			list[i].Rider = "large"
		}
	}
	mustWrite(t, k, list...)
	for _, rider := range []string{"", "large"} {
		for _, newest := range []bool{false, true} {
			q := store.All()
			q.Rider, q.Newest = rider, newest
			got := selected(t, k, q)
			large := slices.DeleteFunc(slices.Clone(got), func(e pingline.Entry) bool { return e.Rider != "large" })
			ordered := slices.IsSortedFunc(large, func(a, b pingline.Entry) int {
				if newest {
					return int(b.At - a.At)
				}
				return int(a.At - b.At)
			})
			if len(large) != n || rider == "" && len(got) != n+20 || !ordered {
				t.Errorf("rider %q, newest first %v: %d pings of %d, in order %v", rider, newest, len(large), len(got), ordered)
			}
		}
	}
	enough := errors.New("enough")
	q := store.All()
	q.Newest = true
	if err := k.Points(t.Context(), q, func(*pingline.Entry, int64) error { return enough }); err != enough {
		t.Errorf("a caller who has had enough: %v", err)
	}
}

// Rows are deleted by the age that the table has, a span of time not before its rows.
func TestCassandraKeep(t *testing.T) {
	s := server(t)
	cfg, ks := fresh(s)
	cfg.URL += "?keep=24h"
	k := open(t, cfg)
	mustWrite(t, k)
	for table, want := range map[string]int{"pings": 24, "points": 24, "spans": 48} {
		row, err := s.Row("SELECT default_time_to_live, compaction FROM system_schema.tables WHERE keyspace_name = '" + ks + "' AND table_name = '" + table + "'")
		if err != nil || row["default_time_to_live"] != want*3600 {
			t.Errorf("table %s: %v, %v", table, row, err)
		}
	}
	s.Exec(t, "ALTER TABLE "+ks+".pings WITH default_time_to_live = 1")
	mustWrite(t, k, storetest.Fleet(1, 10)...)
	for deadline := time.Now().Add(patience); len(selected(t, k, store.All())) > 0; {
		if time.Now().After(deadline) {
			t.Fatal("rows outlive their time")
		}
	}
}

// A server is spoken to by TLS, if the URL says so and its certificate is known.
func TestCassandraTLS(t *testing.T) {
	s := server(t)
	cfg, _ := fresh(s)
	cfg.URL = strings.Replace(cfg.URL, cassandra.Scheme+"://", cassandra.SchemeSecure+"://", 1)
	stranger := open(t, cfg)
	r := refused(t, stranger.Write(t.Context(), store.Rows{}), store.Configure, store.Address)
	if !strings.Contains(r.Advice, "ca-file") {
		t.Errorf("advice %q", r.Advice)
	}
	cfg.CAFile = s.CAFile()
	k := open(t, cfg)
	list := storetest.Fleet(1, 100)
	mustWrite(t, k, list...)
	if got := selected(t, k, store.All()); len(got) != len(list) {
		t.Errorf("%d rows, want %d", len(got), len(list))
	}
}
