package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pingline"
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

// While a set is dead and the log fills up, pings are refused, unless the set may be given up:
// then each is taken, main has all, and the set lacks as many as were counted.
func TestSetIsGivenUp(t *testing.T) {
	const limit = 4 << 20
	influx, archive := startInflux(t), clickhousetest.Run(t)
	archive.Execute(t, "CREATE DATABASE city")
	flags := func(onFull string) []string {
		return []string{
			"--max-error=0", "--accuracy-cap=0", "--rider-rate=0", "--client-rate=0", "--rollup=off", fmt.Sprint("--queue-max-bytes=", limit), "--batch-lines=500",
			"--shard=name=a,url=" + influx.URL(),
			fmt.Sprintf("--shard=name=ch,url=%s,token-file=%s,set=archive,on-full=%s", archive.URL("city"), archive.PasswordFile(), onFull),
			"--route=location=main,archive",
		}
	}
	all, rng := wander(100, 300, time.Now().Add(-7*time.Minute)), rand.New(rand.NewPCG(1, 2))
	for i := range all { // larger, so that they fill the log sooner
		all[i].Trip = fmt.Sprintf("%016x%016x%016x%016x", rng.Uint64(), rng.Uint64(), rng.Uint64(), rng.Uint64())
	}
	archive.Kill()

	waits := serve(t, t.TempDir(), "", flags("wait")...)
	c := &client{t: t, ledger: audit.NewLedger()}
	next := 0
	eventually(t, "a ping is refused, as the archive is dead and the log is full", func() bool {
		verdicts, resp := c.request(waits.url, all[next:next+500])
		next = (next + 500) % len(all)
		return resp.StatusCode == http.StatusServiceUnavailable || slices.Contains(verdicts, pingline.Shed)
	})
	waits.kill()
	all = all[:20_000]

	p := serve(t, t.TempDir(), "", flags("drop-set")...)
	tr := &traffic{t: t, ledger: audit.NewLedger()}
	c = &client{t: t, ledger: tr.ledger}
	taken := 0
	for batch := range slices.Chunk(all, 500) {
		taken += c.send(p.url, batch)["accepted"]
		eventually(t, "there is room in the log", func() bool {
			n, err := p.metric("pingline_queue_bytes")
			return err == nil && n < 0.3*limit
		})
	}
	if taken != len(all) {
		t.Errorf("%d of %d pings were accepted", taken, len(all))
	}
	written := func(shard string) float64 {
		n, err := p.metric(`pingline_written_total{shard="` + shard + `"}`)
		if err != nil {
			return -1
		}
		return n
	}
	eventually(t, "main has all", func() bool { return written("a") == float64(len(all)) })
	if _, text := p.readyz(); !strings.Contains(text, "set archive: ") || !strings.Contains(p.said(), "is given up") {
		t.Errorf("nobody is told that the archive is given up: %s", text)
	}
	if err := archive.Restart(); err != nil {
		t.Fatal(err)
	}
	p.settled()
	dropped, err := p.metric(`pingline_set_given_up_total{kind="pings",set="archive"}`)
	if gap, gapErr := p.metric(`pingline_conservation_gap{equation="stored of archive"}`); err != nil || gapErr != nil || gap != 0 {
		t.Errorf("a gap of %v, %v, %v", gap, err, gapErr)
	}
	if got := strings.TrimSpace(archive.Execute(t, "SELECT count() FROM city.pings FINAL")); dropped == 0 || got != fmt.Sprint(len(all)-int(dropped)) {
		t.Errorf("ClickHouse has %s of %d pings, and %v were given up", got, len(all), dropped)
	}
	if page := readSet(t, p.url, fmt.Sprintf("/v1/riders/r-1/track?from=%d&set=archive", all[0].At)); !page.Partial {
		t.Errorf("a track of the archive has %d points and is not partial", len(page.Pings))
	}
	tr.auditIn(influxtest.Access(influx, "pingline"))
}
