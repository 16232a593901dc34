package main

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"pingline/internal/node"
	"pingline/sim/audit"
	"pingline/sink/clickhouse/clickhousetest"
	"pingline/sink/influx/influxtest"
	"pingline/sink/postgres/postgrestest"
)

// Sets of three kinds of store: InfluxDB has all, ClickHouse has all once more, PostgreSQL the
// events. ClickHouse is dead for a while, which none of the others notices.
func TestSetsOfSeveralKinds(t *testing.T) {
	influx, archive, sos := startInflux(t), clickhousetest.Run(t), postgrestest.Run(t)
	archive.Execute(t, "CREATE DATABASE city")
	sos.Exec(t, "postgres", "CREATE DATABASE city")
	flags := []string{
		"--max-error=0", "--accuracy-cap=0", "--rider-rate=0", "--rollup=off", "--shard=name=a,url=" + influx.URL(),
		fmt.Sprintf("--shard=name=ch,url=%s,token-file=%s,set=archive", archive.URL("city"), archive.PasswordFile()),
		fmt.Sprintf("--shard=name=pg,url=%s,token-file=%s,set=sos", sos.URL("city"), sos.PasswordFile()),
		"--route=location=main,archive", "--route=event=main,archive,sos",
	}
	dir := t.TempDir()
	p := serve(t, dir, "", flags...)
	tr := &traffic{t: t, ledger: audit.NewLedger()}
	c := &client{t: t, ledger: tr.ledger}
	all, events := wander(10, 200, time.Now().Add(-20*time.Minute)), 0
	for i := range all {
		if i%40 == 0 {
			all[i].Event = "sos"
			events++
		}
	}
	half := len(all) / 2
	c.send(p.url, all[:half])
	p.settled()
	archive.Kill()
	c.send(p.url, all[half:])
	count := func(shard string) float64 {
		values, err := p.metrics(`pingline_written_total{shard="` + shard + `"}`)
		if err != nil || len(values) != 1 {
			return -1
		}
		return values[0]
	}
	eventually(t, "the others have all", func() bool { return count("a") == float64(len(all)) && count("pg") == float64(events) })
	if n := count("ch"); n != float64(half) {
		t.Errorf("the archive has taken %v pings, and was dead from the ping %d on", n, half)
	}
	p.kill()
	p = serve(t, dir, "", flags...)
	if err := archive.Restart(); err != nil {
		t.Fatal(err)
	}
	p.settled()
	tr.auditIn(influxtest.Access(influx, "pingline"))
	tr.auditAt(t, node.ShardConfig{Name: "ch", URL: archive.URL("city"), TokenFile: archive.PasswordFile()})
	for question, want := range map[string]int{"": events, " WHERE event = 'sos'": events} {
		if got := sos.Text(t, "city", "SELECT count(*) FROM location"+question); got != strconv.Itoa(want) {
			t.Errorf("PostgreSQL has %s rows%s, want %d", got, question, want)
		}
	}

	// A rider who asks to be forgotten is forgotten in every set.
	gone := all[0].Rider
	if status, said, errs := runs(t, "rider", "delete", gone, "--server="+strings.TrimSuffix(p.ops, "/metrics"), "--wait="+patience.String()); status != exitOK {
		t.Errorf("exit status %d: %s %s", status, said, errs)
	}
	for _, id := range ids(t, influx) {
		if strings.HasPrefix(id, gone+" ") {
			t.Fatalf("InfluxDB has %s", id)
		}
	}
	if got := archive.Execute(t, "SELECT count() FROM city.pings FINAL WHERE rider = '"+gone+"'"); strings.TrimSpace(got) != "0" {
		t.Errorf("ClickHouse has %s rows", got)
	}
	if got := sos.Text(t, "city", "SELECT count(*) FROM location WHERE rider = '"+gone+"'"); got != "0" {
		t.Errorf("PostgreSQL has %s rows", got)
	}
}
