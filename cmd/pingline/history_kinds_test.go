package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pingline/internal/influxd"
	"pingline/internal/node"
	"pingline/partition"
	"pingline/sink/clickhouse/clickhousetest"
	"pingline/sink/moving"
	"pingline/sink/store"
)

// variedSet is a node whose set has shards of several kinds, while pings come in and tracks are read.
type variedSet struct {
	*travellers
	dir, listen string
	p           *process
	flags       []string
	readers     map[string]store.Reader
	end         func() // of pings and readers
}

// runVaried starts a node that has a shard named a, with pings of the days before.
func runVaried(t *testing.T, a string, each int) *variedSet {
	t.Helper()
	v := &variedSet{dir: t.TempDir(), listen: freePort(t), readers: make(map[string]store.Reader)}
	v.flags = append(slices.Clone(reshardFlags), "--listen="+v.listen, v.shard(t, "a", a))
	v.p = serve(t, v.dir, "", v.flags...)
	v.travellers = &travellers{t: t, readersAndSenders: readersAndSenders{from: time.Now().Add(-25 * time.Minute)}, url: v.p.url, riders: 20, pace: 200 * time.Millisecond}
	for batch := range slices.Chunk(v.history(each), 1000) {
		v.post(t.Context(), batch)
	}
	v.p.settled()
	ctx, stop := context.WithCancel(t.Context())
	var busy sync.WaitGroup
	busy.Go(func() { v.drive(ctx) })
	busy.Go(func() { v.follow(ctx) })
	v.end = func() { stop(); busy.Wait() }
	t.Cleanup(v.end)
	return v
}

// shard opens a shard to be read by the test, and returns its flag.
func (v *variedSet) shard(t *testing.T, name, rest string) string {
	t.Helper()
	text := "name=" + name + "," + rest
	cfg := node.DefaultConfig()
	var s node.ShardConfig
	if err := s.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	to, err := node.OpenStore(s, &cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = to.Close() })
	v.readers[name] = to.(store.Reader)
	return "--shard=" + text
}

// change makes a change with its history, and kills the node in the middle of the copy. fresh are
// the flags of new shards.
func (v *variedSet) change(t *testing.T, args []string, fresh ...string) {
	t.Helper()
	mustReshard(t, v.p, append([]string{"start", "--history=move", "--rate=300"}, args...)...)
	v.flags = append(v.flags, fresh...)
	id := standing(t, v.p).ID
	var h *moving.MoveStatus
	eventually(t, "a part of history is copied", func() bool {
		h = historyOf(t, v.p)
		return h != nil && h.ID == id && (h.Stage != moving.Copying || h.RowsDone > 0)
	})
	if h.Stage != moving.Copying || h.UnitsDone == h.Units {
		t.Errorf("all is copied before the node is killed: %+v", h)
	}
	v.p.kill()
	v.p = serve(t, v.dir, "", v.flags...)
	t.Log(mustReshard(t, v.p, "cut"))
	mustReshard(t, v.p, "verify", "--full")
	mustReshard(t, v.p, "finish")
	mustReshard(t, v.p, "delete")
	eventually(t, "the old shards have let go", func() bool { return historyOf(t, v.p).Stage == moving.Deleted })
	if h := historyOf(t, v.p); h.Kept > 0 || h.Differ > 0 || h.Refused > 0 {
		t.Errorf("in the end: %+v", h)
	}
}

// ends stops pings and readers: all that was acknowledged is where a layout says, once, and
// nothing else is.
func (v *variedSet) ends(t *testing.T, layout ...partition.Shard) {
	t.Helper()
	v.end()
	v.p.settled()
	in, lost := laidOutIn(t, v.readers, layout...), 0
	for i := range v.sent {
		if in[fmt.Sprint(v.sent[i].Rider, " ", v.sent[i].At)] != 1 {
			lost++
		}
	}
	if lost > 0 || len(in) != len(v.sent) || v.asked < 10 {
		t.Errorf("%d pings are stored, %d were sent, %d are lost; %d tracks read", len(in), len(v.sent), lost, v.asked)
	}
	t.Logf("%d pings stored of %d sent, %d lost, %d tracks read", len(in), len(v.sent), lost, v.asked)
}

func oneShard(name string) partition.Shard { return partition.Shard{Name: name, Weight: 1} }

// Beside an InfluxDB 1.8 comes a ClickHouse, and then an InfluxDB 2.x, or where there is none
// another 1.8, in the place of both; their history moves. The node is killed in the middle of each
// copy, tracks are whole all along, and in the end each ping is where the layout says.
func TestReshardBetweenKinds(t *testing.T) {
	long(t)
	ch, one := clickhousetest.Run(t), startInflux(t)
	v := runVaried(t, "url="+one.URL(), 30)
	for _, wrong := range [][]string{
		{"start", "--add=name=q,url=kafka://127.0.0.1:1/pings"}, {"plan", "--replace=a=name=q,url=redis://127.0.0.1:1"},
		{"start", "--history=move", "--replace=a=name=q,url=sqs://eu-central-1/123456789012/q"}, {"start", "--force", "--add=name=q,url=questdb://127.0.0.1:1"},
	} {
		if status, said := reshardDo(t, v.p, wrong...); status != exitFailed || !strings.Contains(said, "shard q: tracks cannot be read from it") {
			t.Errorf("%v: exit status %d, %s", wrong, status, said)
		}
	}
	c := fmt.Sprintf("url=%s,token-file=%s", ch.URL("city"), ch.PasswordFile())
	flag := v.shard(t, "c", c)
	v.change(t, []string{"--add=name=c," + c}, flag)
	laidOutIn(t, v.readers, oneShard("a"), oneShard("c"))

	b := anotherInflux(t)
	flag = v.shard(t, "b", b)
	v.change(t, []string{"--replace=a=name=b," + b, "--remove=c"}, flag)
	if st := standing(t, v.p); len(st.ReadOnly) > 0 || st.InForce.String() != "b=1" {
		t.Errorf("in the end: %+v", st)
	}
	v.ends(t, oneShard("b"))
}

// anotherInflux returns how a shard names an InfluxDB 2.x, with a token for its bucket alone, or a
// 1.8 where there is no 2.x.
func anotherInflux(t *testing.T) string {
	t.Helper()
	if _, err := influxd.Find2(); err != nil {
		t.Logf("it is a 1.8: %v", err)
		return "url=" + startInflux(t).URL()
	}
	two := startInfluxWith(t, influxd.Config{Version: 2, Org: "the city", Bucket: "pings/raw"})
	token, err := two.CreateToken(t.Context(), two.Bucket(), true, true)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("url=%s,org=the%%20city,bucket=pings/raw,token-file=%s", two.URL(), file)
}
