package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/sim/audit"
	"pingline/sink/redis"
	"pingline/sink/redis/redistest"
)

// newestStored compares the newest positions in a Redis with the newest that were
// acknowledged.
func newestStored(t *testing.T, server *redistest.Server, all []pingline.Ping) {
	t.Helper()
	p, err := redis.New(redis.Config{URL: server.URL(), PasswordFile: server.PasswordFile()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	want := make(map[string]pingline.Ping)
	for _, ping := range all {
		if ping.At > want[ping.Rider].At {
			want[ping.Rider] = ping
		}
	}
	n := 0
	err = p.Newest(t.Context(), "", func(e *pingline.Entry) error {
		n++
		if w := want[e.Rider]; e.At != w.At || !e.SamePlace(&w.Fix) || e.Event != w.Event {
			t.Errorf("%s is stored as %+v, the newest acknowledged is %+v", e.Rider, e.Ping, w)
		}
		return nil
	})
	if err != nil || n != len(want) {
		t.Errorf("%d riders are stored, want %d: %v", n, len(want), err)
	}
	if near := server.Do(t, "ZCARD {pingline}:geo"); fmt.Sprint(near) != fmt.Sprint(len(want)) {
		t.Errorf("%v riders have a place, want %d", near, len(want))
	}
}

// Redis beside a store of every ping: newest positions are there, also those with an event,
// the other store has everything, and tracks are read from there. Both processes are killed
// in the middle.
func TestServeIntoRedis(t *testing.T) {
	server := redistest.Run(t)
	influx := startInflux(t)
	flags := []string{
		"--shard=name=a,url=" + influx.URL(), "--shard=name=now,url=" + server.URL() + ",token-file=" + server.PasswordFile() + ",set=fast", "--route=latest=fast",
		"--max-error=0", "--accuracy-cap=0", "--rider-rate=0",
	}
	dir := t.TempDir()
	p := serve(t, dir, "", flags...)
	c := &client{t: t, ledger: audit.NewLedger()}
	from := time.Now().Add(-5 * time.Minute)
	const riders, pings = 10, 200
	all := wander(riders, pings, from)
	for i := range all {
		if i%7 == 3 {
			all[i].Event = "stop"
		}
	}
	third := len(all) / 3
	c.send(p.url, all[:third])
	server.Kill()
	c.send(p.url, all[third:2*third])
	p.kill()
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	p = serve(t, dir, "", flags...)
	c.send(p.url, all[2*third:])
	p.settled()
	newestStored(t, server, all)
	if n, err := p.metric(`pingline_conservation_gap{equation="stored of fast"}`); err != nil || n != 0 {
		t.Errorf("the books of the set of Redis lack %v (%v)", n, err)
	}
	if said := p.said(); strings.Contains(said, redistest.Password) {
		t.Error("the log has the password")
	}
	if _, body := p.readyz(); strings.Contains(body, "shard now") {
		t.Errorf("readyz complains: %s", body)
	}
	p.terminate()

	p = serve(t, t.TempDir(), "", flags...) // nothing in memory
	for r := range riders {
		at, partial := readTrack(t, p.url, fmt.Sprint("r-", r), from)
		if partial || len(at) != pings {
			t.Fatalf("rider %d has %d points, partial %v, want %d", r, len(at), partial, pings)
		}
	}
	p.terminate()
}

// Redis alone: newest positions are there, what the node says of itself goes nowhere and
// waits for nothing, and tracks are said to be incomplete.
func TestServeIntoRedisAlone(t *testing.T) {
	server := redistest.Run(t, "--appendfsync", "everysec")
	p := serve(t, t.TempDir(), "", "--shard=name=now,url="+server.URL()+",token-file="+server.PasswordFile(), "--max-error=0", "--accuracy-cap=0")
	c := &client{t: t, ledger: audit.NewLedger()}
	from := time.Now().Add(-time.Minute)
	all := wander(5, 20, from)
	c.send(p.url, all)
	p.settled()
	newestStored(t, server, all)
	eventually(t, "a note of its durability", func() bool {
		_, body := p.readyz()
		return strings.Contains(body, "appendfsync everysec")
	})
	if at, partial := readTrack(t, p.url, "r-1", from); !partial {
		t.Errorf("a track of %d points is complete, and no store has any", len(at))
	}
	if n := server.Do(t, "DBSIZE"); fmt.Sprint(n) != "7" {
		t.Errorf("%v keys, want a hash for each of 5 riders, and two sets", n)
	}
}
