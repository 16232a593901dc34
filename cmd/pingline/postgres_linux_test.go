package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"pingline/sim/audit"
	"pingline/sink/postgres"
	"pingline/sink/postgres/postgrestest"
)

// Pings that were acknowledged before and after a kill -9 are in PostgreSQL once each, and a
// process with an empty log reads them from there: tracks, riders in a box, and cells.
func TestServeIntoPostgres(t *testing.T) {
	beside(t)
	server := postgrestest.Run(t)
	shard := "--shard=name=pg,url=" + server.URL("pingline") + ",token-file=" + server.PasswordFile()
	flags := []string{shard, "--max-error=0", "--accuracy-cap=0", "--rider-rate=0", "--rollup-lateness=10m"}
	dir := t.TempDir()
	p := serve(t, dir, "", flags...)
	c := &client{t: t, ledger: audit.NewLedger()}
	from := time.Now().Add(-5 * time.Minute)
	const riders, pings = 10, 200
	all := wander(riders, pings, from)
	half := len(all) / 2
	c.send(p.url, all[:half])
	p.kill()
	p = serve(t, dir, "", flags...)
	c.send(p.url, all[half:])
	p.settled()
	if n := server.Text(t, "pingline", "SELECT count(*) FROM location"); n != fmt.Sprint(len(all)) {
		t.Errorf("%s rows are stored, want %d", n, len(all))
	}
	p.terminate() // which ends the windows
	p = serve(t, dir, "", flags...)
	p.settled()
	n := server.Text(t, "pingline", "SELECT sum((fields->>'pings')::int) FROM point WHERE name = 'cell_activity' AND tags->>'res' = '8' AND tags->>'window' = '1m'")
	if n != fmt.Sprint(len(all)) {
		t.Errorf("the totals are of %s pings, want %d", n, len(all))
	}
	if said := p.said(); strings.Contains(said, postgrestest.Password) {
		t.Error("the log has the password")
	}
	if _, body := p.readyz(); strings.Contains(body, "PostgreSQL") || strings.Contains(body, "shard pg") {
		t.Errorf("readyz complains: %s", body)
	}
	p.terminate()

	d, err := postgres.New(postgres.Config{URL: server.URL("pingline"), PasswordFile: server.PasswordFile()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	report, err := audit.Check(t.Context(), c.ledger, d.Points)
	if err == nil {
		err = report.Err()
	}
	if err != nil || report.Accepted == 0 || report.Others != 0 {
		t.Errorf("audit: %+v, %v", report, err)
	}

	p = serve(t, t.TempDir(), "", flags...) // nothing in memory
	for r := range riders {
		at, partial := readTrack(t, p.url, fmt.Sprint("r-", r), from)
		if partial || len(at) != pings {
			t.Fatalf("rider %d has %d points, partial %v, want %d", r, len(at), partial, pings)
		}
		for i, ts := range at {
			if want := all[i*riders+r].At; ts != want {
				t.Fatalf("point %d of rider %d is of %d, want %d", i, r, ts, want)
			}
		}
	}
	last := all[len(all)-1].At
	var box struct{ Riders []struct{ RiderID string } }
	get(t, fmt.Sprintf("%s/v1/riders?bbox=-180,-90,180,90&at=%d", p.url, last+1), &box)
	if len(box.Riders) != riders {
		t.Errorf("%d riders in the box of all, want %d", len(box.Riders), riders)
	}
	var cells struct {
		Features []struct{ Properties struct{ Pings int } }
	}
	get(t, fmt.Sprintf("%s/v1/cells?bbox=-180,-90,180,90&res=4&at=%d", p.url, last-60_000), &cells)
	sum, in := 0, 0
	for _, f := range cells.Features {
		sum += f.Properties.Pings
	}
	const window = 10_000 // ms, the shortest
	first := (last - 60_000) / window * window
	for i := range all {
		if at := all[i].At; at >= first && at < first+window {
			in++
		}
	}
	if sum != in || in == 0 {
		t.Errorf("the cells of a window have %d pings, want %d", sum, in)
	}
}

// A database that is not as it must be is told at the start and in /readyz, and pings are
// taken all the same.
func TestServeTellsOfSchema(t *testing.T) {
	server := postgrestest.Run(t)
	shard := "--shard=name=pg,url=" + server.URL("pingline") + ",token-file=" + server.PasswordFile()
	p := serve(t, t.TempDir(), "", shard, "--create-schema=false", "--max-error=0", "--accuracy-cap=0")
	c := &client{t: t, ledger: audit.NewLedger()}
	all := wander(2, 10, time.Now().Add(-time.Minute))
	c.send(p.url, all)
	eventually(t, "a note", func() bool {
		_, body := p.readyz()
		return strings.Contains(body, "there is no table location") && strings.Contains(p.said(), "there is no table location")
	})
	var out bytes.Buffer
	cmd := pinglineCommand("schema", "postgres")
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	tables, _, ok := strings.Cut(out.String(), "-- A partition")
	if !ok {
		t.Fatal(out.String())
	}
	server.Exec(t, "pingline", tables+"CREATE TABLE other PARTITION OF location DEFAULT; CREATE TABLE others PARTITION OF point DEFAULT")
	p.settled()
	if n := server.Text(t, "pingline", "SELECT count(*) FROM location"); n != fmt.Sprint(len(all)) {
		t.Errorf("%s rows are stored, want %d", n, len(all))
	}
}

// get reads JSON.
func get(t *testing.T, url string, into any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s, %v", url, resp.Status, text, err)
	}
}
