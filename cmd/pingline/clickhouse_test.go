package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/internal/node"
	"pingline/sim/audit"
	"pingline/sink/clickhouse/clickhousetest"
)

// Pings go into a ClickHouse whose tables were made by the printed statements. Pingline and
// the server are killed on the way; tracks, riders and cells are read back as they were sent.
func TestClickHouseKilledOnTheWay(t *testing.T) {
	s := clickhousetest.Run(t)
	dir, listen := t.TempDir(), freePort(t)
	shard := fmt.Sprintf("name=ch,url=%s,token-file=%s", s.URL("city"), s.PasswordFile())
	flags := []string{"--shard=" + shard, "--listen=" + listen, "--create-schema=false", "--max-error=0", "--accuracy-cap=0", "--rider-rate=0", "--rollup-lateness=10m"}
	p := serve(t, dir, "", flags...)
	eventually(t, "/readyz says that the tables are missing", func() bool {
		_, said := p.readyz()
		return strings.Contains(said, "there is no table city.pings") && strings.Contains(said, "pingline schema clickhouse")
	})
	s.Execute(t, "CREATE DATABASE city")
	status, printed, _ := runs(t, "schema", "clickhouse", "--server-version=18.16")
	if status != exitOK {
		t.Fatalf("pingline schema: exit status %d", status)
	}
	for _, statement := range strings.Split(strings.TrimSpace(printed), ";\n\n") {
		s.Execute(t, strings.NewReplacer("EXISTS ", "EXISTS city.", "FROM points", "FROM city.points").Replace(strings.TrimSuffix(statement, ";")))
	}

	tr := &traffic{t: t, ledger: audit.NewLedger()}
	c := &client{t: t, ledger: tr.ledger}
	const riders, pings = 10, 200
	from := time.Now().Add(-5 * time.Minute).Truncate(10 * time.Second)
	all := wander(riders, pings, from)
	third := len(all) / 3
	c.send(p.url, all[:third])
	p.kill()
	p = serve(t, dir, "", flags...)
	c.send(p.url, all[third:2*third])
	s.Kill()
	c.send(p.url, all[2*third:])
	p.kill()
	p = serve(t, dir, "", flags...)
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	p.settled()
	if status := p.terminate(); status != exitOK {
		t.Errorf("exit status %d after SIGTERM", status)
	}
	p = serve(t, dir, "", flags...)
	p.settled()

	sent := make(map[string][]pingline.Ping)
	for _, ping := range all {
		sent[ping.Rider] = append(sent[ping.Rider], ping)
	}
	for rider, want := range sent {
		var got struct {
			Pings   []placed
			Partial bool
		}
		getJSON(t, fmt.Sprintf("%s/v1/riders/%s/track?limit=1000&from=%d", p.url, rider, from.UnixMilli()), &got)
		if len(got.Pings) != len(want) || got.Partial {
			t.Fatalf("%s has %d points, partial %v, want %d", rider, len(got.Pings), got.Partial, len(want))
		}
		for i, g := range got.Pings {
			if g.TS != want[i].At || !g.at(&want[i]) {
				t.Fatalf("%s, point %d: %+v, want %+v", rider, i, g, want[i])
			}
		}
	}
	at := from.UnixMilli() + 100_000
	var there struct{ Riders []placed }
	getJSON(t, fmt.Sprintf("%s/v1/riders?bbox=-180,-90,180,90&at=%d", p.url, at), &there)
	if len(there.Riders) != riders {
		t.Errorf("%d riders were somewhere, want %d", len(there.Riders), riders)
	}
	for _, g := range there.Riders {
		if want := sent[g.Rider][100]; !g.at(&want) {
			t.Errorf("%s was at %+v, want %+v", g.Rider, g, want)
		}
	}
	var cells struct {
		Features []struct {
			Properties struct{ Pings, From int }
		}
	}
	getJSON(t, fmt.Sprintf("%s/v1/cells?bbox=-8.7,41.1,-8.5,41.2&res=4&at=%d", p.url, at+1), &cells)
	n, want := 0, 0
	for _, f := range cells.Features {
		n += f.Properties.Pings
	}
	for _, ping := range all {
		if ping.At >= at && ping.At < at+10_000 && ping.Lat() > 41.1 && ping.Lat() < 41.2 && ping.Lon() > -8.7 && ping.Lon() < -8.5 {
			want++
		}
	}
	if n < want || n > riders*10 || want == 0 {
		t.Errorf("the cells of a window have %d pings, of which %d lie in the city: %+v", n, want, cells)
	}
	tr.auditAt(t, node.ShardConfig{Name: "ch", URL: s.URL("city"), TokenFile: s.PasswordFile()})
	for name, text := range map[string]string{"log": p.said(), "metrics": must(p.scrape()), "command line": readCommandLine(t, p)} {
		if strings.Contains(text, clickhousetest.Password) {
			t.Errorf("the %s has the password", name)
		}
	}
}

// placed is a ping as answers tell it.
type placed struct {
	Rider    string `json:"rider_id"`
	TS       int64
	Lat, Lon float64
}

func (g *placed) at(p *pingline.Ping) bool { return g.Lat == p.Lat() && g.Lon == p.Lon() }

func getJSON(t *testing.T, url string, into any) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, resp.Status, err)
	}
}

func must(text string, err error) string {
	if err != nil {
		return err.Error()
	}
	return text
}

func readCommandLine(t *testing.T, p *process) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.cmd.Process.Pid))
	if err != nil && os.IsNotExist(err) {
		return "" // not on this system
	}
	return must(string(text), err)
}

// auditAt compares the acknowledged pings with the rows of a shard.
func (tr *traffic) auditAt(t *testing.T, shard node.ShardConfig) {
	t.Helper()
	cfg := node.DefaultConfig()
	cfg.Shards = []node.ShardConfig{shard}
	cfg.Shards[0].Weight = 1
	stored, err := node.OpenStored(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer stored.Close()
	report, err := audit.Check(context.Background(), tr.ledger, stored.Points)
	if err != nil {
		t.Fatal(err)
	}
	if err := report.Err(); err != nil || report.Others != 0 || report.Accepted == 0 {
		t.Errorf("audit: %v, %+v", err, report)
	}
}
