package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pingline"
	"pingline/internal/influxd"
	"pingline/sink/influx"
	"pingline/sink/moving"
	"pingline/sink/reshard"
	"pingline/sink/store"
)

// delaysDeletions has each deletion of a 1.8 take so much longer.
func (p *patient) delaysDeletions(by time.Duration) {
	sick := func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost && r.URL.Path == "/query" {
			select {
			case <-time.After(by):
			case <-r.Context().Done():
			}
		}
		return false
	}
	p.sick.Store(&sick)
}

// series returns the names and labels of all figures of p that have to do with shards.
func (p *process) series(t *testing.T) map[string]bool {
	t.Helper()
	text, err := p.scrape()
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	for _, m := range regexp.MustCompile(`(?m)^(pingline_[^ ]*) `).FindAllStringSubmatch(text, -1) {
		if strings.Contains(m[1], "shard=") || strings.Contains(m[1], "reshard") || strings.Contains(m[1], "set=") || strings.Contains(m[1], "lane=") || strings.Contains(m[1], "equation=") {
			names[m[1]] = true
		}
	}
	return names
}

// While pings come in, a change is aborted in the middle of its copy, with --clean, and the node is
// killed in the middle of that: what was copied is deleted from the new shard, a row of its own
// stays, and the old shard has all. The layout, the readers, status and the figures are as they were.
func TestReshardAbortCleans(t *testing.T) {
	beside(t)
	servers := map[string]*influxd.Server{"a": startInflux(t), "b": startInflux(t)}
	target := newPatient(t, servers["b"])
	dir := t.TempDir()
	flags := append(slices.Clone(reshardFlags), "--listen="+freePort(t), "--shard=name=a,url="+servers["a"].URL())
	p := serve(t, dir, "", flags...)
	c := &travellers{t: t, readersAndSenders: readersAndSenders{from: time.Now().Add(-25 * time.Minute)}, url: p.url, riders: 30, pace: 100 * time.Millisecond}
	for batch := range slices.Chunk(c.history(20), 1000) {
		c.post(t.Context(), batch)
	}
	p.settled()
	figures := p.series(t)
	if status, said := reshardDo(t, p, "abort", "--clean"); status != exitFailed || !strings.Contains(said, "there is nothing to abort") {
		t.Errorf("abort --clean before all: exit status %d, %s", status, said)
	}
	var own *pingline.Entry // a row that b alone has, in a cell and a day that is copied
	old := func(e *pingline.Entry) bool {
		return e.At < c.from.Add(-23*time.Hour).UnixMilli() && e.At > c.from.Add(-49*time.Hour).UnixMilli()
	}
	err := reader(t, servers["a"], "pingline").Points(t.Context(), store.All(), func(e *pingline.Entry, _ int64) error {
		if own == nil && e.At >= c.from.Add(-24*time.Hour).UnixMilli() {
			copied := *e
			own = &copied
			own.Rider = "own"
		}
		return nil
	})
	if err == nil {
		err = reader(t, servers["b"], "pingline").Write(t.Context(), store.Rows{Bytes: influx.AppendLine(nil, own), N: 1})
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var busy sync.WaitGroup
	busy.Go(func() { c.drive(ctx) })
	busy.Go(func() { c.follow(ctx) })

	mustReshard(t, p, "start", "--replace=a=name=b,url="+target.url, "--history=move", "--rate=300")
	history := func() (n int) {
		t.Helper()
		err := reader(t, servers["b"], "pingline").Points(t.Context(), store.All(), func(e *pingline.Entry, _ int64) error {
			if old(e) && e.Rider != "own" {
				n++
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	eventually(t, "a part of the days before is copied", func() bool { return history() > 0 })
	target.delaysDeletions(300 * time.Millisecond)
	t.Log(mustReshard(t, p, "abort", "--clean"))
	most := history()
	if st := standing(t, p); st.Phase != reshard.Settled || st.InForce.String() != "a=1" || !slices.Equal(st.Idle, []string{"b"}) || len(st.ReadOnly) > 0 || st.Mirror {
		t.Errorf("after abort: %+v", st)
	}
	eventually(t, "a part of it is deleted again", func() bool { n := history(); return n > 0 && n < most || historyOf(t, p).Stage != moving.Cleaning })
	if h := historyOf(t, p); h.Stage != moving.Cleaning || h.UnitsDone == h.Units {
		t.Errorf("all is deleted before the node is killed: %+v", h)
	}
	t.Log(mustReshard(t, p, "status"))
	p.kill()
	target.heals()
	p = serve(t, dir, "", append(flags, "--shard=name=b,url="+target.url)...)
	eventually(t, "b is clean", func() bool { h := historyOf(t, p); return h != nil && h.Stage == moving.Cleaned })
	t.Log(mustReshard(t, p, "status"))
	stop()
	busy.Wait()
	p.settled()
	h := historyOf(t, p)
	if h.Kept != 1 || !strings.Contains(h.KeptWhy[0], "1 of its rows are nowhere else") {
		t.Errorf("kept are %d pieces: %v", h.Kept, h.KeptWhy)
	}
	err = reader(t, servers["b"], "pingline").Points(t.Context(), store.All(), func(e *pingline.Entry, _ int64) error {
		if old(e) && (e.Cell != own.Cell || store.Day(e.At) != store.Day(own.At)) {
			return fmt.Errorf("%s of %d is left in b", e.Rider, e.At)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if in := storedIn(t, servers["b"]); in[fmt.Sprint("own ", own.At)] != 1 {
		t.Error("b has lost its own row")
	}
	inA := storedIn(t, servers["a"])
	for i := range c.sent {
		if ping := fmt.Sprint(c.sent[i].Rider, " ", c.sent[i].At); inA[ping] != 1 {
			t.Fatalf("%s is %d times in a", ping, inA[ping])
		}
	}
	if len(inA) != len(c.sent) || c.asked < 20 {
		t.Errorf("a has %d pings, %d were sent; %d tracks read", len(inA), len(c.sent), c.asked)
	}
	mustReshard(t, p, "abort", "--clean")
	eventually(t, "it was done again", func() bool { return historyOf(t, p).Stage == moving.Cleaned })
	after := p.series(t)
	maps.DeleteFunc(after, func(name string, _ bool) bool { return figures[name] })
	for name := range after {
		if strings.HasPrefix(name, "pingline_reshard_history") {
			continue // while there is a piece that was kept
		}
		t.Errorf("%s was not there before", name)
	}
}
