package clickhouse_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"pingline"
	"pingline/sink/clickhouse"
	"pingline/sink/clickhouse/clickhousetest"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// rowsOf encodes entries.
func rowsOf(to *clickhouse.Tables, list ...pingline.Entry) (r store.Rows) {
	for i := range list {
		r.Bytes = to.AppendRow(r.Bytes, &list[i])
		r.N++
	}
	return r
}

func mustWrite(t *testing.T, to *clickhouse.Tables, list ...pingline.Entry) {
	t.Helper()
	if err := to.Write(t.Context(), rowsOf(to, list...)); err != nil {
		t.Fatal(err)
	}
}

// all returns what is stored, by rider and time.
func all(t *testing.T, to *clickhouse.Tables) (list []pingline.Entry) {
	t.Helper()
	if err := to.Points(t.Context(), store.All(), func(e *pingline.Entry, _ int64) error { list = append(list, *e); return nil }); err != nil {
		t.Fatal(err)
	}
	return list
}

// refused returns the refusal of a write.
func refused(t *testing.T, err error, kind store.Kind, reason string) *store.Refusal {
	t.Helper()
	r := new(store.Refusal)
	if !errors.As(err, &r) || r.Kind != kind || r.Reason != reason {
		t.Fatalf("the error is %v, %+v, want a refusal of kind %v for %q", err, r, kind, reason)
	}
	return r
}

// Writers go on while the server is killed again and again: each row is there once at the
// end, though many were written twice.
func TestKilledInTheMiddleOfWrites(t *testing.T) {
	s := clickhousetest.Run(t)
	to := open(t, config(s, "pingline"))
	mustWrite(t, to)
	const writers, batches, size = 3, 20, 200
	var written atomic.Int64
	var wg sync.WaitGroup
	want := make(map[string]bool)
	for w := range writers {
		list := storetest.Fleet(uint64(20+w), batches*size)
		for i := range list {
			want[key(&list[i])] = true
		}
		wg.Go(func() {
			for b := range batches {
				rows := rowsOf(to, list[b*size:(b+1)*size]...)
				for {
					err := to.Write(t.Context(), rows)
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
	for kill := range int64(5) {
		for written.Load() < kill*8+4 {
			if t.Failed() {
				break
			}
			_, _ = s.Query(t.Context(), "SELECT 1") // a wait that needs no clock
		}
		if err := s.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	got := make(map[string]bool)
	for _, e := range all(t, to) {
		if got[key(&e)] {
			t.Errorf("%s is there twice", key(&e))
		}
		got[key(&e)] = true
	}
	if len(got) != len(want) {
		t.Errorf("%d rows, want %d", len(got), len(want))
	}
	for k := range want {
		if !got[k] {
			t.Fatalf("%s is not there", k)
		}
	}
}

func key(e *pingline.Entry) string { return string((*clickhouse.Tables)(nil).AppendRow(nil, e)) }

// Of rows of one write that are the same the last stays, too.
func TestLastOfOneWriteStays(t *testing.T) {
	s := clickhousetest.Run(t)
	to := open(t, config(s, "pingline"))
	first := storetest.Fleet(1, 1)[0]
	last := first
	last.Skipped, last.Trip = 77, "the last"
	other := storetest.Fleet(2, 1)[0]
	mustWrite(t, to, first, other, last)
	if got := all(t, to); len(got) != 2 || !got[0].Equal(&last) {
		t.Errorf("there is %+v, want %+v", got, last)
	}
	// And a write that was taken does not hide behind one that looks the same.
	mustWrite(t, to, first, other)
	mustWrite(t, to, first, other, last)
	mustWrite(t, to, first, other)
	if got := all(t, to); len(got) != 2 || !got[0].Equal(&first) {
		t.Errorf("there is %+v, want %+v", got, first)
	}
}

// A table that vanishes is for an operator, or is made again; one that does not fit is
// named in a sentence and left alone.
func TestTablesThatDoNotFit(t *testing.T) {
	s := clickhousetest.Run(t)
	cfg := config(s, "pingline")
	cfg.CreateSchema = false
	strict, makes := open(t, cfg), open(t, config(s, "pingline"))
	ping := storetest.Fleet(1, 1)[0]
	rows := rowsOf(strict, ping)
	expect := func(to *clickhouse.Tables, words string) {
		t.Helper()
		r := refused(t, to.Write(t.Context(), rows), store.Configure, store.Missing)
		if !strings.Contains(r.Error(), words) || !strings.Contains(r.Advice, "pingline schema clickhouse") {
			t.Errorf("%q, with advice %q, does not say %q", r.Error(), r.Advice, words)
		}
	}
	noted := func(to *clickhouse.Tables, words string) {
		t.Helper()
		if notes := to.Notes(); len(notes) != 1 || !strings.Contains(notes[0], words) {
			t.Errorf("the notes are %q, want %q", notes, words)
		}
	}
	expect(strict, "there is no table pingline.pings")
	noted(strict, "there is no table pingline.pings")
	mustWrite(t, makes, ping)
	mustWrite(t, strict, ping)
	if notes := strict.Notes(); len(notes) != 0 {
		t.Errorf("tables that fit are noted: %q", notes)
	}
	s.Execute(t, "DROP TABLE pingline.pings")
	expect(strict, "pings")
	expect(strict, "there is no table pingline.pings")
	if err := makes.Write(t.Context(), rows); err != nil { // learns of it by the refusal
		refused(t, err, store.Configure, store.Missing)
		mustWrite(t, makes, ping)
	}
	if got := all(t, makes); len(got) != 1 {
		t.Errorf("%d rows, want 1", len(got))
	}
	s.Execute(t, "ALTER TABLE pingline.pings MODIFY COLUMN skipped UInt64")
	for _, to := range []*clickhouse.Tables{strict, makes} {
		refused(t, to.Write(t.Context(), rows), store.Configure, store.Missing) // in the server's words
		expect(to, "column skipped of table pingline.pings is UInt64, not UInt32")
		noted(to, "column skipped")
	}
	s.Execute(t, "DROP TABLE pingline.pings")
	s.Execute(t, "CREATE TABLE pingline.pings (rider String, ts Int64) ENGINE = MergeTree ORDER BY rider")
	expect(makes, "table pingline.pings is a MergeTree, not a ReplacingMergeTree")
	s.Execute(t, "DROP TABLE pingline.pings")
	s.Execute(t, "CREATE TABLE pingline.pings (rider String, ts Int64, version UInt64) ENGINE = ReplacingMergeTree(version) ORDER BY (rider, ts)")
	expect(makes, "table pingline.pings is ordered by (rider, ts), not by (rider, device, ts")
	if got := s.Execute(t, "SELECT count() FROM system.columns WHERE database = 'pingline' AND table = 'pings'"); got != "3" {
		t.Errorf("the table has %s columns: it was altered", got)
	}
	if text := s.Execute(t, "SELECT count() FROM system.tables WHERE database = 'pingline' AND name = 'cell_activity'"); text != "1" {
		t.Error("there is no view of the roll-ups")
	}
}

func TestUserWhoMayOnlyRead(t *testing.T) {
	s := clickhousetest.Run(t)
	mustWrite(t, open(t, config(s, "pingline")), storetest.Fleet(1, 5)...)
	cfg := config(s, "pingline")
	cfg.URL = strings.Replace(cfg.URL, clickhousetest.User+"@", "reader@", 1)
	reader := open(t, cfg)
	refused(t, reader.Write(t.Context(), rowsOf(reader, storetest.Fleet(1, 5)...)), store.Configure, store.Rights)
	if got := all(t, reader); len(got) != 5 {
		t.Errorf("%d rows are read, want 5", len(got))
	}
	for _, f := range reader.Check(t.Context()) {
		if bad := f.Remedy != ""; bad != (f.What == "write") {
			t.Errorf("check: %+v", f)
		}
	}
}

func TestCheckFindsWhatIsWrong(t *testing.T) {
	s := clickhousetest.Run(t)
	cfg := config(s, "pingline")
	names := func(to *clickhouse.Tables) (all []string) {
		for _, f := range to.Check(t.Context()) {
			if f.Remedy != "" {
				f.What += ": " + f.Found
			}
			all = append(all, f.What)
		}
		return all
	}
	to := open(t, cfg)
	if got := names(to); len(got) != 2 || got[1] != "tables" {
		t.Errorf("before the first write: %q", got)
	}
	if text := s.Execute(t, "SELECT count() FROM system.tables WHERE database = 'pingline'"); text != "0" {
		t.Errorf("the check has made %s tables", text)
	}
	cfg.CreateSchema = false
	if got := names(open(t, cfg)); len(got) != 2 || !strings.Contains(got[1], "there is no table pingline.pings") {
		t.Errorf("without tables, and without the right to make them: %q", got)
	}
	mustWrite(t, to)
	if got := strings.Join(names(to), " "); got != "reachable tables write read" {
		t.Errorf("with tables: %q", got)
	}
	if keep, told := to.Retention(t.Context()); keep != 0 || !told {
		t.Errorf("rows are kept for %v, told %v, want for ever", keep, told)
	}
	s.Kill()
	if got := names(to); len(got) != 1 || !strings.HasPrefix(got[0], "reachable: ") {
		t.Errorf("of a dead server: %q", got)
	}
}

// A server that cannot delete by age is not given tables that would keep rows for ever.
func TestKeepNeedsANewerServer(t *testing.T) {
	s := clickhousetest.Run(t)
	cfg := config(s, "pingline")
	cfg.URL += "?keep=720h"
	to := open(t, cfg)
	r := refused(t, to.Write(t.Context(), store.Rows{}), store.Configure, store.Missing)
	if !strings.Contains(r.Error(), "deletes no rows by their age: leave keep out of the url") {
		t.Error(r.Error())
	}
}

func TestEraseRemovesARider(t *testing.T) {
	s := clickhousetest.Run(t)
	to := open(t, config(s, "pingline"))
	list := storetest.Fleet(1, 300)
	for i := range list {
		if i%3 == 0 {
			list[i].Rider = "it's; DROP"
		}
	}
	mustWrite(t, to, list[:200]...)
	mustWrite(t, to, list[100:]...)
	for range 2 {
		if err := to.Erase(t.Context(), "it's; DROP"); err != nil {
			t.Fatal(err)
		}
		got := all(t, to)
		for i := range got {
			if got[i].Rider == "it's; DROP" {
				t.Fatal("a ping of the rider is there")
			}
		}
		if len(got) != 200 {
			t.Fatalf("%d pings, want 200", len(got))
		}
	}
}

// No error and no note has the password, though a proxy quotes the request; and the
// password is in no URL.
func TestPasswordStaysSecret(t *testing.T) {
	const secret = "s3cret-word"
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if user != "ann" || password != secret || strings.Contains(r.URL.String(), secret) {
			t.Errorf("user %q, password %q, %s", user, password, r.URL)
		}
		http.Error(w, "bad gateway: ann:"+password, http.StatusBadGateway)
	}))
	defer proxy.Close()
	to := open(t, clickhouse.Config{URL: strings.Replace(proxy.URL, "http://", "clickhouse://ann@", 1) + "/db", PasswordFile: file})
	err := to.Write(t.Context(), store.Rows{})
	refused(t, err, store.Retry, "")
	if strings.Contains(err.Error(), secret) {
		t.Error(err)
	}
	for _, url := range []string{"clickhouse://ann:" + secret + "@host/db", "clickhouse://ann:" + secret + "@host:port/db", "http://ann:" + secret + "@host/db"} {
		if _, err := clickhouse.New(clickhouse.Config{URL: url}); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("the error is %v", err)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	refused(t, to.Write(t.Context(), store.Rows{}), store.Configure, store.Credentials)
}

func TestSettingsThatAreWrong(t *testing.T) {
	for url, words := range map[string]string{
		"":                                        "not of the form",
		"http://host:8123/db":                     "not of the form",
		"clickhouse:///db":                        "not of the form",
		"clickhouse://host:8123":                  "not of the form",
		"clickhouse://host:8123/a/b":              "not of the form",
		"clickhouse://host/db?secure=1":           `option "secure"`,
		"clickhouse://host/db?keep=1":             "keep",
		"clickhouse://host/db?keep=90d":           "keep",
		"clickhouse://host/db?keep=2h&keep=3h":    "keep",
		"clickhouse://user:password@host:8123/db": "token file",
	} {
		_, err := clickhouse.New(clickhouse.Config{URL: url})
		if fault := new(clickhouse.FieldFault); !errors.As(err, &fault) || fault.Field != "URL" || !strings.Contains(err.Error(), words) {
			t.Errorf("%q: %v, want %q", url, err, words)
		}
	}
	for url, want := range map[string]string{
		"clickhouse://host/db":          "http://host:8123/db",
		"clickhouses://ann@host/db":     "https://host:8443/db",
		"clickhouse://[::1]:9/db":       "http://[::1]:9/db",
		"clickhouse://h:1/db?keep=720h": "http://h:1/db",
	} {
		to, err := clickhouse.New(clickhouse.Config{URL: url})
		if err != nil || to.URL() != want {
			t.Errorf("%q: %v, %v, want %s", url, to, err, want)
		}
	}
	for field, cfg := range map[string]clickhouse.Config{
		"CertFile": {URL: "clickhouse://h/db", CertFile: "x"}, "KeyFile": {URL: "clickhouse://h/db", KeyFile: "x"}, "Timeout": {URL: "clickhouse://h/db", Timeout: -1},
	} {
		_, err := clickhouse.New(cfg)
		if fault := new(clickhouse.FieldFault); !errors.As(err, &fault) || fault.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// An answer that breaks off, or ends in an error behind rows, is no end of the rows.
func TestAnswersThatBreakOff(t *testing.T) {
	s := clickhousetest.Run(t)
	mustWrite(t, open(t, config(s, "pingline")), storetest.Fleet(1, 1000)...)
	var whole int
	through := func(fault func(answer []byte) []byte) (rows int, err error) {
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			statement, _ := io.ReadAll(r.Body)
			req, err := http.NewRequestWithContext(r.Context(), r.Method, s.Address()+r.URL.RequestURI(), bytes.NewReader(statement))
			if err != nil {
				t.Error(err)
				return
			}
			req.Header = r.Header
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = resp.Body.Close() }()
			text, _ := io.ReadAll(resp.Body)
			if bytes.HasPrefix(statement, []byte("SELECT rider")) {
				whole = len(text)
				text = fault(text)
			}
			_, _ = w.Write(text)
		}))
		defer proxy.Close()
		cfg := config(s, "pingline")
		cfg.URL = strings.Replace(proxy.URL, "http://", "clickhouse://"+clickhousetest.User+"@", 1) + "/pingline"
		err = open(t, cfg).Points(t.Context(), store.All(), func(*pingline.Entry, int64) error { rows++; return nil })
		return rows, err
	}
	rows, err := through(func(b []byte) []byte {
		return append(b, "Code: 241, e.displayText() = DB::Exception: Memory limit exceeded"...)
	})
	if err == nil || !strings.Contains(err.Error(), "Memory limit exceeded") || rows != 1000 {
		t.Errorf("behind %d rows the error is %v", rows, err)
	}
	for _, at := range []int{1, 2, 10, whole / 2, whole - 1} {
		if rows, err := through(func(b []byte) []byte { return b[:at] }); err == nil {
			t.Errorf("cut at %d of %d bytes the answer is taken for whole, of %d rows", at, whole, rows)
		}
	}
	if rows, err := through(func(b []byte) []byte { return b }); err != nil || rows != 1000 {
		t.Errorf("%d rows, %v", rows, err)
	}
}

// Rows are read however many parts wait to be merged, within the memory that a query may have.
func TestReadOfManyParts(t *testing.T) {
	s := clickhousetest.Run(t)
	to := open(t, config(s, "pingline"))
	mustWrite(t, to)
	s.Execute(t, "SYSTEM STOP MERGES")
	list := storetest.Fleet(3, 100*20)
	for part := range slices.Chunk(list, 20) {
		mustWrite(t, to, part...)
	}
	if got := all(t, to); len(got) != len(list) {
		t.Errorf("%d rows, want %d", len(got), len(list))
	}
}
