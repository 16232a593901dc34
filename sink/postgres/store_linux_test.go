package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"pingline"
	"pingline/sink/postgres"
	"pingline/sink/postgres/postgrestest"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// patience is how long a busy machine may take.
const patience = 2 * time.Minute

// written writes entries, which must be taken.
func written(t testing.TB, d *postgres.Database, list ...pingline.Entry) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := d.Write(ctx, storeRows(d, list...)); err != nil {
		t.Fatal(err)
	}
}

// refused writes entries, which must be refused.
func refused(t testing.TB, d *postgres.Database, kind store.Kind, reason string, list ...pingline.Entry) *store.Refusal {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := d.Write(ctx, storeRows(d, list...))
	for n := 0; n < resets && isReset(err); n++ {
		err = d.Write(ctx, storeRows(d, list...))
	}
	r := new(store.Refusal)
	if !errors.As(err, &r) || r.Kind != kind || r.Reason != reason {
		t.Fatalf("the error is %v (%+v), want %v for %q", err, r, kind, reason)
	}
	if strings.Contains(fmt.Sprintf("%v %+v %#v", err, r, r), postgrestest.Password) {
		t.Errorf("the error has the password: %+v", r)
	}
	return r
}

// resets is how often in a row a server may reset a connection before the reason is read: closing
// does not wait for what was sent.
const resets = 50

func isReset(said any) bool {
	return strings.Contains(fmt.Sprint(said), syscall.ECONNRESET.Error())
}

// count returns how many pings are stored.
func count(t testing.TB, server *postgrestest.Server, database string) string {
	t.Helper()
	return server.Text(t, database, "SELECT count(*) FROM location")
}

// until waits until ok, for as long as a busy machine may take.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// Writers write on while the server is killed, again and again: when all writes were
// taken in the end, each row is there once.
func TestKilledInTheMiddleOfWrites(t *testing.T) {
	server := postgrestest.Run(t)
	cfg, name := fresh(t, server)
	d := open(t, cfg)
	const writers, batches, lines = 3, 40, 100
	done := make(chan struct{}, writers*batches)
	var wg sync.WaitGroup
	for w := range writers {
		list := storetest.Fleet(uint64(w), batches*lines)
		wg.Go(func() {
			for b := range batches {
				rows := storeRows(d, list[b*lines:(b+1)*lines]...)
				for {
					ctx, cancel := context.WithTimeout(context.Background(), patience)
					err := d.Write(ctx, rows)
					cancel()
					if err == nil {
						break
					}
					if r := new(store.Refusal); !errors.As(err, &r) || r.Kind != store.Retry {
						t.Errorf("a write into a dead server is refused with %v", err)
						return
					}
				}
				done <- struct{}{}
			}
		})
	}
	for range 3 {
		for range writers * batches / 4 {
			<-done
		}
		if err := server.Restart(t.Context()); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	if n := count(t, server, name); n != fmt.Sprint(writers*batches*lines) {
		t.Errorf("%s rows are stored, want %d", n, writers*batches*lines)
	}
}

func TestSchema(t *testing.T) {
	server := postgrestest.Run(t)
	ping := storetest.Fleet(1, 1)[0]

	t.Run("its output makes tables that fit", func(t *testing.T) {
		cfg, name := fresh(t, server)
		server.Exec(t, name, strings.Join(postgres.Schema(int32(ping.At/86_400_000)), ";\n"))
		cfg.CheckOnly = true
		d := open(t, cfg)
		written(t, d, ping)
		for _, f := range d.Check(t.Context()) {
			if f.Remedy != "" {
				t.Errorf("%+v", f)
			}
		}
		later := ping
		later.At += 10 * 86_400_000
		if r := refused(t, d, store.Configure, store.Missing, later); !strings.Contains(r.Advice, "partition") {
			t.Errorf("of a day without partition: %v; %s", r, r.Advice)
		}
		written(t, d, ping)
	})
	t.Run("missing, and an operator's", func(t *testing.T) {
		cfg, name := fresh(t, server)
		cfg.CheckOnly = true
		d := open(t, cfg)
		r := refused(t, d, store.Configure, store.Missing, ping)
		if !strings.Contains(r.Error(), "no table location") || !strings.Contains(r.Advice, "pingline schema postgres") {
			t.Errorf("%v; %s", r, r.Advice)
		}
		until(t, "a note", func() bool { return len(d.Notes()) == 1 && strings.Contains(d.Notes()[0], "no table location") })
		if n := server.Text(t, name, "SELECT count(*) FROM pg_class WHERE relname = 'location'"); n != "0" {
			t.Error("a table was made")
		}
		server.Exec(t, name, strings.Join(postgres.Schema(int32(ping.At/86_400_000)), ";\n"))
		written(t, d, ping)
	})
	t.Run("dropped while rows are written", func(t *testing.T) {
		cfg, name := fresh(t, server)
		d := open(t, cfg)
		written(t, d, ping)
		server.Exec(t, name, "DROP TABLE location")
		written(t, d, ping)
		if n := count(t, server, name); n != "1" {
			t.Errorf("%s rows", n)
		}
	})
	t.Run("a partition dropped while rows are written", func(t *testing.T) {
		cfg, name := fresh(t, server)
		d := open(t, cfg)
		written(t, d, ping)
		server.Exec(t, name, "DROP TABLE location_"+ping.Time().Format("2006_01_02"))
		written(t, d, ping)
		if n := count(t, server, name); n != "1" {
			t.Errorf("%s rows", n)
		}
	})
	for _, tt := range []struct{ alter, says string }{
		{"ALTER TABLE location ALTER speed TYPE text", "table location has column speed of type text and not real"},
		{"ALTER TABLE location ALTER ts TYPE timestamptz", ""},
		{"DELETE FROM location; ALTER TABLE location ADD shift text NOT NULL", "table location has a further column shift that must be known"},
		{"ALTER TABLE location ADD shift text", ""},
		{"ALTER TABLE location DROP attrs", ""},
		{"ALTER TABLE location DROP trip", "table location has no column trip of type text"},
		{"ALTER TABLE location DROP CONSTRAINT location_pkey", "table location has no unique index of rider, ts, nano, device, cell, late, corrected"},
		{"ALTER TABLE point ALTER fields TYPE json", "table point has column fields of type json and not jsonb"},
		{"ALTER TABLE location RENAME TO location2; CREATE VIEW location AS SELECT * FROM location2", "table location is no table"},
	} {
		t.Run(tt.alter, func(t *testing.T) {
			cfg, name := fresh(t, server)
			d := open(t, cfg)
			first := ping
			first.At--
			written(t, d, first)
			if strings.Contains(tt.alter, " ts ") { // it cannot be altered, which is fine
				tt.alter = "SELECT 1"
			}
			server.Exec(t, name, tt.alter)
			if tt.says == "" {
				written(t, d, ping)
				return
			}
			again := open(t, cfg) // opened anew, it sees what the first learns by a refused write
			for i, d := range []*postgres.Database{again, d} {
				if i == 1 && !strings.Contains(tt.alter, "location") {
					break
				}
				if i == 1 && strings.Contains(tt.alter, "CONSTRAINT") {
					break // a COPY needs no index
				}
				r := refused(t, d, store.Configure, store.Missing, ping)
				if !strings.Contains(r.Error(), tt.says) || !strings.Contains(r.Advice, "pingline schema postgres") {
					t.Errorf("%v; %s", r, r.Advice)
				}
			}
			ok := slices.ContainsFunc(again.Check(t.Context()), func(f store.Finding) bool {
				return f.What == "schema" && strings.Contains(f.Found, tt.says) && f.Remedy != ""
			})
			if notes := again.Notes(); !ok || len(notes) != 1 || !strings.Contains(notes[0], tt.says) {
				t.Errorf("check says %+v, notes say %q", again.Check(t.Context()), notes)
			}
		})
	}
	t.Run("of a role with few rights", func(t *testing.T) {
		cfg, name := fresh(t, server)
		server.Exec(t, name, "CREATE ROLE poor LOGIN PASSWORD '"+postgrestest.Password+"'; REVOKE CREATE ON SCHEMA public FROM public")
		cfg.URL = strings.Replace(cfg.URL, "pingline@", "poor@", 1)
		d := open(t, cfg)
		_ = refused(t, d, store.Configure, store.Rights, ping)
		ok := slices.ContainsFunc(d.Check(t.Context()), func(f store.Finding) bool { return f.What == "schema" && strings.Contains(f.Remedy, "grant") })
		if !ok {
			t.Errorf("check says %+v", d.Check(t.Context()))
		}
	})
	t.Run("no database", func(t *testing.T) {
		cfg, _ := fresh(t, server)
		cfg.URL = server.URL("nowhere")
		_ = refused(t, open(t, cfg), store.Configure, store.Missing, ping)
	})
	t.Run("an encoding that lacks characters", func(t *testing.T) {
		cfg, _ := fresh(t, server)
		server.Exec(t, "postgres", "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
		cfg.URL = server.URL("latin")
		if r := refused(t, open(t, cfg), store.Configure, store.Missing, ping); !strings.Contains(r.Error(), "LATIN1") {
			t.Error(r)
		}
	})
	t.Run("an operator's partitions", func(t *testing.T) {
		cfg, name := fresh(t, server)
		month := ping.Time().AddDate(0, 0, 1-ping.Time().Day())
		server.Exec(t, name, strings.Split(strings.Join(postgres.Schema(0), ";\n"), "-- A partition")[0]+fmt.Sprintf(
			`CREATE TABLE months PARTITION OF location FOR VALUES FROM ('%s') TO ('%s'); CREATE TABLE other PARTITION OF location DEFAULT;`,
			month.Format("2006-01-02 00:00:00+00"), month.AddDate(0, 1, 0).Format("2006-01-02 00:00:00+00")))
		server.Exec(t, name, "INSERT INTO location SELECT 'x', '2001-02-03', 0, '', 0, false, false, 1, 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0")
		old := ping
		old.At = time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC).UnixMilli()
		written(t, open(t, cfg), ping, old)
		if n := server.Text(t, name, "SELECT (SELECT count(*) FROM months) || ' ' || (SELECT count(*) FROM other)"); n != "1 2" {
			t.Errorf("the partitions have %s rows", n)
		}
	})
	t.Run("a day's name is taken", func(t *testing.T) {
		cfg, name := fresh(t, server)
		server.Exec(t, name, "CREATE TABLE location_"+ping.Time().Format("2006_01_02")+" (a int)")
		if r := refused(t, open(t, cfg), store.Configure, store.Missing, ping); !strings.Contains(r.Error(), "no partition") || !strings.Contains(r.Advice, "attach") {
			t.Errorf("%v; %s", r, r.Advice)
		}
	})
	t.Run("a column of PostGIS", func(t *testing.T) {
		if server.Text(t, "postgres", "SELECT count(*) FROM pg_available_extensions WHERE name = 'postgis'") == "0" {
			t.Skip("there is no PostGIS here: install the package postgresql-15-postgis-3")
		}
		cfg, name := fresh(t, server)
		server.Exec(t, name, "CREATE SCHEMA gis; CREATE EXTENSION postgis SCHEMA gis")
		d := open(t, cfg)
		written(t, d, ping)
		written(t, d, ping)
		if n := server.Text(t, name, "SELECT abs(gis.ST_X(geom) - lon) + abs(gis.ST_Y(geom) - lat) < 1e-9 FROM location"); n != "true" {
			t.Errorf("the place is that of the ping: %s", n)
		}
	})
}

// Days that are older than they are kept go with all their rows, and rows of them are
// refused.
func TestRetention(t *testing.T) {
	server := postgrestest.Run(t)
	cfg, name := fresh(t, server)
	at := func(days int) pingline.Entry {
		e := storetest.Fleet(1, 1)[0]
		e.At = time.Now().AddDate(0, 0, -days).UnixMilli()
		return e
	}
	written(t, open(t, cfg), at(0), at(1), at(2), at(3), at(9), at(40))
	server.Exec(t, name, "CREATE TABLE location_notes (a int); CREATE TABLE location_2001_01_01 (a int)") // none of ours
	cfg.URL += "?keep=48h"
	d := open(t, cfg)
	written(t, d, at(0))
	until(t, "old days are dropped", func() bool { return count(t, server, name) == "4" })
	days := server.Text(t, name, "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relkind IN ('r', 'p') AND relname LIKE 'location%'")
	want := []string{"location", "location_2001_01_01"}
	for n := -2; n <= 2; n++ {
		want = append(want, "location_"+time.Now().UTC().AddDate(0, 0, n).Format("2006_01_02"))
	}
	if want = append(want, "location_notes"); days != strings.Join(want, " ") {
		t.Errorf("tables\n%s, want\n%s", days, strings.Join(want, " "))
	}
	if keep, told := d.Retention(t.Context()); keep != 48*time.Hour || !told {
		t.Errorf("retention %v, %v", keep, told)
	}
	r := refused(t, d, store.BadRows, store.Expired, at(0), at(5), at(1), at(7))
	if !slices.Equal(r.Suspects, []int{1, 3}) || r.All || r.Keeps != 48*time.Hour {
		t.Errorf("%+v", r)
	}
	if r := refused(t, d, store.BadRows, store.Expired, at(5)); !r.All {
		t.Errorf("%+v", r)
	}
}

// The server dies while a day is dropped, between any two steps: after a restart the day goes. One
// that an operator has detached stays.
func TestDropBrokenOff(t *testing.T) {
	old := storetest.Fleet(1, 1)[0]
	old.At = time.Now().AddDate(0, 0, -9).UnixMilli()
	today, own := old, old
	today.At, own.At = time.Now().UnixMilli(), old.At-86_400_000
	table := func(e *pingline.Entry) string { return "location_" + e.Time().UTC().Format("2006_01_02") }
	server := postgrestest.Run(t)
	const attached = "SELECT string_agg(inhdetachpending::text, ' ') FROM pg_inherits WHERE inhrelid = to_regclass('%s')"
	for _, tt := range []struct {
		name, block string
		state       string // of the partition, when the server dies
	}{
		{"before it is detached", "ALTER TABLE", "false"},
		{"detached, and not yet dropped", "DROP TABLE", ""},
		{"while it is detached", "", "true"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg, name := fresh(t, server)
			d := open(t, cfg)
			written(t, d, old, own, today)
			until(t, "the days to come are made, by ALTER TABLE", func() bool {
				day := time.Now().UTC().AddDate(0, 0, 2).Format("2006_01_02")
				return server.Text(t, name, fmt.Sprintf("SELECT to_regclass('location_%[1]s') IS NULL OR to_regclass('point_%[1]s') IS NULL", day)) == "false"
			})
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			server.Exec(t, name, "ALTER TABLE location DETACH PARTITION "+table(&own))
			if tt.block != "" { // a step of the drop takes for ever
				server.Exec(t, name, `CREATE FUNCTION wait() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(86400); END';
					CREATE EVENT TRIGGER wait ON ddl_command_start WHEN TAG IN ('`+tt.block+`') EXECUTE FUNCTION wait()`)
			} else { // a reader of the day lets nobody have it
				reader, err := pgx.Connect(t.Context(), strings.Replace(server.URL(name), "@", ":"+postgrestest.Password+"@", 1))
				if err != nil {
					t.Fatal(err)
				}
				defer reader.Close(context.Background())
				if _, err := reader.Exec(t.Context(), "BEGIN; LOCK TABLE "+table(&old)+" IN ACCESS SHARE MODE"); err != nil {
					t.Fatal(err)
				}
			}
			cfg.URL += "?keep=48h"
			d = open(t, cfg)
			written(t, d, today)
			until(t, "the drop is on its way", func() bool {
				return server.Text(t, name, "SELECT count(*) FROM pg_class WHERE obj_description(oid, 'pg_class') LIKE 'pingline: %'") == "1" &&
					server.Text(t, name, fmt.Sprintf(attached, table(&old))) == tt.state
			})
			server.Kill()
			if err := errors.Join(d.Close(), server.Restart(t.Context())); err != nil {
				t.Fatal(err)
			}
			if got := server.Text(t, name, fmt.Sprintf(attached, table(&old))); got != tt.state {
				t.Fatalf("after the crash the partition is %q, want %q", got, tt.state)
			}
			if tt.block != "" {
				server.Exec(t, name, "DROP EVENT TRIGGER wait")
			}
			written(t, open(t, cfg), today)
			until(t, "the day is dropped", func() bool { return server.Text(t, name, "SELECT to_regclass('"+table(&old)+"')") == "" })
			if server.Text(t, name, "SELECT to_regclass('"+table(&own)+"')") == "" {
				t.Error("a day that an operator has detached is dropped")
			}
			if n := count(t, server, name); n != "1" {
				t.Errorf("%s rows are left, want 1", n)
			}
		})
	}
}

// Each write is taken whatever the temporary table is needed for, and a refused row is
// named where PostgreSQL names it.
func TestRefusedRows(t *testing.T) {
	server := postgrestest.Run(t)
	cfg, name := fresh(t, server)
	d := open(t, cfg)
	list := storetest.Fleet(3, 100)
	written(t, d, list[:1]...)
	server.Exec(t, name, "ALTER TABLE location ADD CHECK (event <> 'sos')")
	list[70].Event = "sos"
	if r := refused(t, d, store.BadRows, store.Other, list[1:]...); !slices.Equal(r.Suspects, []int{69}) {
		t.Errorf("%+v", r)
	}
	line := pingline.Entry{Kind: pingline.Self, Line: "a b=1 1"}
	long := pingline.Entry{Kind: pingline.Self, Point: &pingline.Point{Name: "p", At: storetest.Recently}}
	for i := range 250 {
		long.Point.Fields = append(long.Point.Fields, pingline.Text(fmt.Sprintf("%03d", i), strings.Repeat(`"`, 20)))
	}
	lost := list[0]
	lost.At = 1 << 60
	for _, tt := range []struct {
		e      pingline.Entry
		reason string
	}{{line, store.Unparsable}, {long, store.TooLarge}, {lost, store.Unparsable}} {
		if r := refused(t, d, store.BadRows, tt.reason, list[1], tt.e); !slices.Equal(r.Suspects, []int{1}) {
			t.Errorf("%+v", r)
		}
	}
	nul := list[2]
	nul.Trip = "a\x00b"
	if r := refused(t, d, store.BadRows, store.Unparsable, list[1], nul); !slices.Equal(r.Suspects, []int{1}) {
		t.Errorf("%+v", r)
	}
	key := pingline.Entry{Kind: pingline.Self, Point: &pingline.Point{Name: "p", At: storetest.Recently, Fields: []pingline.PointField{pingline.Int("n", 1)}}}
	for i := range 20 { // a key that does not compress
		key.Point.Tags = append(key.Point.Tags, pingline.Tag{Key: fmt.Sprintf("%02d", i), Value: fmt.Sprintf("%x", storetest.Fleet(uint64(i), 30)[i].LatE7*int32(i+1)) + strings.Repeat(fmt.Sprintf("%c%x", 'a'+i, i*i*i), 30)})
	}
	if err := d.Write(t.Context(), storeRows(d, key)); err != nil {
		r := refused(t, d, store.BadRows, store.TooLarge, key)
		t.Log(r)
	}
	if n := count(t, server, name); n != "1" {
		t.Errorf("%s rows are stored", n)
	}
}

// Of a row that comes several times in one write the last content stays, by either way.
func TestLastOfOneWrite(t *testing.T) {
	server := postgrestest.Run(t)
	cfg, name := fresh(t, server)
	d := open(t, cfg)
	list := storetest.Fleet(1, 300)
	for _, trip := range []string{"a", "b"} {
		for i := range list {
			list[i].Trip = trip
		}
		first := slices.Clone(list)
		for i := range first {
			first[i].Trip = "no"
		}
		written(t, d, append(append(first, first...), list...)...)
		if got := server.Text(t, name, "SELECT string_agg(DISTINCT trip, ' ') || count(*) FROM location"); got != trip+"300" {
			t.Errorf("stored are %s, want %s300", got, trip)
		}
	}
}

// A rider's pings go, and nobody else's.
func TestErase(t *testing.T) {
	server := postgrestest.Run(t)
	cfg, name := fresh(t, server)
	d := open(t, cfg)
	if err := d.Erase(t.Context(), "r"); err != nil {
		t.Errorf("from an empty database: %v", err)
	}
	list := storetest.Fleet(1, 100)
	written(t, d, list...)
	for range 2 {
		if err := d.Erase(t.Context(), list[0].Rider); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(t, server, name); n != "90" {
		t.Errorf("%s rows are left, want 90", n)
	}
}

// The password's file is read for each connection, and faults of it are told.
func TestPasswordFile(t *testing.T) {
	server := postgrestest.Run(t)
	cfg, name := fresh(t, server)
	cfg.PasswordFile = filepath.Join(t.TempDir(), "password")
	d := open(t, cfg)
	ping := storetest.Fleet(1, 1)[0]
	_ = refused(t, d, store.Configure, store.Credentials, ping)
	for text, ok := range map[string]bool{"a\nb": false, "wrong": false, postgrestest.Password + "\n": true} {
		if err := os.WriteFile(cfg.PasswordFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		server.Exec(t, name, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
		if !ok {
			until(t, "a refusal", func() bool {
				r := new(store.Refusal)
				return errors.As(d.Write(t.Context(), storeRows(d, ping)), &r) && r.Reason == store.Credentials
			})
			continue
		}
		until(t, "a write with the right password", func() bool { return d.Write(t.Context(), storeRows(d, ping)) == nil })
	}
}
