package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pingline"
	"pingline/internal/influxd"
	"pingline/sink/clickhouse"
	"pingline/sink/clickhouse/clickhousetest"
	"pingline/sink/influx"
	"pingline/sink/influx/influxtest"
	"pingline/sink/postgres"
	"pingline/sink/postgres/postgrestest"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// history returns rows of three days of every kind, and points beside them.
func history(n int) (list []pingline.Entry) {
	const day = 24 * 60 * 60 * 1000
	list = storetest.Fleet(9, n)
	for i := range list {
		e := &list[i]
		e.At = storetest.Recently - int64(i%3)*day - int64(i)
		switch i % 10 {
		case 1:
			e.Event = "sos"
		case 2:
			e.Late, e.Apart = true, true
		case 4:
			e.Late, e.Apart, e.Corrected = true, true, true
		case 5:
			e.Device = "watch"
		}
	}
	for i := range 50 {
		p := &pingline.Point{
			Name: "cell_activity", At: storetest.Recently - int64(i)*60_000,
			Tags:   []pingline.Tag{{Key: "cell", Value: fmt.Sprint(i)}, {Key: "res", Value: "8"}},
			Fields: []pingline.PointField{pingline.Int("pings", int64(i)), pingline.Float("share", float64(i)/7)},
		}
		list = append(list, pingline.Entry{Kind: pingline.Activity, Point: p})
	}
	return list
}

func put(t *testing.T, to store.Store, list []pingline.Entry) {
	t.Helper()
	for part := range slices.Chunk(list, 2000) {
		var rows store.Rows
		for i := range part {
			rows.Bytes = to.AppendRow(rows.Bytes, &part[i])
			rows.N++
		}
		if err := to.Write(t.Context(), rows); err != nil {
			t.Fatal(err)
		}
	}
}

// content returns all rows of a store, in an order of their own.
func content(t *testing.T, s store.Store) (list []pingline.Entry) {
	t.Helper()
	var keys []string
	add := func(e pingline.Entry) {
		b := pingline.AppendEntry(nil, &e, 0)
		if _, err := pingline.DecodeEntry(&e, b, 0); err != nil { // memory of its own
			t.Fatal(err)
		}
		i, _ := slices.BinarySearch(keys, string(b))
		keys, list = slices.Insert(keys, i, string(b)), slices.Insert(list, i, e)
	}
	err := s.(store.Reader).Points(t.Context(), store.All(), func(e *pingline.Entry, _ int64) error {
		add(*e)
		return nil
	})
	if err == nil {
		err = s.(store.PointReader).PointsNamed(t.Context(), "cell_activity", 0, 1<<42, func(p *pingline.Point) error {
			add(pingline.Entry{Kind: pingline.Activity, Point: p})
			return nil
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// alike checks that two stores have equal rows.
func alike(t *testing.T, from, to store.Store) {
	t.Helper()
	want, got := content(t, from), content(t, to)
	if len(got) != len(want) || len(got) == 0 {
		t.Fatalf("the copy has %d rows, the source %d", len(got), len(want))
	}
	for i := range want {
		if !got[i].Equal(&want[i]) {
			t.Fatalf("row %d of the copy is %+v, of the source %+v", i, got[i], want[i])
		}
	}
}

// copies runs pingline copy in a directory.
func copies(t *testing.T, dir string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	cmd := pinglineCommand(append([]string{"copy"}, args...)...)
	cmd.Dir = dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // the status tells
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func readable(t *testing.T, s store.Store, err error) store.Store {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// History of an InfluxDB 1.8 is the same in ClickHouse, pings and points; rows that are then
// changed or removed are found and named.
func TestCopyIntoClickHouse(t *testing.T) {
	ch := clickhousetest.Run(t)
	db := startInflux(t)
	from := influxtest.Open(t, influxtest.Access(db, "pingline"))
	list := history(6000)
	put(t, from, list)
	dir := t.TempDir()
	args := []string{"url=" + db.URL() + ",bucket=pingline", "url=" + ch.URL("pingline") + ",token-file=" + ch.PasswordFile(), "--rate=0"}
	status, out, said := copies(t, dir, args...)
	if status != exitOK || !strings.HasPrefix(out, "source and target are the same in ") {
		t.Fatalf("exit status %d: %s%s", status, out, said)
	}
	tables, err := clickhouse.New(clickhouse.Config{URL: ch.URL("pingline"), PasswordFile: ch.PasswordFile(), Timeout: patience})
	to := readable(t, tables, err)
	alike(t, from, to)
	changed, gone := list[40], list[41].Rider
	changed.Skipped += 5
	put(t, to, []pingline.Entry{changed})
	if err := tables.Erase(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	status, out, said = copies(t, dir, append(args, "--compare-only")...)
	if status != exitFailed || !strings.Contains(out, "rider "+changed.Rider+": ") || !strings.Contains(out, "rider "+gone+": ") || !strings.Contains(said, "source and target differ in ") {
		t.Errorf("exit status %d: %s%s", status, out, said)
	}
	if strings.Contains(out+said, "password") {
		t.Errorf("a secret is told: %s%s", out, said)
	}
}

// A copy that is killed goes on where it was: nothing is doubled, nothing is missing.
func TestCopyFromPostgresKilled(t *testing.T) {
	pg := postgrestest.Run(t)
	db := startInfluxWith(t, influxd.Config{Version: 1})
	database, err := postgres.New(postgres.Config{URL: pg.URL("pingline"), PasswordFile: pg.PasswordFile(), Timeout: patience})
	from := readable(t, database, err)
	put(t, from, history(6000))
	dir := t.TempDir()
	args := []string{"url=" + pg.URL("pingline") + ",token-file=" + pg.PasswordFile(), "url=" + db.URL() + ",bucket=pingline"}
	state := filepath.Join(dir, "pingline-copy.json")
	for done := 0; done < 2; { // units, in two processes at least
		cmd := pinglineCommand(append([]string{"copy", "--rate=4000"}, args...)...)
		cmd.Dir = dir
		said, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(said).ReadString('\n'); err != nil || !strings.HasPrefix(line, "copied pings of ") {
			t.Errorf("said %q, %v", line, err)
		}
		eventually(t, "a unit is done", func() bool {
			text, _ := os.ReadFile(state)
			rows := strings.Count(string(text), `"state":"copied"`)
			if rows > done {
				done = rows
				return true
			}
			return false
		})
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	status, out, said := copies(t, dir, append(args, "--rate=0")...)
	if status != exitOK || !strings.HasPrefix(out, "source and target are the same in ") {
		t.Fatalf("exit status %d: %s%s", status, out, said)
	}
	bucket, err := influx.New(influxtest.Access(db, "pingline"))
	alike(t, from, readable(t, bucket, err))
	if status, _, said := copies(t, dir, args[1], args[0]); status != exitUsage || !strings.Contains(said, "belongs to another copy") {
		t.Errorf("the way back with the same state: exit status %d: %s", status, said)
	}
}
