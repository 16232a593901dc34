package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/internal/logview"
	"pingline/sim/audit"
	"pingline/sink/influx"
	"pingline/sink/store"
)

// prints runs pingline with args to its end, and returns its output.
func prints(t *testing.T, args ...string) (stdout, stderr string) {
	t.Helper()
	cmd := pinglineCommand(args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, errs.String())
	}
	return out.String(), errs.String()
}

// A backup of a node that takes pings all the while has all that was acknowledged before: a
// node that starts on the restored directory knows these pings, and stores them.
func TestBackupOfARunningNode(t *testing.T) {
	dir := t.TempDir()
	p := serve(t, dir, "http://127.0.0.1:1", "--rider-rate=0")
	server := "--server=" + strings.TrimSuffix(p.ops, "/metrics")
	c := &client{t: t, ledger: audit.NewLedger()}
	before := wander(20, 100, time.Now().Add(-5*time.Minute))
	counts := c.send(p.url, before)
	if counts["accepted"] == 0 || counts["held"]+counts["redundant"] == 0 {
		t.Fatalf("verdicts %v", counts)
	}
	tr := drive(t, p.url, 2000)
	tr.more(500)
	file := filepath.Join(t.TempDir(), "pingline.tar")
	_, said := prints(t, "log", "backup", server, "--out="+file)
	var number uint64
	if _, err := fmt.Sscanf(said, "backup number %d:", &number); err != nil {
		t.Fatalf("said %q: %v", said, err)
	}
	tr.more(100)

	var now logview.Inspection
	out, _ := prints(t, "log", "inspect", server, "--json")
	if err := json.Unmarshal([]byte(out), &now); err != nil {
		t.Fatal(err)
	}
	if now.Last <= number || len(now.Sets) != 1 || now.Sets[0].Pings < uint64(counts["accepted"]) || len(now.Sets[0].Lanes) != 4 || now.Sets[0].Lanes[1].Since == 0 {
		t.Errorf("the log is at %d, number %d is backed up, %d pings were accepted: %s", now.Last, number, counts["accepted"], out)
	}
	if text, _ := prints(t, "log", "inspect", server); !strings.Contains(text, "\nset main: ") || !strings.Contains(text, "backfill") {
		t.Errorf("inspect prints:\n%s", text)
	}
	if out, _ := prints(t, "log", "tail", server, "-n7"); strings.Count(out, "\n") != 7 {
		t.Errorf("tail prints:\n%s", out)
	}
	if status, said := exits(t, "log", "inspect", "--data-dir="+dir); status != exitUsage || !strings.Contains(said, "in use by a running node: ask it, by --server=") {
		t.Errorf("a log in use: exit status %d, said %q", status, said)
	}
	tr.stop()
	p.kill()

	restored := filepath.Join(t.TempDir(), "new")
	_, said = prints(t, "log", "restore", file, "--data-dir="+restored)
	if !strings.HasPrefix(said, fmt.Sprintf("restored backup number %d of ", number)) {
		t.Errorf("restore says %q", said)
	}
	if status, said := exits(t, "log", "restore", file, "--data-dir="+restored); status != exitUsage || !strings.Contains(said, "is not empty") {
		t.Errorf("restored twice: exit status %d, said %q", status, said)
	}
	exported := filepath.Join(t.TempDir(), "log.ndjson")
	prints(t, "log", "export", "--data-dir="+restored, "--out="+exported, fmt.Sprintf("--to=%d", number/2))
	if _, said := prints(t, "log", "export", "--data-dir="+restored, "--out="+exported, "--resume"); !strings.Contains(said, fmt.Sprintf("to %d; --from=%d goes on", number, number+1)) {
		t.Errorf("export says %q", said)
	}
	checkExport(t, exported, before, number)

	db := startInflux(t)
	p = serve(t, restored, db.URL(), "--rider-rate=0", "--idle-flush=1ms", "--batch-wait=50ms")
	verdicts, _ := c.request(p.url, before[:500])
	for i, v := range verdicts {
		if v != pingline.Duplicate && v != pingline.Redundant { // which the filter does not remember one by one
			t.Fatalf("ping %d sent again is %v", i, v)
		}
	}
	p.settled()
	eventually(t, "what was held is stored", func() bool {
		n, err := p.metric("pingline_holding")
		return err == nil && n == 0
	})
	p.settled()
	bucket, err := influx.New(influx.Config{URL: db.URL(), Bucket: "pingline", Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]int)
	report, err := audit.Check(t.Context(), c.ledger, func(ctx context.Context, q store.Query, each func(*pingline.Entry, int64) error) error {
		return bucket.Points(ctx, q, func(e *pingline.Entry, nano int64) error {
			if strings.HasPrefix(e.Rider, "r-") {
				seen[fmt.Sprint(e.Rider, e.At)]++
			}
			return each(e, nano)
		})
	})
	if err == nil {
		err = report.Err()
	}
	if err != nil || report.Accepted == 0 {
		t.Errorf("audit: %+v, %v", report, err)
	}
	for ping, n := range seen {
		if n != 1 {
			t.Errorf("%s is stored %d times", ping, n)
		}
	}
}

// checkExport checks that an export in two parts has each commit once, in order, with the
// pings that were sent.
func checkExport(t *testing.T, path string, sent []pingline.Ping, last uint64) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	missing := make(map[string]bool, len(sent))
	for i := range sent {
		missing[fmt.Sprint(sent[i].Rider, sent[i].At)] = true
	}
	commit, entry := uint64(1), -1
	for line := range strings.Lines(string(text)) {
		var e struct {
			Commit uint64
			Entry  int
			Kind   string
			Rider  string `json:"rider_id"`
			TS     int64
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if next := e.Commit > commit && e.Entry == 0; !next && (e.Commit != commit || e.Entry != entry+1) {
			t.Fatalf("entry %d of commit %d comes behind %d of %d", e.Entry, e.Commit, entry, commit)
		}
		commit, entry = e.Commit, e.Entry
		delete(missing, fmt.Sprint(e.Rider, e.TS))
	}
	if len(missing) > 0 || commit != last {
		t.Errorf("the export ends at commit %d of %d, and lacks %d pings", commit, last, len(missing))
	}
}
