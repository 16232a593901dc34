package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/internal/node"
	"pingline/sim/audit"
	"pingline/sink/cassandra/cassandratest"
)

// Pings go into a Cassandra whose tables were made by the printed statements. Pingline and the
// server are killed on the way; tracks, riders and cells are read back as they were sent.
func TestCassandraKilledOnTheWay(t *testing.T) {
	s := cassandratest.Run(t)
	dir, listen := t.TempDir(), freePort(t)
	shard := fmt.Sprintf("name=ca,url=%s,token-file=%s", s.URL("pingline"), s.PasswordFile())
	flags := []string{"--shard=" + shard, "--listen=" + listen, "--create-schema=false", "--max-error=0", "--accuracy-cap=0", "--rider-rate=0", "--rollup-lateness=10m"}
	p := serve(t, dir, "", flags...)
	eventually(t, "/readyz says that the tables are missing", func() bool {
		_, said := p.readyz()
		return strings.Contains(said, "there is no keyspace pingline") && strings.Contains(said, "pingline schema cassandra")
	})
	status, printed, _ := runs(t, "schema", "cassandra")
	if status != exitOK {
		t.Fatalf("pingline schema: exit status %d", status)
	}
	for _, statement := range strings.Split(strings.TrimSuffix(strings.TrimSpace(printed), ";"), ";\n\n") {
		if statement != "USE pingline" {
			s.Exec(t, strings.NewReplacer("'datacenter1': 3", "'datacenter1': 1", "TABLE IF NOT EXISTS ", "TABLE IF NOT EXISTS pingline.").Replace(statement))
		}
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
		Features []struct{ Properties struct{ Pings int } }
	}
	getJSON(t, fmt.Sprintf("%s/v1/cells?bbox=-180,-90,180,90&res=4&at=%d", p.url, at+1), &cells)
	n, want := 0, 0
	for _, f := range cells.Features {
		n += f.Properties.Pings
	}
	for _, ping := range all {
		if ping.At >= at && ping.At < at+10_000 {
			want++
		}
	}
	if n != want || want == 0 {
		t.Errorf("the cells of a window have %d pings, want %d", n, want)
	}
	tr.auditAt(t, node.ShardConfig{Name: "ca", URL: s.URL("pingline"), TokenFile: s.PasswordFile()})
	for name, text := range map[string]string{"log": p.said(), "metrics": must(p.scrape()), "command line": readCommandLine(t, p)} {
		if strings.Contains(text, cassandratest.Password) {
			t.Errorf("the %s has the password", name)
		}
	}
}
