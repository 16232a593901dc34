// Package influxtest opens buckets of real and of scripted InfluxDB servers for
// tests, and compares what is stored in them.
package influxtest

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/internal/influxd"
	"pingline/sink/influx"
	"pingline/sink/store"
)

// EachVersion runs test with a real 1.8 and with a real 2.x. cfg may have
// settings of both; its Token is for 1.8 only.
func EachVersion(t *testing.T, cfg influxd.Config, test func(t *testing.T, server *influxd.Server)) {
	t.Helper()
	for version, name := range map[int]string{1: "1.8", 2: "2.x"} {
		t.Run(name, func(t *testing.T) {
			mine := cfg
			if mine.Version = version; version == 2 {
				mine.Token = ""
			}
			test(t, influxd.Run(t, mine))
		})
	}
}

// Access returns the Config with which the owner of server opens a bucket.
func Access(server *influxd.Server, bucket string) influx.Config {
	return influx.Config{URL: server.URL(), Org: server.Org(), Token: server.Token(), Bucket: bucket}
}

// CreateBucket makes a bucket that keeps points for the time keep, 0 for ever.
func CreateBucket(t testing.TB, server *influxd.Server, name string, keep time.Duration) {
	t.Helper()
	if err := server.CreateBucket(context.Background(), name, keep); err != nil {
		t.Fatal(err)
	}
}

// CreateToken returns a token with the rights read and write to the server's
// first bucket.
func CreateToken(t testing.TB, server *influxd.Server, read, write bool) string {
	t.Helper()
	token, err := server.CreateToken(context.Background(), server.Bucket(), read, write)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// Open returns the bucket cfg names, "pingline" if none, until the test ends.
func Open(t testing.TB, cfg influx.Config) *influx.Bucket {
	t.Helper()
	if cfg.Bucket == "" {
		cfg.Bucket = "pingline"
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Minute
	}
	b, err := influx.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// Script is a server that answers writes by calling answer with the lines of
// each: for faults that the real InfluxDB cannot be made to show.
func Script(t testing.TB, answer func(w http.ResponseWriter, lines []string)) *influx.Bucket {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost { // a question
			http.Error(w, "only writes are answered", http.StatusInternalServerError)
			return
		}
		body, err := bodyOf(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		answer(w, slices.Collect(strings.Lines(string(body))))
	}))
	t.Cleanup(server.Close)
	return Open(t, influx.Config{URL: server.URL})
}

// bodyOf returns the body of a request, inflated if it was compressed.
func bodyOf(r *http.Request) ([]byte, error) {
	if r.Header.Get("Content-Encoding") == "gzip" {
		return Gunzip(r.Body)
	}
	return io.ReadAll(r.Body)
}

// Gunzip returns the inflated bytes of r.
func Gunzip(r io.Reader) ([]byte, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	_, err = b.ReadFrom(z)
	return b.Bytes(), err
}

// Execute runs InfluxQL on a 1.8 as an operator would.
func Execute(t testing.TB, server *influxd.Server, db, iql string) {
	t.Helper()
	resp, err := http.PostForm(server.URL()+"/query", url.Values{"q": {iql}, "db": {db}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || bytes.Contains(text, []byte(`"error"`)) {
		t.Fatalf("%s: %s %s, %v", iql, resp.Status, text, err)
	}
}

// Write writes lines of line protocol in one request.
func Write(t testing.TB, b *influx.Bucket, lines string) {
	t.Helper()
	if err := b.Write(context.Background(), Rows(lines)); err != nil {
		t.Fatal(err)
	}
}

// Rows returns lines as rows.
func Rows(lines string) store.Rows {
	n := strings.Count(lines, "\n")
	if lines != "" && !strings.HasSuffix(lines, "\n") {
		n++
	}
	return store.Rows{Bytes: []byte(lines), N: n}
}

// Lines returns the stored entries as sorted line protocol.
func Lines(entries ...pingline.Entry) []string {
	var list []string
	for i := range entries {
		if entries[i].Stored() {
			list = append(list, string(influx.AppendLine(nil, &entries[i])))
		}
	}
	slices.Sort(list)
	return list
}

// Stored reads all points back from a bucket, as sorted line protocol.
func Stored(t testing.TB, b *influx.Bucket) []string {
	t.Helper()
	var list []string
	err := b.Points(context.Background(), store.All(), func(e *pingline.Entry, _ int64) error {
		list = append(list, string(influx.AppendLine(nil, e)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

// SameLines checks that got and want have the same lines.
func SameLines(t testing.TB, got, want []string) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	t.Errorf("%d lines are stored, want %d", len(got), len(want))
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("the first that differs is\n%swant\n%s", got[i], want[i])
		}
	}
}

// Eventually waits until ok, for as long as a busy machine may take.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
