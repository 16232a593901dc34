package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pingline"
	"pingline/internal/influxd"
	"pingline/internal/resharding"
	"pingline/partition"
	"pingline/sink/moving"
	"pingline/sink/reshard"
	"pingline/sink/store"
	"pingline/track"
)

// travellers are riders who are in another of some cities with each ping, so that each track is
// in every shard.
type travellers struct {
	readersAndSenders
	t      testing.TB
	url    string
	riders int
	next   int           // ping of the present
	pace   time.Duration // between requests and between tracks that are read; 0 means some ms
}

const cities = 8

func (c *travellers) ping(rider, city int, at time.Time) pingline.Ping {
	city %= cities
	p := pingline.Ping{Rider: fmt.Sprint("r-", rider), Fix: pingline.Fix{At: at.UnixMilli()}}
	if err := p.SetPosition(-45+float64(city%6)*17, -165+float64(city)*40); err != nil {
		c.t.Fatal(err)
	}
	return p
}

// history is pings of the two days before today.
func (c *travellers) history(each int) (list []pingline.Ping) {
	for day := range 2 {
		for i := range each {
			for r := range c.riders {
				list = append(list, c.ping(r, r*7+i, c.from.Add(time.Duration(-24*(day+1))*time.Hour+time.Duration(i)*10*time.Second)))
			}
		}
	}
	return list
}

// now is a ping of each rider of the present, and some of days ago.
func (c *travellers) now() (list []pingline.Ping) {
	c.next++
	for r := range c.riders {
		list = append(list, c.ping(r, r*5+c.next, c.from.Add(time.Duration(c.next)*200*time.Millisecond)))
	}
	return append(list, c.ping(c.next%c.riders, c.next, c.from.Add(-60*time.Hour+time.Duration(c.next)*time.Second)))
}

// post sends pings until they are acknowledged, or ctx ends.
func (c *travellers) post(ctx context.Context, list []pingline.Ping) {
	body := []byte{'['}
	for i := range list {
		if i > 0 {
			body = append(body, ',')
		}
		body = track.AppendPing(body, &list[i])
	}
	for body = append(body, ']'); ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		resp, err := http.Post(c.url+"/v1/pings", "application/json", bytes.NewReader(body))
		if err != nil {
			continue // it is down
		}
		said, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			c.mu.Lock()
			c.sent = append(c.sent, list...)
			c.mu.Unlock()
			return
		}
		c.t.Logf("%s: %s", resp.Status, said)
	}
}

// drive sends pings of the present until ctx ends; the last request is acknowledged all the same.
func (c *travellers) drive(ctx context.Context) {
	for ctx.Err() == nil {
		c.post(context.WithoutCancel(ctx), c.now())
		time.Sleep(cmp.Or(c.pace, 30*time.Millisecond)) // a pace, no more
	}
}

// follow reads tracks until ctx ends. While the node is down there is no answer.
func (c *travellers) follow(ctx context.Context) {
	for rng := rand.New(rand.NewPCG(3, 4)); ctx.Err() == nil; {
		rider := fmt.Sprint("r-", rng.IntN(c.riders))
		want := make(map[int64]int)
		c.mu.Lock()
		for i := range c.sent {
			if c.sent[i].Rider == rider {
				want[c.sent[i].At]++
			}
		}
		c.mu.Unlock()
		resp, err := http.Get(fmt.Sprintf("%s/v1/riders/%s/track?limit=10000&from=%d", c.url, rider, c.from.Add(-100*time.Hour).UnixMilli()))
		if err != nil {
			continue
		}
		var page setPage
		err = json.NewDecoder(resp.Body).Decode(&page)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode == http.StatusServiceUnavailable {
			continue
		}
		have := make(map[int64]int)
		for _, p := range page.Pings {
			have[p.TS]++
		}
		for at := range want {
			if have[at] != 1 && at < page.CompleteTo {
				c.t.Errorf("the track of %s has %d points of %d, and is complete to %d", rider, have[at], at, page.CompleteTo)
				return
			}
		}
		if resp.StatusCode != http.StatusOK || page.Partial {
			c.t.Errorf("the track of %s: %s, partial %v", rider, resp.Status, page.Partial)
		}
		c.asked++
		time.Sleep(cmp.Or(c.pace, 10*time.Millisecond)) // a pace, no more
	}
}

// laidOut is laidOutIn for InfluxDBs.
func laidOut(t *testing.T, servers map[string]*influxd.Server, layout ...partition.Shard) map[string]int {
	t.Helper()
	readers := make(map[string]store.Reader)
	for name, server := range servers {
		readers[name] = reader(t, server, "pingline")
	}
	return laidOutIn(t, readers, layout...)
}

// laidOutIn returns the pings of all shards, of which each must be where a layout has it, once.
func laidOutIn(t *testing.T, readers map[string]store.Reader, layout ...partition.Shard) map[string]int {
	t.Helper()
	shards, err := partition.NewShards(layout...)
	if err != nil {
		t.Fatal(err)
	}
	all, wrong := make(map[string]int), make(map[string]int)
	for name, from := range readers {
		err := from.Points(t.Context(), store.All(), func(e *pingline.Entry, _ int64) error {
			all[fmt.Sprint(e.Rider, " ", e.At)]++
			if owner := shards.At(shards.OfKey(partition.CellKey(e.Cell, 0))).Name; owner != name {
				wrong[name+" has pings of "+owner]++
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for what, n := range wrong {
		t.Errorf("%s: %d", what, n)
	}
	for ping, n := range all {
		if n != 1 {
			t.Errorf("%s is stored %d times", ping, n)
			break
		}
	}
	return all
}

// historyOf returns how far the history of the main set is.
func historyOf(t *testing.T, p *process) *moving.MoveStatus {
	t.Helper()
	var list []resharding.ChangeStatus
	if err := json.Unmarshal([]byte(mustReshard(t, p, "status", "--json")), &list); err != nil || len(list) == 0 {
		t.Fatalf("status: %v", err)
	}
	return list[0].History
}

// While pings come in and tracks are read, a shard is added and then another is taken out, and
// their history moves: the node is killed in the middle of the copy. In the end each ping is where
// the layout says, once, and nowhere else.
func TestReshardMovesHistory(t *testing.T) {
	long(t)
	beside(t)
	servers := map[string]*influxd.Server{"a": startInflux(t), "b": startInflux(t), "c": startInflux(t)}
	dir, listen := t.TempDir(), freePort(t)
	flags := append(slices.Clone(reshardFlags), "--listen="+listen, "--shard=name=a,url="+servers["a"].URL(), "--shard=name=b,url="+servers["b"].URL())
	p := serve(t, dir, "", flags...)
	c := &travellers{t: t, readersAndSenders: readersAndSenders{from: time.Now().Add(-25 * time.Minute)}, url: p.url, riders: 30}
	past := c.history(100)
	for batch := range slices.Chunk(past, 1000) {
		c.post(t.Context(), batch)
	}
	p.settled()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var busy sync.WaitGroup
	busy.Go(func() { c.drive(ctx) })
	busy.Go(func() { c.follow(ctx) })

	add := []string{"--add=name=c,url=" + servers["c"].URL(), "--history=move", "--rate=500"}
	if said := mustReshard(t, p, append([]string{"plan"}, add...)...); !strings.Contains(said, "history: ") || !strings.Contains(said, "need not move") || !strings.Contains(said, "at 500 rows/s") {
		t.Errorf("the plan says: %s", said)
	}
	t.Log(mustReshard(t, p, append([]string{"start"}, add...)...))
	part := func() bool {
		h := historyOf(t, p)
		return h != nil && h.Stage == moving.Copying && h.UnitsDone > 0 && h.UnitsDone < h.Units
	}
	eventually(t, "a part of history is copied", part)
	t.Log(mustReshard(t, p, "status"))
	mustReshard(t, p, "pause")
	if status, said := reshardDo(t, p, "cut"); status != exitFailed || !strings.Contains(said, "history: copying") || !strings.Contains(said, "paused") {
		t.Errorf("cut while history is paused: exit status %d, %s", status, said)
	}
	p.kill()
	flags = append(flags, "--shard=name=c,url="+servers["c"].URL())
	p = serve(t, dir, "", flags...)
	if h := historyOf(t, p); h == nil || !h.Paused || h.Stage != moving.Copying {
		t.Errorf("paused before the node was killed: %+v", h)
	}
	mustReshard(t, p, "resume")
	eventually(t, "the copy goes on", part)
	p.kill()
	p = serve(t, dir, "", flags...)
	t.Log(mustReshard(t, p, "cut"))
	t.Log(mustReshard(t, p, "verify", "--full"))
	mustReshard(t, p, "finish")
	mustReshard(t, p, "delete")
	deleted := func() {
		t.Helper()
		eventually(t, "the old shards have let go", func() bool { return historyOf(t, p).Stage == moving.Deleted })
		if h := historyOf(t, p); h.Kept > 0 || h.Differ > 0 || h.Refused > 0 {
			t.Errorf("in the end: %+v", h)
		}
	}
	deleted()
	a, b, cc := partition.Shard{Name: "a", Weight: 1}, partition.Shard{Name: "b", Weight: 1}, partition.Shard{Name: "c", Weight: 1}
	laidOut(t, servers, a, b, cc)

	mustReshard(t, p, "start", "--remove=a", "--history=move", "--rate=0")
	mustReshard(t, p, "cut")
	mustReshard(t, p, "finish")
	mustReshard(t, p, "delete")
	deleted()
	t.Log(mustReshard(t, p, "status"))
	if st := standing(t, p); len(st.ReadOnly) > 0 || !slices.Equal(st.Idle, []string{"a"}) {
		t.Errorf("a is empty, and the status says %+v", st)
	}
	stop()
	busy.Wait()
	p.settled()
	in := laidOut(t, servers, b, cc)
	for i := range c.sent {
		if ping := fmt.Sprint(c.sent[i].Rider, " ", c.sent[i].At); in[ping] != 1 {
			t.Fatalf("%s is lost", ping)
		}
	}
	if len(in) != len(c.sent) {
		t.Errorf("%d pings are stored, and %d were sent", len(in), len(c.sent))
	}
	if c.asked < 20 || len(c.sent) < len(past)+1000 {
		t.Errorf("%d tracks read, %d pings sent: the test shows nothing", c.asked, len(c.sent))
	}
	t.Logf("%d pings, %d of them from days before, %d tracks read", len(c.sent), len(past), c.asked)
}

// A change that is undone in the middle of the copy leaves the old shards as they were, and
// nothing goes on.
func TestReshardAbortedCopy(t *testing.T) {
	servers := map[string]*influxd.Server{"a": startInflux(t), "b": startInflux(t)}
	dir := t.TempDir()
	p := serve(t, dir, "", append(slices.Clone(reshardFlags), "--shard=name=a,url="+servers["a"].URL())...)
	c := &travellers{t: t, readersAndSenders: readersAndSenders{from: time.Now().Add(-25 * time.Minute)}, url: p.url, riders: 30}
	c.post(t.Context(), c.history(30))
	p.settled()
	before, figures := storedIn(t, servers["a"]), p.series(t)
	if status, said := reshardDo(t, p, "delete"); status != exitFailed || !strings.Contains(said, "no history is being moved") {
		t.Errorf("delete before all: exit status %d, %s", status, said)
	}
	mustReshard(t, p, "start", "--replace=a=name=b,url="+servers["b"].URL(), "--history=move", "--rate=300")
	eventually(t, "a part is copied", func() bool { return len(storedIn(t, servers["b"])) > 0 })
	if status, said := reshardDo(t, p, "delete"); status != exitFailed || !strings.Contains(said, "finish comes first") {
		t.Errorf("delete in dual: exit status %d, %s", status, said)
	}
	mustReshard(t, p, "abort")
	eventually(t, "nothing is moved any more", func() bool { return historyOf(t, p) == nil })
	left, err := filepath.Glob(filepath.Join(dir, "reshard-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("files are left: %v, %v", left, err)
	}
	if st := standing(t, p); st.Phase != reshard.Settled || st.InForce.String() != "a=1" || !slices.Equal(st.Idle, []string{"b"}) {
		t.Errorf("after abort: %+v", st)
	}
	after := storedIn(t, servers["a"])
	for ping, n := range before {
		if n != 1 || after[ping] != 1 {
			t.Fatalf("%s is %d times in a, and was %d times", ping, after[ping], n)
		}
	}
	if len(after) != len(before) || len(before) == 0 {
		t.Errorf("a has %d pings, and had %d", len(after), len(before))
	}
	if _, err := os.Stat(filepath.Join(dir, resharding.LogFile)); err != nil {
		t.Error(err)
	}
	if resp, err := http.Get(p.url + "/v1/partitions"); err != nil {
		t.Error(err)
	} else {
		said, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if !bytes.Contains(said, []byte(`"a"`)) || bytes.Contains(said, []byte(`"b"`)) {
			t.Errorf("partitions: %s", said)
		}
	}
	eventually(t, "the figures are those of before, but for counters, which stay", func() bool {
		for name := range p.series(t) {
			if family, _, _ := strings.Cut(name, "{"); !figures[name] && !strings.HasSuffix(family, "_total") {
				t.Log(name)
				return false
			}
		}
		return true
	})
}
