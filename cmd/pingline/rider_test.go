package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pingline/internal/influxd"
	"pingline/internal/node"
	"pingline/internal/rights"
)

// Killed in each step of a removal, it goes on at the next start: in the end nothing of the
// rider is left, and another rider has lost nothing.
func TestRemovalIsKilledInEachStep(t *testing.T) {
	beside(t)
	steps := []rights.Milestone{
		rights.Asked, rights.Forgotten, rights.Unlettered, rights.Cleared, rights.Reopened, rights.Restored, rights.Finished,
	}
	db := influxd.RunTest(t)
	dir := t.TempDir()
	start := func() *process { return serve(t, dir, db.URL(), "--rollup=off", "--max-error=0", "--accuracy-cap=0") }
	p := start()
	const gone, other = "r-who-goes", "r-who-stays"
	send := func(rider string, from, n int) {
		t.Helper()
		var body strings.Builder
		first := time.Now().Add(-time.Hour).Truncate(time.Hour).UnixMilli()
		for i := from; i < from+n; i++ {
			fmt.Fprintf(&body, `{"rider_id":%q,"ts":%d,"lat":%.6f,"lon":29}`+"\n", rider, first+int64(i)*1000, 41+float64(i%89)/1e4)
		}
		resp, err := http.Post(p.url+"/v1/pings", "application/x-ndjson", strings.NewReader(body.String()))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status)
		}
	}
	send(gone, 0, 500)
	send(other, 0, 500)
	stored := func(rider string) (n int) {
		points, err := db.Points(t.Context(), db.Bucket())
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range points {
			if strings.HasPrefix(line, "location") && strings.Contains(line, rider) {
				n++
			}
		}
		return n
	}
	await := func(rider string, want int) {
		t.Helper()
		for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
			n := stored(rider)
			if n >= want {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("InfluxDB has %d of %d points of %s", n, want, rider)
			}
		}
	}
	await(gone, 499) // and one is held
	send(gone, 500, 100)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, strings.TrimSuffix(p.ops, "/metrics")+"/v1/riders/"+gone, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	var m rights.Removal
	if err := json.NewDecoder(resp.Body).Decode(&m); err != nil || resp.StatusCode != http.StatusAccepted || m.ID == "" {
		t.Fatalf("%s %+v: %v", resp.Status, m, err)
	}
	resp.Body.Close()
	file := filepath.Join(dir, node.RemovalDir, m.ID+".json")
	reached := func(step rights.Milestone) bool {
		text, err := os.ReadFile(file)
		m = rights.Removal{}
		return err == nil && json.Unmarshal(text, &m) == nil && slices.Index(steps, m.Step) >= slices.Index(steps, step)
	}
	sent := 500
	for _, step := range steps {
		for end := time.Now().Add(patience); !reached(step); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("the removal does not come to %q: %+v", step, m)
			}
		}
		p.kill()
		t.Logf("killed when done: %s", m.Step)
		p = start()
		send(other, sent, 20)
		sent += 20
	}
	if m.Rider != "" || m.Upto == 0 || len(m.Shards) != 1 || m.Shards[0].Removed < 499 || m.Shards[0].Remaining != 0 {
		t.Errorf("the report: %+v", m)
	}
	if status := p.terminate(); status != 0 { // what is held is stored
		t.Errorf("exit status %d", status)
	}
	p = start()
	await(other, sent)
	if n := stored(gone); n != 0 {
		t.Errorf("InfluxDB has %d points of the rider who is gone", n)
	}
	p.kill() // else files are renamed and removed meanwhile
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err == nil && bytes.Contains(text, []byte(gone)) {
			t.Errorf("%s has the id of the rider who is gone", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
