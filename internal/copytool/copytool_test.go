package copytool

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pingline"
	"pingline/internal/command"
	"pingline/internal/influxd"
	"pingline/sink/copying"
	"pingline/sink/influx/influxtest"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// request returns the command of arguments.
func request(t *testing.T, from, to string) *CopyCmd {
	t.Helper()
	dir := t.TempDir()
	c := &CopyCmd{State: filepath.Join(dir, "state"), Refused: filepath.Join(dir, "refused"), Points: true}
	if err := errors.Join(c.From.UnmarshalText([]byte(from)), c.To.UnmarshalText([]byte(to))); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestWrongRequests(t *testing.T) {
	const a, b = "url=http://a:1,bucket=x", "url=clickhouse://b:2/x"
	for want, set := range map[string]func(c *CopyCmd){
		"FROM and TO are the same store": func(c *CopyCmd) { c.To = c.From },
		"--until: is not after --since":  func(c *CopyCmd) { c.Since, c.Until = copyTime{"x", 5}, copyTime{"y", 5} },
		"--rate: -1 is not in":           func(c *CopyCmd) { c.Rate = -1 },
		"--rider: rider_id: ":            func(c *CopyCmd) { c.Rider = "a\x00b" },
	} {
		c := request(t, a, b)
		if set(c); c.Validate() == nil || !strings.HasPrefix(c.Validate().Error(), want) {
			t.Errorf("%v, want %s", c.Validate(), want)
		}
	}
	c := request(t, a, "url=kafka://b:9092/topic")
	err := c.Run(&command.Program{Context: t.Context(), Stdout: new(bytes.Buffer), Stderr: new(bytes.Buffer)})
	if err == nil || !errors.As(err, new(command.UsageError)) || !strings.Contains(err.Error(), "cannot be read") {
		t.Errorf("into a queue: %v", err)
	}
	var m copyTime
	for text, want := range map[string]int64{"2026-03-01": 1772323200000, "2026-03-01T01:00:00+01:00": 1772323200000} {
		if err := m.UnmarshalText([]byte(text)); err != nil || m.ms != want {
			t.Errorf("%s is %d, %v", text, m.ms, err)
		}
	}
	if err := m.UnmarshalText([]byte("soon")); err == nil {
		t.Error("soon is a time")
	}
}

// The state names stores without the users and passwords of their URLs.
func TestStateHasNoSecrets(t *testing.T) {
	c := request(t, "url=http://me:s3cret@a:1,bucket=x,token-file=/t", "url=postgres://you:s3cret@b:2/db?sslmode=disable&password=s3cret")
	text, err := json.Marshal(c.job())
	if err != nil || strings.Contains(string(text), "s3cret") || !strings.Contains(string(text), "a:1 x") || !strings.Contains(string(text), "postgres://b:2/db") {
		t.Errorf("the job is %s, %v", text, err)
	}
}

// Rows that are refused are in the file once, also if their day was broken off.
func TestRefusedRowsAreKeptOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "refused")
	open := func() (*refusedFile, *copying.DoneFile) {
		t.Helper()
		s, err := copying.OpenDone(filepath.Join(dir, "state"), copying.CopyJob{})
		if err != nil {
			t.Fatal(err)
		}
		r, err := openRefused(path, s, false)
		if err == nil {
			err = s.Begin()
		}
		if err != nil {
			t.Fatal(err)
		}
		return r, s
	}
	e := storetest.Fleet(1, 3)
	r, s := open()
	end := int64(0)
	err := r.put(&e[0], errors.New("no"))
	if err == nil {
		end, err = r.sync()
	}
	if err = errors.Join(err, s.Append(end, copying.Done{Unit: copying.Unit{To: 1}, State: copying.UnitCopied, Copied: copying.Copied{Rows: 1, Refused: 1}}), r.put(&e[1], errors.New("broken off")), r.close()); err != nil {
		t.Fatal(err)
	}
	r, _ = open()
	if err := errors.Join(r.put(&e[2], errors.New("again")), r.close()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if err != nil || len(lines) != 2 || !strings.HasPrefix(lines[0], `{"why":"no","kind":"ping"`) || !strings.HasPrefix(lines[1], `{"why":"again"`) || !json.Valid([]byte(lines[1])) {
		t.Errorf("refused rows are %s, %v", text, err)
	}
	other, err := copying.OpenDone(filepath.Join(dir, "other"), copying.CopyJob{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openRefused(path, other, false); err == nil || !strings.Contains(err.Error(), "has rows of another copy") {
		t.Errorf("the file of another copy: %v", err)
	}
}

// A bucket whose retention refuses old rows takes the others; the old rows are named.
func TestCopyBeyondRetention(t *testing.T) {
	db := influxd.Run(t, influxd.Config{Version: 1})
	influxtest.CreateBucket(t, db, "short", 7*24*3600*1e9)
	from := influxtest.Open(t, influxtest.Access(db, "pingline"))
	list := storetest.Fleet(4, 300)
	old := 0
	var rows store.Rows
	for i := range list {
		list[i].At = storetest.AnHourAgo() + int64(i)
		if i%3 == 0 {
			list[i].At -= 40 * 24 * 3600 * 1000
			old++
		}
		rows.Bytes = from.AppendRow(rows.Bytes, &list[i])
		rows.N++
	}
	if err := from.Write(t.Context(), rows); err != nil {
		t.Fatal(err)
	}
	c := request(t, "url="+db.URL()+",bucket=pingline", "url="+db.URL()+",bucket=short")
	var out, said bytes.Buffer
	err := c.Run(&command.Program{Context: t.Context(), Stdout: &out, Stderr: &said})
	if err == nil || !strings.Contains(err.Error(), "the target refused 100 rows, which") {
		t.Errorf("%v\n%s%s", err, out.String(), said.String())
	}
	text, err := os.ReadFile(c.Refused)
	if err != nil || bytes.Count(text, []byte("\n")) != old {
		t.Errorf("%d refused rows are in the file, want %d: %v", bytes.Count(text, []byte("\n")), old, err)
	}
	n := 0
	to := influxtest.Open(t, influxtest.Access(db, "short"))
	err = to.Points(t.Context(), store.All(), func(*pingline.Entry, int64) error { n++; return nil })
	if err != nil || n != len(list)-old {
		t.Errorf("%d rows are copied, want %d: %v", n, len(list)-old, err)
	}
}
